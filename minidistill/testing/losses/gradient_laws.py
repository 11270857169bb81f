"""Laws that the gradient of every distillation loss obeys: it is the derivative of the value, and along q - p."""

from typing import Any
from zlib import crc32

import numpy as np

from .domain import Mix, random_batch
from .forms import HINTON_FORMS, log_softmax
from .judge import Broken, Case, Judge

ROUNDINGS = 64  # of the largest component: what sums over rows and classes may add up


def the_gradient_is_the_derivative_of_the_value(judge: Judge, case: Case) -> None:
    """The gradient gives the value's slope along a random direction, with labels that of the hard term and of both."""
    unit = case.T if len(judge.mixes) == 1 else min(case.T, 1.0)  # on which it varies; the hard term has T = 1
    rng, h = np.random.default_rng(crc32(case.z.tobytes())), (1e-2 if judge.domain.epsilon < 1e-9 else 0.3) * unit
    for mix in judge.mixes:
        found = judge.at(mix, case.z, case.v, case.T, case.y)
        assert found.gradient is not None
        noise = judge.noise(mix, case.z, case.v, case.T, found)
        direction = rng.choice([-1.0, 1.0], case.z.shape) * rng.uniform(0.5, 1, case.z.shape)

        def slope(step: float, d: np.ndarray = direction, mix: Mix = mix) -> float:
            up, down = (judge.at(mix, case.z + s * step * d, case.v, case.T, case.y).value for s in (1, -1))
            return (up - down) / (2 * step)

        coarse, middle, fine = (slope(h / 2**k) for k in range(3))
        coarse, middle = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
        truth, ours = (16 * middle - coarse) / 15, float((found.gradient * direction).sum())
        likely = float(np.linalg.norm(found.gradient))  # of a slope along a direction, which may be 0 by chance
        line = (1e-6 if judge.domain.epsilon < 1e-9 else 0.02) * likely + 8 * noise / h
        if not abs(truth - ours) <= line:
            raise Broken(f"along a direction the value changes by {truth:.8g}, the gradient says {ours:.8g}")


def rows_of_the_gradient_sum_to_0(judge: Judge, case: Case) -> None:
    """Each row of the gradient sums to 0, since a constant that is added to a row of logits changes nothing."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    sums, scale = np.abs(gradient.sum(axis=-1)), np.abs(gradient).max()
    noise = judge.gradient_noise(judge.soft_term.mix, case.z, case.v, case.T, case.y).sum(axis=-1)
    if not (sums <= noise + ROUNDINGS * judge.domain.epsilon * scale).all():
        raise Broken(f"a row of the gradient sums to {sums.max():.3g}, its largest component is {scale:.3g}")


def the_gradient_is_proportional_to_q_minus_p(judge: Judge, case: Case) -> None:
    """dC/dz = c (q - p), with one c for the whole batch: 1/T in Eq. 2, times the reduction and the power of T."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    q, p = (np.exp(log_softmax(u, case.T)) for u in (case.z, case.v))
    term, known = judge.soft_term, judge.soft_term.named and judge.soft_term.kind in HINTON_FORMS
    if known:
        c = term.factor(len(case.z), case.z.shape[1], case.T) / case.T
        tolerated = judge.gradient_noise(term.mix, case.z, case.v, case.T, case.y)
    elif np.abs(q - p).max() < 1e-3:
        return
    else:
        c = float((gradient * (q - p)).sum() / ((q - p) ** 2).sum())
        tolerated = np.full(q.shape, max(1e-5, 1e4 * judge.domain.epsilon) * np.abs(c * (q - p)).max())
    off = np.abs(gradient - c * (q - p))
    if c <= 0 or not (off <= tolerated).all():
        i, place = _worst(off - tolerated)
        if known:
            raise Broken(
                f"gradient[{place}] is {gradient[i]:.10g}, it must be {c:.6g} (q - p) = {(c * (q - p))[i]:.10g}"
            )
        raise Broken(f"gradient = {c:.6g} (q - p) + a rest of {off.max():.3g}, of {np.abs(gradient).max():.3g}")


