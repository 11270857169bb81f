"""Learning-rate schedules: functions of the fraction of the training that is done, in [0, 1), to a rate."""

import math
from collections.abc import Callable, Sequence

from .checks import check_number

Schedule = Callable[[float], float]


def constant_rate(rate: float) -> Schedule:
    """Keep the same rate > 0 throughout."""
    rate = check_number("learning rate", rate, above=0)
    return lambda done: rate


def linear_decay(rate: float, warmup: float = 0.0) -> Schedule:
    """Rise to `rate` over the first `warmup`, a fraction of the training in [0, 0.99], then fall straight to 0."""
    return _with_warmup(rate, warmup, lambda t: 1 - t)


def cosine_decay(rate: float, warmup: float = 0.0) -> Schedule:
    """Rise to `rate` over the first `warmup`, then fall to 0 along half a cosine (Loshchilov and Hutter 2017)."""
    return _with_warmup(rate, warmup, lambda t: math.cos(math.pi * t / 2) ** 2)


def step_decay(rate: float, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1, warmup: float = 0.0) -> Schedule:
    """Rise to `rate` over the first `warmup`; then multiply by `factor` at each fraction `at` of the rest."""
    factor = check_number("factor", factor, above=0)
    fractions = [check_number("at", a, at_least=0, at_most=1) for a in at]
    return _with_warmup(rate, warmup, lambda t: factor ** sum(t >= a for a in fractions))


def _with_warmup(rate: float, warmup: float, shape: Schedule) -> Schedule:
    rate = check_number("learning rate", rate, above=0)
    warmup = check_number("warmup", warmup, at_least=0, at_most=0.99)

    def schedule(done: float) -> float:
        if done < warmup:
            return rate * (done + 1e-3 * warmup) / (1.001 * warmup)  # never exactly 0
        return rate * shape((done - warmup) / (1 - warmup))

    return schedule
