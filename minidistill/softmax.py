"""Softmax at a temperature (Eq. 1-2): how logits become probabilities, and how a temperature softens them.

Subtracting the row's maximum changes nothing in exact arithmetic (shift invariance) and keeps every exponent <= 0, so
nothing overflows. The maximum is taken of the real part, so that a complex step through these lines is a derivative.
"""

from .checks import Array, check_logits, check_temperature, xp_of


def log_softmax(z: Array, T: float = 1.0) -> Array:
    """log q (..., N) of logits z (..., N) at temperature T > 0: finite where log(softmax(z)) is -inf."""
    return _log_softmax(check_logits("z", z), check_temperature(T))


def softmax(z: Array, T: float = 1.0) -> Array:
    """q_i = exp(z_i / T) / Σ_j exp(z_j / T), Eq. 2 (Eq. 1 at T = 1), over the last axis of z (..., N), T > 0."""
    return _softmax(check_logits("z", z), check_temperature(T))


def _log_softmax(z: Array, T: float) -> Array:
    xp = xp_of(z)
    s = (z - z.real.max(axis=-1, keepdims=True)) / T  # (..., N), all real parts <= 0
    return s - xp.log(xp.exp(s).sum(axis=-1, keepdims=True))


def _softmax(z: Array, T: float) -> Array:
    xp = xp_of(z)
    e = xp.exp((z - z.real.max(axis=-1, keepdims=True)) / T)  # (..., N)
    return e / e.sum(axis=-1, keepdims=True)


def _softmax_backward(q: Array, dq: Array, T: float) -> Array:
    """dC/dz_i = q_i (dq_i - Σ_j q_j dq_j)/T (..., B, N) of q = softmax(z, T), from dC/dq.

    A constant added to a row of dq changes nothing. Taking out dq at the most probable class leaves no cancellation
    between that class, where 1 - q may be below rounding, and the sum.
    """
    xp = xp_of(q)
    top = q.real.argmax(axis=-1)[..., None]  # (..., B, 1)
    dq = dq - xp.take_along_axis(dq, top, axis=-1)
    return q * (dq - (q * dq).sum(axis=-1, keepdims=True)) / T
