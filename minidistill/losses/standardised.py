"""Logits that are standardised before they are softened: each row is given mean 0 and standard deviation 1.

A small student need not then reach its teacher's large logits, only their pattern: T becomes a multiple of each row's
own spread. Sun et al., "Logit Standardization in Knowledge Distillation", 2024, Algorithm 1.
"""

from ..checks import Array, check_pair, xp_of
from .digits import compare, kl_rows

TINY = 1e-7  # added to a standard deviation, which is 0 for a row of equal logits


def standardised(z: Array, v: Array, T: float) -> tuple[Array, Array]:
    """Return C = mean_B KL(p || q) with q = softmax(u(z), T), p = softmax(u(v), T) and u(z) = (z - z̄)/σ(z).

    With g = (q - p)/T: dC/dz_i = (g_i - u_i mean_j(g_j u_j))/(σ B), and a step along z or along a constant does
    nothing. The factor T² is the caller's. At a row of equal logits there is no derivative, and g/TINY is returned.
    """
    z, v, T = check_pair(z, v, T)
    xp = xp_of(z)
    (u, sigma), (w, _) = _standard(z), _standard(v)
    p, difference, log_ratio = compare(u, w, T)  # (..., B, N)
    g = difference / T  # rows sum to 0, so that the centring has no gradient of its own
    along = (g * u).mean(axis=-1, keepdims=True) * ((sigma + TINY) / xp.where(sigma == 0, 1, sigma))
    return kl_rows(p, difference, log_ratio).mean(axis=-1), (g - u * along) / ((sigma + TINY) * z.shape[-2])


def _standard(z: Array) -> tuple[Array, Array]:
    """Return u(z) (..., B, N) and σ(z) (..., B, 1)."""
    centred = z - z.mean(axis=-1, keepdims=True)
    sigma = xp_of(z).sqrt((centred * centred).mean(axis=-1, keepdims=True))
    return centred / (sigma + TINY), sigma
