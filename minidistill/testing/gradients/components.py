"""The components of a gradient, each held against what itself can be known to, and what that finds.

At a kink, such as ReLU's at 0, there is no derivative to compare with, only the slopes on its two sides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from .derivative import CannotJudge, Near, Slope, random_direction
from .trees import Place, Tree

FEW = 16  # components that are tried one by one when a direction of theirs is off
FAR = 1e8 * (1 + 1j)  # where a component is put to see whether f depends on it at all

# how far a right gradient may be off by rounding
OPERATIONS = 8  # that are rounded one after the other
NEIGHBOURS, ULPS = 4, 8  # points as near to x as this that x may stand for
MARGIN = 4  # of safety


class WrongGradient(AssertionError):
    """Say that a gradient is not the derivative: at which component, both values, and a reproducer to paste."""


@dataclass(frozen=True)
class GradientCheck:
    """Hold what a check of a right gradient found; printed, it is a sentence.

    error: the largest difference over the largest component of the truth. method: how the truth was found, "complex"
    or "difference". kinks: the places at which the function has no derivative; the gradient lies between the slopes of
    the two sides. unknown: no component could be told to better than its own size times this, or better, where f rounds
    or x is next to a kink; from 0 to 1. untold: the places of those that could not be told to the tolerance. A place is
    an index, after the keys of the array if x is a list or a dict.
    """

    error: float
    method: str
    kinks: list[Place] = field(default_factory=list)
    unknown: float = 0.0
    untold: list[Place] = field(default_factory=list)

    def __str__(self) -> str:
        text = f"right by {self.method} steps, off by {self.error:.3g} of the largest component"
        if self.kinks:
            text += f"; kinks, which have no derivative: {_listed(self.kinks)}"
        if self.unknown:
            which = _listed(self.untold) or "components together"
            text += f"; cannot be told to better than {self.unknown:.3g} of itself: {which}"
        return text


class Components:
    """The components of one gradient, and what was found out about each of them."""

    def __init__(
        self, near: Near, tree: Tree, claimed: np.ndarray, eps: np.ndarray, method: str, step: float, tolerance: float
    ) -> None:
        self.near, self.tree, self.claimed, self.eps = near, tree, claimed, eps
        self.method, self.step, self.tolerance = method, step, tolerance
        self.largest = float(np.abs(claimed).max())  # of the truth, as soon as it is known
        self.off, self.kinks = 0.0, list[int]()
        self.shares: dict[int, float] = {}  # of a component, that could not be told
        self.common = 0.0  # the largest such share of components that were told together

    def try_components(self, indices: np.ndarray) -> None:
        """Hold each of these components to its derivative. Raises WrongGradient for the one that is furthest off."""
        slopes, wrong = dict[int, Slope](), list[int]()
        for i in indices.tolist():
            if self.method == "complex":
                slopes[i] = Slope(self.near.complex_component(i), 0.0)
            else:
                slopes[i] = self.near.component(i, self.step).found(partial(self.enough, i))
        values = [abs(slope.value) for slope in slopes.values() if np.isfinite(slope.value) and not slope.kink]
        if len(indices) == len(self.claimed):
            self.largest = max(values, default=0.0)
        for i, slope in slopes.items():
            if self.fits(i, slope):
                self.note(i, slope)
            else:
                wrong.append(i)
        for i in sorted(wrong, key=lambda i: -abs(self.claimed[i] - slopes[i].value)):
            self.note(i, self.judged(i, slopes[i]))

    def enough(self, i: int, slope: Slope) -> bool:
        """Return whether a slope is known to the tolerance."""
        if self.claimed[i] == 0 and abs(slope.value) <= slope.unknown:
            return False  # larger steps would show a small slope
        return slope.unknown <= self.tolerance * self.size(i, slope)

    def size(self, i: int, slope: Slope) -> float:
        """Return what the error of a component is relative to: itself, or the largest where it is 0 and may be."""
        claim = abs(float(self.claimed[i]))
        return max(claim, abs(slope.value)) if claim or abs(slope.value) > slope.unknown else self.largest

    def fits(self, i: int, slope: Slope) -> bool:
        """Return whether the claimed component may be the slope; nothing contradicts it where none is known."""
        claim = float(self.claimed[i])
        return not abs(claim - slope.value) > self.allowed(claim, slope) + slope.unknown

    def allowed(self, claim: float, slope: Slope) -> float:
        """Return what is tolerated beyond what cannot be told."""
        return self.tolerance * max(abs(claim), abs(slope.value))

    def judged(self, i: int, slope: Slope) -> Slope:
        """Return the slope of a component that seems wrong after a closer look. Raises WrongGradient if it is."""
        careful = self.near.component(i, self.step).found(partial(self.enough, i), thorough=True)
        if self.method != "complex":
            slope = careful
        elif not careful.agrees(slope, 1e-6 * abs(slope.value)):
            slope = careful  # f is not analytic in this component
        elif slope.value == 0 and abs(self.claimed[i]) <= careful.unknown and not self.is_idle(i):
            slope = careful  # a part that is not analytic has a complex slope of 0, and may hide below rounding
        if not self.fits(i, slope):
            slope = replace(slope, unknown=slope.unknown + self.rounding(i, slope))
        if self.fits(i, slope):
            return slope
        raise WrongGradient(self.report(i, slope))

    def is_idle(self, i: int) -> bool:
        """Return whether f does not depend on a component at all, however far it moves in the complex plane."""
        u = self.near.x.astype(np.complex128)
        u[i] = FAR
        try:
            return bool(self.near.value(u) == self.near.at)
        except Exception:  # of whatever kind: it does depend on it
            return False

    def rounding(self, i: int, slope: Slope) -> float:
        """Return how far a right gradient may be off at a component because it was computed with rounding.

        What it was made from is as large as the slopes of f between x and 0 (1 - tanh² is 0 or 1e-16 where the truth is
        1e-18), and is as uncertain as x itself is.
        """
        eps, near, x = float(self.eps[i]), self.near, float(self.near.x[i])
        steepest, spread = abs(slope.value), 0.0
        for share in (0.0, 0.5) if x else ():
            u = near.x.copy()
            u[i] = share * x
            value = near.evaluate(u)
            if np.isfinite(value):
                steepest = max(steepest, (abs(value - near.at) - 2 * near.noise) / abs((1 - share) * x))
            value = near.evaluate(share * near.x)
            if np.isfinite(value):
                way = (1 - share) * float(np.abs(near.x).sum())
                steepest = max(steepest, (abs(value - near.at) - 2 * near.noise) / way)
        if self.method == "complex" or eps > 1e-10:
            rng = np.random.default_rng(i)
            around = [near.complex_component(i) if self.method == "complex" else slope.value]
            for _ in range(NEIGHBOURS):
                moved = near.elsewhere(near.x * (1 + ULPS * eps * rng.uniform(-1, 1, near.x.shape)))
                if self.method == "complex":
                    around.append(moved.complex_component(i))
                else:
                    around.append(moved.component(i, self.step).found(partial(self.enough, i)).value)
            spread = max(0.0, float(np.nanmax(around) - np.nanmin(around)) - MARGIN * slope.unknown)
        return MARGIN * (OPERATIONS * eps * steepest + eps * self.largest + spread)

    def note(self, i: int, slope: Slope) -> None:
        """Keep what a slope that fits says."""
        if slope.kink:
            self.kinks.append(i)
            return
        if np.isfinite(slope.value):
            self.off = max(self.off, abs(float(self.claimed[i]) - slope.value) - slope.unknown)
        size = self.size(i, slope)
        if slope.unknown > self.tolerance * size > 0:
            self.shares[i] = min(1.0, slope.unknown / size)
        elif not np.isfinite(slope.value):
            self.shares[i] = 1.0

    def try_directions(self, directions: int, seed: int) -> None:
        """Try components of about one size together along random directions, and by themselves where that is off."""
        rng = np.random.default_rng(seed)
        for group in of_one_size(self.claimed):
            for _ in range(directions):
                if not self.try_group(group, rng):
                    break

    def try_group(self, group: np.ndarray, rng: np.random.Generator) -> bool:
        """Try a group along one direction, and if that is off its halves. Return whether it was right at once."""
        if len(group) <= FEW:
            self.try_components(group)
            return False
        d = random_direction(rng, group, len(self.claimed))
        largest = float(np.abs(self.claimed[group]).max())
        allowed = self.tolerance * largest
        slope, rounding = self.residual(d, allowed)
        allowed += MARGIN * float(self.eps.max()) * np.sqrt(len(group)) * (largest or self.largest)
        told = slope.unknown <= max(allowed, min(3 * rounding, 0.03 * (largest or self.largest)))
        if told and abs(slope.value) <= allowed + slope.unknown and not slope.kink:
            self.off = max(self.off, abs(slope.value) - slope.unknown)
            if slope.unknown > allowed and largest:
                self.common = max(self.common, slope.unknown / largest)
            return True
        half, other = np.array_split(rng.permutation(group), 2)
        self.try_group(half, rng)
        self.try_group(other, rng)
        return False

    def residual(self, d: np.ndarray, allowed: float) -> tuple[Slope, float]:
        """Return the slope along d less what the claimed gradient makes of it, and its rounding at the first step."""
        if self.method == "complex":
            return Slope(self.near.complex_step(d) - float(self.claimed @ d), 0.0), 0.0
        slopes = self.near.direction(d, self.claimed, self.step)
        return slopes.found(partial(known_to, allowed)), slopes.central(0).rounding

    def report(self, i: int, slope: Slope) -> str:
        """Return the text of a failure at component i."""
        ours = float(self.claimed[i])
        error, size = abs(ours - slope.value), abs(slope.value)
        must, known = f"must be {slope.value:.10g}", ""
        if slope.kink:
            must = f"must lie within {slope.unknown:.3g} of {slope.value:.10g}, between the slopes of a kink"
        elif slope.unknown > self.tolerance * size:
            known = f", known to {slope.unknown:.3g}"
        return (
            f"{self.tree.name('gradient', i)} is {ours:.10g} and {must}, by {self.method} steps{known}: relative error "
            f"{error / size if size else np.inf:.3g}, tolerated {self.tolerance:.3g}\n"
            f"reproduce with x = {self.tree.code()}"
        )

    def result(self) -> GradientCheck:
        """Return what was found. Raises CannotJudge if that is nothing."""
        size = len(self.claimed)
        if len(self.kinks) == size:
            raise CannotJudge("x must lie where f has a derivative, got a kink in every component")
        nothing = [i for i, share in self.shares.items() if share >= 1]
        if len(self.kinks) + len(nothing) == size:
            raise CannotJudge(
                "f must be finite near x, and more than rounding must be left of its derivative, got nothing in any "
                f"component: a value of {self.near.at:.6g} is known to {self.near.noise:.3g}{self.near.failure}"
            )
        error = self.off / self.largest if self.largest else 0.0
        unknown = max([self.common, *self.shares.values()])
        place = self.tree.place
        kinks, untold = ([place(i) for i in sorted(indices)] for indices in (self.kinks, self.shares))
        return GradientCheck(error, self.method, kinks, unknown, untold)


def of_one_size(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the indices of the zeros, and of the values of each decade."""
    decades = np.floor(np.log10(np.abs(values)))  # -inf of 0
    for decade in np.unique(decades):
        yield np.flatnonzero(decades == decade)


def known_to(most: float, slope: Slope) -> bool:
    """Return whether a slope is known to an error of `most`."""
    return slope.unknown <= most


def _listed(places: list[Place]) -> str:
    more = f" and {len(places) - 5} more" if len(places) > 5 else ""
    return ", ".join(str(list(place)) for place in places[:5]) + more
