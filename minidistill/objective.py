"""The objective of a training: the balanced objective of soft and hard targets, or a loss of your own.

The balanced objective runs as one fused operation of the backend; a loss of your own is called as it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .batches import Batch
from .checks import (
    ArgumentError,
    Array,
    as_array,
    check_classes,
    check_function,
    check_number,
    check_temperature,
    trusting_values,
)
from .datasets import Dataset, TransferSet
from .network import Network

LossFunction = Callable[[Array, Array | None, Array | None], tuple[Array, Array]]  # (z, v, y) -> (value, dz)
OnBatch = Callable[[Array, Batch, Array, Array], None]  # (z, batch, loss, dz), and writes the last two


@dataclass(frozen=True)
class Objective:
    """Minimise C = α T² KL(p || q) + (1 - α) cross-entropy(z, y), the balanced objective.

    alpha: α in [0, 1], 1 for soft targets alone and 0 for hard labels alone. temperature: T > 0, or a sequence with one
    T for each replica; unread at α = 0.
    """

    temperature: float | Sequence[float] = 1.0
    alpha: float | None = None

    def __post_init__(self) -> None:
        array = isinstance(self.temperature, np.ndarray) and self.temperature.ndim > 0
        several = isinstance(self.temperature, (list, tuple)) or array
        for T in self.temperature if several else [self.temperature]:  # type: ignore[union-attr]  # several
            check_number("temperature", T, above=0)
        if self.alpha is None:
            raise ArgumentError("alpha must be given, 1 for soft targets alone and 0 for hard labels alone, got None")
        check_number("alpha", self.alpha, at_least=0, at_most=1)

    def on(self, network: Network, data: Dataset) -> tuple[OnBatch, Any]:
        """Return the function of a batch for this network, and the loss at chance, a number or one for each replica.

        Raises ArgumentError if the data lack what α asks for.
        """
        assert self.alpha is not None
        if self.alpha > 0 and not isinstance(data, TransferSet):
            raise ArgumentError(f"alpha must be 0 without a teacher's logits, got {self.alpha}: train on a TransferSet")
        if self.alpha < 1 and data.labels is None:
            raise ArgumentError(f"alpha must be 1 for a transfer set without labels, got {self.alpha}")
        T, alpha, backend = self._temperature(network) if self.alpha else 1.0, self.alpha, network.backend

        def balanced(z: Array, batch: Batch, loss: Array, dz: Array) -> None:
            backend.objective(z, batch.v, batch.y, T, alpha, loss, dz)

        return balanced, np.log(network.n_out) * (alpha * np.ravel(self.temperature) ** 2 + 1 - alpha)

    def _temperature(self, network: Network) -> Any:
        """Return T as a Python float, or as an array (R, 1, 1)."""
        if np.ndim(self.temperature) == 0:
            return float(check_temperature(self.temperature, network.dtype))
        T = np.asarray(self.temperature, dtype=network.dtype)
        if T.shape != network.replica_shape:
            raise ArgumentError(
                f"temperature must be one number or one for each replica, {network.replica_shape}, got shape {T.shape}"
            )
        return network.backend.asarray(check_temperature(T[:, None, None], network.dtype))


def on_batches(objective: Objective | LossFunction, network: Network, data: Dataset) -> tuple[OnBatch, Any]:
    """Return the objective as a function of a batch, and its value at chance, or raise ArgumentError."""
    if isinstance(data, TransferSet) and data.classes != network.n_out:
        raise ArgumentError(
            f"network must give a logit for each of the teacher's {data.classes} classes, got {network.n_out}"
        )
    check_classes(data.classes, network.n_out)
    if isinstance(objective, Objective):
        return objective.on(network, data)
    loss_function = objective
    check_function("objective", objective, ("z", "v", "y"), "as in lambda z, v, y: reverse_kl(z, v, 4.0)")

    def own(z: Array, batch: Batch, loss: Array, dz: Array) -> None:
        with trusting_values():  # the data were checked at the door, and a loss that is not finite shows in the history
            answer = loss_function(z, batch.v, batch.y)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise ArgumentError(f"objective must return (value, dz), got {type(answer).__name__}")
        value, gradient = (
            as_array(f"objective's {part}", array) for part, array in zip(("value", "dz"), answer, strict=True)
        )
        if value.shape != loss.shape or gradient.shape != z.shape:
            raise ArgumentError(
                f"objective must return a value {loss.shape} and dz {z.shape}, "
                f"got shapes {value.shape} and {gradient.shape}"
            )
        loss[...] = value
        network.xp.copyto(dz, gradient)

    return own, np.inf  # nothing is known of its size: only what is not finite is a divergence
