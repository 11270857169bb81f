"""A network: a stack of layers. Their parameters are views into one flat vector, their gradients into a second.

With a list of R seeds it is R networks, replicas on a leading axis, that train as one, each with its own weights,
shuffles and masks. A parameter of all replicas is one contiguous block, so that a batched product needs no copy.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from . import describe, random
from .backend import Backend, as_backend
from .buffers import make_buffers
from .checks import (
    ArgumentError,
    Array,
    check_dtype,
    check_inputs,
    check_items,
    check_layers,
    check_number,
    check_rows,
    check_seeds,
    check_widths,
)
from .copies import kept
from .fused import DenseReLU
from .layers import Dense, Dropout, Layer, Parameter
from .standardise import Standardise
from .storage import Storable

BLOCK = 1000  # rows that predict takes at a time


class Network(Storable):
    """Stack `layers`, whose sizes fit, and give them parameters.

    seeds: an int in [0, 2**32), or a list of R of them for R replicas; it determines the first weights, and in training
    the shuffles, jitter and masks. `parameters` and `gradients` (for SGD its velocity) are the flat vectors. Raises
    ArgumentError for layers that do not fit, or that belong to another network.
    """

    __repr__ = describe.network

    def __init__(
        self,
        layers: Sequence[Layer],
        seeds: int | Sequence[int] = 0,
        dtype: Any = np.float32,
        backend: Backend | str | None = None,
    ) -> None:
        self.layers = check_layers(layers, Layer)
        self.backend = as_backend(backend)
        self.xp = self.backend.xp
        self.dtype = check_dtype("dtype", dtype)
        self.seeds = check_seeds(seeds)
        self.replica_shape = () if isinstance(self.seeds, int) else (len(self.seeds),)  # the replica axis, or none
        self.replicas = int(np.prod(self.replica_shape))  # 1 without the axis
        self.n_in, self.n_out = check_widths(self.layers)
        self.size = sum(int(np.prod(parameter.shape)) for _, _, parameter in self.named_parameters())  # per replica
        self.parameters = self.xp.zeros(self.replicas * self.size, dtype=self.dtype)
        self.gradients = self.xp.zeros(self.replicas * self.size, dtype=self.dtype)
        self._placed = frozenset({"parameters", "gradients"})  # assigning to them now writes into them: copies.py
        self._bind()
        self._buffers: dict[int, Any] = {}  # by batch size: full and last batches, in training and out of it
        self.batch_size = 0
        self.steps = self.epochs = 0  # of training so far; they number the masks, the shuffles and the jitter
        self.optimizer: Any = None  # the state of the one that stepped last; the gradients may hold its momentum
        self.awaits_backward = False  # the training loop asks

    _build = __init__  # for copies of derived classes too

    @classmethod
    def mlp(
        cls, sizes: Sequence[int], *, input_dropout: float = 0.0, dropout: float = 0.0, mean: Any = None,
        weight_scale: float = 1.0, **kwargs: Any,
    ) -> "Network":  # fmt: skip
        """Stack hidden layers of these sizes and a linear output, with dropout on the inputs and on every hidden unit.

        sizes: of the inputs, the hidden layers if any, the classes. mean: (n_in,), taken from every input by a first
        layer that learns nothing; None: nothing is. weight_scale > 0 times the first weights: from small ones a network
        has to learn its features. kwargs: seeds, dtype and backend.
        """
        sizes = check_items("sizes", sizes, int, at_least=2)
        layers: list[Layer] = [] if mean is None else [Standardise(mean)]
        layers += [Dropout(input_dropout)] if input_dropout else []
        layers += [DenseReLU(*widths, dropout) for widths in pairwise(sizes[:-1])]  # Dense, ReLU, Dropout: fused.py
        network = cls([*layers, Dense(sizes[-2], sizes[-1])], **kwargs)
        scale = check_number("weight_scale", weight_scale, above=0)
        for W in network.weights():
            W *= scale
        return network

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Return the logits z (..., B, n_out) of inputs x on the device, in a buffer that is reused.

        x: (B, n_in), or with replicas (R, B, n_in) for rows of their own; it is not modified. `step` numbers the
        training step and so chooses the dropout masks; None means no dropout.
        """
        check_rows("x", x, self)
        if x.shape[-2] != self.batch_size:
            self._use_buffers(x.shape[-2])
        self.awaits_backward = True
        for layer, y in zip(self.layers, self._activations, strict=True):
            x = layer.forward(x, y, step)
        return x

    def backward(self, dz: Array, momentum: float = 0.0) -> None:
        """Compute the gradients of the last batch from its dz = dC/dz, which may be overwritten.

        The vector `gradients` becomes momentum times what it was, plus the new ones.
        """
        check_rows("dz", dz, self)
        self.awaits_backward = False
        self.steps += 1
        dy: Array | None = dz
        for layer, dx in zip(reversed(self.layers), reversed(self._input_gradients), strict=True):
            if dy is not None:
                dy = layer.backward(dy, dx, momentum)
                if (dy is None) != (dx is None):
                    raise ArgumentError(f"{type(layer).__name__}.backward must return dx, got {type(dy).__name__}")

    def predict(self, x: Array) -> Array:
        """Return the logits (..., M, n_out), on the device, of all rows of x (M, n_in) or images of n_in pixels.

        x: floats, or uint8 pixels, which are scaled to [0, 1]; on the device or not.
        """
        x = self.backend.asarray(check_inputs("x", x))
        if x[0].size != self.n_in:
            raise ArgumentError(f"x must have shape (rows, {self.n_in}), or images of so many pixels, got {x.shape}")
        x = x.reshape(len(x), -1)
        z, here = self.xp.empty((*self.replica_shape, len(x), self.n_out), dtype=self.dtype), self._in_this_thread()
        scaled = self.xp.empty((min(BLOCK, len(x)), self.n_in), dtype=self.dtype)
        for start in range(0, len(x), BLOCK):
            block = x[start : start + BLOCK]
            block = self.backend.to_unit_interval(block, scaled[: len(block)])
            z[..., start : start + BLOCK, :] = here.forward(block)
        return z

    def weights(self) -> Iterator[Array]:
        """Yield the weight matrices (..., n_in, n_out), a column for each unit, without biases and the like."""
        return (getattr(layer, name) for layer, name, parameter in self.named_parameters() if parameter.incoming)

    def named_parameters(self) -> Iterator[tuple[Layer, str, Parameter]]:
        """Yield (layer, name, description) of every parameter, in the order of the flat vector."""
        return ((layer, name, parameter) for layer in self.layers for name, parameter in layer.parameters().items())

    def _bind(self) -> None:
        """Give every layer the random key, and its parameters views into the flat vectors and first values."""
        key = random.seed_key(self.seeds)  # on the host: the first weights are the same bits on every backend
        device_key = random.seed_key(self.seeds, self.backend.asarray)
        start = 0
        for index, layer in enumerate(self.layers):
            arrays: dict[str, Array] = {}
            drawn = 0  # numbers drawn so far: each parameter of a layer gets its own
            for name, parameter in layer.parameters().items():
                n = int(np.prod(parameter.shape))
                stop = start + self.replicas * n
                shape = (*self.replica_shape, *parameter.shape)
                arrays[name], arrays[f"d{name}"] = (
                    flat[start:stop].reshape(shape) for flat in (self.parameters, self.gradients)
                )
                first: Any = parameter.value
                if parameter.bound:
                    counters = np.arange(drawn, drawn + n, dtype=np.uint32).reshape(parameter.shape)
                    u = random.uniform(key, random.purpose_key(random.INIT, index), counters)  # (..., *shape)
                    first = self.backend.asarray(first + parameter.bound * (2 * u - 1), dtype=self.dtype)
                arrays[name][...] = first
                start, drawn = stop, drawn + n
            layer.bind(self.backend, self.dtype, index, device_key, arrays)

    def _use_buffers(self, batch_size: int) -> None:
        """Point the network and its layers to the buffers for batches of this size."""
        buffers = kept(self._buffers, batch_size, lambda B: make_buffers(self, B))
        self._activations, self._input_gradients, scratches = buffers
        for layer, scratch in zip(self.layers, scratches, strict=True):
            layer.scratch = scratch
        self.batch_size = batch_size
