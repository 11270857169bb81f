"""The weights of the two terms, and the mixes of two alphas that leave one of them alone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checks import MinidistillError
from .domain import Domain, Mix, random_batch
from .terms import Term, rounding


class Unrecognised(MinidistillError):
    """Say that the loss has no soft term of its own to recognise."""


@dataclass
class Weights:
    """Hold the two mixes of alpha that leave one term alone, and the weights of the terms.

    soft, hard: each (a, b), for the weight (a + b alpha) / (1 + d alpha), where d is 0 or 1.
    """

    soft_alone: Mix
    hard_alone: Mix | None = None
    soft: tuple[float, float] = (0.0, 1.0)
    hard: tuple[float, float] = (1.0, -1.0)
    d: float = 0.0

    def words(self, soft: Term, hard: Term) -> str:
        """Return "soft" or "hard" where alpha weighs this one and 1 - alpha the other, else both weights."""
        for weights, name in ((((0, 1), (1, -1)), "soft"), (((1, -1), (0, 1)), "hard")):
            if not self.d and np.allclose((self.soft, self.hard), weights, atol=1e-4):
                return name
        both = [f"{_weight(*w, self.d, term.own_constant())}{name}" for w, term, name in
                ((self.soft, soft, "soft"), (self.hard, hard, "hard"))]  # fmt: skip
        return " + ".join(both)


def _weight(a: float, b: float, d: float, times: float) -> str:
    """Return (a + b alpha) / (1 + d alpha), times a number, in words."""
    if d and abs(a - b) <= 1e-4 * abs(a):  # it cancels
        b = d = 0.0
    a, b = (float(f"{times * x:.4g}") + 0.0 if abs(x) > 1e-4 else 0.0 for x in (a, b))
    top = f"{a:g}" if b == 0 else f"{'' if abs(b) == 1 else f'{abs(b):g} '}alpha"
    if b and a:
        top = f"({a:g} {'+' if b > 0 else '-'} {top})"
    elif b < 0:
        top = f"-{top}"
    return f"{top} / (1 + alpha) " if d else "" if top == "1" else f"{top} "


def weights_of(domain: Domain) -> Weights:
    """Find where each term stands alone. Raises Unrecognised if the soft term never does."""
    if not domain.loss.takes_labels:
        return Weights({1.0: 1.0})
    (B, N), T = domain.base, domain.T
    inner = sorted(domain.alphas, key=lambda a: (a not in (0, 1), abs(a - 0.5) < 0.2, a))
    low, high = min(inner[:2]), max(inner[:2])
    if low == high:
        raise Unrecognised(f"alpha must be answered at two values, it was only at {low:g}")
    ends = [{low: (high - x) / (high - low), high: (x - low) / (high - low)} for x in (1.0, 0.0)]
    ends = [{a: w for a, w in end.items() if w} for end in ends]  # at alpha 1 and at 0

    def changes(mix: Mix) -> tuple[np.ndarray, np.ndarray]:
        """Return what other labels, and what other teachers, change in it; what rounding may is 0."""
        labels, teachers = list[float](), list[float]()
        for seed in range(3):
            z, v, y = random_batch(B, N, seed)
            here = domain.at(mix, z, v, T, y)
            noise = rounding(domain.epsilon, z, v, min(T, 1.0)) * here.size + 1e-300
            for found, other in ((labels, (z, v, T, (y + 1) % N)), (teachers, (z, v[:, ::-1], T, y))):
                change = domain.at(mix, *other).value - here.value
                found.append(0.0 if abs(change) <= noise else change)
        return np.array(labels), np.array(teachers)

    at = [changes(end) for end in ends]

    def alone(gone: int, stays: int) -> Mix | None:
        """Return the mix in which one change is gone and the other is not."""
        for end in (0, 1):
            if not at[end][gone].any() and at[end][stays].any():
                return ends[end]
        more = int(np.abs(at[1][stays]).sum() > np.abs(at[0][stays]).sum())
        with np.errstate(all="ignore"):
            ratios = at[more][gone] / at[1 - more][gone]
        ratio = float(np.median(ratios))
        mix = {a: ends[more].get(a, 0.0) - ratio * ends[1 - more].get(a, 0.0) for a in (low, high)}
        if not np.isfinite(ratio) or np.ptp(ratios) > max(1e-6, 1e4 * domain.epsilon) * abs(ratio):
            return None
        left = changes(mix)
        return mix if left[stays].any() and np.abs(left[gone]).max() < 1e-4 * np.abs(left[stays]).max() else None

    soft = alone(0, 1)
    if soft is None:
        raise Unrecognised(
            "the soft term is alone at no mix of two alphas: the loss must depend on alpha, and its soft term on the "
            "teacher and not on the labels"
        )
    hard = alone(1, 0)
    if hard is None:  # it depends on the teacher
        order = ((0.0, 1.0), (1.0, -1.0)) if soft == ends[0] else ((1.0, -1.0), (0.0, 1.0))
        return Weights(soft, ends[soft == ends[0]], *order)
    found = Weights(soft, hard)
    if at[0][0].any() or at[1][0].any():
        lines = [_fitted(domain, soft, lambda z, v, y: (z, v[:, ::-1], y)),
                 _fitted(domain, hard, lambda z, v, y: (z, v, (y + 1) % N))]  # fmt: skip
        found.d = float(max(off > 1e-6 and at_d < 1e-6 for (_, off), (_, at_d) in lines))
        (found.soft, _), (found.hard, _) = (line[int(found.d)] for line in lines)
    return found


def _fitted(domain: Domain, alone: Mix, other: Callable[..., Any]) -> list[tuple[tuple[float, float], float]]:
    """Return (a, b) of the weight of the term that `other` inputs change, and how far off most alphas are, for d 0, 1.

    The medians hear nothing of an alpha that is bent.
    """
    z, v, y = random_batch(*domain.base, 0)
    z2, v2, y2 = other(z, v, y)

    def change(mix: Mix) -> float:
        return domain.at(mix, z2, v2, domain.T, y2).value - domain.at(mix, z, v, domain.T, y).value

    alphas = np.array(domain.alphas, dtype=np.float64)
    weights, found = np.array([change({a: 1.0}) for a in domain.alphas]) / change(alone), []
    i, j = np.triu_indices(len(alphas), 1)
    for d in (0.0, 1.0):
        line = weights * (1 + d * alphas)
        b = float(np.median((line[i] - line[j]) / (alphas[i] - alphas[j])))
        a = float(np.median(line - b * alphas))
        found.append(((a, b), float(np.median(np.abs(line - a - b * alphas)))))
    return found
