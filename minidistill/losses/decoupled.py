"""Losses that part the target class from the others: KL(p || q) is a KL about the target, and one about the rest.

With b = (p_y, 1 - p_y) and p̂ the probabilities of the other classes, normalised to sum to 1,

    KL(p || q) = KL(b_p || b_q) + (1 - p_y) KL(p̂ || q̂)

so that a confident teacher, whose 1 - p_y is small, says little about the other classes, which know the most. Here, as
in `kl_divergence`, the factor T² is the caller's.
"""

from typing import Any

from ..checks import ArgumentError, Array, check_labels, check_number, check_pair, xp_of
from ..softmax import log_softmax_rows, softmax_rows
from .digits import compare, kl_rows
from .distillation import hard_rows

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
    _, difference, _ = compare(z, v, T)
    off = (is_y * difference).sum(axis=-1, keepdims=True)  # q_y - p_y (..., B, 1)
    log_about_q, log_about_p = (_about(u, is_y, T) for u in (z, v))  # (..., B, 2)
    about = kl_rows(xp.exp(log_about_p), xp.concatenate([off, -off], axis=-1), log_about_q - log_about_p)
    hat_p, hat_difference, hat_ratio = compare(_without(z, is_y, T), _without(v, is_y, T), T)
    rows = alpha * about + beta * kl_rows(hat_p, hat_difference, hat_ratio)
    dz = xp.where(is_y, alpha * off, beta * hat_difference - alpha * off * (hat_p + hat_difference))
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
    p_y = (softmax_rows(v, 1.0) * is_y).sum(axis=-1, keepdims=True)  # (..., B, 1)
    (hard, hard_dz), z_others = hard_rows(z, y), _without(z, is_y, T)  # hard: -log q_y (..., B)
    hat_p, hat_difference, _ = compare(z_others, _without(v, is_y, T), T)
    rows = p_y[..., 0] * hard - (gamma * T * T * hat_p * log_softmax_rows(z_others, T)).sum(axis=-1)
    return rows.mean(axis=-1), (p_y * hard_dz + gamma * T * hat_difference) / z.shape[-2]


def _check(z: Any, v: Any, y: Any, T: Any) -> tuple[Array, Array, Array, Any]:
    z, v, T = check_pair(z, v, T)
    if z.shape[-1] < 2:
        raise ArgumentError(f"z must have at least two classes, a target and another, got shape {z.shape}")
    return z, v, check_labels("y", y, z.shape[-1], z.shape[:-1]), T


def _without(z: Array, is_y: Array, T: Any) -> Array:
    """Return the logits (..., B, N) with that of y so low that its probability is exactly 0."""
    return xp_of(z).where(is_y, z.real.min(axis=-1, keepdims=True) - NEVER * T, z)


def _about(z: Array, is_y: Array, T: Any) -> Array:
    """Return log (q_y, 1 - q_y) (..., B, 2).

    1 - q_y = q_i/q̂_i, whichever other class i is taken: a mean over them, weighted by q̂, loses no digit.
    """
    xp, log_q, log_hat = xp_of(z), log_softmax_rows(z, T), log_softmax_rows(_without(z, is_y, T), T)
    log_q_y = (is_y * log_q).sum(axis=-1, keepdims=True)
    log_rest = (xp.exp(log_hat) * (log_q - log_hat)).sum(axis=-1, keepdims=True)  # (..., B, 1)
    return xp.concatenate([log_q_y, log_rest], axis=-1)
