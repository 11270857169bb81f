"""Layers: functions with or without parameters, forward by definition, backward by hand.

A layer maps x (..., B, n_in) to y (..., B, n_out). `backward` takes dC/dy, writes the gradients of the layer's own
parameters into dW and db, which are views into the network's flat gradient vector, and returns dC/dx. Leading axes are
replicas. What backward needs is named where forward keeps it. ReLU and dropout may work in place: `out` may be their
input. Left out: convolutions, and every activation but ReLU, whose gradient at exactly 0 is 0 here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from . import random
from .backend import Backend
from .checks import Array, check_count, check_number


def recall(made: dict[Any, Any], key: Any, make: Callable[[], Any]) -> Any:
    """made[key], made now if it is not there; the oldest of four is given up for it.

    A training needs buffers of up to four sizes: for its batches, an evaluation's, and the last and smaller of each.
    """
    if key not in made:
        if len(made) >= 4:
            made.pop(next(iter(made)))
        made[key] = make()
    return made[key]


class Layer:
    """The network calls `bind` once, `prepare` for each batch shape, then forward and backward in turn."""

    shapes: tuple[tuple[int, int], ...] = ()  # of the parameters
    n_in: int | None = None  # None: any, and n_out is the same
    n_out: int | None = None

    def bind(self, backend: Backend, index: int, seed: Any) -> None:
        """`index` in the stack and `seed` (see random.seed_key) key this layer's dropout."""
        self.backend = backend
        self.xp = backend.xp
        self.index = index
        self.seed = seed
        self.made: dict[Any, Any] = {}  # scratch by batch shape

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Make, or find again, what a batch x of this shape needs beyond the activations."""

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        """y, written into out. `step` is the number of the training step, or None outside training."""
        raise NotImplementedError

    def backward(self, dy: Array, out: Array | None, carry: float = 0.0) -> Array | None:
        """dx, written into out; without `out` nobody reads dx, and None is returned. dy may be used up.

        The parameters' gradients are added to carry times what dW and db held before.
        """
        raise NotImplementedError


class Dense(Layer):
    """y = x W + b, with W (..., n_in, n_out) and b (..., 1, n_out)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in = check_count("n_in", n_in)
        self.n_out = check_count("n_out", n_out)
        self.shapes = ((self.n_in, self.n_out), (1, self.n_out))

    def set_parameters(self, W: Array, b: Array, dW: Array, db: Array) -> None:
        """Views into the network's flat vectors."""
        self.W, self.b, self.dW, self.db = W, b, dW, db

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.ones = recall(self.made, shape, lambda: self._ones(shape))

    def _ones(self, shape: tuple[int, ...]) -> Array:
        """With them a sum over the batch is a product, and accumulates like one."""
        return self.xp.ones((*shape[:-2], 1, shape[-2]), dtype=self.W.dtype)  # (..., 1, B)

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.x = x
        return self.backend.affine(x, self.W, self.b, out=out)  # (..., B, n_out)

    def backward(self, dy: Array, out: Array | None, carry: float = 0.0) -> Array | None:
        """dW = xᵀ dy, db = Σ_B dy, dx = dy Wᵀ."""
        self.backend.accumulate(self.x.swapaxes(-1, -2), dy, out=self.dW, carry=carry)  # (..., n_in, n_out)
        self.backend.accumulate(self.ones, dy, out=self.db, carry=carry)  # (..., 1, n_out)
        return None if out is None else self.backend.matmul(dy, self.W.swapaxes(-1, -2), out=out)


class ReLU(Layer):
    """y = max(x, 0)."""

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.positive = recall(self.made, shape, lambda: self.xp.empty(shape, dtype=bool))

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.y = out
        return self.xp.maximum(x, 0, out=out)

    def backward(self, dy: Array, out: Array | None, carry: float = 0.0) -> Array | None:
        """dx = dy where y > 0. A dropout after this layer may have zeroed more of y, and there dy is 0 already."""
        if out is None:
            return None
        if out is not dy:
            self.xp.copyto(out, dy)
        return self.backend.relu_backward(out, self.y, 1.0, self.positive)


class Dropout(Layer):
    """In training, y = x/keep on a random share `keep` of the units and 0 on the others; else y = x ("inverted").

    keep is the multiple of 1/256 next to 1 - rate, and the scale uses the rate that is really applied.
    """

    def __init__(self, rate: float) -> None:
        self.threshold = keep_threshold(rate)
        self.keep = self.threshold / 256

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.mask = recall(self.made, shape, lambda: random.KeepMask(self.xp, shape))

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.active = step is not None and self.threshold < 256
        if step is None or not self.active:
            if out is not x:
                self.xp.copyto(out, x)
            return out
        stream = random.stream_key(random.DROPOUT + self.index, step)
        return self.backend.dropout(x, self.mask, self.seed, stream, self.threshold, out)

    def backward(self, dy: Array, out: Array | None, carry: float = 0.0) -> Array | None:
        """dx = dy mask/keep."""
        if out is None:
            return None
        if not self.active:
            if out is not dy:
                self.xp.copyto(out, dy)
            return out
        self.xp.multiply(dy, self.mask.keep, out=out)
        return self.xp.multiply(out, 1 / self.keep, out=out)


class Hidden(Dense):
    """Dense, ReLU and Dropout in one layer, which a GPU runs in one kernel after the matrix product.

    Backward needs no mask: y > 0 exactly where the unit was kept and its ReLU was open.
    """

    def __init__(self, n_in: int, n_out: int, dropout: float = 0.0) -> None:
        super().__init__(n_in, n_out)
        self.threshold = keep_threshold(dropout)

    def prepare(self, shape: tuple[int, ...]) -> None:
        self.ones, self.mask, self.positive = recall(self.made, shape, lambda: self._scratch(shape))

    def _scratch(self, shape: tuple[int, ...]) -> tuple[Array, random.KeepMask | None, Array]:
        of_y = (*shape[:-1], self.shapes[0][1])
        mask = random.KeepMask(self.xp, of_y) if self.threshold < 256 else None
        return self._ones(shape), mask, self.xp.empty(of_y, dtype=bool)

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.x, self.y = x, out
        threshold = 256 if step is None else self.threshold
        self.scale = 256 / threshold
        stream = 0 if threshold == 256 or step is None else random.stream_key(random.DROPOUT + self.index, step)
        return self.backend.hidden(x, self.W, self.b, self.mask, self.seed, stream, threshold, out)

    def backward(self, dy: Array, out: Array | None, carry: float = 0.0) -> Array | None:
        """dy becomes dC/d(x W + b) in place, then as in Dense."""
        self.backend.relu_backward(dy, self.y, self.scale, self.positive)
        return super().backward(dy, out, carry)


def keep_threshold(rate: float) -> int:
    """The number of byte values, of 256, on which a unit is kept at this dropout rate in [0, 1)."""
    rate = check_number("dropout rate", rate, at_least=0, at_most=255 / 256)
    return int(np.rint(256 * (1 - rate)))
