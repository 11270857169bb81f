"""Matching the logits themselves, without a softmax: what distillation becomes as T grows (Hinton et al. 2015, Eq. 4).

Ba and Caruana, "Do Deep Nets Really Need to be Deep?", 2014, Eq. 1, on centred logits: a constant that is added to a
row changes no probability, and so costs nothing here.
"""

from ..checks import Array, check_pair


def logit_matching(z: Array, v: Array) -> tuple[Array, Array]:
    """Return C = mean_B ½ Σ_i d_i² with d = (z - z̄) - (v - v̄), and dC/dz = d/B: N T² times Eq. 4."""
    z, v, _ = check_pair(z, v, 1.0)
    d = z - v
    d = d - d.mean(axis=-1, keepdims=True)  # (..., B, N); rows sum to 0: centring adds no gradient
    return (d * d).sum(axis=-1).mean(axis=-1) / 2, d / z.shape[-2]
