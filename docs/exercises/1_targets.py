"""Exercise 1: cross-entropy, for a label and for a teacher's probabilities alike. Chapter: docs/lesson/1_targets.md.

Write cross_entropy below. Then: .venv/bin/python -m pytest -x docs/exercises/1_targets.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minidistill as md


def cross_entropy(p, q):
    """Return -Σ_i p_i log q_i, one number, of targets p (N,) and predictions q (N,), where all q_i > 0."""
    raise NotImplementedError("exercise 1: your turn")


logits = st.lists(st.floats(-5, 5), min_size=4, max_size=4).map(np.array)


@given(logits, st.integers(0, 3))
def test_of_a_label_it_is_minus_the_logarithm_of_its_probability(z, y):
    q, onehot = md.softmax(z), np.eye(4)[y]
    np.testing.assert_allclose(cross_entropy(onehot, q), -np.log(q[y]), rtol=1e-9, atol=1e-12)


@given(logits, logits)
def test_no_prediction_is_better_than_the_targets_themselves(z, v):
    p, q = md.softmax(v), md.softmax(z)
    assert cross_entropy(p, q) >= cross_entropy(p, p) - 1e-12


@given(logits, logits)
def test_it_is_the_librarys(z, v):
    value, _ = md.soft_cross_entropy(z[None], v[None], 1.0)
    np.testing.assert_allclose(cross_entropy(md.softmax(v), md.softmax(z)), value, rtol=1e-9)
