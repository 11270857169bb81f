"""Hypothesis strategies for what a distillation loss is given: logits, probabilities, labels and temperatures.

A name ends in its arrays' shape: B rows and N classes, after leading axes of replicas. The arrays are NumPy's, some
ordinary and some hostile.
"""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ...backend import Backend
from ...checks import Array, xp_of

Shape = tuple[int, ...]
replicas = st.sampled_from([(), (1,), (2,), (3,)])  # leading axes: none, or one of R networks
temperatures = st.floats(-2, 4).map(lambda exponent: 10.0**exponent)  # log-uniform from 0.01 to 10,000
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)


def shapes_BN(classes: int = 1, batch: int = 1, leading: Any = replicas) -> st.SearchStrategy[Shape]:
    """Draw shapes (..., B, N): axes of `leading`, B from `batch` to batch + 3, and N from `classes` to classes + 5."""
    last = st.tuples(st.integers(batch, batch + 3), st.integers(classes, classes + 5))
    return st.tuples(leading, last).map(lambda pair: (*pair[0], *pair[1]))


def layer_shapes(largest: int = 5, leading: Any = replicas) -> st.SearchStrategy[tuple[Shape, int, int, int]]:
    """Draw (leading axes, B, n_in, n_out) of layers, each size from 1 to `largest`."""
    sizes = [st.integers(1, largest) for _ in range(3)]
    return st.tuples(leading, *sizes)


@st.composite
def logits_BN(draw: Any, shape: Any, dtype: Any = np.float64, scale: float | None = None) -> Any:
    """Draw logits (..., B, N) within ±scale: uniform, or hostile ones of Hypothesis, with zeros, ties and extremes.

    shape: a tuple, or a strategy of tuples. scale: drawn from 0.1, 1, 10 and 1e4 if it is None.
    """
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    scale = draw(st.sampled_from([0.1, 1.0, 10.0, 1e4])) if scale is None else scale
    if draw(st.integers(0, 3)):
        z = scale * np.random.default_rng(draw(seeds)).uniform(-1, 1, shape)
    else:
        z = scale * draw(hnp.arrays(np.float64, shape, elements=st.floats(-1, 1)))
    return z.astype(dtype)


@st.composite
def probabilities_BN(draw: Any, shape: Any, dtype: Any = np.float64) -> Any:
    """Draw probabilities (..., B, N), whose rows sum to 1: scattered, with exact zeros, one-hot, or uniform."""
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    rng = np.random.default_rng(draw(seeds))
    p = rng.dirichlet(np.full(shape[-1], draw(st.sampled_from([0.05, 1.0, 100.0]))), shape[:-1])
    kind = draw(st.sampled_from(["scattered", "zeros", "certain", "uniform"]))
    if kind == "zeros":
        p *= rng.random(shape) < 0.5
        p[..., 0] += p.sum(axis=-1) == 0
    elif kind == "certain":
        p = np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
    elif kind == "uniform":
        p = np.ones(shape)
    return (p / p.sum(axis=-1, keepdims=True)).astype(dtype)


@st.composite
def labels_B(draw: Any, shape_BN: Shape) -> np.ndarray:
    """Draw labels (..., B), int64 in 0..N-1, for logits of shape (..., B, N)."""
    return np.random.default_rng(draw(seeds)).integers(0, shape_BN[-1], shape_BN[:-1])


@st.composite
def batches_BN(draw: Any, /, scale: float | None = None, dtype: Any = np.float64, **sizes: Any) -> tuple[Any, Any, Any]:
    """Draw student logits z and teacher logits v (..., B, N), and labels y (..., B); `sizes` go to shapes_BN."""
    shape = draw(shapes_BN(**sizes))
    return draw(logits_BN(shape, dtype, scale)), draw(logits_BN(shape, dtype, scale)), draw(labels_B(shape))


def on(backend: Backend, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy whose arrays, alone or in tuples, are moved to a backend's device."""

    def moved(made: Any) -> Any:
        if isinstance(made, tuple):
            return tuple(moved(one) for one in made)
        return backend.asarray(made) if isinstance(made, np.ndarray) else made

    return strategy.map(moved)


def contiguous(a: Array) -> Array:
    """Copy an array into C order."""
    return a.copy()


def read_only(a: Array) -> Array:
    """Copy an array, and forbid writing to it."""
    a = a.copy()
    if isinstance(a, np.ndarray):  # a device's arrays have no such flag
        a.flags.writeable = False
    return a


def transposed(a: Array) -> Array:
    """Copy an array so that its first axis, not its last, is contiguous in memory."""
    return xp_of(a).ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1)


def backwards(a: Array) -> Array:
    """Copy an array so that its last axis has a negative stride."""
    return xp_of(a).ascontiguousarray(a[..., ::-1])[..., ::-1]


def strided(a: Array) -> Array:
    """Copy an array so that every second number in memory is its own."""
    return xp_of(a).stack([a, a], axis=-1)[..., 0]


layouts = st.sampled_from([contiguous, read_only, transposed, backwards, strided])  # equal arrays, other memory
