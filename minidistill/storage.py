"""Keep a network: a folder with its parameters, its layers and a card that says how to use it, and back."""

import inspect
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import describe
from .backend import Backend
from .checks import ArgumentError, DataError, MinidistillError, shown
from .copies import Copyable
from .fused import DenseReLU
from .layers import Dense, Dropout, Layer, ReLU
from .shell import whole_file
from .standardise import Standardise
from .tensor_file import read_tensors, write_tensors

MODEL, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_VERSION = 1  # of the format
_KNOWN = {kind.__name__: kind for kind in (Dense, DenseReLU, ReLU, Dropout, Standardise)}


class Storable(Copyable):
    """Save a network into a folder, and load it again, bit for bit, on any backend."""

    labels: tuple[str, ...] | None = None  # the classes' names, in the order of the logits

    def save(self, folder: str | Path, labels: Sequence[str] | None = None) -> None:
        """Write the network into a folder, which is made, or whose network is replaced.

        model.safetensors holds everything, config.json says it for people, README.md is a short card. labels: the
        classes' names. Raises ArgumentError for labels that do not fit, or a layer of one's own that holds other things
        than numbers, texts and arrays; OSError for a folder that cannot be written.
        """
        made: Any = self
        if labels is not None:
            if isinstance(labels, str) or len(labels) != made.n_out or not all(isinstance(x, str) for x in labels):
                raise ArgumentError(f"labels must be {made.n_out} texts, one for each class, got {labels!r}")
            self.labels = tuple(labels)
        from . import __version__

        tensors: dict[str, np.ndarray] = {}
        described = [_describe(i, layer, tensors, made.backend.to_host) for i, layer in enumerate(made.layers)]
        config = {
            "format": "minidistill", "version": _VERSION, "written_by": f"minidistill {__version__}",
            "dtype": str(made.dtype), "seeds": made.seeds, "steps": made.steps, "epochs": made.epochs,
            "labels": list(self.labels) if self.labels else None, "layers": described,
        }  # fmt: skip
        text = json.dumps(config, indent=2)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / MODEL, tensors, {"config": text, "format": "pt"})
        for name, content in ((CONFIG, text + "\n"), (CARD, _card(made))):
            with whole_file(folder / name) as path:
                path.write_text(content, encoding="utf-8")

    def export_onnx(self, path: str | Path, pixels: bool = False) -> None:
        """Write the network as an ONNX model from "inputs" to "logits". pixels: its inputs are uint8 (export.py)."""
        from .export import export_onnx

        export_onnx(self, path, pixels)

    @classmethod
    def load(cls, folder: str | Path, backend: Backend | str | None = None, layers: Iterable[type[Layer]] = ()) -> Any:
        """Return the network that `save` wrote into this folder. layers: the classes of layers of one's own in it.

        Raises DataError if the network is missing, damaged, changed, or of a later version.
        """
        path = Path(folder) / MODEL
        tensors, texts = read_tensors(path)
        try:
            config = json.loads(texts["config"])
            if config["format"] != "minidistill" or config["version"] != _VERSION:
                raise DataError(f"{path} must be of version {_VERSION}, got version {config['version']}")
            beside = path.with_name(CONFIG)
            if beside.exists() and json.loads(beside.read_text(encoding="utf-8")) != config:
                raise DataError(f"{beside} must say what {MODEL} holds, got something else: delete it to load")
            known = _KNOWN | {kind.__name__: kind for kind in layers}
            built = [_build(i, one, tensors, known) for i, one in enumerate(config["layers"])]
            replicas = () if isinstance(config["seeds"], int) else (len(config["seeds"]),)
            used = {f"{i}.{name}" for i, one in enumerate(config["layers"]) for name in one["arrays"] + one["learned"]}
            for i, layer in enumerate(built):  # before memory is taken for what the file may lack
                for name, parameter in layer.parameters().items():
                    used.add(f"{i}.{name}")
                    wanted, found = (*replicas, *parameter.shape), tensors[f"{i}.{name}"].shape
                    if wanted != found:
                        raise DataError(f"{path} must hold {i}.{name} of shape {wanted}, got {found}")
            if unused := sorted(set(tensors) - used):
                raise DataError(f"{path} must hold the arrays of its layers alone, got {', '.join(unused)}")
            made = cls(built, config["seeds"], config["dtype"], backend)  # type: ignore[call-arg]  # of a Network
            for i, layer in enumerate(made.layers):  # type: ignore[attr-defined]
                for name in layer.parameters():
                    setattr(layer, name, tensors[f"{i}.{name}"].astype(config["dtype"], casting="no"))
            made.steps, made.epochs = int(config["steps"]), int(config["epochs"])
            made.labels = tuple(config["labels"]) if config["labels"] else None
        except DataError:
            raise
        except (MinidistillError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise DataError(f"{path} must hold a network, got {type(error).__name__}: {error}") from None
        return made


def _describe(number: int, layer: Layer, tensors: dict[str, np.ndarray], to_host: Any) -> dict[str, Any]:
    """Return what makes the layer anew; put its parameters, and whatever else of it is an array, among the tensors.

    That is its arguments, where it keeps all of them, and else its attributes as they are.
    """
    name_of, state = type(layer).__name__, layer.__getstate__()
    wanted = list(inspect.signature(type(layer)).parameters)
    for name in ("rate", "dropout"):  # layers keep it as a threshold
        if name in wanted and "threshold" in state:
            state[name] = 1 - state["threshold"] / 256
    by_arguments = all(name in state for name in wanted)
    kept = {name: value for name, value in state.items() if name in wanted or not by_arguments}
    learned = {name: value for name, value in state.items() if name not in kept and hasattr(value, "shape")}
    parameters = {name: getattr(layer, name) for name in layer.parameters()}
    for name, value in (*parameters.items(), *kept.items(), *learned.items()):
        if hasattr(value, "shape"):
            tensors[f"{number}.{name}"] = to_host(value)
        elif not isinstance(value, (int, float, str, bool, type(None))):
            raise ArgumentError(
                f"{name_of}.{name} must be a number, a text or an array to be saved, got {shown(value)}"
            )
    return {
        "class": name_of,
        "arguments" if by_arguments else "attributes": {n: v for n, v in kept.items() if not hasattr(v, "shape")},
        "arrays": [name for name, value in kept.items() if hasattr(value, "shape")],
        "learned": [*learned],
    }


def _build(number: int, one: Any, tensors: dict[str, np.ndarray], known: dict[str, type[Layer]]) -> Layer:
    if one["class"] not in known:
        raise ArgumentError(f"layers must name the class {one['class']!r}: load(folder, layers=[{one['class']}])")
    kind, arrays = known[one["class"]], {name: tensors[f"{number}.{name}"] for name in one["arrays"]}
    if "arguments" in one:
        layer = kind(**{**one["arguments"], **arrays})
    else:
        layer = object.__new__(kind)
        vars(layer).update(one["attributes"], **arrays)
    for name in one["learned"]:
        setattr(layer, name, tensors[f"{number}.{name}"])
    return layer


def _card(network: Any) -> str:
    """Return a model card: what the network is, and how to use it with minidistill, and without."""
    classes = f"\n\nClasses: {', '.join(network.labels)}." if network.labels else ""
    return f"""---
library_name: minidistill
---
# {describe.network(network)[1:-1]}

Takes {network.n_in} numbers and gives {network.n_out} logits.{classes}

```python
import minidistill as md

network = md.Network.load(".")
logits = network.predict(inputs)  # (rows, {network.n_in}) floats, or uint8 pixels
```

`model.safetensors` holds the parameters as "LAYER.NAME", with x W + b for a Dense layer, W of shape (inputs, units).
"""
