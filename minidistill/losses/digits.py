"""Two distributions compared without a loss of digits: q - p and KL(p || q), where both are nearly equal or certain.

Subtracted from each other, q and p leave no digits where T is high, since both tend to 1/N, or where both are certain
of one class: in float32, at T = 1e6, a gradient by subtraction is off by 2%. Most losses of q and p are built on this.
"""

from typing import Any

from ..checks import Array, xp_of


def compare(z: Array, v: Array, T: Any) -> tuple[Array, Array, Array]:
    """Return p = softmax(v, T), q - p and log(q/p) (..., B, N), with q = softmax(z, T), to rounding, unchecked.

    With s and t the logits less their maximum, over T, and d = s - t, q_i - p_i is p_i (exp(d_i) - 1 - A)/(1 + A), with
    A = Σ_j p_j (exp(d_j) - 1) = Σ_j exp(s_j)/Σ_j exp(t_j) - 1; and expm1(d) is exp(d) - 1 with all digits.
    """
    xp, z_max, v_max = xp_of(z), z.real.max(axis=-1, keepdims=True), v.real.max(axis=-1, keepdims=True)
    below_z, below_v, apart = z - z_max, v - v_max, z - v  # (..., B, N)
    # Of two ways to the same number, the one whose parts are smaller is rounded less: z near v, or one far above.
    near = abs(apart) <= -xp.minimum(below_z.real, below_v.real)
    d = xp.where(near, apart - (z_max - v_max), below_z - below_v) / T
    s, t = below_z / T, below_v / T
    log_sum = xp.log(xp.exp(t).sum(axis=-1, keepdims=True))  # (..., B, 1)
    p = xp.exp(t - log_sum)
    safe = d.real < 1  # beyond, exp(d) might overflow, and nothing cancels
    change = xp.where(safe, p * xp.expm1(xp.where(safe, d, 0)), xp.exp(s - log_sum) - p)  # p (exp(d) - 1)
    A = change.sum(axis=-1, keepdims=True)  # (..., B, 1)
    return p, (change - p * A) / (1 + A), d - xp.log1p(A)


def kl_rows(p: Array, difference: Array, log_ratio: Array) -> Array:
    """Return KL(p || q) of each row (..., B), from p, q - p and r = log(q/p) (..., B, N), to rounding.

    Σ (q - p) = 0 may be added to -Σ p r. Then each term is q - p - p r = p (exp(r) - 1 - r) >= 0, and where r is small
    it is p r²/2 (1 + r/3 (1 + r/4 (1 + ...))).
    """
    xp, r = xp_of(p), log_ratio
    small, series = abs(r) < 0.05, 1.0
    for k in (8, 7, 6, 5, 4, 3):
        series = 1 + xp.where(small, r, 0) / k * series
    return xp.where(small, p * r * r / 2 * series, difference - p * r).sum(axis=-1)
