"""Soft targets from several teachers: the arithmetic or the geometric mean of their softened probabilities.

Both are returned as logits, so that whatever distils from one teacher distils from an ensemble.
"""

import numpy as np

from .checks import ArgumentError, Array, check_logits, check_temperature, xp_of
from .softmax import log_softmax_rows


def geometric_mean(logits: Array) -> Array:
    """Return the mean (..., N) of M teachers' logits (M, ..., N): softmax(mean / T) ∝ Π_m (p^(m))^(1/M), at every T."""
    return _check_members(logits).mean(axis=0)


def arithmetic_mean(logits: Array, T: float) -> Array:
    """Return logits v (..., N) with softmax(v / T) = (1/M) Σ_m softmax(v^(m) / T); they hold at this T alone.

    v = T log((1/M) Σ_m softmax(v^(m) / T)) by logarithms, so that a class that every teacher excludes keeps a finite
    logit. logits: (M, ..., N); of float16 the result is float32.
    """
    v = _check_members(logits)
    v = v.astype(np.float32) if v.dtype == np.float16 else v  # whose range a low temperature leaves
    xp, T = xp_of(v), check_temperature(T, v.dtype, (v,))
    log_p = log_softmax_rows(v, T)  # (M, ..., N)
    largest = log_p.real.max(axis=0)
    return T * (largest + xp.log(xp.exp(log_p - largest).mean(axis=0)))  # (..., N)


def _check_members(logits: Array) -> Array:
    v = check_logits("logits", logits)
    if v.ndim < 2:
        raise ArgumentError(f"logits must have shape (members, ..., classes), got {v.shape}")
    return v
