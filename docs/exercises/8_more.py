"""Exercise 8: soft targets of several teachers. Chapter: docs/lesson/8_more.md.

Write together below. Then: .venv/bin/python -m pytest -x docs/exercises/8_more.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidistill import softmax


def together(logits, T):
    """Return the soft targets (N,) of M teachers: their probabilities' geometric mean at T, made to sum to 1 again.

    logits (M, N). It can be done without a single product of probabilities.
    """
    raise NotImplementedError("exercise 8: your turn")


teams = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(0, 5, (3, 4)))
temperatures = st.floats(0.5, 50)


@given(teams, temperatures)
def test_it_is_the_geometric_mean(logits, T):
    product = softmax(logits, T).prod(axis=0) ** (1 / 3)
    np.testing.assert_allclose(together(logits, T), product / product.sum(), rtol=1e-9)


@given(teams, temperatures)
def test_three_times_the_same_teacher_is_that_teacher(logits, T):
    same = np.stack([logits[0]] * 3)
    np.testing.assert_allclose(together(same, T), softmax(logits[0], T), rtol=1e-9)


def test_many_teachers_that_are_certain_do_not_underflow():
    logits = np.tile([[0.0, -500.0, -1000.0]], (100, 1))
    np.testing.assert_allclose(together(logits, 1.0), softmax(logits[0], 1.0))
