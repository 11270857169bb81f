"""Relations instead of probabilities: the student's should correlate with the teacher's, whatever their scale."""

from ..checks import Array, check_number, check_pair, xp_of
from ..softmax import softmax_rows
from .divergences import softmax_backward

TINY = 1e-8  # added to the product of two norms, which is 0 where nothing varies: that correlates with nothing


def dist(z: Array, v: Array, T: float, beta: float = 1.0, gamma: float = 1.0) -> tuple[Array, Array]:
    """Return C = β mean_B (1 - ρ(q_b, p_b)) + γ mean_N (1 - ρ(q_:i, p_:i)), Pearson's ρ; β, γ >= 0.

    Rows relate the classes of an image, columns the images of a batch. dρ/dq = (p̃ - ρ q̃)/|q - q̄| with q̃ and p̃
    centred and of norm 1, and then through the softmax. Huang et al., "Knowledge Distillation from A Stronger
    Teacher", 2022 (their L_inter and L_intra, less the factor T²). A value in [0, 2 (β + γ)]; 0 at q = p but for TINY,
    which matters where q is nearly uniform. One row alone has no relation to others, and its second term is γ.
    """
    z, v, T = check_pair(z, v, T)
    beta, gamma = (check_number(name, u, at_least=0) for name, u in (("beta", beta), ("gamma", gamma)))
    B, N = z.shape[-2:]
    q, p = softmax_rows(z, T), softmax_rows(v, T)  # (..., B, N)
    (rho_rows, by_rows), (rho_columns, by_columns) = _pearson(q, p, -1), _pearson(q, p, -2)
    value = beta * (1 - rho_rows).mean(axis=-1) + gamma * (1 - rho_columns).mean(axis=-1)
    dq = -(beta / B * by_rows + gamma / N * by_columns)
    return value, softmax_backward(q, dq, T)


def _pearson(a: Array, b: Array, axis: int) -> tuple[Array, Array]:
    """Return ρ along the axis, which it loses, and its derivative by a."""
    xp = xp_of(a)
    a, b = (u - u.mean(axis=axis, keepdims=True) for u in (a, b))
    product, norm_a, norm_b = ((u * w).sum(axis=axis, keepdims=True) for u, w in ((a, b), (a, a), (b, b)))
    norm_a, norm_b = xp.sqrt(norm_a), xp.sqrt(norm_b)
    both = norm_a * norm_b + TINY
    da = b / both - product * norm_b / both**2 * (a / xp.where(norm_a == 0, 1, norm_a))
    return (product / both).squeeze(axis), da
