"""The fast form of a hidden layer: Dense, ReLU and Dropout of layers.py in one, a single kernel on a GPU."""

from typing import Any

from . import random
from .checks import Array
from .layers import Dense


class DenseReLU(Dense):
    """Compute y = dropout(max(x W + b, 0)); dropout is the rate, in [0, 255/256].

    tests/test_layers.py, test_dense_relu_is_dense_then_relu_then_dropout_forward_and_backward, holds it to the three.
    """

    reads_y = True

    def __init__(self, n_in: int, n_out: int, dropout: float = 0.0) -> None:
        super().__init__(n_in, n_out)
        self.threshold = random.keep_threshold(dropout)

    def make_scratch(self, shape: tuple[int, ...]) -> Any:
        of_y = (*shape[:-1], self.n_out)
        mask = random.KeepMask(self.xp, of_y) if self.threshold < 256 else None
        return mask, self.xp.empty(of_y, dtype=bool)

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.x, self.y = x, out
        threshold = 256 if step is None else self.threshold
        self.scale = 256 / threshold
        key = 0 if threshold == 256 or step is None else random.purpose_key(random.DROPOUT + self.index, step)
        mask, _ = self.scratch
        return self.backend.affine_relu_dropout(x, self.W, self.b, mask, self.seed, key, threshold, out)

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Multiply dy by 1/keep where y > 0, and by 0 elsewhere; then as in Dense.

        No mask is needed: y > 0 exactly where the unit was kept and its ReLU was open.
        """
        _, positive = self.scratch
        self.backend.relu_backward(dy, self.y, self.scale, positive)
        return super().backward(dy, out, momentum)
