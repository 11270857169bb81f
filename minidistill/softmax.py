"""Softmax at a temperature: how logits, a network's scores of N classes, become probabilities.

Dividing the logits by T > 1 brings them closer together, and so makes the small probabilities larger ("softer"). Shapes
read (..., B, N): B rows in a batch, N classes, and any leading axes, of networks side by side (replicas).
"""

from .checks import Array, check_logits, check_temperature, xp_of


def softmax(z: Array, T: float = 1.0) -> Array:
    """Return q_i = exp(z_i/T) / Σ_j exp(z_j/T), Eq. 1, over the last axis of logits z (..., N), T > 0."""
    z = check_logits("z", z)
    return softmax_rows(z, check_temperature(T, z.dtype, (z,)))


def log_softmax(z: Array, T: float = 1.0) -> Array:
    """Return log q (..., N) of logits z (..., N) at temperature T > 0: finite even where q is rounded to 0."""
    z = check_logits("z", z)
    return log_softmax_rows(z, check_temperature(T, z.dtype, (z,)))


def softmax_rows(z: Array, T: float) -> Array:
    """Compute softmax, its arguments unchecked."""
    e = xp_of(z).exp(shifted(z) / T)  # (..., N); xp is numpy, or cupy for arrays on a GPU
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax_rows(z: Array, T: float) -> Array:
    """Compute log_softmax, its arguments unchecked."""
    xp, s = xp_of(z), shifted(z) / T  # (..., N)
    return s - xp.log(xp.exp(s).sum(axis=-1, keepdims=True))


def shifted(z: Array) -> Array:
    """Return z less its row's maximum: nothing overflows, and softmax is unchanged, as exp(maximum/T) cancels.

    `.real` is for the tests, which also call this with z + ih, h = 1e-30. As f(z + ih) = f(z) + ih f'(z) - ..., the
    imaginary part over h is the derivative, exact to rounding (a "complex step").
    """
    return z - z.real.max(axis=-1, keepdims=True)
