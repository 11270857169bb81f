"""Losses that part the target class from the others: KL(p || q) is a KL about the target, and one about the rest.

With b = (p_y, 1 - p_y) and p̂ the probabilities of the other classes, normalised to sum to 1,

    KL(p || q) = KL(b_p || b_q) + (1 - p_y) KL(p̂ || q̂)

so that a confident teacher, whose 1 - p_y is small, says little about the other classes, which know the most. Here, as
in `kl_divergence`, the factor T² is the caller's.
"""

from typing import Any

from ..checks import ArgumentError, Array, check_labels, check_number, check_pair, xp_of
from ..softmax import log_softmax_rows, softmax_rows
from .digits import kl_rows

NEVER = 1000.0  # temperatures below the lowest logit: exp of that is 0 in every precision


def decoupled(z: Array, v: Array, y: Array, T: float, alpha: float = 1.0, beta: float = 8.0) -> tuple[Array, Array]:
    """Return C = mean_B (α KL(b_p || b_q) + β KL(p̂ || q̂)), the target's part and the others', α and β >= 0.

    dC/dz_y = α (q_y - p_y)/(T B); dC/dz_i = (α q̂_i (p_y - q_y) + β (q̂_i - p̂_i))/(T B) of the others. Zhao et al.,
    "Decoupled Knowledge Distillation", 2022, Eq. 7; their β is 1 to 8, larger for a more confident teacher. At N = 2
    the others are one.
    """
    z, v, y, T = _check(z, v, y, T)
    alpha, beta = (check_number(name, u, at_least=0) for name, u in (("alpha", alpha), ("beta", beta)))
    xp = xp_of(z)
    is_y = xp.arange(z.shape[-1]) == y[..., None]  # (..., B, N)
    (log_about_q, log_hat_q), (log_about_p, log_hat_p) = (_parted(u, is_y, T) for u in (z, v))
    about_q, about_p, hat_q, hat_p = (xp.exp(u) for u in (log_about_q, log_about_p, log_hat_q, log_hat_p))
    rows = alpha * kl_rows(about_p, about_q - about_p, log_about_q - log_about_p)
    rows = rows + beta * kl_rows(hat_p, hat_q - hat_p, log_hat_q - log_hat_p)
    change = about_q - about_p  # (..., B, 2): of the target and of the rest, of which the smaller keeps its digits
    off = xp.where(about_q[..., :1].real > 0.5, -change[..., 1:], change[..., :1])  # q_y - p_y (..., B, 1)
    dz = xp.where(is_y, alpha * off, beta * (hat_q - hat_p) - alpha * off * hat_q)
    return rows.mean(axis=-1), dz / (T * z.shape[-2])


def normalised(z: Array, v: Array, y: Array, T: float = 1.0, gamma: float = 1.5) -> tuple[Array, Array]:
    """Return C = -mean_B (p_y log q_y + γ T² Σ_{i≠y} p̂_i log q̂_i), p_y and q_y at temperature 1, p̂ and q̂ at T; γ >= 0.

    dC/dz_y = -p_y (1 - q_y)/B; dC/dz_i = (p_y q_i + γ T (q̂_i - p̂_i))/B of the others. Yang et al., "From Knowledge
    Distillation to Self-Knowledge Distillation", 2023 (NKD; the cross-entropy with the labels, which they add to it,
    is `cross_entropy`).
    """
    z, v, y, T = _check(z, v, y, T)
    gamma = check_number("gamma", gamma, at_least=0)
    xp = xp_of(z)
    is_y = xp.arange(z.shape[-1]) == y[..., None]  # (..., B, N)
    log_q, p_y = log_softmax_rows(z, 1.0), (softmax_rows(v, 1.0) * is_y).sum(axis=-1, keepdims=True)  # p_y (..., B, 1)
    hat_q, hat_p = (_others(u, is_y, T) for u in (z, v))
    p_others = xp.exp(hat_p)
    rows = -(is_y * p_y * log_q + gamma * T * T * p_others * hat_q).sum(axis=-1)
    dz = p_y * (xp.exp(log_q) - is_y) + gamma * T * (xp.exp(hat_q) - p_others)
    return rows.mean(axis=-1), dz / z.shape[-2]


def _check(z: Any, v: Any, y: Any, T: Any) -> tuple[Array, Array, Array, Any]:
    z, v, T = check_pair(z, v, T)
    if z.shape[-1] < 2:
        raise ArgumentError(f"z must have at least two classes, a target and another, got shape {z.shape}")
    return z, v, check_labels("y", y, z.shape[-1], z.shape[:-1]), T


def _others(z: Array, is_y: Array, T: Any) -> Array:
    """Return log q̂ (..., B, N); at y it is so low that q̂_y is exactly 0."""
    low = z.real.min(axis=-1, keepdims=True) - NEVER * T  # (..., B, 1)
    return log_softmax_rows(xp_of(z).where(is_y, low, z), T)


def _parted(z: Array, is_y: Array, T: Any) -> tuple[Array, Array]:
    """Return log (q_y, 1 - q_y) (..., B, 2) and log q̂ (..., B, N).

    1 - q_y = q_i/q̂_i, whichever other class i is taken: a mean over them, weighted by q̂, loses no digit.
    """
    xp = xp_of(z)
    log_q, hat = log_softmax_rows(z, T), _others(z, is_y, T)
    log_q_y = (is_y * log_q).sum(axis=-1, keepdims=True)
    log_rest = (xp.exp(hat) * (log_q - hat)).sum(axis=-1, keepdims=True)  # (..., B, 1)
    return xp.concatenate([log_q_y, log_rest], axis=-1), hat
