"""A network as a folder: its parameters, its layers, and a card that says how to use it; and back."""

import inspect
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import describe
from .backend import Backend
from .checks import ArgumentError, DataError, MinidistillError, shown
from .fused import DenseReLU
from .layers import Dense, Dropout, Layer, ReLU
from .shell import whole_file
from .standardise import Standardise
from .tensor_file import read_tensors, write_tensors

MODEL, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
_VERSION = 1  # of the format
KNOWN = {kind.__name__: kind for kind in (Dense, DenseReLU, ReLU, Dropout, Standardise)}


def write_network(network: Any, folder: str | os.PathLike[str], labels: Sequence[str] | None) -> None:
    """Write what `Network.save` promises."""
    if labels is not None:
        if isinstance(labels, str) or len(labels) != network.n_out or not all(isinstance(x, str) for x in labels):
            raise ArgumentError(f"labels must be {network.n_out} texts, one for each class, got {labels!r}")
        network.labels = tuple(labels)
    from . import __version__

    tensors: dict[str, np.ndarray] = {}
    described = [_describe(i, layer, tensors, network.backend.to_host) for i, layer in enumerate(network.layers)]
    config = {
        "format": "minidistill", "version": _VERSION, "written_by": f"minidistill {__version__}",
        "dtype": str(network.dtype), "seeds": network.seeds, "steps": network.steps, "epochs": network.epochs,
        "labels": list(network.labels) if network.labels else None, "layers": described,
    }  # fmt: skip
    text = json.dumps(config, indent=2)
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    write_tensors(place / MODEL, tensors, {"config": text, "format": "pt"})
    for name, content in ((CONFIG, text + "\n"), (CARD, _card(network))):
        with whole_file(place / name) as path:
            path.write_text(content, encoding="utf-8")


def write_npz(network: Any, path: str | os.PathLike[str]) -> None:
    """Write what `Network.export_npz` promises. Raises ArgumentError as `write_network` does."""
    tensors: dict[str, np.ndarray] = {}
    for i, layer in enumerate(network.layers):
        _describe(i, layer, tensors, network.backend.to_host)
    with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
        np.savez(file, **tensors)  # type: ignore[arg-type]  # names of arrays, and none of NumPy's options


def read_network(
    kind: Any, folder: str | os.PathLike[str], backend: Backend | str | None, layers: Iterable[type[Layer]]
) -> Any:
    """Return the network, of the class `kind`, that `Network.load` promises."""
    path = Path(folder) / MODEL
    tensors, texts = read_tensors(path)
    try:
        config = json.loads(texts["config"])
        if config["format"] != "minidistill" or config["version"] != _VERSION:
            raise DataError(f"{path} must be of version {_VERSION}, got version {config['version']}")
        beside = path.with_name(CONFIG)
        if beside.exists() and json.loads(beside.read_text(encoding="utf-8")) != config:
            raise DataError(f"{beside} must say what {MODEL} holds, got something else: delete it to load")
        known = KNOWN | {own.__name__: own for own in layers}
        built = [_build(i, one, tensors, known) for i, one in enumerate(config["layers"])]
        _check_shapes(path, config, built, tensors)  # before memory is taken for what the file may lack
        made = kind(built, config["seeds"], config["dtype"], backend)
        for i, layer in enumerate(made.layers):
            for name in layer.parameters():
                setattr(layer, name, tensors[f"{i}.{name}"].astype(config["dtype"], casting="no"))
        made.steps, made.epochs = int(config["steps"]), int(config["epochs"])
        made.labels = tuple(config["labels"]) if config["labels"] else None
    except DataError:
        raise
    except (MinidistillError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} must hold a network, got {type(error).__name__}: {error}") from None
    return made


def _check_shapes(path: Path, config: Any, layers: Sequence[Layer], tensors: dict[str, np.ndarray]) -> None:
    """Raise DataError unless the file holds the arrays of these layers, of their shapes, and no others."""
    replicas = () if isinstance(config["seeds"], int) else (len(config["seeds"]),)
    used = {f"{i}.{name}" for i, one in enumerate(config["layers"]) for name in one["arrays"] + one["learned"]}
    for i, layer in enumerate(layers):
        for name, parameter in layer.parameters().items():
            used.add(f"{i}.{name}")
            wanted, found = (*replicas, *parameter.shape), tensors[f"{i}.{name}"].shape
            if wanted != found:
                raise DataError(f"{path} must hold {i}.{name} of shape {wanted}, got {found}")
    if unused := sorted(set(tensors) - used):
        raise DataError(f"{path} must hold the arrays of its layers alone, got {', '.join(unused)}")


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
