"""A teacher that knows nothing but the label: label smoothing, the control that every distillation should beat."""

from ..checks import Array, check_batch, check_labels, check_number, xp_of
from ..softmax import log_softmax_rows


def label_smoothing(z: Array, y: Array, epsilon: float = 0.1) -> tuple[Array, Array]:
    """Return C = -mean_B Σ_i p_i log q_i with p = (1 - ε) onehot(y) + ε/N, dC/dz = (q - p)/B, ε in [0, 1].

    Szegedy et al., "Rethinking the Inception Architecture", 2016, Sec. 7.
    """
    z = check_batch("z", z)
    y = check_labels("y", y, z.shape[-1], z.shape[:-1])
    epsilon = check_number("epsilon", epsilon, at_least=0, at_most=1)
    xp = xp_of(z)
    p = (1 - epsilon) * (xp.arange(z.shape[-1]) == y[..., None]) + epsilon / z.shape[-1]  # (..., B, N), float64
    p, log_q = p.astype(z.real.dtype), log_softmax_rows(z, 1.0)
    return -(p * log_q).sum(axis=-1).mean(axis=-1), (xp.exp(log_q) - p) / z.shape[-2]
