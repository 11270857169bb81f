"""What a network is worth, its errors on a data set, and what it costs to deploy: bytes, and time to predict."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from .checks import ArgumentError, Diverged, check_classes
from .datasets import Dataset
from .network import BLOCK, Network


def errors(network: Network, data: Dataset) -> int | list[int]:
    """Count the rows of `data` whose most probable class is not the label: an int, or a list with replicas.

    Raises ArgumentError if there are no labels, and Diverged if a logit is NaN or infinite: its row has no most
    probable class.
    """
    if data.labels is None:
        raise ArgumentError("data must have labels to count errors on, got a transfer set without")
    check_classes(data.classes, network.n_out)
    wrong: Any = 0
    unsound: Any = 0
    for start in range(0, len(data), BLOCK):
        z = network.predict(data.inputs[start : start + BLOCK])  # (..., M, N)
        unsound = unsound + (~network.xp.isfinite(z)).sum()
        wrong = wrong + (z.argmax(axis=-1) != data.labels[start : start + BLOCK]).sum(axis=-1)  # (...)
    if int(unsound):
        raise Diverged(f"network must give finite logits to count errors on, got {int(unsound)} that are not")
    counts: int | list[int] = network.backend.to_host(wrong).tolist()
    return counts


@dataclass(frozen=True)
class Cost:
    """Hold parameters and bytes of a replica, the median time for one input in µs, and inputs per second in batches."""

    parameters: int
    bytes: int
    latency_us: float
    per_second: float


def prediction_cost(network: Network, batch_size: int = 1000, seconds: float = 0.5) -> Cost:
    """Measure `predict` for at least `seconds` on one input and as long on a batch, results on the host each time."""
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
    return statistics.median(times)
