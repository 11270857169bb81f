"""Layers: functions with or without parameters, forward by definition, backward by hand.

A layer maps x (..., B, n_in) to y (..., B, n_out). `backward` takes dy = dC/dy, writes the gradients of the layer's own
parameters, and returns dx = dC/dx: the chain rule, one layer at a time. Leading axes are replicas, networks that train
side by side. Left out: convolutions, and every activation but ReLU, whose gradient at exactly 0 is 0 here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from . import describe, random
from .backend import Backend
from .checks import Array, check_count
from .copies import KeepsArrays


@dataclass(frozen=True)
class Parameter:
    """Describe a parameter of one replica: its shape, and its first values, uniform in value ± bound.

    incoming: each column holds the incoming weights of a unit, whose norm an optimiser may bound (max_norm).
    """

    shape: tuple[int, int]
    value: float = 0.0
    bound: float = 0.0
    incoming: bool = False


class Layer(KeepsArrays):
    """Define what a network asks of a layer. `testing.check_layer` holds a layer to it.

    A layer overrides `forward` and `backward`, and `parameters` and `make_scratch` where it needs them. In a network it
    has self.backend (backend/reference.py), xp (its array module), dtype, index (its number) and seed. Arrays may be
    complex, as in a test.

    To share buffers, a network must know what backward reads. reads_x = False: not its forward's x, so that `out` may
    be x itself. reads_y = False: not its y, which the next layer may overwrite.
    """

    n_in: int | None = None  # None: any number of units, and n_out is the same
    n_out: int | None = None
    reads_x = reads_y = True
    scratch: Any
    __repr__ = describe.call

    def parameters(self) -> dict[str, Parameter]:
        """Name the parameters. "W" will be self.W (..., *shape), and its gradient self.dW."""
        return {}

    def make_scratch(self, shape: tuple[int, ...]) -> Any:
        """Make the buffers that batches x of this shape need beside x and y; they are self.scratch in both passes."""

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        """Write y into out and return it. `step` numbers the training step; it is None outside of training."""
        raise NotImplementedError

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Write dx into out, another array than dy, and return it; None where out is None, as nobody reads dx.

        dy may be overwritten. A parameter's gradient becomes momentum times what it was, plus the new one (why:
        optim.SGD); at momentum 0 it is the new one, whatever stood there, even NaN.
        """
        raise NotImplementedError

    def bind(self, backend: Backend, dtype: Any, index: int, seed: Any, arrays: dict[str, Array]) -> None:
        """Become layer number `index` of a network, which calls this once, with views W, dW, ... of its flat vectors.

        `seed` (random.seed_key) and `index` key the dropout.
        """
        self._declared = tuple(vars(self))
        vars(self).update(arrays, _placed=frozenset(arrays))
        self.backend, self.xp, self.dtype, self.index, self.seed = backend, backend.xp, dtype, index, seed

    def unbound(self) -> "Layer":
        """Return a layer of the same kind and sizes that belongs to no network."""
        fresh = object.__new__(type(self))
        vars(fresh).update(self.__getstate__())
        return fresh

    def __getstate__(self) -> dict[str, Any]:
        # What __init__ gave it, as it is now: copies have no network.
        return {name: vars(self)[name] for name in vars(self).get("_declared", vars(self))}


class Dense(Layer):
    """Compute y = x W + b, with W (..., n_in, n_out) and b (..., 1, n_out).

    W starts uniform in ± sqrt(6/n_in), with variance 2/n_in, so that ReLU units keep the size of what passes through
    (He et al. 2015, Eq. 10); b at 0.
    """

    W: Array
    b: Array
    dW: Array
    db: Array
    n_in: int
    n_out: int
    reads_y = False

    def __init__(self, n_in: int, n_out: int) -> None:
        self.n_in = check_count("n_in", n_in)
        self.n_out = check_count("n_out", n_out)

    def parameters(self) -> dict[str, Parameter]:
        W = Parameter((self.n_in, self.n_out), bound=float(np.sqrt(6 / self.n_in)), incoming=True)
        return {"W": W, "b": Parameter((1, self.n_out))}

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.x = x
        return self.backend.affine(x, self.W, self.b, out=out)  # (..., B, n_out)

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Compute dW = xᵀ dy, db = Σ_B dy, dx = dy Wᵀ.

        For row k, y_kj = Σ_i x_ki W_ij + b_j. The weight W_ij reaches C through y_kj of every row, and ∂y_kj/∂W_ij =
        x_ki, so dW_ij = ∂C/∂W_ij = Σ_k x_ki dy_kj. For b_j, a 1 stands for x_ki. The input x_ki reaches C through every
        unit j of its row, and ∂y_kj/∂x_ki = W_ij, so dx_ki = Σ_j dy_kj W_ij.
        """
        # The textbook has dW = xᵀ dy. With momentum this is dW = momentum dW + xᵀ dy, which BLAS does in the one call.
        self.backend.accumulate(self.x.swapaxes(-1, -2), dy, out=self.dW, beta=momentum)  # (..., n_in, n_out)
        self.backend.accumulate_sum(dy, out=self.db, beta=momentum)  # (..., 1, n_out)
        return None if out is None else self.backend.matmul(dy, self.W.swapaxes(-1, -2), out=out)  # (..., B, n_in)


class ReLU(Layer):
    """Compute y = max(x, 0)."""

    reads_x = False

    def make_scratch(self, shape: tuple[int, ...]) -> Any:
        return self.xp.empty(shape, dtype=bool)

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.y = out
        return self.xp.maximum(x, 0, out=out)

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Compute dx = dy where y > 0, else 0: a unit's y depends on its own x alone, with slope 1 or 0."""
        if out is None:
            return None
        self.xp.copyto(out, dy)
        return self.backend.relu_backward(out, self.y, scale=1.0, positive=self.scratch)


class Dropout(Layer):
    """Compute y = x/keep on each unit with probability keep, else 0, in training; y = x outside of it.

    Dividing by keep leaves the mean of y at x, so that nothing need change outside of training ("inverted" dropout).
    keep is the multiple of 1/256 nearest to 1 - rate, with rate in [0, 255/256]: a random byte decides.
    """

    reads_x = reads_y = False

    def __init__(self, rate: float) -> None:
        self.threshold = random.keep_threshold(rate)
        self.keep = self.threshold / 256

    def make_scratch(self, shape: tuple[int, ...]) -> Any:
        return random.KeepMask(self.xp, shape)

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        self.active = step is not None and self.threshold < 256
        if step is None or not self.active:
            if out is not x:
                self.xp.copyto(out, x)
            return out
        key = random.purpose_key(random.DROPOUT + self.index, step)
        return self.backend.dropout(x, self.scratch, self.seed, key, self.threshold, out)

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Compute dx = dy mask/keep: y = x mask/keep is linear in x, and the mask is a constant."""
        if out is None:
            return None
        if not self.active:
            self.xp.copyto(out, dy)
            return out
        self.xp.multiply(dy, self.scratch.keep, out=out)
        return self.xp.multiply(out, 1 / self.keep, out=out)