def the_gradient_of_the_hard_term_is_q_minus_the_labels(judge: Judge, case: Case) -> None:
    """d hard / dz = c (q - onehot) with q at T = 1, of smoothed or weighted labels too."""
    term, (B, N) = judge.hard_term, case.z.shape
    if term is None or not term.named or term.shares is None or term.classes not in (None, N):
        return
    gradient = judge.at(term.mix, case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    shares = term.shares(case.y, case.z)
    expected = term.factor(B, N, case.T) * (shares.sum(-1, keepdims=True) * np.exp(log_softmax(case.z)) - shares)
    tolerated = judge.gradient_noise(term.mix, case.z, case.v, case.T, case.y)
    off = np.abs(gradient - expected)
    if not (off <= tolerated).all():
        i, place = _worst(off - tolerated)
        raise Broken(f"gradient[{place}] of the hard term is {gradient[i]:.10g}, it must be {expected[i]:.10g}")


def a_step_against_the_gradient_lowers_the_loss(judge: Judge, case: Case) -> None:
    """Where student and teacher differ, the gradient is not 0, and a small step against it lowers the loss."""
    found = judge.soft(case.z, case.v, case.T, case.y)
    difference = np.abs(np.exp(log_softmax(case.z, case.T)) - np.exp(log_softmax(case.v, case.T))).max()
    assert found.gradient is not None
    if difference < 0.01:
        return
    if not found.gradient.any():
        raise Broken("the gradient is 0 although student and teacher differ")
    if judge.domain.epsilon > 1e-9:
        return
    for size in (1e-2, 1e-4, 1e-6, 1e-8):  # the first are too long where the gradient is small and the loss bends
        step = size * case.T / np.abs(found.gradient).max()
        if step * (found.gradient**2).sum() < 1e-14 * found.size:  # rounding hides it, and shorter ones
            if size == 1e-2:
                return
            break
        after = judge.soft(case.z - step * found.gradient, case.v, case.T, case.y).value
        if after < found.value:
            return
    raise Broken(f"after a small step against the gradient: {found.value:.10g} became {after:.10g}")


def at_high_temperature_the_gradient_is_that_of_logit_matching(judge: Judge, case: Case) -> None:
    """The gradient tends to a multiple of z - v, each with mean 0 (Eq. 4); its relative residual falls as 1/T."""
    centred = (case.z - case.z.mean(-1, keepdims=True)) - (case.v - case.v.mean(-1, keepdims=True))
    taken, coarse = judge.domain.temperatures, judge.domain.epsilon > 1e-9
    pairs = [
        (low, high) for low, high in ((1e2, 1e4), (1e1, 1e3), (1e1, 1e2))[2 * coarse :] if {low, high} <= set(taken)
    ]
    if np.abs(centred).max() < 0.5 or not pairs or np.abs([case.z, case.v]).max() > 10:
        return
    residual = []
    for T in pairs[0]:
        gradient = judge.soft(case.z, case.v, T, case.y).gradient
        assert gradient is not None
        c = float((gradient * centred).sum() / (centred**2).sum())
        residual.append(np.abs(gradient - c * centred).max() / max(np.abs(c * centred).max(), 1e-300))
    (low, high), rounded = residual, ROUNDINGS * judge.domain.epsilon * pairs[0][1] / np.abs(centred).max()
    if not (high <= 2 * pairs[0][0] / pairs[0][1] * low + rounded or high <= 1e-5):
        raise Broken(f"the residual of Eq. 4 is {low:.3g} at T = {pairs[0][0]:g} and {high:.3g} at T = {pairs[0][1]:g}")


def the_gradient_follows_what_is_made_of_the_loss(judge: Judge, case: Case) -> None:
    """The gradient of 2 C + Σ z is twice that of C, and 1: a backward of one's own honours the gradient it is given.

    Tried on random logits at the case's T.
    """
    (alpha, *_), (z, v, y), T = judge.soft_term.mix, random_batch(*judge.domain.base, case.seed or 0), case.T
    a, b = judge.domain.ask(alpha, z, v, T, y), judge.in_a_sum(z, v, T, y, alpha)
    assert a.gradient is not None
    assert b.gradient is not None
    scale = 1 + np.abs(a.gradient).max()
    off = np.abs(2 * a.gradient + 1 - b.gradient)
    if not off.max() <= ROUNDINGS * max(judge.domain.epsilon, judge.domain.steady) * scale:
        i, place = _worst(off)
        raise Broken(f"gradient[{place}] of C is {a.gradient[i]:.8g}, of 2 C + Σ z {b.gradient[i]:.8g}")


def _worst(off: np.ndarray) -> tuple[tuple[Any, ...], str]:
    """Return the index of the largest number, or of a NaN, which argmax takes for one, and the text of it."""
    index = np.unravel_index(np.argmax(off), off.shape)
    return index, ", ".join(map(str, index))
