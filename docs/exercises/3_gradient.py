"""Exercise 3: the gradient of the soft loss, Eq. 2, for a batch. Chapter: docs/lesson/3_gradient.md.

Write gradient below: derive it on paper first. Then: .venv/bin/python -m pytest -x docs/exercises/3_gradient.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidistill import softmax
from minidistill.testing import check_gradient


def gradient(z, v, T):
    """Return dC/dz (B, N) of C = mean_B(-Σ_i p_i log q_i), with q = softmax(z, T), p = softmax(v, T) of (B, N)."""
    raise NotImplementedError("exercise 3: your turn")


def loss(z, v, T):
    """Return C, by its definition. z may be complex: that is how check_gradient takes an exact derivative."""
    e = np.exp(z / T)
    return -(softmax(v, T) * np.log(e / e.sum(axis=1, keepdims=True))).sum(axis=1).mean()


batches = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(0, 2, (2, 3, 5)))
temperatures = st.sampled_from([0.5, 1.0, 4.0, 20.0])


@given(batches, temperatures)
def test_it_is_the_derivative_of_the_loss(batch, T):
    z, v = batch
    check_gradient(lambda z: loss(z, v, T), z, gradient(z, v, T))


@given(batches, temperatures)
def test_each_row_sums_to_0_and_a_student_that_equals_its_teacher_has_none(batch, T):
    z, v = batch
    np.testing.assert_allclose(gradient(z, v, T).sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(gradient(v, v, T), 0, atol=1e-12)
