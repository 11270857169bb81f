"""Exercise 5: soft and hard targets in one loss, in balance at every T. Chapter: docs/lesson/5_T_squared.md.

Write balanced_gradient below. Then: .venv/bin/python -m pytest -x docs/exercises/5_T_squared.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidistill import distillation, softmax


def balanced_gradient(z, v, y, T, alpha):
    """Return the gradient (N,) by z of the balanced objective: α parts soft targets and 1 - α parts the label y.

    z, v: logits (N,) of student and teacher; y: a class; T > 0; alpha in [0, 1].
    """
    raise NotImplementedError("exercise 5: your turn")


logits = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(0, 3, 6))
classes = st.integers(0, 5)


@given(logits, logits, classes)
def test_at_alpha_0_it_is_that_of_the_label_alone_whatever_T_is(z, v, y):
    for T in (1.0, 20.0):
        np.testing.assert_allclose(balanced_gradient(z, v, y, T, 0.0), softmax(z) - np.eye(6)[y], atol=1e-12)


@given(logits, logits, classes)
def test_the_soft_part_keeps_its_size_from_T_1000_to_T_10000(z, v, y):
    norms = [np.linalg.norm(balanced_gradient(z, v, y, T, 1.0)) for T in (1e3, 1e4)]
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.1)


@given(logits, logits, classes, st.floats(0.5, 50), st.floats(0, 1))
def test_it_is_the_librarys(z, v, y, T, alpha):
    _, dz = distillation(z[None], v[None], np.array([y]), T, alpha)
    np.testing.assert_allclose(balanced_gradient(z, v, y, T, alpha), dz[0], rtol=1e-6, atol=1e-9)
