"""Laws that the gradient of every distillation loss obeys: it is the derivative of the value, and along q - p."""

import numpy as np

from .fingerprint import log_softmax
from .judge import Broken, Case, Judge


def the_gradient_is_the_derivative_of_the_value(judge: Judge, case: Case) -> None:
    """The gradient gives the value's slope along two directions; with labels, this is tried with the hard term too."""
    unit = (
        case.T if len(judge.alphas) == 1 else min(case.T, 1.0)
    )  # the scale on which the loss varies; the hard term has T = 1
    rng, h = np.random.default_rng(0), (1e-2 if judge.tolerance < 1e-5 else 0.3) * unit
    for alpha in judge.alphas:
        found = judge.at(alpha, case.z, case.v, case.T, case.y)
        assert found.gradient is not None
        for _ in range(2):
            direction = rng.choice([-1.0, 1.0], case.z.shape) * rng.uniform(0.5, 1, case.z.shape)

            def slope(step: float, d: np.ndarray = direction, alpha: float = alpha) -> float:
                up, down = (judge.at(alpha, case.z + s * step * d, case.v, case.T, case.y).value for s in (1, -1))
                return (up - down) / (2 * step)

            truth, ours = (4 * slope(h / 2) - slope(h)) / 3, float((found.gradient * direction).sum())
            scale = max(abs(truth), judge.magnitude(case, alpha) / case.T)
            if not abs(truth - ours) <= max(1e-4, 20 * judge.tolerance) * scale:
                raise Broken(f"along a direction the value changes by {truth:.8g}, the gradient says {ours:.8g}")


def rows_of_the_gradient_sum_to_0(judge: Judge, case: Case) -> None:
    """Each row of the gradient sums to 0, since a constant that is added to a row of logits changes nothing."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    sums, scale = np.abs(gradient.sum(axis=-1)).max(), np.abs(gradient).max()
    if not sums <= 100 * judge.tolerance * max(scale, judge.magnitude(case) / case.T):
        raise Broken(f"a row of the gradient sums to {sums:.3g}, its largest component is {scale:.3g}")


def the_gradient_is_proportional_to_q_minus_p(judge: Judge, case: Case) -> None:
    """dC/dz = c (q - p), with one c for the whole batch; in Eq. 2, c is 1/T."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    difference = np.exp(log_softmax(case.z, case.T)) - np.exp(log_softmax(case.v, case.T))
    if np.abs(difference).max() < 1e-3:
        return
    c = float((gradient * difference).sum() / (difference**2).sum())
    rest = np.abs(gradient - c * difference).max()
    if not (c > 0 and rest <= 100 * judge.tolerance * np.abs(c * difference).max()):
        raise Broken(f"gradient = {c:.6g} (q - p) + a rest of {rest:.3g}, of {np.abs(gradient).max():.3g}")


def a_step_against_the_gradient_lowers_the_loss(judge: Judge, case: Case) -> None:
    """Where student and teacher differ, the gradient is not 0, and a small step against it lowers the loss."""
    found = judge.soft(case.z, case.v, case.T, case.y)
    difference = np.abs(np.exp(log_softmax(case.z, case.T)) - np.exp(log_softmax(case.v, case.T))).max()
    assert found.gradient is not None
    if difference < 0.01:
        return
    if not found.gradient.any():
        raise Broken("the gradient is 0 although student and teacher differ")
    if judge.tolerance >= 1e-5:
        return
    for size in (1e-2, 1e-4, 1e-6, 1e-8):  # the first are too long where the gradient is small and the loss bends
        step = size * case.T / np.abs(found.gradient).max()
        after = judge.soft(case.z - step * found.gradient, case.v, case.T, case.y).value
        if after < found.value:
            return
    raise Broken(f"after a small step against the gradient: {found.value:.10g} became {after:.10g}")


def at_high_temperature_the_gradient_is_that_of_logit_matching(judge: Judge, case: Case) -> None:
    """The gradient tends to a multiple of z - v, each with mean 0 (Eq. 4); its relative residual falls as 1/T."""
    centred = (case.z - case.z.mean(-1, keepdims=True)) - (case.v - case.v.mean(-1, keepdims=True))
    if np.abs(centred).max() < 0.5:
        return
    residual = {}
    for T in (1e2, 1e4) if judge.tolerance < 1e-5 else (1e1, 1e2):
        gradient = judge.soft(case.z, case.v, T, case.y).gradient
        assert gradient is not None
        c = float((gradient * centred).sum() / (centred**2).sum())
        residual[T] = np.abs(gradient - c * centred).max() / max(np.abs(c * centred).max(), 1e-300)
    low, high = residual.values()
    if not (high <= 0.05 * low or high <= 100 * judge.tolerance):
        raise Broken(
            f"the residual of Eq. 4 is {low:.3g} at T = {min(residual):g} and {high:.3g} at T = {max(residual):g}"
        )
