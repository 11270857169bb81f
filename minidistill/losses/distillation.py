"""The losses of Hinton, Vinyals and Dean (2015) and their gradients, derived by hand (Eq. 3-7).

Every public loss has one form: loss(z, ...) -> (value, dz). `value` (...) is the mean over the batch of the sum over
the classes; `dz` (..., B, N) is its derivative by the student's logits z, the 1/B of the mean included. The teacher's
logits v are constants: nothing flows into them.
"""

from typing import Any

import numpy as np

from .. import softmax as sm
from ..checks import Array, check_batch, check_labels, check_number, check_pair, xp_of


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """C = -mean_B log q_y, dC/dz = (q - onehot(y))/B, for logits z (..., B, N) and labels y (..., B) in [0, N)."""
    z = check_batch("z", z)
    rows, dz = hard_rows(z, check_labels("y", y, z.shape[-1], z.shape[:-1]))
    return rows.mean(axis=-1), dz / z.shape[-2]


def soft_cross_entropy(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """C = -mean_B Σ_i p_i log q_i (Eq. 3), dC/dz = (q - p)/(T B) (Eq. 4), with p = softmax(v, T), q = softmax(z, T)."""
    z, v, T = check_pair(z, v, T)
    _, dz = soft_rows(z, v, T)
    rows = -(sm._softmax(v, T) * sm._log_softmax(z, T)).sum(axis=-1)  # (..., B), Eq. 3
    return rows.mean(axis=-1), dz / z.shape[-2]


def kl_divergence(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """mean_B KL(p || q) >= 0: Eq. 3 less the teacher's entropy, a constant, so that the gradient is Eq. 4 again."""
    z, v, T = check_pair(z, v, T)
    rows, dz = soft_rows(z, v, T)
    return rows.mean(axis=-1), dz / z.shape[-2]


def distillation(z: Array, v: Array, y: Array, T: float, alpha: float) -> tuple[Array, Array]:
    """C = α T² KL(p || q) + (1 - α) cross_entropy(z, y), Eq. 7; α in [0, 1] weighs the soft term.

    The soft gradient shrinks as 1/T² (Eq. 6); the factor T² keeps the balance of the two terms when T changes.
    """
    z, v, T = check_pair(z, v, T)
    y = check_labels("y", y, z.shape[-1], z.shape[:-1])
    rows, dz = objective_rows(z, v, y, T, check_number("alpha", alpha, at_least=0, at_most=1))
    return rows.mean(axis=-1), dz / z.shape[-2]


def high_temperature_gradient(z: Array, v: Array, T: float) -> Array:
    """Eq. 5, the gradient to first order in 1/T: (1/T)((1 + z_i/T)/(N + Σ z_j/T) - (1 + v_i/T)/(N + Σ v_j/T)) / B."""
    z, v, T = check_pair(z, v, T)
    B, N = z.shape[-2:]
    first_order = [(1 + u / T) / (N + u.sum(axis=-1, keepdims=True) / T) for u in (z, v)]  # each (..., B, N)
    return (first_order[0] - first_order[1]) / (T * B)


def logit_matching_gradient(z: Array, v: Array, T: float) -> Array:
    """Eq. 6, the limit: ((z_i - z̄) - (v_i - v̄)) / (N T² B). Distillation becomes logit matching as T grows.

    How fast: let W_z = max z - min z and W_v likewise, of one row. Along s = 1/T, q_i(s) has q_i(0) = 1/N,
    q_i'(0) = (z_i - z̄)/N and |q_i''(s)| = q_i |(z_i - <z>)² - Var z| <= q_i W_z² <= exp(s W_z) W_z²/N. Taylor's
    remainder for q, and the same for p, give a bound that holds at every T:

        |N T² (q_i - p_i)/T - ((z_i - z̄) - (v_i - v̄))|  <=  (W_z² exp(W_z/T) + W_v² exp(W_v/T)) / (2 T)
    """
    z, v, T = check_pair(z, v, T)
    B, N = z.shape[-2:]
    d = z - v
    return (d - d.mean(axis=-1, keepdims=True)) / (N * T * T * B)


def soft_rows(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """KL(p || q) of each row (..., B), and its derivative (..., B, N), unchecked."""
    xp = xp_of(z)
    log_q, log_p = sm._log_softmax(z, T), sm._log_softmax(v, T)  # (..., B, N)
    q, p = xp.exp(log_q), xp.exp(log_p)
    return kl_rows(p, log_p, q, log_q), (q - p) / T  # Eq. 4


def kl_rows(p: Array, log_p: Array, q: Array, log_q: Array) -> Array:
    """Σ p (log p - log q) of each row (..., B), for rows of probabilities (..., B, N) that sum to 1, unchecked.

    With d = log p - log q, the terms p d cancel all but their second order where p and q are near. Adding
    Σ q - Σ p = 0 as p expm1(-d) leaves terms that are never negative and of second order themselves; where q is far
    above p, the exponential could overflow, and nothing cancels.
    """
    xp, d = xp_of(p), log_p - log_q
    near = d.real > -1
    return xp.where(near, p * (d + xp.expm1(xp.where(near, -d, 0))), p * d + (q - p)).sum(axis=-1)


def hard_rows(z: Array, y: Array) -> tuple[Array, Array]:
    """-log q_y of each row (..., B), and its derivative q - onehot(y) (..., B, N), unchecked."""
    xp = xp_of(z)
    log_q = sm._log_softmax(z, 1.0)
    onehot = xp.arange(z.shape[-1]) == y[..., None]  # (..., B, N)
    return -(onehot * log_q).sum(axis=-1), xp.exp(log_q) - onehot


def objective_rows(z: Array, v: Array | None, y: Array | None, T: float, alpha: float) -> tuple[Array, Array]:
    """Eq. 7 of each row (..., B), and its derivative (..., B, N), unchecked; v is unread at α = 0, y at α = 1.

    T may be an array (R, 1, 1): a temperature for each replica.
    """
    if alpha == 0:
        return hard_rows(z, y)
    rows, dz = soft_rows(z, v, T)
    weight: Any = alpha * T * T
    rows, dz = rows * (weight if np.ndim(weight) == 0 else weight[..., 0]), dz * weight
    if alpha < 1:
        hard, hard_dz = hard_rows(z, y)
        rows, dz = rows + (1 - alpha) * hard, dz + (1 - alpha) * hard_dz
    return rows, dz
