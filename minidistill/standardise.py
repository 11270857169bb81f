"""A first layer that brings inputs to mean 0 and variance 1: its numbers belong to the data, and nothing is learned."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .checks import ArgumentError, Array, as_array
from .layers import Dense, Dropout, Layer

BLOCK = 2**18  # numbers that `of` reads at a time


class Standardise(Layer):
    """Compute y = (x - mean) scale, with constants mean and scale (n_in,), such as those of the training set.

    So a network takes raw inputs wherever it goes, and its statistics go with it. scale may be one number for all.
    Raises ArgumentError unless mean is a vector of finite numbers, and scale one of its length.
    """

    n_in: int
    n_out: int
    reads_x = reads_y = False

    def __init__(self, mean: Any, scale: Any = 1.0) -> None:
        self.mean, self.scale = (
            np.array(as_array(name, one), np.float64) for name, one in (("mean", mean), ("scale", scale))
        )
        if self.scale.ndim == 0 and self.mean.ndim == 1:
            self.scale = np.full(self.mean.size, self.scale)
        for name, one in (("mean", self.mean), ("scale", self.scale)):
            if one.ndim != 1 or one.size == 0 or not np.isfinite(one).all():
                raise ArgumentError(f"{name} must be a vector of finite numbers, got shape {one.shape}")
        if self.mean.shape != self.scale.shape:
            raise ArgumentError(f"scale must have the length of mean, {self.mean.size}, got {self.scale.size}")
        self.n_in = self.n_out = self.mean.size

    @classmethod
    def of(cls, inputs: Any, to_host: Callable[[Array], np.ndarray] = np.asarray) -> "Standardise":
        """Return the layer for inputs (N, ...); a number that never changes keeps its scale.

        uint8 pixels are taken as batches take them, in [0, 1]. The rows are read twice, block by block.
        """
        inputs = inputs if hasattr(inputs, "shape") else np.asarray(inputs)
        N, width = len(inputs), int(np.prod(inputs.shape[1:]))
        unit, rows = 255.0 if inputs.dtype == np.uint8 else 1.0, max(1, BLOCK // width)

        def blocks() -> Iterator[np.ndarray]:
            return (to_host(inputs[i : i + rows]).reshape(-1, width) / unit for i in range(0, N, rows))

        with np.errstate(over="ignore"):
            mean: Any = sum(x.sum(axis=0, dtype=np.float64) for x in blocks()) / N
            deviation = np.sqrt(sum(((x - mean) ** 2).sum(axis=0) for x in blocks()) / N)
        if not np.isfinite(deviation).all():
            raise ArgumentError("inputs must have finite squares, got numbers beyond 1e150")
        return cls(mean, 1 / np.where(deviation > 1e-6 * max(1e-30, deviation.max()), deviation, 1))

    def make_scratch(self, shape: tuple[int, ...]) -> Any:
        """Bring the constants to the device."""
        return tuple(self.backend.asarray(one, dtype=self.dtype) for one in (self.mean, self.scale))

    def forward(self, x: Array, out: Array, step: int | None) -> Array:
        mean, scale = self.scratch
        self.xp.copyto(out, x)  # which may be one batch for all replicas
        self.xp.subtract(out, mean, out=out)
        return self.xp.multiply(out, scale, out=out)

    def backward(self, dy: Array, out: Array | None, momentum: float = 0.0) -> Array | None:
        """Compute dx = dy scale: y depends on x alone, number by number, with the slope `scale`."""
        return None if out is None else self.xp.multiply(dy, self.scratch[1], out=out)


def fold(network: Any) -> Any:
    """Return what `Network.folded` promises: (x - mean) scale W + b = x (scale W) + (b - (mean scale) W).

    A Dropout between the two layers goes as well: it does nothing in prediction.
    """
    first, *rest = [layer for layer in network.layers if not isinstance(layer, Dropout)]
    if not isinstance(first, Standardise) or not rest or not isinstance(rest[0], Dense):
        raise ArgumentError(f"network must begin with Standardise and Dense to be folded, got {network}")
    folded = type(network)([layer.unbound() for layer in rest], network.seeds, network.dtype, network.backend)
    for mine, its in zip(folded.layers, rest, strict=True):
        for name in its.parameters():
            setattr(mine, name, getattr(its, name))
    xp, W = network.xp, rest[0].W.astype(np.float64)  # (..., n_in, n_out)
    mean, scale = (network.backend.asarray(one) for one in (first.mean, first.scale))
    folded.layers[0].W = scale[:, None] * W
    folded.layers[0].b = rest[0].b - xp.matmul((mean * scale)[None, :], W)
    folded.steps, folded.epochs, folded.labels = network.steps, network.epochs, network.labels
    return folded
