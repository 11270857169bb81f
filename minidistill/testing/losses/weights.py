"""The weights of the two terms, and the mixes of two alphas that leave one of them alone."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...checks import MinidistillError
from .domain import Domain, Mix, random_batch
from .terms import SEEDS, Term, rounding

LABELS, TEACHER = 0, 1  # what is changed
FEW, ONE = SEEDS[:3], SEEDS[:1]  # of the batches on which it is changed
STRAIGHT = 1e-6  # weights are on a line over alpha, most of them no farther off


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
    a, b = (float(f"{times * x:.4g}") if abs(x) > 1e-4 else 0.0 for x in (a, b))
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
    low, high = min(domain.alphas), max(domain.alphas)
    if low == high:
        raise Unrecognised(f"alpha must be answered at two values, it was only at {low:g}")
    ends = [{low: (high - x) / (high - low), high: (x - low) / (high - low)} for x in (1.0, 0.0)]
    ends = [{a: w for a, w in end.items() if w} for end in ends]  # at alpha 1 and at 0

    def changes(mix: Mix) -> np.ndarray:
        """Return what other labels, and what other teachers, change in it (2, seeds); what rounding may is 0."""
        found, noise = _changes(domain, mix, FEW)
        return np.where(np.abs(found) <= noise, 0.0, found)

    at = [changes(end) for end in ends]

    def alone(gone: int) -> Mix | None:
        """Return the mix in which this change is gone and the other is not."""
        stays = 1 - gone
        for end in (0, 1):
            if not at[end][gone].any() and at[end][stays].any():
                return ends[end]
        more = int(np.abs(at[1][stays]).sum() > np.abs(at[0][stays]).sum())
        with np.errstate(all="ignore"):
            ratio = float(np.median(at[more][gone] / at[1 - more][gone]))
        if not np.isfinite(ratio):
            return None
        mix = {a: ends[more].get(a, 0.0) - ratio * ends[1 - more].get(a, 0.0) for a in (low, high)}
        left = changes(mix)
        return mix if left[stays].any() and np.abs(left[gone]).max() < 1e-4 * np.abs(left[stays]).max() else None

    soft = alone(LABELS)
    if soft is None:
        raise Unrecognised(
            "the soft term is alone at no mix of two alphas: the loss must depend on alpha, and its soft term on the "
            "teacher and not on the labels"
        )
    hard = alone(TEACHER)
    if hard is None:  # it depends on the teacher
        order = ((0.0, 1.0), (1.0, -1.0)) if soft == ends[0] else ((1.0, -1.0), (0.0, 1.0))
        return Weights(soft, ends[soft == ends[0]], *order)
    found = Weights(soft, hard)
    lines = [_fitted(domain, soft, TEACHER), _fitted(domain, hard, LABELS)]
    found.d = float(any(off > STRAIGHT and at_d < STRAIGHT for (_, off), (_, at_d) in lines))
    (found.soft, _), (found.hard, _) = (line[int(found.d)] for line in lines)
    return found


def _changes(domain: Domain, mix: Mix, seeds: Iterable[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return what other labels, and what other teachers, change in it (2, seeds), and what rounding may (seeds,)."""
    (_, N), T, found, noise = domain.base, domain.T, list[list[float]](), list[float]()
    for seed in seeds:
        z, v, y = random_batch(*domain.base, seed)
        here = domain.at(mix, z, v, T, y)
        others = domain.at(mix, z, v, T, (y + 1) % N), domain.at(mix, z, v[:, ::-1], T, y)
        found.append([other.value - here.value for other in others])
        noise.append(rounding(domain.epsilon, z, v, min(T, 1.0)) * here.size)
    return np.array(found).T, np.array(noise)


def _fitted(domain: Domain, alone: Mix, changed: int) -> list[tuple[tuple[float, float], float]]:
    """Return (a, b) of the weight of the term that is `changed`, and how far off most alphas are, for d 0 and 1.

    The medians hear nothing of an alpha that is bent.
    """

    def change(mix: Mix) -> float:
        return float(_changes(domain, mix, ONE)[0][changed, 0])

    alphas = np.array(domain.alphas)
    weights, found = np.array([change({a: 1.0}) for a in domain.alphas]) / change(alone), []
    i, j = np.triu_indices(len(alphas), 1)
    for d in (0.0, 1.0):
        line = weights * (1 + d * alphas)
        b = float(np.median((line[i] - line[j]) / (alphas[i] - alphas[j])))
        a = float(np.median(line - b * alphas))
        found.append(((a, b), float(np.median(np.abs(line - a - b * alphas)))))
    return found
