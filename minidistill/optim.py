"""The optimiser: stochastic gradient descent with momentum on one flat vector, its schedules, and max-norm.

A schedule maps the fraction of the training that is done, in [0, 1), to a learning rate.
"""

import math
from collections.abc import Callable

from .checks import ArgumentError, check_number
from .network import Network

Schedule = Callable[[float], float]


def constant(rate: float) -> Schedule:
    """The same rate throughout."""
    rate = check_number("learning rate", rate, above=0)
    return lambda done: rate


def linear(rate: float, warmup: float = 0.0) -> Schedule:
    """Up to `rate` over the first `warmup` (a fraction of the training), then straight down to 0."""
    return _with_warmup(rate, warmup, lambda t: 1 - t)


def cosine(rate: float, warmup: float = 0.0) -> Schedule:
    """Up to `rate` over the first `warmup`, then down to 0 along half a cosine (Loshchilov and Hutter 2017)."""
    return _with_warmup(rate, warmup, lambda t: math.cos(math.pi * t / 2) ** 2)


def steps(rate: float, at: tuple[float, ...] = (0.5, 0.75), factor: float = 0.1, warmup: float = 0.0) -> Schedule:
    """`rate` after the warm-up, times `factor` at each fraction of the rest that `at` names."""
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


class SGD:
    """Stochastic gradient descent, w -= v with v = m v + η g (classical momentum), or Nesterov's w -= m v + η g.

    learning_rate η: a number or a schedule. momentum m in [0, 1). max_norm: after every step, each unit's incoming
    weights are scaled back to at most this norm (Hinton et al. 2012), biases aside; None: no constraint.

    The gradients reach `step` multiplied by η already: the training loop scales dC/dz, which scales them all and is far
    smaller. Classical momentum needs no vector v: `carry` has backward add the new gradients to m times the old, so
    that the network's gradients are v. Nesterov's needs both, and is slower. (Sutskever et al. 2013, Eq. 1-4.)
    """

    def __init__(
        self,
        learning_rate: float | Schedule,
        momentum: float = 0.9,
        nesterov: bool = False,
        max_norm: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate if callable(learning_rate) else constant(learning_rate)
        self.momentum = check_number("momentum", momentum, at_least=0, at_most=0.9999)
        self.nesterov = nesterov
        self.max_norm = None if max_norm is None else check_number("max_norm", max_norm, above=0)
        self.carry = 0.0 if nesterov else self.momentum  # what backward keeps of the old gradients
        self.network: Network | None = None

    def step(self, network: Network) -> None:
        """Update the network, always the same one, from its gradients."""
        if self.network is None:
            self.network = network
            self.velocity = network.xp.zeros_like(network.parameters) if self.nesterov else None
        if network is not self.network:
            raise ArgumentError(
                "network must be the one that this optimiser stepped first: make an SGD for each network"
            )
        if self.nesterov:
            network.backend.nesterov(network.parameters, self.velocity, network.gradients, self.momentum)
        else:
            network.backend.subtract(network.parameters, network.gradients)
        if self.max_norm is not None:
            for W in network.weights():
                network.backend.max_norm(W, self.max_norm)
