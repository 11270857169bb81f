"""What makes two trainings one: the recipe, the data, what its functions give, and where it began.

A file can hold numbers and digests, and no code; so an objective and a learning rate are known by what they give for
known arguments.
"""

import hashlib
import json
import math
from typing import Any

import numpy as np

from .backend import Backend
from .batches import Batch
from .checks import ArgumentError, shown
from .datasets import Dataset
from .objective import Objective, on_batches
from .schedules import rate_at

CHUNK = 1 << 26  # bytes of a data set that are hashed at a time
PLAIN = (int, float, str, type(None))  # what a file holds as it is
COUNTS = ("steps", "epochs")  # of a network and of an optimiser, which every step changes


def recipe_of(course: Any, objective: Any) -> dict[str, Any]:
    """Return what determines a training, beside its beginning, as JSON gives it back."""
    network, monitor, batches = course.network, course.monitor, course.monitor.batches
    recipe = {
        "layers": [repr(layer) for layer in network.layers], "dtype": str(network.dtype), "seeds": network.seeds,
        "optimizer": type(course.optimizer).__name__, "optimizer settings": settings_of(course.optimizer),
        "temperature": None, "alpha": None, "batch_size": batches.batch_size, "jitter": batches.jitter,
        "total_epochs": monitor.total, "keep_best": course.best is not None,
        "data": _digest_of_data(batches.data), "validation": _digest_of_data(course.validation),
    }  # fmt: skip
    if isinstance(objective, Objective):
        recipe |= {"temperature": np.ravel(objective.temperature).tolist(), "alpha": objective.alpha}
    copy: dict[str, Any] = json.loads(json.dumps(recipe))
    return copy


def trials_of(course: Any, objective: Any) -> dict[str, np.ndarray]:
    """Return what functions give for known arguments: the code of one is nothing that a file could hold."""
    optimizer, network, batches = course.optimizer, course.network, course.monitor.batches
    rates = np.array([rate_at(optimizer.learning_rate, i / 101) for i in range(101)])
    trials = {"learning rate": rates, "objective": np.zeros(0)}
    if not isinstance(objective, Objective):
        rng, (data, asarray) = np.random.default_rng(0), (batches.data, network.backend.asarray)
        rows = (*network.replica_shape, batches.batch_size)
        z, v = (asarray(rng.normal(0, 3, (*rows, n)), dtype=network.dtype) for n in (network.n_out, data.classes))
        y = asarray(rng.integers(0, data.classes, rows), dtype=np.int64)
        batch = Batch(z, None if data.labels is None else y, v if hasattr(data, "logits") else None)
        loss, dz = network.xp.empty(network.replica_shape, dtype=network.dtype), network.xp.empty_like(z)
        on_batches(objective, network, data)[0](z, batch, loss, dz)
        found = [np.ravel(network.backend.to_host(array)).astype(np.float64) for array in (loss, dz)]
        trials["objective"] = np.concatenate(found)
    return trials


def settings_of(optimizer: Any) -> dict[str, Any]:
    """Return the numbers and texts of an optimiser, but for its rate and its counts.

    Raises ArgumentError for an array that it keeps outside its state.
    """
    settings = {}
    for name, value in vars(optimizer).items():
        if hasattr(value, "shape") and np.ndim(value):
            raise ArgumentError(
                f"{type(optimizer).__name__}.{name} must be named in `remembers` to be kept, got an array beside it"
            )
        if isinstance(value, PLAIN) and name not in ("learning_rate", "network", *COUNTS):
            settings[name] = value
    return settings


def difference(name: str, theirs: Any, ours: Any) -> str:
    if name in ("data", "validation"):
        return "another data set" if name == "data" else "another validation set"
    return f"{name} {shown(theirs.get(name))} instead of {shown(ours[name])}"


def digest_of(arrays: dict[str, np.ndarray], numbers: dict[str, Any]) -> str:
    """Return a digest of where a network and its optimiser are."""
    digest = hashlib.sha256(f"{numbers['network.steps']} {numbers['optimizer.steps']}".encode())
    for name in sorted(arrays):
        if name in ("parameters", "gradients") or name.startswith(("optimizer.", "layer.")):
            digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
            digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _digest_of_data(data: Dataset | None) -> str | None:
    """Return a digest of a data set, a part after the other: it may be larger than memory."""
    if data is None:
        return None
    digest, backend = hashlib.sha256(), data.backend
    for array in (data.inputs, data.labels, getattr(data, "logits", None)):
        if array is not None:
            digest.update(f"{array.dtype} {array.shape}".encode())
            _add(digest, array, backend)
    return digest.hexdigest()


def _add(digest: Any, array: Any, backend: Backend) -> None:
    rows = max(1, CHUNK // max(1, math.prod(array.shape[1:]) * array.dtype.itemsize))
    for start in range(0, len(array), rows):
        digest.update(np.ascontiguousarray(backend.to_host(array[start : start + rows])).data)
