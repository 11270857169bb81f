"""The losses of Hinton, Vinyals and Dean (2015) and their gradients, derived by hand.

z are the student's logits (..., B, N), v the teacher's, y labels (..., B); q = softmax(z, T), p = softmax(v, T). A loss
returns (value, dz): the mean over the batch of the sum over the classes, and its derivative by z (..., B, N), the
mean's 1/B included. The teacher is a constant: nothing flows into v. First the rows, unchecked; then the losses.
"""

from typing import Any

import numpy as np

from ..checks import Array, check_batch, check_labels, check_number, check_pair, xp_of
from ..softmax import log_softmax_rows, softmax_rows
from .digits import compare, kl_rows


def soft_rows(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """Return KL(p || q) = Σ_k p_k (log p_k - log q_k) of each row (..., B), and q - p, T times its derivative by z.

    It is the cross-entropy -Σ_k p_k log q_k and a constant: only log q_k = z_k/T - log Σ_j exp(z_j/T) depends on z. The
    derivative of its last term by z_i is (exp(z_i/T)/T)/Σ_j exp(z_j/T) = q_i/T, so ∂ log q_k/∂z_i = (δ_ki - q_i)/T,
    where δ_ki is 1 if k = i, else 0. Hence
    ∂KL/∂z_i = -Σ_k p_k (δ_ki - q_i)/T = (q_i Σ_k p_k - p_i)/T = (q_i - p_i)/T, because the p_k sum to 1: Eq. 2.
    """
    p, difference, log_ratio = compare(z, v, T)  # p, q - p, log(q/p): digits.py subtracts without cancellation
    return kl_rows(p, difference, log_ratio), difference


def hard_rows(z: Array, y: Array) -> tuple[Array, Array]:
    """Return -log q_y of each row (..., B) at T = 1, and its derivative q - onehot(y) (..., B, N).

    It is Eq. 2 for a teacher that is certain, p = onehot(y). q_y - 1 is taken as minus the sum of the other q, which
    keeps its digits where q_y is nearly 1.
    """
    xp, log_q = xp_of(z), log_softmax_rows(z, 1.0)
    onehot = xp.arange(z.shape[-1]) == y[..., None]  # (..., B, N)
    others = xp.where(onehot, 0, xp.exp(log_q))
    return -(onehot * log_q).sum(axis=-1), xp.where(onehot, -others.sum(axis=-1, keepdims=True), others)


def objective_rows(z: Array, v: Array | None, y: Array | None, T: Any, alpha: float) -> tuple[Array, Array]:
    """Return α T² KL(p || q) - (1 - α) log q_y of each row (..., B), and its derivative by z (..., B, N).

    v is unread at α = 0, and y at α = 1. T may be an array (R, 1, 1), a temperature for each of R replicas.
    """
    if alpha == 0:
        return hard_rows(z, y)
    rows, difference = soft_rows(z, v, T)
    T_of_rows = T if np.ndim(T) == 0 else T[..., 0]  # (R, 1)
    rows, dz = alpha * T_of_rows * T_of_rows * rows, alpha * T * difference  # T²/T = T
    if alpha < 1:
        hard, hard_dz = hard_rows(z, y)
        rows, dz = rows + (1 - alpha) * hard, dz + (1 - alpha) * hard_dz
    return rows, dz


def cross_entropy(z: Array, y: Array) -> tuple[Array, Array]:
    """Return C = -mean_B log q_y, and dC/dz = (q - onehot(y))/B, of logits z (..., B, N) and labels y (..., B)."""
    z = check_batch("z", z)
    rows, dz = hard_rows(z, check_labels("y", y, z.shape[-1], z.shape[:-1]))
    return rows.mean(axis=-1), dz / z.shape[-2]


def kl_divergence(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """Return C = mean_B KL(p || q) >= 0, and dC/dz = (q - p)/(T B), Eq. 2."""
    z, v, T = check_pair(z, v, T)
    rows, difference = soft_rows(z, v, T)
    return rows.mean(axis=-1), difference / (T * z.shape[-2])


def soft_cross_entropy(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """Return C = -mean_B Σ_i p_i log q_i, which is KL plus the teacher's entropy, and the same dC/dz."""
    z, v, T = check_pair(z, v, T)
    _, difference = soft_rows(z, v, T)
    rows = -(softmax_rows(v, T) * log_softmax_rows(z, T)).sum(axis=-1)  # (..., B)
    return rows.mean(axis=-1), difference / (T * z.shape[-2])


def distillation(z: Array, v: Array, y: Array, T: float, alpha: float) -> tuple[Array, Array]:
    """Return C = α T² kl_divergence(z, v, T) + (1 - α) cross_entropy(z, y), the balanced objective, and dC/dz.

    α in [0, 1] weighs the soft term. As T grows q - p shrinks as 1/T, and so the soft gradient as 1/T² (Eq. 4): the
    factor T² keeps its balance with the hard one.
    """
    z, v, T = check_pair(z, v, T)
    y = check_labels("y", y, z.shape[-1], z.shape[:-1])
    rows, dz = objective_rows(z, v, y, T, check_number("alpha", alpha, at_least=0, at_most=1))
    return rows.mean(axis=-1), dz / z.shape[-2]


def high_temperature_gradient(z: Array, v: Array, T: float) -> Array:
    """Return Eq. 3, where exp(x) ≈ 1 + x: (1/T)((1 + z_i/T)/(N + Σ z_j/T) - (1 + v_i/T)/(N + Σ v_j/T))/B."""
    z, v, T = check_pair(z, v, T)
    B, N = z.shape[-2:]
    q, p = ((1 + u / T) / (N + u.sum(axis=-1, keepdims=True) / T) for u in (z, v))  # each (..., B, N)
    return (q - p) / (T * B)


def logit_matching_gradient(z: Array, v: Array, T: float) -> Array:
    """Return Eq. 4, the leading term: ((z_i - z̄) - (v_i - v̄))/(N T² B), with z̄ the row's mean, 0 in the paper.

    So distillation fits z to v, up to a shift, as T grows. How fast: with s = 1/T and ' = d/ds, q_i' = q_i (z_i - <z>)
    and q_i'' = q_i ((z_i - <z>)² - Var z), where <z> and Var z are z's mean and variance under q. Both terms lie in
    [0, W_z²], W_z = max z - min z, and q_i <= exp(s W_z)/N, so |q_i''| <= exp(s W_z) W_z²/N. By Taylor's remainder from
    s = 0, where q_i = 1/N and q_i' = (z_i - z̄)/N, and likewise for p, at every T

        |N T² (q_i - p_i)/T - ((z_i - z̄) - (v_i - v̄))|  <=  (W_z² exp(W_z/T) + W_v² exp(W_v/T)) / (2 T)
    """
    z, v, T = check_pair(z, v, T)
    B, N = z.shape[-2:]
    d = z - v
    return (d - d.mean(axis=-1, keepdims=True)) / (N * T * T * B)
