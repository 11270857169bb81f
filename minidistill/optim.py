"""Optimisers: how the parameters move against their gradients.

w is the flat vector of a network's parameters, g that of their gradients, u the velocity; η is the learning rate, μ the
momentum, λ the weight decay.
"""

from . import describe
from .checks import ArgumentError, Array, check_number, check_rows
from .network import Network
from .schedules import Schedule, check_schedule


class Optimizer:
    """Define what the training loop asks of an optimiser.

    An optimiser overrides `update`, which is called once a step, and names in `remembers` the vectors that it needs
    from step to step. `steps` counts the steps, the present one included.

    learning_rate: a number > 0 or a schedule (schedules.py). max_norm: after every step each unit's incoming weights,
    a column of a weight matrix, are scaled back to at most this norm; biases are left alone. None: no constraint.
    """

    remembers: tuple[str, ...] = ()  # self.state[name] is then a vector like w, 0 at first
    __repr__ = describe.call

    def __init__(self, learning_rate: float | Schedule, *, max_norm: float | None = None) -> None:
        self.learning_rate = check_schedule(learning_rate)
        self.max_norm = None if max_norm is None else check_number("max_norm", max_norm, above=0)
        self.network: Network | None = None
        self.steps = self.epochs = 0
        self.state: dict[str, Array] = {}

    def __init_subclass__(cls) -> None:
        """Refuse an `update` that would not be called: in a class that derives from SGD, which does without it."""
        if cls.update is not Optimizer.update and cls._descend is not Optimizer._descend:
            raise ArgumentError(f"{cls.__name__}.update would not be called by SGD: derive from Optimizer instead")
        if isinstance(cls.remembers, str):
            raise ArgumentError(f"{cls.__name__}.remembers must be a tuple of names, got {cls.remembers!r}")

    def update(self, w: Array, g: Array, learning_rate: float) -> None:
        """Change w in place. g may be overwritten."""
        raise NotImplementedError(f"{type(self).__name__} must define update(w, g, learning_rate)")

    def step(self, network: Network, dz: Array, learning_rate: float) -> None:
        """Run network.backward(dz), then move the parameters; dz = dC/dz of the last batch may be overwritten.

        learning_rate: the schedule's, at this step. One optimiser serves one network.
        """
        check_rows("dz", dz, network)
        if network is not self.network:
            if self.network is not None:
                raise ArgumentError("network must be the one that this optimiser stepped first: make one for each")
            self.network, self.backend = network, network.backend
            self.state = {name: network.xp.zeros_like(network.parameters) for name in self.remembers}
        if network.optimizer is not self.state:
            if self.steps:
                raise ArgumentError("network must have one optimiser at a time, got one that another has replaced")
            network.optimizer = self.state
            network.gradients.fill(0)  # what an earlier training left there is not this one's momentum
        self.steps += 1
        self._descend(network, dz, learning_rate)
        if self.steps % 100 == 0:
            self.backend.flush(network.gradients, *self.state.values())  # subnormal numbers, which are slow
        if self.max_norm is not None:
            # The point of the ball |w| <= c nearest to a w outside of it is w c/|w|: a step, then back into the ball
            # (Hinton et al. 2012).
            for W in network.weights():
                self.backend.max_norm(W, self.max_norm)

    def _descend(self, network: Network, dz: Array, learning_rate: float) -> None:
        network.backward(dz)
        if self.update(network.parameters, network.gradients, learning_rate) is not None:  # type: ignore[func-returns-value]  # where it keeps to the contract
            raise ArgumentError(f"{type(self).__name__}.update must change w in place, and return nothing")


class SGD(Optimizer):
    """Descend by stochastic gradients with momentum: u = μ u + η (g + λ w), then w -= u.

    u is the sum of all η g so far, each times μ for every step since: along a valley they add up, to η g/(1 - μ), and
    across it they cancel. nesterov: w -= μ u + η (g + λ w), with the new u, instead (Sutskever et al. 2013, Eq. 1-4).
    momentum μ in [0, 0.9999]; weight_decay λ >= 0, of all parameters.
    """

    def __init__(
        self, learning_rate: float | Schedule, momentum: float = 0.9, *, nesterov: bool = False,
        weight_decay: float = 0.0, max_norm: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, max_norm=max_norm)
        self.momentum = check_number("momentum", momentum, at_least=0, at_most=0.9999)
        self.nesterov = bool(nesterov)
        self.weight_decay = check_number("weight_decay", weight_decay, at_least=0)
        self.remembers = ("velocity",) if nesterov else ()

    def _descend(self, network: Network, dz: Array, learning_rate: float) -> None:
        # The textbook keeps u beside g. But backward is linear in dz: η on its B N numbers scales every gradient, and
        # each layer adds that to μ times what its gradient was. So network.gradients *is* u, without a second vector.
        # tests/test_optim.py, test_momentum_is_the_recursion_of_the_textbook, holds the two together.
        w, u, backend = network.parameters, network.gradients, network.backend
        network.xp.multiply(dz, learning_rate, out=dz)
        network.backward(dz, momentum=0.0 if self.nesterov else self.momentum)
        if self.weight_decay:
            backend.add_scaled(u, w, learning_rate * self.weight_decay)  # u += η λ w
        if self.nesterov:
            backend.nesterov(w, self.state["velocity"], u, self.momentum)  # here u is η (g + λ w), and its velocity μ u
        else:
            backend.add_scaled(w, u, -1.0)  # w -= u


class AdamW(Optimizer):
    """Descend by Adam with decoupled weight decay: a step is about η, whatever the size of the gradients.

    first = β1 first + (1 - β1) g and second = β2 second + (1 - β2) g² are running means of g and g² from 0 on. After t
    steps their weights add up to 1 - β^t, and dividing by that corrects them; then w -= η (first/(√second + ε) + λ w).
    The decay stays out of the means, which would undo it where gradients are large. (Kingma and Ba 2015, Algorithm 1;
    Loshchilov and Hutter 2019, Algorithm 2, whose λ is ours times η.)
    beta1, beta2 in [0, 0.999999]; epsilon > 0; weight_decay λ >= 0, of all parameters.
    """

    remembers = ("first_moment", "second_moment")

    def __init__(
        self, learning_rate: float | Schedule = 1e-3, beta1: float = 0.9, beta2: float = 0.999, *,
        epsilon: float = 1e-8, weight_decay: float = 0.01, max_norm: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, max_norm=max_norm)
        self.beta1 = check_number("beta1", beta1, at_least=0, at_most=0.999999)
        self.beta2 = check_number("beta2", beta2, at_least=0, at_most=0.999999)
        self.epsilon = check_number("epsilon", epsilon, above=0)
        self.weight_decay = check_number("weight_decay", weight_decay, at_least=0)

    def update(self, w: Array, g: Array, learning_rate: float) -> None:
        first, second = self.state["first_moment"], self.state["second_moment"]
        self.backend.adamw(w, first, second, g, learning_rate, self.beta1, self.beta2, self.epsilon,
                           self.weight_decay, self.steps)  # fmt: skip
