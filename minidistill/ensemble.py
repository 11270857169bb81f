"""Soft targets from several teachers, Eq. 8: the arithmetic or the geometric mean of their softened probabilities.

Both are returned as logits, so that whatever distils from one teacher distils from an ensemble.
"""

from . import softmax as sm
from .checks import ArgumentError, Array, check_logits, check_temperature, xp_of


def geometric_mean(logits: Array) -> Array:
    """The mean (..., N) of M teachers' logits (M, ..., N): softmax(mean / T) ∝ Π_m (p^(m))^(1/M), at every T."""
    return _check_members(logits).mean(axis=0)


def arithmetic_mean(logits: Array, T: float) -> Array:
    """Logits v (..., N) with softmax(v / T) = (1/M) Σ_m p^(m), p^(m) = softmax(v^(m) / T); they hold at this T alone.

    v = T log((1/M) Σ_m p^(m)), by logarithms, so that a class that every teacher excludes keeps a finite logit.
    """
    v, T = _check_members(logits), check_temperature(T)
    xp = xp_of(v)
    log_p = sm.log_softmax(v, T)  # (M, ..., N)
    largest = log_p.real.max(axis=0)
    return T * (largest + xp.log(xp.exp(log_p - largest).mean(axis=0)))  # (..., N)


def _check_members(logits: Array) -> Array:
    v = check_logits("logits", logits)
    if v.ndim < 2:
        raise ArgumentError(f"logits must have shape (members, ..., classes), got {v.shape}")
    return v
