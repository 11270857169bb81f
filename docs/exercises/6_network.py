"""Exercise 6: the backward pass of a dense layer. Chapter: docs/lesson/6_network.md.

Write backward below: the shapes nearly tell it. Then: .venv/bin/python -m pytest -x docs/exercises/6_network.py
"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minidistill.testing import check_gradient


def backward(x, W, dy):
    """Return (dW, db, dx) of y = x W + b: x (B, n_in), W (n_in, n_out), b (n_out,), and dy = dC/dy (B, n_out)."""
    raise NotImplementedError("exercise 6: your turn")


@st.composite
def layers(draw):
    """Return x (B, n_in), W (n_in, n_out), b (n_out,) and dy (B, n_out)."""
    B, n_in, n_out = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    return tuple(rng.normal(size=shape) for shape in ((B, n_in), (n_in, n_out), (n_out,), (B, n_out)))


@given(layers())
def test_each_gradient_is_the_derivative(layer):
    x, W, b, dy = layer
    dW, db, dx = backward(x, W, dy)
    check_gradient(lambda W: ((x @ W + b) * dy).sum(), W, dW)  # C = Σ y dy has exactly this dC/dy
    check_gradient(lambda b: ((x @ W + b) * dy).sum(), b, db)
    check_gradient(lambda x: ((x @ W + b) * dy).sum(), x, dx)
