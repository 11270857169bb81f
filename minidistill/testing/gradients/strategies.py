"""Hypothesis strategies for the quantities of a distillation loss; a name ends in the letters of its arrays' shape.

B rows, N classes; leading axes are replicas. They make NumPy arrays, tame and hostile ones; `on(backend, ...)` moves
what a strategy makes to another backend, and `layouts` are functions to an equal array that lies otherwise in memory.
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


def shapes_BN(classes: int = 1, batch: int = 1, lead: Any = replicas) -> st.SearchStrategy[Shape]:
    """(..., B, N) with B >= batch and N >= classes, and a strategy's leading axes."""
    last = st.tuples(st.integers(batch, batch + 3), st.integers(classes, classes + 5))
    return st.tuples(lead, last).map(lambda pair: (*pair[0], *pair[1]))


def layer_shapes(largest: int = 5, lead: Any = replicas) -> st.SearchStrategy[tuple[Shape, int, int, int]]:
    """(leading axes, B, n_in, n_out) of a layer."""
    sizes = [st.integers(1, largest) for _ in range(3)]
    return st.tuples(lead, *sizes)


@st.composite
def logits_BN(draw: Any, shape: Any, dtype: Any = np.float64, scale: float | None = None) -> Any:
    """Numbers of the order of `scale` (drawn from 0.1 to 1e4 if None): scattered like a network's logits, or hostile.

    The hostile ones are Hypothesis's own: zeros, ties, tiny beside huge, all equal. None is beyond ±1e4. `shape` is a
    tuple or a strategy of them.
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
    """Rows that sum to 1: uniform, scattered, with exact zeros, or with an exact one and zeros beside it."""
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
    """A class y (..., B), int64, for every row of logits of this shape (..., B, N)."""
    return np.random.default_rng(draw(seeds)).integers(0, shape_BN[-1], shape_BN[:-1])


@st.composite
def batches_BN(draw: Any, /, scale: float | None = None, dtype: Any = np.float64, **sizes: Any) -> tuple[Any, Any, Any]:
    """Student logits z and teacher logits v (..., B, N), and labels y (..., B); `sizes` are those of shapes_BN."""
    shape = draw(shapes_BN(**sizes))
    return draw(logits_BN(shape, dtype, scale)), draw(logits_BN(shape, dtype, scale)), draw(labels_B(shape))


def on(backend: Backend, strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The strategy with its arrays, alone or in a tuple, on a backend's device."""

    def moved(made: Any) -> Any:
        if isinstance(made, tuple):
            return tuple(moved(one) for one in made)
        return backend.asarray(made) if isinstance(made, np.ndarray) else made

    return strategy.map(moved)


def contiguous(a: Array) -> Array:
    return a.copy()


def read_only(a: Array) -> Array:
    a = a.copy()
    if isinstance(a, np.ndarray):  # a device's arrays have no such flag
        a.flags.writeable = False
    return a


def transposed(a: Array) -> Array:
    return xp_of(a).ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1)


def backwards(a: Array) -> Array:
    return xp_of(a).ascontiguousarray(a[..., ::-1])[..., ::-1]


def strided(a: Array) -> Array:
    return xp_of(a).stack([a, a], axis=-1)[..., 0]


layouts = st.sampled_from([contiguous, read_only, transposed, backwards, strided])  # equal arrays, other memory
