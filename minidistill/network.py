"""A network: a stack of layers whose parameters are views into one flat vector, and whose gradients into another.

With a list of R seeds it is R networks, stacked on a leading axis, that train as one. The vector holds each W and b
of all replicas in one contiguous block, layer after layer, so that a batched matrix product needs no copy.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from itertools import pairwise
from typing import Any

import numpy as np

from . import random
from .backend import Backend, as_backend
from .checks import ArgumentError, Array, check_count, check_inputs
from .layers import Dense, Dropout, Hidden, Layer, recall

BLOCK = 1000  # rows that predict takes at a time


class Network:
    """layers: a stack whose sizes fit; seeds: an int (one network) or a list of R ints (R replicas).

    Weights are He-uniform, W ~ U(-a, a) with a = sqrt(6/n_in), variance 2/n_in (He et al. 2015, Eq. 10); biases are 0.
    `parameters` and `gradients` are the flat vectors.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        seeds: int | Sequence[int] = 0,
        dtype: Any = np.float32,
        backend: Backend | str | None = None,
    ) -> None:
        self.layers = list(layers)
        if len(set(map(id, self.layers))) < len(self.layers):
            raise ArgumentError("layers must be different objects, got one of them twice")
        self.backend = as_backend(backend)
        self.xp = self.backend.xp
        self.dtype = np.dtype(dtype)
        if self.dtype.kind not in "fc":
            raise ArgumentError(f"dtype must be a floating-point type, got {self.dtype}")
        self.seeds = _check_seed(seeds) if np.ndim(seeds) == 0 else [_check_seed(seed) for seed in seeds]  # type: ignore[union-attr]  # ndim
        self.lead = () if isinstance(self.seeds, int) else (len(self.seeds),)  # the replica axis, or none
        if self.lead == (0,):
            raise ArgumentError("seeds must name at least one replica, got an empty list")
        self.n_in, self.n_out = self._sizes()
        self.replicas = self.lead[0] if self.lead else 1
        size = self.replicas * sum(n * m for layer in self.layers for n, m in layer.shapes)
        self.parameters = self.xp.zeros(size, dtype=self.dtype)
        self.gradients = self.xp.zeros(size, dtype=self.dtype)
        self._bind()
        self._batch_size = 0
        self._buffers: dict[Any, Any] = {}

    @classmethod
    def mlp(cls, sizes: Sequence[int], *, input_dropout: float = 0.0, dropout: float = 0.0, **kwargs: Any) -> "Network":
        """Hidden layers of these sizes and a linear output, with dropout on the inputs and on every hidden unit."""
        sizes = list(sizes)
        if len(sizes) < 2:
            raise ArgumentError(f"sizes must hold at least the number of inputs and of classes, got {list(sizes)}")
        layers: list[Layer] = [Dropout(input_dropout)] if input_dropout else []
        layers += [Hidden(n, m, dropout) for n, m in pairwise(sizes[:-1])]
        return cls([*layers, Dense(sizes[-2], sizes[-1])], **kwargs)

    @property
    def size(self) -> int:
        """Parameters of one replica."""
        return int(self.parameters.size) // self.replicas

    def forward(self, x: Array, step: int | None = None) -> Array:
        """Logits z (..., B, n_out) of inputs x (..., B, n_in) on the network's device, in a buffer that is reused.

        `step` numbers the training step and so chooses the dropout masks; None means no dropout. x is not modified.
        """
        if x.shape[-2] != self._batch_size:
            self._use_buffers(x.shape[-2])
        for layer, y in zip(self.layers, self._activations, strict=True):
            x = layer.forward(x, y, step)
        return x

    def backward(self, dz: Array, carry: float = 0.0) -> None:
        """gradients = carry gradients + those of the batch that forward saw last, from its dC/dz, which is used up.

        A gradient that carries m of its past is momentum, and costs nothing beyond the matrix product.
        """
        dy: Array | None = dz
        for layer, dx in zip(reversed(self.layers), reversed(self._input_gradients), strict=True):
            if dy is not None:
                dy = layer.backward(dy, dx, carry)

    def predict(self, x: Array) -> Array:
        """Logits (..., M, n_out), on the device, of all rows of x (M, n_in): floats, or uint8 pixels scaled to [0, 1].

        A Python list or a NumPy array is moved to the device first.
        """
        x = self.backend.asarray(check_inputs("x", x))
        if x[0].size != self.n_in:
            raise ArgumentError(f"x must have shape (rows, {self.n_in}), or images of so many pixels, got {x.shape}")
        x = x.reshape(len(x), -1)
        z = self.xp.empty((*self.lead, len(x), self.n_out), dtype=self.dtype)
        scaled = self.xp.empty((min(BLOCK, len(x)), self.n_in), dtype=self.dtype)
        for start in range(0, len(x), BLOCK):
            block = x[start : start + BLOCK]
            block = self.backend.to_unit_interval(block, scaled[: len(block)])
            z[..., start : start + BLOCK, :] = self.forward(block)
        return z

    def replica(self, r: int) -> "Network":
        """A copy of replica r as a network of its own; of the network itself if it has no replicas."""
        seed = self.seeds if isinstance(self.seeds, int) else self.seeds[r]
        alone = Network([copy(layer) for layer in self.layers], seed, self.dtype, self.backend)
        for theirs, ours in zip(self.layers, alone.layers, strict=True):
            if isinstance(theirs, Dense) and isinstance(ours, Dense):
                ours.W[...] = theirs.W[r] if self.lead else theirs.W
                ours.b[...] = theirs.b[r] if self.lead else theirs.b
        return alone

    def weights(self) -> Iterator[Array]:
        """The weight matrices (..., n_in, n_out), without the biases."""
        return (layer.W for layer in self.layers if isinstance(layer, Dense))

    def _sizes(self) -> tuple[int, int]:
        """(n_in, n_out) of the stack, after checking that every layer takes what the one before it gives."""
        widths = [(layer.n_in, layer.n_out) for layer in self.layers if layer.n_in is not None]
        if not widths:
            raise ArgumentError(f"layers must contain at least one Dense or Hidden layer, got {self.layers}")
        for (_, n_out), (n_in, _) in pairwise(widths):
            if n_out != n_in:
                raise ArgumentError(f"layers must fit: one gives {n_out} units and the next takes {n_in}")
        return widths[0][0], widths[-1][1]  # type: ignore[return-value]  # a layer with n_in has n_out

    def _bind(self) -> None:
        """Give every layer its views, its key and its first weights."""
        key = random.seed_key(self.seeds)  # on the host: the first weights are the same bits on every backend
        device_key = random.seed_key(self.seeds, self.backend.asarray)
        start = 0
        for index, layer in enumerate(self.layers):
            layer.bind(self.backend, index, device_key)
            if isinstance(layer, Dense):
                views = []
                for shape in layer.shapes:
                    stop = start + self.replicas * shape[0] * shape[1]
                    views.append(
                        [flat[start:stop].reshape(*self.lead, *shape) for flat in (self.parameters, self.gradients)]
                    )
                    start = stop
                (W, dW), (b, db) = views
                layer.set_parameters(W, b, dW, db)
                n_in, n_out = layer.shapes[0]
                counters = np.arange(n_in * n_out, dtype=np.uint32).reshape(n_in, n_out)
                u = random.uniform(key, random.stream_key(random.INIT, index), counters)  # (..., n_in, n_out)
                W[...] = self.backend.asarray((2 * u - 1) * np.sqrt(6 / n_in), dtype=self.dtype)

    def _use_buffers(self, batch_size: int) -> None:
        """Point the network and its layers to the buffers for batches of this size."""
        self._batch_size = batch_size
        self._activations, self._input_gradients = recall(
            self._buffers, batch_size, lambda: self._make_buffers(batch_size)
        )
        width = self.n_in
        for layer in self.layers:
            layer.prepare((*self.lead, batch_size, width))
            width = layer.n_out or width

    def _make_buffers(self, batch_size: int) -> tuple[list[Array], list[Array | None]]:
        """Each layer's y, and each layer's dx where somebody reads it.

        Nobody reads the dx of the first layer with parameters. ReLU and dropout work in place, except on the first
        layer's input, which belongs to the caller.
        """
        activations: list[Array] = []
        input_gradients: list[Array | None] = []
        width, needed = self.n_in, False
        for layer in self.layers:
            shape = (*self.lead, batch_size, width)  # of x
            in_place = layer.n_out is None and bool(activations)
            width = layer.n_out or width
            y = activations[-1] if in_place else self.xp.empty((*shape[:-1], width), dtype=self.dtype)
            activations.append(y)
            input_gradients.append(self.xp.empty(shape, dtype=self.dtype) if needed else None)
            needed = needed or bool(layer.shapes)
        return activations, input_gradients


def _check_seed(value: Any) -> int:
    seed: int = check_count("seeds", value, at_least=0)
    if seed >= 2**32:
        raise ArgumentError(f"seeds must be < 2**32, got {seed}")
    return seed
