"""A student and its teacher as one HTML page, which runs them in any browser and asks nobody for anything.

The page is page.html with page.css and the scripts put in, and blocks of data: what the networks are, their parameters
in few bits, and test images. maths.js and toy.js compute; the other scripts show. Left out: other inputs than pixels of
28 x 28.
"""

import base64
import copy
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..checks import ArgumentError, check_count
from ..datasets import Dataset, mnist
from ..fused import DenseReLU
from ..layers import Dense, Dropout, ReLU
from ..shell import whole_file
from ..standardise import Standardise

SCRIPTS = ("maths", "toy", "drawing", "probabilities", "charts", "training", "page")  # the last one starts
SIDE = 28  # of an image; the drawing is brought to it as MNIST's were
MOST_BYTES = 6_000_000  # of a page
BITS = (8, 7, 6, 5, 4)  # of a weight: the first with which the page is small enough
MOST_WRONG, MOST_RIGHT = 200, 60  # test images in the page


@dataclass
class Quantised:
    """Hold a network whose weights are whole numbers times one scale for each unit.

    network: it, in floats again. layers: what each does. payload: the float32 vectors, then the int8 matrices.
    """

    network: Any
    layers: list[dict[str, Any]]
    payload: bytes


def quantise(network: Any, bits: int) -> Quantised:
    """Round W to q s, with s of each column (max |W| of it over 2**(bits-1) - 1) and whole q; biases stay as they are.

    So no weight moves by more than s/2. Raises ArgumentError for a layer that the page has no code for.
    """
    most = 2 ** (bits - 1) - 1
    rounded = copy.deepcopy(network)
    layers: list[dict[str, Any]] = []
    floats, wholes = list[np.ndarray](), list[np.ndarray]()
    for layer in rounded.layers:
        if isinstance(layer, Standardise):
            layers.append({"kind": "Standardise", "n_in": layer.n_in})
            floats += [layer.mean, layer.scale]
        elif type(layer) in (Dense, DenseReLU):
            W, b = (network.backend.to_host(one).astype(np.float32) for one in (layer.W, layer.b[0]))
            s = np.maximum(abs(W).max(axis=0), np.finfo(np.float32).tiny) / np.float32(most)  # (n_out,)
            q = np.rint(W / s).clip(-most, most).astype(np.int8)  # (n_in, n_out)
            layer.W = q * s
            layers.append({"kind": "Dense", "n_in": layer.n_in, "n_out": layer.n_out})
            floats += [s, b]
            wholes.append(q)
            if isinstance(layer, DenseReLU):
                layers.append({"kind": "ReLU"})
        elif type(layer) is ReLU:
            layers.append({"kind": "ReLU"})
        elif type(layer) is not Dropout:
            raise ArgumentError(f"layers must be the package's own to run in a page, got {layer}")
    payload = b"".join([one.astype("<f4").tobytes() for one in floats] + [one.tobytes() for one in wholes])
    return Quantised(rounded, layers, payload)


