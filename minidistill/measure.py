"""What a network is worth, by its errors and its probabilities, and what it costs to deploy: bytes, time to predict."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import ArgumentError, Array, Diverged, check_classes, check_count, check_kind, check_number
from .datasets import Dataset
from .network import BLOCK, Network
from .softmax import softmax


def errors(network: Network, data: Dataset) -> int | list[int]:
    """Count the rows of `data` whose most probable class is not the label: an int, or a list with replicas.

    Raises ArgumentError if there are no labels, and Diverged if a logit is NaN or infinite: its row has no most
    probable class.
    """
    wrong: Any = sum((predicted != y).sum(axis=-1) for predicted, y in _predictions(network, data))  # (...)
    counts: int | list[int] = network.backend.to_host(wrong).tolist()
    return counts


def accuracy(network: Network, data: Dataset) -> float | list[float]:
    """Return the share of the rows of `data` whose most probable class is the label: a number, or a list with replicas.

    Raises what `errors` raises.
    """
    wrong = errors(network, data)
    right: float | list[float] = (1 - np.asarray(wrong) / len(data)).tolist()
    return right


def confusion_matrix(network: Network, data: Dataset) -> np.ndarray:
    """Count the rows of each label that got each class: (..., classes, classes), the labels down, the answers across.

    Raises what `errors` raises.
    """
    counts = np.zeros((*network.replica_shape, network.n_out, network.n_out), dtype=np.int64)
    for predicted, y in _predictions(network, data):
        labels, answers = network.backend.to_host(y), network.backend.to_host(predicted).reshape(-1, len(y))
        for of_replica, classes in zip(counts.reshape(-1, *counts.shape[-2:]), answers, strict=True):
            np.add.at(of_replica, (labels, classes), 1)
    return counts


def predict_proba(network: Network, x: Array, T: float = 1.0) -> Array:
    """Return the probabilities q (..., M, classes) at temperature T of all rows of x (M, n_in), as Network.predict."""
    check_kind("network", network, Network)
    return softmax(network.predict(x), T)


def _predictions(network: Network, data: Dataset) -> Iterator[tuple[Array, Array]]:
    """Yield the most probable classes (..., M) and the labels (M,) of the rows, block by block."""
    check_kind("network", network, Network)
    check_kind("data", data, Dataset)
    if data.labels is None:
        raise ArgumentError("data must have labels to count errors on, got a transfer set without")
    check_classes(data.classes, network.n_out)
    unsound: Any = 0
    for start in range(0, len(data), BLOCK):
        z = network.predict(data.inputs[start : start + BLOCK])  # (..., M, N)
        unsound = unsound + (~network.xp.isfinite(z)).sum()
        yield z.argmax(axis=-1), data.labels[start : start + BLOCK]
    if int(unsound):  # asked once: it waits for the device
        raise Diverged(f"network must give finite logits to count errors on, got {int(unsound)} that are not")


def check_trainable(network: Network, data: Dataset, validation: Dataset | None, optimizer: Any) -> None:
    """Raise ArgumentError for what is no network or no data, or does not fit, before any work is done."""
    check_kind("network", network, Network)
    check_kind("data", data, Dataset)
    remembered = [*optimizer.state.values(), *([network.gradients] if network.optimizer is optimizer.state else [])]
    for name, arrays, remedy in (("network", [network.parameters], "set sound ones, or make a new network"),
                                 ("optimizer", remembered, "make a new optimiser")):  # fmt: skip
        if not all(bool(network.xp.isfinite(array).all()) for array in arrays):
            what = "parameters" if name == "network" else "momentum"
            raise ArgumentError(
                f"{name} must have finite {what}, got NaN or infinity, as a divergence leaves: {remedy}"
            )
    if validation is None:
        return
    check_kind("validation", validation, Dataset)
    if validation.labels is None or validation.n_in != network.n_in or validation.backend.xp is not network.xp:
        raise ArgumentError(
            f"validation must have labels, {network.n_in} inputs and be on {network.backend.name}, got {validation}"
        )
    check_classes(validation.classes, network.n_out)


def check_alive(network: Network, data: Dataset) -> None:
    """Raise Diverged if the network gives the same logits for nearly every input, as when its units have died."""
    on_host, x = network.backend.to_host, data.inputs[:: -(-len(data) // BLOCK)]
    z = on_host(network.predict(x))  # (..., M, N)
    if len(x) < 2 or _share_alike(on_host(x).reshape(len(x), -1)) > 0.5:
        return
    alike = np.ravel(_share_alike(z))  # (replicas,)
    if (alike > 0.9).any():
        replica = f", replica {int(alike.argmax())}," if network.replica_shape else ""
        raise Diverged(
            f"training ended with a network{replica} that gives the same logits for {alike.max():.0%} of its inputs: "
            "its units have died; try a lower learning rate, or a longer warm-up"
        )


def _share_alike(rows: np.ndarray) -> np.ndarray:
    """Return the share (...) of rows (..., M, N) that are their median row, to rounding."""
    median = np.median(rows, axis=-2, keepdims=True)
    rounding = (
        4 * np.finfo(rows.dtype).eps * np.abs(rows).max(axis=(-2, -1), keepdims=True) if rows.dtype.kind == "f" else 0
    )
    share: np.ndarray = (np.abs(rows - median) <= rounding).all(axis=-1).mean(axis=-1)
    return share


@dataclass(frozen=True)
class Cost:
    """Hold parameters and bytes of a replica, the median time for one input in µs, and inputs per second in batches."""

    parameters: int
    bytes: int
    latency_us: float
    per_second: float


def prediction_cost(network: Network, batch_size: int = 1000, seconds: float = 0.5) -> Cost:
    """Measure `predict` for at least `seconds` on one input and as long on a batch, results on the host each time."""
    check_kind("network", network, Network)
    batch_size, seconds = (
        check_count("batch_size", batch_size, at_most=10**6),
        check_number("seconds", seconds, at_least=0),
    )
    pixels = np.arange(batch_size * network.n_in) % 251  # the time does not depend on the values
    x = network.backend.asarray(pixels.reshape(batch_size, network.n_in).astype(np.uint8))
    one, many = (_median_seconds(network, rows, seconds) for rows in (x[:1], x))
    size = network.size
    return Cost(size, size * network.dtype.itemsize, 1e6 * one, network.replicas * batch_size / many)


def _median_seconds(network: Network, x: np.ndarray, seconds: float) -> float:
    times: list[float] = []
    network.backend.to_host(network.predict(x))  # buffers and kernels are made
    while sum(times) < seconds or len(times) < 5:
        start = time.perf_counter()
        network.backend.to_host(network.predict(x))
        times.append(time.perf_counter() - start)
    return float(np.median(times))
