"""An optimiser held to its textbook and to the contract of optim.Optimizer."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...backend import Backend
from ...layers import Dense
from ...network import Network
from ...optim import Optimizer

Textbook = Callable[[np.ndarray, Sequence[np.ndarray], Sequence[float]], np.ndarray]


class WrongOptimizer(AssertionError):
    """Say which part of the contract of an optimiser does not hold, or where it leaves its textbook."""


def check_optimizer(
    make: Callable[[], Optimizer],
    textbook: Textbook,
    *,
    backend: Backend | None = None,
    learning_rate: float = 0.05,
    steps: int = 6,
    tolerance: float = 1e-10,
    seed: int = 0,
) -> float:
    """Hold make() to textbook(w, gradients, learning_rates) -> the parameters after a step for each gradient, in NumPy.

    Tried, in float64: that a step moves the parameters; the steps, at one, two and three times learning_rate in turn;
    that nothing is kept of the gradient's buffer, which the next step overwrites; two replicas beside each alone.
    Returns the largest error, relative to the largest parameter. Raises WrongOptimizer.
    """
    found = []
    for seeds in ([seed, seed + 1], seed, seed + 1):
        first, gradients, rates, last = _descend(make(), backend, seeds, learning_rate, steps)
        wanted = textbook(first.copy(), [g.copy() for g in gradients], rates)
        error = float(np.abs(last - wanted).max() / np.abs(wanted).max())
        name = type(make()).__name__
        if np.array_equal(first, last):
            raise WrongOptimizer(
                f"{name} must change w in place, as `w -= ...` does: after {steps} steps it is as it was"
            )
        if not error <= tolerance:
            raise WrongOptimizer(
                f"{name} must take the steps of its textbook: after {steps} of them, with "
                f"{'two replicas' if isinstance(seeds, list) else 'one network'}, it is off by {error:.3g} of the "
                f"largest parameter, tolerated {tolerance:.3g}"
            )
        found.append(error)
    return max(found)


def _descend(
    optimizer: Optimizer, backend: Backend | None, seeds: Any, learning_rate: float, steps: int
) -> tuple[np.ndarray, list[np.ndarray], list[float], np.ndarray]:
    """Return the first parameters, the gradient and the rate of each step, and the last parameters."""
    network = Network([Dense(3, 4)], seeds, np.float64, backend)
    on, rng = network.backend, np.random.default_rng(seeds)
    first, gradients = on.to_host(network.parameters).copy(), []
    rates = [learning_rate * (1 + k % 3) for k in range(steps)]
    for rate in rates:
        x, dz = (rng.standard_normal((*network.replica_shape, 5, n)) for n in (3, 4))
        blocks = (x.swapaxes(-1, -2) @ dz, dz.sum(axis=-2))  # dW and db, each of all replicas
        gradients.append(np.concatenate([block.ravel() for block in blocks]))
        network.forward(on.asarray(x))
        optimizer.step(network, on.asarray(dz), rate)
    return first, gradients, rates, on.to_host(network.parameters).copy()
