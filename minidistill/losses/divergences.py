"""Other divergences between the two softened distributions: the KL the other way, and what lies between the two.

KL(p || q) makes a student that cannot be everything cover all of its teacher; KL(q || p) makes it choose a part.
Here, as in `kl_divergence`, the factor T² is the caller's.
"""

from ..checks import Array, check_number, check_pair, xp_of
from ..softmax import softmax_rows
from .digits import compare, kl_rows


def softmax_backward(q: Array, dq: Array, T: float) -> Array:
    """Return dC/dz_i = q_i (dq_i - Σ_j q_j dq_j)/T (..., B, N) of q = softmax(z, T), from dq = dC/dq.

    By the chain rule, with ∂q_j/∂z_i = q_j (δ_ij - q_i)/T. A constant added to a row of dq changes nothing. Taking out
    dq at the most probable class leaves no cancellation between that class, where 1 - q may be below rounding, and
    the sum.
    """
    xp = xp_of(q)
    top = q.real.argmax(axis=-1)[..., None]  # (..., B, 1)
    dq = dq - xp.take_along_axis(dq, top, axis=-1)
    return q * (dq - (q * dq).sum(axis=-1, keepdims=True)) / T


def reverse_kl(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """Return C = mean_B KL(q || p), and dC/dz_i = q_i (r_i - Σ_j q_j r_j)/(T B) with r = log q - log p.

    Gu et al., "MiniLLM", 2024, Eq. 1.
    """
    z, v, T = check_pair(z, v, T)
    q, difference, log_ratio = compare(v, z, T)  # q, p - q and log(p/q), each (..., B, N)
    dz = softmax_backward(q, -log_ratio, T)
    return kl_rows(q, difference, log_ratio).mean(axis=-1), dz / z.shape[-2]


def jensen_shannon(z: Array, v: Array, T: float, beta: float = 0.5) -> tuple[Array, Array]:
    """Return C = mean_B (β KL(p || m) + (1 - β) KL(q || m)) with m = β p + (1 - β) q, β and 1 - β >= 2⁻²⁴.

    dC/dq_i = (1 - β) log(q_i/m_i). C/β tends to KL(p || q) as β falls to 0, and C/(1 - β) to KL(q || p) as it rises
    to 1. Agarwal et al., "On-Policy Distillation of Language Models", 2024, Sec. 2. Never above log 2.
    """
    z, v, T = check_pair(z, v, T)
    beta = check_number("beta", beta, at_least=2**-24, at_most=1 - 2**-24)
    xp = xp_of(z)
    q, (p, difference, r) = softmax_rows(z, T), compare(z, v, T)  # each (..., B, N); r = log(q/p)
    below = r.real < 0  # so that no exponential overflows
    small = xp.expm1(xp.where(below, r, -r))
    of_p, of_q = xp.log1p((1 - beta) * small), xp.log1p(beta * small)  # log(m/p) where q < p, log(m/q) elsewhere
    log_m_p, log_m_q = xp.where(below, of_p, of_q + r), xp.where(below, of_p - r, of_q)
    rows = beta * kl_rows(p, (1 - beta) * difference, log_m_p) + (1 - beta) * kl_rows(q, -beta * difference, log_m_q)
    return rows.mean(axis=-1), softmax_backward(q, -(1 - beta) * log_m_q, T) / z.shape[-2]