def export_html(
    student: Any, path: Path, teacher: Any = None, test: Dataset | None = None, bits: int | None = None
) -> dict[str, Any]:
    """Write a page of less than 6 MB that runs the student, beside its teacher if there is one; return what it holds.

    test: images of 28 x 28 and their labels, MNIST's if it is None; those that a network gets wrong go into the page.
    Without labels of the networks' classes there are none. bits: of a weight, 4 to 8; None for 8, or fewer where the
    page would be too large. Raises ArgumentError for networks that do not take 28 x 28 pixels, that do not fit
    together, that are too large, or that have layers of one's own.
    """
    networks = {"student": student} | ({} if teacher is None else {"teacher": teacher})
    _check(networks)
    if test is not None and (test.inputs.shape[1:] not in ((SIDE, SIDE), (SIDE * SIDE,)) or test.labels is None):
        raise ArgumentError(f"test must hold images of 28 x 28 with labels, got {test}")
    if test is not None and test.classes != student.n_out:
        raise ArgumentError(f"test must have the student's classes, {student.n_out}, got {test.classes}")
    data = mnist(student.backend)[1] if test is None else test
    tried = BITS if bits is None else (check_count("bits", bits, at_least=BITS[-1], at_most=BITS[0]),)
    for bits in tried:
        small = {role: quantise(network, bits) for role, network in networks.items()}
        weights = {role: _text(one.payload) for role, one in small.items()}
        if sum(map(len, weights.values())) > MOST_BYTES:
            continue  # without the seconds that the rest takes
        about = {role: _about(networks[role], small[role], data) for role in small}
        blocks = {"about": _json({"bits": bits, "classes": _classes(student), **about}), **weights}
        blocks["images"] = _images(small, data) if data.classes == student.n_out else "null"
        page = render(blocks)
        if len(page.encode()) <= MOST_BYTES:
            break
    else:
        sizes = ", ".join(f"{role} of {network.size:,} parameters" for role, network in networks.items())
        raise ArgumentError(f"networks must fit into a page of {MOST_BYTES:,} bytes at {tried[-1]} bits, got {sizes}")
    with whole_file(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")
    return {"bits": bits, "bytes": len(page.encode()), "images": len(data), **about}


def render(blocks: dict[str, str]) -> str:
    """Return the page with these blocks of data: about, student, teacher if there is one, images."""
    here = Path(__file__).parent
    page = (here / "page.html").read_text(encoding="utf-8")
    data = "\n".join(f'<script type="text/plain" id="data-{name}">{text}</script>' for name, text in blocks.items())
    scripts = "\n".join((here / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    for mark, text in (("css", (here / "page.css").read_text(encoding="utf-8")), ("data", data), ("js", scripts)):
        page = page.replace(f"<!-- {mark} -->", text)
    return page


def blocks_of(page: str) -> dict[str, str]:
    """Return the blocks of data of a page, so that `render` can make it anew after a change of its code."""
    parts = page.split('<script type="text/plain" id="data-')[1:]
    return {part.partition('"')[0]: part.partition(">")[2].partition("</script>")[0] for part in parts}


def _check(networks: dict[str, Any]) -> None:
    """Raise ArgumentError for networks that no page can run, or that do not fit together."""
    student = networks["student"]
    for role, network in networks.items():
        if network.replica_shape:
            raise ArgumentError(f"{role} must be one network, got {network.replicas} replicas")
        if network.n_in != SIDE * SIDE:
            raise ArgumentError(f"{role} must take {SIDE * SIDE} inputs, the pixels of 28 x 28, got {network.n_in}")
        if network.n_out != student.n_out:
            raise ArgumentError(f"{role} must have the student's {student.n_out} classes, got {network.n_out}")
        if network.labels and student.labels and network.labels != student.labels:
            raise ArgumentError(f"{role} must have the student's labels, {student.labels}, got {network.labels}")


def _about(network: Any, small: Quantised, data: Dataset) -> dict[str, Any]:
    """Return what the page says of a network, and what fewer bits have done to it on the test images."""
    z, rounded = (_logits(one, data) for one in (network, small.network))
    labels = None if data.classes != network.n_out else data.backend.to_host(data.labels)
    return {
        "name": "-".join(map(str, [network.n_in, *(one["n_out"] for one in small.layers if "n_out" in one)])),
        "parameters": network.size,
        "layers": small.layers,
        "images": len(data),
        "errors": None if labels is None else int((z.argmax(1) != labels).sum()),
        "errors_in_page": None if labels is None else int((rounded.argmax(1) != labels).sum()),
        "changed": int((z.argmax(1) != rounded.argmax(1)).sum()),
        "largest_change": float(f"{abs(z - rounded).max():.3g}"),
        "spread": float(f"{z.std():.3g}"),
    }


def _logits(network: Any, data: Dataset) -> np.ndarray:
    z: np.ndarray = network.backend.to_host(network.predict(data.backend.to_host(data.inputs)))
    return z


def _classes(student: Any) -> list[str]:
    return list(student.labels) if student.labels else [str(i) for i in range(student.n_out)]


def _images(small: dict[str, Quantised], data: Dataset) -> str:
    """Return test images that a network of the page gets wrong, and some of the others, as a block of the page."""
    labels = data.backend.to_host(data.labels)
    found = {role: _logits(one.network, data).argmax(axis=1) for role, one in small.items()}
    wrong = {role: np.flatnonzero(classes != labels) for role, classes in found.items()}
    right = np.flatnonzero(np.all([classes == labels for classes in found.values()], axis=0))
    rows = np.unique(np.concatenate([*(one[:MOST_WRONG] for one in wrong.values()), right[:MOST_RIGHT]]))
    pixels = data.backend.to_host(data.inputs)[rows]
    if pixels.dtype != np.uint8:
        pixels = np.rint(255 * pixels.clip(0, 1)).astype(np.uint8)
    return _json(
        {"index": rows.tolist(), "label": labels[rows].tolist(), "pixels": _text(pixels.tobytes())}
        | {role: classes[rows].tolist() for role, classes in found.items()}
        | {"wrong": {role: len(one) for role, one in wrong.items()}}
    )


def _text(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw, 9)).decode()


def _json(content: Any) -> str:
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")  # so that no label ends the block
