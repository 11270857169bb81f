"""Learning-rate schedules: called with the fraction of the training that is done, in [0, 1), they return a rate."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from . import describe
from .checks import ArgumentError, check_number

Schedule = Callable[[float], float]


def check_schedule(schedule: Any) -> Schedule:
    """Return a schedule, that of a constant for a number, after asking it for its first rate."""
    if not callable(schedule):
        return constant_rate(schedule)
    rate_at(schedule, 0.0)
    return schedule  # type: ignore[no-any-return]  # it was asked


def rate_at(learning_rate: Any, done: float) -> float:
    """Return the rate >= 0 of a schedule, or of a number that was assigned in its place, at this fraction done."""
    if not callable(learning_rate):
        return check_number("learning rate", learning_rate, at_least=0)
    try:
        rate = learning_rate(done)
    except Exception as error:  # whatever a function of somebody else's raises
        raise ArgumentError(
            f"learning_rate must be a number or a function of the fraction done, such as linear_decay(0.1), "
            f"got one that raises {type(error).__name__} at {done:g}: {error}"
        ) from error
    return check_number(f"learning_rate({done:g})", rate, at_least=0)


@dataclass(frozen=True, repr=False)
class constant_rate:
    """Keep the same rate > 0 throughout."""

    rate: float
    __repr__ = describe.call

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_number("learning rate", self.rate, above=0))

    def __call__(self, done: float) -> float:
        return self.rate


class _Warmup:
    """Rise to the rate, then follow `decay`, a function of the fraction of the rest that is done."""

    rate: float
    warmup: float
    __repr__ = describe.call

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", check_number("learning rate", self.rate, above=0))
        object.__setattr__(self, "warmup", check_number("warmup", self.warmup, at_least=0, at_most=0.99))

    def __call__(self, done: float) -> float:
        if done < self.warmup:
            return self.rate * (done + 1e-3 * self.warmup) / (1.001 * self.warmup)  # never exactly 0
        return self.rate * self.decay((done - self.warmup) / (1 - self.warmup))

    def decay(self, t: float) -> float:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class linear_decay(_Warmup):
    """Rise to `rate` over the first `warmup`, a fraction of the training in [0, 0.99], then fall straight to 0."""

    rate: float
    warmup: float = 0.0

    def decay(self, t: float) -> float:
        return 1 - t


@dataclass(frozen=True, repr=False)
class cosine_decay(_Warmup):
    """Rise to `rate` over the first `warmup`, then fall to 0 along half a cosine (Loshchilov and Hutter 2017)."""

    rate: float
    warmup: float = 0.0

    def decay(self, t: float) -> float:
        return math.cos(math.pi * t / 2) ** 2


@dataclass(frozen=True, repr=False)
class step_decay(_Warmup):
    """Rise to `rate` over the first `warmup`; then multiply by `factor` at each fraction `at` of the rest."""

    rate: float
    at: Sequence[float] = (0.5, 0.75)
    factor: float = 0.1
    warmup: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "factor", check_number("factor", self.factor, above=0))
        fractions = self.at if isinstance(self.at, (list, tuple)) else [self.at]
        object.__setattr__(self, "at", tuple(check_number("at", a, at_least=0, at_most=1) for a in fractions))

    def decay(self, t: float) -> float:
        return self.factor ** sum(t >= a for a in self.at)
