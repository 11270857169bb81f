"""Hypothesis strategies for the quantities of the paper: shapes, logits z and v, labels y, temperatures T, and the ways
in which an array can lie in memory.
"""

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minidistill.checks import xp_of

law = settings(max_examples=25, deadline=None)  # a theorem: tried anew on every run, on every backend
few = settings(max_examples=20, deadline=None)  # a theorem whose every example trains a network

temperatures = st.floats(-2, 4).map(lambda exponent: 10.0**exponent)  # log-uniform
alphas = st.floats(0.01, 0.99)
dtypes = st.sampled_from([np.float32, np.float64])
seeds = st.integers(0, 2**32 - 1)
replicas = st.sampled_from([(), (1,), (2,), (3,)])


def shapes(classes: int = 1, batch: int = 1, lead: Any = replicas) -> Any:
    """(..., B, N) with B >= batch and N >= classes, replicas leading."""
    last = st.tuples(st.integers(batch, batch + 3), st.integers(classes, classes + 5))
    return st.tuples(lead, last).map(lambda pair: (*pair[0], *pair[1]))


@st.composite
def logits(draw: Any, shape: Any, dtype: Any = np.float64, scale: float | None = None) -> np.ndarray:
    """Numbers of the order of `scale` (drawn from 0.1 to 1e4 if None): scattered like a network's logits, or hostile.

    The hostile ones are Hypothesis's own: zeros, ties, tiny beside huge, all equal. None is beyond +-1e4.
    """
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    scale = draw(st.sampled_from([0.1, 1.0, 10.0, 1e4])) if scale is None else scale
    if draw(st.integers(0, 3)):
        z = scale * np.random.default_rng(draw(seeds)).uniform(-1, 1, shape)
    else:
        z = scale * draw(hnp.arrays(np.float64, shape, elements=st.floats(-1, 1)))
    return z.astype(dtype)


@st.composite
def labels(draw: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A class y (..., B) for every row of logits of this shape (..., B, N)."""
    return np.random.default_rng(draw(seeds)).integers(0, shape[-1], shape[:-1])


@st.composite
def batches(draw: Any, scale: float | None = None, dtype: Any = np.float64, **sizes: Any) -> tuple[Any, Any, Any]:
    """Student logits z and teacher logits v (..., B, N), and labels y (..., B)."""
    shape = draw(shapes(**sizes))
    return draw(logits(shape, dtype, scale)), draw(logits(shape, dtype, scale)), draw(labels(shape))


def contiguous(a: Any) -> Any:
    return a.copy()


def read_only(a: Any) -> Any:
    a = a.copy()
    if isinstance(a, np.ndarray):  # a device's arrays have no such flag
        a.flags.writeable = False
    return a


def transposed(a: Any) -> Any:
    return xp_of(a).ascontiguousarray(a.swapaxes(0, -1)).swapaxes(0, -1)


def backwards(a: Any) -> Any:
    return xp_of(a).ascontiguousarray(a[..., ::-1])[..., ::-1]


def strided(a: Any) -> Any:
    return xp_of(a).stack([a, a], axis=-1)[..., 0]


layouts = st.sampled_from([contiguous, read_only, transposed, backwards, strided])  # equal arrays, other memory
