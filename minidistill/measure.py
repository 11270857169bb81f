"""What a network costs to deploy: bytes of parameters, time for one input, inputs per second in a large batch."""

import statistics
import time
from dataclasses import dataclass

import numpy as np

from .network import Network


@dataclass(frozen=True)
class Cost:
    """parameters and bytes of one replica; latency_us: median time for one input; per_second: inputs, in batches."""

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
