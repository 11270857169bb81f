"""Exercise 9: a derivative that is exact to rounding, without a formula. Chapter: docs/lesson/9_right.md.

Write complex_step below. Then: .venv/bin/python -m pytest -x docs/exercises/9_right.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidistill import soft_cross_entropy


def complex_step(f, z):
    """Return df/dz (N,) of a function f of an array z (N,) to one number, by f(z + ih) for one component at a time."""
    raise NotImplementedError("exercise 9: your turn")


logits = st.integers(0, 10_000).map(lambda seed: np.random.default_rng(seed).normal(0, 2, 5))
temperatures = st.sampled_from([1.0, 20.0, 1000.0])


@given(logits, logits, temperatures)
def test_it_agrees_with_eq_2_to_twelve_digits_even_at_T_1000(z, v, T):
    _, dz = soft_cross_entropy(z[None], v[None], T)
    found = complex_step(lambda u: soft_cross_entropy(u[None], v[None], T)[0], z)
    assert np.abs(found - dz[0]).max() <= 1e-12 / T  # of parts p/T that cancel


@given(logits)
def test_a_gradient_that_is_off_by_a_millionth_does_not_pass(z):
    found = complex_step(lambda u: (u**3).sum(), z)
    np.testing.assert_allclose(found, 3 * z**2, rtol=1e-9)
    assert not np.allclose(found, 3 * z**2 * (1 + 1e-6), rtol=1e-9)
