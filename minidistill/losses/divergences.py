"""Other divergences between the two softened distributions: the KL the other way, and what lies between the two.

KL(p || q) makes a student that cannot be everything cover all of its teacher; KL(q || p) makes it choose a part.
Here, as in `kl_divergence`, the factor T² is the caller's.
"""

from .. import softmax as sm
from ..checks import Array, check_number, check_pair, xp_of
from .distillation import kl_rows


def reverse_kl(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """C = mean_B KL(q || p), dC/dz_i = q_i (r_i - Σ_j q_j r_j)/(T B) with r = log q - log p (Gu et al. 2024, Eq. 1)."""
    z, v, T = check_pair(z, v, T)
    xp = xp_of(z)
    log_q, log_p = sm._log_softmax(z, T), sm._log_softmax(v, T)  # (..., B, N)
    q = xp.exp(log_q)
    rows, dz = kl_rows(q, log_q, xp.exp(log_p), log_p), sm._softmax_backward(q, log_q - log_p, T)
    return rows.mean(axis=-1), dz / z.shape[-2]


def jensen_shannon(z: Array, v: Array, T: float, beta: float = 0.5) -> tuple[Array, Array]:
    """C = mean_B (β KL(p || m) + (1 - β) KL(q || m)) with m = β p + (1 - β) q, β and 1 - β >= 2⁻²⁴.

    dC/dq_i = (1 - β) log(q_i/m_i). C/β tends to KL(p || q) as β falls to 0, and C/(1 - β) to KL(q || p) as it rises
    to 1. Agarwal et al., "On-Policy Distillation of Language Models", 2024, Sec. 2. Never above log 2.
    """
    z, v, T = check_pair(z, v, T)
    beta = check_number("beta", beta, at_least=2**-24, at_most=1 - 2**-24)
    xp = xp_of(z)
    log_q, log_p = sm._log_softmax(z, T), sm._log_softmax(v, T)  # (..., B, N)
    q, p, top = xp.exp(log_q), xp.exp(log_p), xp.maximum(log_q.real, log_p.real)
    log_m = top + xp.log(beta * xp.exp(log_p - top) + (1 - beta) * xp.exp(log_q - top))  # (..., B, N)
    m = beta * p + (1 - beta) * q
    rows = beta * kl_rows(p, log_p, m, log_m) + (1 - beta) * kl_rows(q, log_q, m, log_m)
    dz = sm._softmax_backward(q, (1 - beta) * (log_q - log_m), T)
    return rows.mean(axis=-1), dz / z.shape[-2]
