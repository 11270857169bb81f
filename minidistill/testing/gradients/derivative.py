"""Numerical derivatives of a function to one number, along a line: by a complex step or by differences.

A complex step is exact to rounding, but needs an analytic function. Differences work for any, reveal a kink, and tell
how far they are to be trusted: rounding divided by the step on one side, what the step leaves out on the other.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from itertools import count
from math import factorial
from typing import Any

import numpy as np

from ...checks import ArgumentError

COMPLEX_STEP = 1e-30  # its square vanishes beside 1: no truncation error (Squire and Trapp 1998)
MOST_EVALUATIONS = 100_000
LARGER, DEEPER = 4, 3  # steps tried above the first where rounding hides the slope; below it before anyone is accused
DEEPEST = 30  # of the steps from an x of 0, which can be halved for ever
SMALLEST = 64  # roundings of x: the smallest step
TINY = 1e-250
NOISE_STEPS = (1e-11, 1e-8, 1e-5)  # relative to x, at which rounding is looked for
COARSE_STEP = 32  # the same in float32 and float16, in roundings of x
NOISE_POINTS = range(-4, 4)
ORDERS = (2, 3, 4)  # of the differences between them
SIGMAS = 6  # of the rounding of one value, which none exceeds

Line = Callable[[float], tuple[float, float]]  # from a step t to the step really taken, and f there


class CannotJudge(ArgumentError):
    """Say why nothing can be said about a gradient: f has no derivative at x, or rounding hides all of it."""


@dataclass(frozen=True)
class Slope:
    """Hold a derivative along a line, which lies within value ± unknown. rounding: the part of it that f's values have.

    kink: the slopes on the two sides of x differ; both lie within.
    """

    value: float
    unknown: float
    rounding: float = 0.0
    kink: bool = False

    def agrees(self, other: "Slope", more: float = 0.0) -> bool:
        """Return whether the two may be the same number."""
        return abs(self.value - other.value) <= self.unknown + other.unknown + more


NOTHING = Slope(np.nan, np.inf)


class Slopes:
    """The slopes of f along a line on both sides of x, at steps of which each is a quarter of the one before.

    at: f(x). noise: how far a value of f is off by rounding. eps: the rounding of its type. step: the first. smallest:
    below it x does not move.
    """

    def __init__(self, line: Line, at: float, noise: float, eps: float, step: float, smallest: float) -> None:
        self.line, self.at, self.noise, self.eps, self.step, self.smallest = line, at, noise, eps, step, smallest
        self.known: dict[int, tuple[float, float, float]] = {}

    def sides(self, k: int) -> tuple[float, float, float]:
        """Return the slopes to the right and to the left at step k, and the rounding of a value over the step."""
        if k not in self.known:
            h = self.step / 4.0**k
            (right, up), (left, down) = self.line(h), self.line(-h)
            noise = max(self.noise, self.eps * max(abs(up), abs(down)))
            moved = right > 0 > left
            self.known[k] = (
                ((up - self.at) / right, (down - self.at) / left, noise / h) if moved else (np.nan, np.nan, np.inf)
            )
        return self.known[k]

    def central(self, k: int) -> Slope:
        """Return Richardson's extrapolation of central differences at steps k and k + 1.

        Unknown is what the smaller step changed, half the jump of the slope that a smaller one would leave, and
        rounding.
        """
        (right, left, _), (near_right, near_left, noise) = self.sides(k), self.sides(k + 1)
        slope, near = right / 2 + left / 2, near_right / 2 + near_left / 2
        jump, near_jump = right - left, near_right - near_left
        model = abs(near - slope) / 3 + abs(near_jump + (near_jump - jump) / 3) / 2
        return Slope(near + (near - slope) / 15, model + 2 * noise, 2 * noise) if np.isfinite(model) else NOTHING

    def one_sided(self, k: int, side: int) -> Slope:
        """Return the slope on one side, 0 for the right and 1 for the left, extrapolated from steps k and k + 1."""
        far, near, noise = self.sides(k)[side], self.sides(k + 1)[side], self.sides(k + 1)[2]
        change = abs(near - far)
        return Slope(near + (near - far) / 3, change + 3 * noise) if np.isfinite(change) else NOTHING

    def found(self, enough: Callable[[Slope], bool], thorough: bool = False) -> Slope:
        """Return the slope, from as few steps as are `enough`, or from all that can add to it.

        Steps become smaller while rounding leaves room for it, and larger while rounding is what hides the slope.
        """
        best = self.central(0)
        if enough(best) and not thorough:
            return best
        k = 0  # an x that is not 0 may be as near to the border of f's domain as to 0
        while self.step / 4.0 ** (k + 2) >= self.smallest and (k < DEEPEST or self.smallest > TINY):
            least = 2 * self.noise * 4.0 ** (k + 2) / self.step  # rounding at the next step
            if least >= best.unknown and not (thorough and k < DEEPER):
                break
            k += 1
            best = min(best, self.central(k), key=lambda slope: slope.unknown)
            if enough(best) and not thorough:
                return self.combined(range(k, -1, -1))
        top = 0
        while top > -LARGER and best.rounding > best.unknown / 2 and not (enough(best) and not thorough):
            top -= 1
            next_one = self.central(top)
            if not next_one.unknown <= 2 * best.unknown:
                break
            best = min(best, next_one, key=lambda slope: slope.unknown)
        return self.combined(range(k, top - 1, -1))

    def combined(self, ks: range) -> Slope:
        """Return what the steps say together, from the smallest up: a larger one may only say more exactly the same.

        Beside a kink the slope of x's own side is known best from larger steps on that side alone.
        """
        both = _refined([self.central(k) for k in ks])
        right, left = (min((self.one_sided(k, side) for k in ks), key=lambda one: one.unknown) for side in (0, 1))
        if not np.isfinite(both.value):
            return right if right.unknown <= left.unknown else left
        if right.agrees(left):
            return both
        gap = abs(right.value - left.value)
        fits = [side for side in (right, left) if side.agrees(both, 0.1 * gap)]
        if len(fits) == 2:
            unknown = gap / 2 + right.unknown + left.unknown
            return Slope(right.value / 2 + left.value / 2, unknown, kink=True)
        return min(*fits, both, key=lambda one: one.unknown) if fits else both


def _refined(slopes: list[Slope]) -> Slope:
    """Return the most exact of slopes at ever larger steps, up to the first that contradicts the smaller ones."""
    best = NOTHING
    for slope in slopes:
        if not np.isfinite(slope.value):
            continue
        if np.isfinite(best.value) and not slope.agrees(best):
            break
        best = min(best, slope, key=lambda one: one.unknown)
    return best


class Near:
    """A function f near x, both flat: its values on lines through x, and the rounding that is in them.

    value: f of a float64 or complex vector. x: a vector. cast: rounds a vector to the types of x. types: gives the
    type of a component. Raises ArgumentError if f(x) is not one real finite number, or is another at the second call.
    """

    def __init__(
        self, value: Callable[[np.ndarray], Any], x: np.ndarray, cast: Callable[[np.ndarray], np.ndarray],
        types: Callable[[int], np.dtype],
    ) -> None:  # fmt: skip
        self.value, self.x, self.cast, self.types, self.failure = value, x, cast, types, ""
        self.evaluations = count()
        self.by_complex: dict[int, float] = {}
        first = value(x)
        if np.imag(first) != 0:
            raise ArgumentError(f"f must return a real number for a real x, got {first}")
        self.at = float(np.real(first))
        if not np.isfinite(self.at):
            raise ArgumentError(f"f must be finite at x, got {self.at}")
        self.eps = float(np.finfo(first.dtype).eps) if first.dtype.kind in ("f", "c") else 2.0**-52
        self.noise = self.eps * abs(self.at)
        self.require_same(x, self.at)
        self.require_same(x, self.at)

    def require_same(self, u: np.ndarray, before: float) -> None:
        """Raise ArgumentError unless f gives at u what it gave before."""
        again = self.evaluate(u)
        if again != before:
            raise ArgumentError(
                f"f must give the same number for the same x, got two, {before!r} and {again!r}: freeze its dropout "
                "mask or its seed"
            )

    def evaluate(self, u: np.ndarray) -> float:
        """Return f(u), or NaN where f refuses u with an error of arithmetic or of a value."""
        if next(self.evaluations) >= MOST_EVALUATIONS:
            raise CannotJudge(f"x must lie where f has a derivative, got none after {MOST_EVALUATIONS:,} values of f")
        try:
            return float(np.real(self.value(u)))
        except (ArithmeticError, ValueError) as error:  # outside f's domain
            self.failure = f", {type(error).__name__}: {error}"
            return np.nan

    def component(self, i: int, step: float) -> Slopes:
        """Return the slopes along component i."""
        start, number = float(self.x[i]), self.types(i).type

        def line(t: float) -> tuple[float, float]:
            u = self.x.copy()
            u[i] = number(start + t)
            return float(u[i]) - start, self.evaluate(u)

        smallest = SMALLEST * float(np.spacing(number(abs(start)))) if start else TINY
        return Slopes(line, self.at, self.noise, self.eps, max(step * max(1.0, abs(start)), smallest), smallest)

    def direction(self, d: np.ndarray, claimed: np.ndarray, step: float) -> Slopes:
        """Return the slopes of f minus what a claimed gradient makes of the same step, along d: 0 where it is right."""
        moved = np.abs(self.x[d != 0])
        smallest = max(SMALLEST * self.finest * float(moved.min()), TINY)
        line = self.line_along(d, claimed)
        return Slopes(line, self.at, self.noise, self.eps, max(step * max(1.0, float(moved.min())), smallest), smallest)

    @property
    def finest(self) -> float:
        """Return the rounding of a number of x's type."""
        return float(np.finfo(self.types(0)).eps)

    def line_along(self, d: np.ndarray, claimed: np.ndarray) -> Line:
        """Return f minus the claimed change, along d; what rounding does to the step is taken from both."""

        def line(t: float) -> tuple[float, float]:
            u = self.cast(self.x + t * d)
            return t, self.evaluate(u) - float(claimed @ (u - self.x))

        return line

    def measure_noise(self, seed: int) -> None:
        """Set `noise` to what the differences of eight values along a line show (Hamming 1971; Moré and Wild 2011).

        High differences of a smooth function vanish at small steps, and what stays is rounding. Where the values
        do not change, the steps grow: f may round its argument. Each value is asked for twice: raises ArgumentError if
        f is not deterministic.
        """
        rng = np.random.default_rng(seed)
        size = np.abs(self.x) if self.x.any() else np.ones(self.x.shape)
        d = size * random_direction(rng, np.arange(len(size)), len(size))
        grid = np.ldexp(self.finest, np.frexp(size)[1])  # steps on it round nothing
        for r in NOISE_STEPS if self.finest < 1e-10 else (COARSE_STEP * self.finest,):
            moved = [self.cast(self.x + j * np.rint(r * d / grid) * grid) for j in NOISE_POINTS]
            values = np.array([self.evaluate(u) for u in moved])
            if not np.isfinite(values).all():
                return
            for k, u in enumerate(moved):
                self.require_same(u, values[k])
            found = min(
                float(np.median(np.abs(np.diff(values, k)))) * factorial(k) / factorial(2 * k) ** 0.5 for k in ORDERS
            )
            self.noise = max(self.noise, SIGMAS * found, _granularity(values, self.noise))
            if len(set(values.tolist())) > 4:
                return

    def complex_step(self, d: np.ndarray) -> float:
        """Return the derivative along d by a complex step.

        Raises TypeError if f drops the imaginary part, and ArgumentError if it is not finite there.
        """
        next(self.evaluations)
        found = np.asarray(self.value(self.x + 1j * COMPLEX_STEP * d))
        if found.dtype.kind != "c":
            raise TypeError("f drops the imaginary part")
        if not np.isfinite(found):
            raise ArgumentError(f"f must be finite for a complex step from x, got {found}")
        return float(np.imag(found)) / COMPLEX_STEP

    def complex_component(self, i: int) -> float:
        """Return the derivative by component i by a complex step, which is small beside the component too."""
        if i not in self.by_complex:
            self.by_complex[i] = self._complex_component(i)
        return self.by_complex[i]

    def _complex_component(self, i: int) -> float:
        d, size = np.zeros(self.x.shape), min(1.0, abs(float(self.x[i]))) or 1.0
        d[i] = size
        return self.complex_step(d) / size

    def elsewhere(self, x: np.ndarray) -> "Near":
        """Return f near another point, with the same rounding."""
        other = copy(self)
        other.x, other.by_complex = self.cast(x), {}
        other.at = other.evaluate(other.x)
        return other


def random_direction(rng: np.random.Generator, group: np.ndarray, size: int) -> np.ndarray:
    """Return a direction along which each component of a group moves, and no other."""
    d = np.zeros(size)
    d[group] = rng.uniform(0.5, 1.0, len(group)) * rng.choice([-1.0, 1.0], len(group))
    return d


def _granularity(values: np.ndarray, noise: float) -> float:
    """Return the power of two of which all values are multiples, where it is too coarse for their own rounding.

    So they are if f rounds them in float32, or adds to them and takes away a number much larger than they are. A
    number of 2**-12 and more is rather one that f counts in.
    """
    mantissas, exponents = np.frexp(values[values != 0])
    whole = (np.abs(mantissas) * 2.0**53).astype(np.int64)
    if not len(whole):
        return 0.0
    found = float(np.ldexp(whole & -whole, exponents - 53).min())
    return found if 8 * noise < found < 2.0**-12 else 0.0
