"""Optimisers: each step is its textbook's, schedules stay positive, and max-norm only ever shortens."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import law

from minidistill import (
    SGD,
    AdamW,
    ArgumentError,
    Dense,
    Network,
    Objective,
    Optimizer,
    constant_rate,
    cosine_decay,
    fit,
    linear_decay,
    mnist_transfer,
    step_decay,
)
from minidistill.backend import Backend
from minidistill.testing import WrongOptimizer, check_optimizer
from minidistill.testing.gradients.strategies import seeds

EPS = float(np.finfo(np.float64).eps)
rates = st.floats(1e-6, 10)
momenta = st.floats(0, 0.99)
warmups = st.just(0.0) | st.floats(1e-6, 0.9)
leads = st.sampled_from([None, [5, 6]])  # one network, or two replicas


def a_layer(backend: Any, shape: tuple[int, int], lead: Any = None, dtype: Any = np.float64) -> Network:
    return Network([Dense(*shape)], seeds=3 if lead is None else lead, dtype=dtype, backend=backend)


def no_gradient(network: Network) -> Any:
    """A batch (x, dz) at which every gradient is 0."""
    return tuple(np.zeros((*network.replica_shape, 1, n)) for n in (network.n_in, network.n_out))


def descend(optimizer: Optimizer, network: Network, batches: list[Any], learning_rate: list[float]) -> np.ndarray:
    """The parameters after a step on each (x, dz), as the training loop takes it."""
    backend = network.backend
    for (x, dz), eta in zip(batches, learning_rate, strict=True):
        network.forward(backend.asarray(x))
        optimizer.step(network, backend.asarray(dz.copy()), eta)
    return backend.to_host(network.parameters).copy()


def textbook(
    w: np.ndarray, gradients: list[np.ndarray], eta: list[float], m: float, nesterov: bool, decay: float = 0.0
) -> np.ndarray:
    """Sutskever et al. (2013): v = m v + η (g + λ w); w -= v, or w -= m v + η (g + λ w)."""
    w, v = w.copy(), np.zeros_like(w)
    for g, rate in zip(gradients, eta, strict=True):
        g = g + decay * w
        v = m * v + rate * g
        w -= m * v + rate * g if nesterov else v
    return w


def textbook_adamw(
    w: np.ndarray, gradients: list[np.ndarray], eta: list[float], beta1: float, beta2: float, epsilon: float,
    decay: float, *, coupled: bool = False, corrected: bool = True,
) -> np.ndarray:  # fmt: skip
    """Loshchilov and Hutter (2019), Algorithm 2, its lines 6 to 12, with η λ for their λ and η for their η_t α.

    coupled: the L2 penalty of Algorithm 2's other colour, Adam. corrected: lines 9 and 10.
    """
    w, m, v = w.copy(), np.zeros_like(w), np.zeros_like(w)
    for t, (g, rate) in enumerate(zip(gradients, eta, strict=True), start=1):
        g = g + decay * w if coupled else g
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m_hat, v_hat = (m / (1 - beta1**t), v / (1 - beta2**t)) if corrected else (m, v)
        w = w - rate * (m_hat / (np.sqrt(v_hat) + epsilon) + (0 if coupled else decay * w))
    return w


@st.composite
def descents(draw: Any) -> tuple[Any, ...]:
    """The shape of a layer, its replicas, batches (x, dz), their gradients on paper, and a learning rate for each."""
    (n, m), lead = draw(st.tuples(st.integers(1, 4), st.integers(1, 4))), draw(leads)
    rng = np.random.default_rng(draw(seeds))
    R = () if lead is None else (len(lead),)
    eta = draw(st.lists(rates, min_size=1, max_size=8))
    batches = [(rng.uniform(-1, 1, (*R, 3, n)), rng.uniform(-1, 1, (*R, 3, m))) for _ in eta]
    gradients = [np.concatenate([(x.swapaxes(-1, -2) @ dz).ravel(), dz.sum(axis=-2).ravel()]) for x, dz in batches]
    return (n, m), lead, batches, gradients, eta


def rounding(eta: list[float], m: float) -> float:
    """Of w after len(eta) steps: each adds at most 10 roundings of v, which is at most 3 η/(1 - m), and one of w."""
    return 10 * EPS * len(eta) * (1 + len(eta) * 3 * max(eta) / (1 - m))


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("nesterov", [False, True], ids=["classical", "nesterov"])
@law
@given(descents(), momenta)
def test_momentum_is_the_recursion_of_the_textbook(backend, nesterov, decay, descent, m):
    shape, lead, batches, gradients, eta = descent
    network = a_layer(backend, shape, lead)
    start = backend.to_host(network.parameters).copy()
    found = descend(SGD(0.1, m, nesterov=nesterov, weight_decay=decay), network, batches, eta)
    expected = textbook(start, gradients, eta, m, nesterov, decay)
    growth = (1 + decay * max(eta) / (1 - m)) ** len(eta)  # of a rounding error, which the decay feeds back
    atol = growth * rounding(eta, m) * (1 + np.abs(start).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


betas = st.floats(0, 0.999)


@pytest.mark.parametrize("decay", [0.0, 0.05])
@law
@given(descents(), betas, betas)
def test_adamw_is_the_algorithm_of_its_paper(backend, decay, descent, beta1, beta2):
    shape, lead, batches, gradients, eta = descent
    network = a_layer(backend, shape, lead)
    start = backend.to_host(network.parameters).copy()
    eta = [min(rate, 0.1) for rate in eta]
    found = descend(AdamW(0.1, beta1, beta2, epsilon=0.01, weight_decay=decay), network, batches, eta)
    expected = textbook_adamw(start, gradients, eta, beta1, beta2, 0.01, decay)
    # A running mean's weights, each off by a rounding over 1 - β, are divided by 1 - β again; gradients are below 3.
    loss_of_digits = 1 / (1 - beta1) ** 2 + 1 / (1 - beta2) ** 2
    atol = 1e3 * EPS * loss_of_digits * (1 + np.abs(start).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("wrong", [{"coupled": True}, {"corrected": False}], ids=["L2", "no correction"])
@law
@given(descents())
def test_the_test_of_adamw_rejects_adam_with_l2_and_means_that_are_not_corrected(wrong, descent):
    shape, lead, batches, gradients, _ = descent
    network = a_layer("numpy", shape, lead)
    start, eta = network.parameters.copy(), [0.1] * len(batches)
    assume(min(np.abs(g).min() for g in gradients) > 0.01)
    found = descend(AdamW(0.1, 0.9, 0.99, epsilon=1e-3, weight_decay=1.0), network, batches, eta)
    expected = textbook_adamw(start, gradients, eta, 0.9, 0.99, 1e-3, 1.0, **wrong)
    assert np.abs(found - expected).max() > 1e-4


@law
@given(descents(), st.floats(-6, 6))
def test_the_first_step_of_adamw_is_the_learning_rate_whatever_the_size_of_the_gradient(backend, descent, exponent):
    shape, lead, batches, gradients, _ = descent
    assume(np.abs(gradients[0]).min() > 1e-3)
    network = a_layer(backend, shape, lead)
    start, (x, dz) = backend.to_host(network.parameters).copy(), batches[0]
    after = descend(AdamW(0.1, epsilon=1e-20, weight_decay=0.0), network, [(x, 10**exponent * dz)], [0.1])
    np.testing.assert_allclose(after, start - 0.1 * np.sign(gradients[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True], ids=["classical", "nesterov"])
@law
@given(descents(), st.floats(0.1, 0.99))
def test_the_test_of_momentum_rejects_the_other_recursion(backend, nesterov, descent, m):
    shape, lead, batches, gradients, eta = descent
    network = a_layer(backend, shape, lead)
    start = backend.to_host(network.parameters).copy()
    found = descend(SGD(0.1, m, nesterov=nesterov), network, batches, eta)
    wrong = textbook(start, gradients, eta, m, not nesterov)
    tolerance = rounding(eta, m) * (1 + np.abs(start).max())
    assume(max(np.abs(g).max() for g in gradients) * min(eta) > 1e3 * tolerance)
    assert np.abs(found - wrong).max() > tolerance


@law
@given(descents())
def test_without_momentum_both_are_w_minus_eta_g(backend, descent):
    shape, lead, batches, gradients, eta = descent
    for nesterov in (False, True):
        network = a_layer(backend, shape, lead)
        start = backend.to_host(network.parameters).copy()
        found = descend(SGD(0.1, 0.0, nesterov=nesterov), network, batches, eta)
        expected = start - sum(rate * g for rate, g in zip(eta, gradients, strict=True))
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(eta, 0) * (1 + np.abs(start).max()))


# --- schedules -----------------------------------------------------------------------------------------------------

SCHEDULES = {
    "linear": linear_decay,
    "cosine": cosine_decay,
    "steps": lambda rate, warmup: step_decay(rate, warmup=warmup),
}
every_schedule = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES)


@st.composite
def fractions(draw: Any) -> float:
    """k/n, the fractions done of a training of n steps before each of them."""
    n = draw(st.integers(1, 10**6))
    return draw(st.integers(0, n - 1)) / n


@every_schedule
@law
@given(rates, warmups, fractions())
def test_a_schedule_is_positive_and_never_above_its_rate(make, rate, warmup, done):
    assert 0 < make(rate, warmup)(done) <= rate * (1 + EPS)


@every_schedule
@law
@given(rates, warmups, fractions(), fractions())
def test_a_schedule_rises_in_its_warmup_and_never_after(make, rate, warmup, a, b):
    schedule, (early, late) = make(rate, warmup), sorted((a, b))
    if late < warmup:
        assert schedule(early) <= schedule(late)
    elif early >= warmup:
        assert schedule(early) >= schedule(late)
    assert schedule(warmup) == rate  # where the two meet


@law
@given(rates, warmups, st.floats(0, 1))
def test_schedules_have_the_values_of_their_formulas(rate, warmup, t):
    done = warmup + t * (1 - warmup)
    atol = 8 * EPS * rate / (1 - warmup)
    assert linear_decay(rate, warmup)(done) == pytest.approx(rate * (1 - t), rel=0, abs=atol)
    assert cosine_decay(rate, warmup)(done) == pytest.approx(rate * np.cos(np.pi * t / 2) ** 2, rel=0, abs=2 * atol)
    assert constant_rate(rate)(done) == rate


@law
@given(rates, st.floats(0.1, 0.4), st.floats(0.5, 0.9), st.floats(0.01, 0.99), fractions())
def test_steps_multiplies_by_its_factor_at_each_fraction(rate, first, second, factor, done):
    expected = rate * factor ** (int(done >= first) + int(done >= second))
    assert step_decay(rate, (first, second), factor)(done) == pytest.approx(expected, rel=4 * EPS)


# --- max-norm ------------------------------------------------------------------------------------------------------


@law
@given(leads, st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 3), st.sampled_from([np.float32, np.float64]))
def test_max_norm_shortens_long_columns_to_the_limit_and_leaves_the_others(backend, lead, n, m, limit, dtype):
    network = a_layer(backend, (n, m), lead, dtype)
    before = np.array(backend.to_host(network.layers[0].W))
    before[..., 0] = 0  # a dead unit, whose norm nothing may be divided by
    network.layers[0].W[...] = backend.asarray(before)
    network.layers[0].b[...] = 100.0
    descend(SGD(0.1, max_norm=limit), network, [no_gradient(network)], [0.1])
    after, eps = backend.to_host(network.layers[0].W), float(np.finfo(dtype).eps)
    rounded = 2 * (n + 2) * eps
    norms, lengths = (np.linalg.norm(W.astype(float), axis=-2, keepdims=True) for W in (before, after))
    assert (lengths <= limit * (1 + rounded)).all()
    within = np.broadcast_to(norms <= limit * (1 - rounded), before.shape)
    np.testing.assert_array_equal(after[within], before[within])
    expected = before * np.minimum(1, limit / np.maximum(norms, 1e-30))  # the same direction
    np.testing.assert_allclose(after, expected, rtol=rounded)
    assert (backend.to_host(network.layers[0].b) == 100).all()  # a bias is no incoming weight


@law
@given(descents(), momenta, st.floats(0.1, 2))
def test_max_norm_holds_after_every_step(backend, descent, m, limit):
    shape, lead, batches, _, eta = descent
    network, optimizer = a_layer(backend, shape, lead), SGD(0.1, m, max_norm=limit)
    for batch, rate in zip(batches, eta, strict=True):
        descend(optimizer, network, [batch], [rate])
        for W in network.weights():
            assert np.linalg.norm(backend.to_host(W), axis=-2).max() <= limit * (1 + 16 * EPS)


# --- bad arguments -------------------------------------------------------------------------------------------------

BAD = {
    "rate 0": ("learning rate", lambda: SGD(0)),
    "rate below 0": ("learning rate", lambda: linear_decay(-0.1)),
    "rate NaN": ("learning rate", lambda: cosine_decay(float("nan"))),
    "rate infinite": ("learning rate", lambda: constant_rate(float("inf"))),
    "rate in words": ("learning rate", lambda: SGD("fast")),
    "warmup of 1": ("warmup", lambda: linear_decay(0.1, warmup=1.0)),
    "warmup below 0": ("warmup", lambda: step_decay(0.1, warmup=-0.1)),
    "momentum 1": ("momentum", lambda: SGD(0.1, momentum=1.0)),
    "beta1 of 1": ("beta1", lambda: AdamW(0.1, 1.0)),
    "beta2 below 0": ("beta2", lambda: AdamW(0.1, 0.9, -0.1)),
    "epsilon of 0": ("epsilon", lambda: AdamW(0.1, epsilon=0.0)),
    "decay below 0": ("weight_decay", lambda: AdamW(0.1, weight_decay=-1.0)),
    "SGD's decay below 0": ("weight_decay", lambda: SGD(0.1, weight_decay=-1.0)),
    "momentum below 0": ("momentum", lambda: SGD(0.1, momentum=-0.1)),
    "max_norm 0": ("max_norm", lambda: SGD(0.1, max_norm=0)),
    "factor 0": ("factor", lambda: step_decay(0.1, factor=0)),
    "at below 0": ("at", lambda: step_decay(0.1, at=(-0.1,))),
    "at above 1": ("at", lambda: step_decay(0.1, at=(0.5, 1.5))),
}


@pytest.mark.parametrize(("name", "build"), BAD.values(), ids=BAD)
def test_an_error_names_the_argument_first(name, build):
    with pytest.raises(ArgumentError, match=rf"^{name} must "):
        build()


def test_the_defaults_of_adamw_are_those_of_its_papers():
    optimizer = AdamW()
    numbers = (optimizer.learning_rate(0.5), optimizer.beta1, optimizer.beta2, optimizer.epsilon)
    assert (*numbers, optimizer.weight_decay, optimizer.max_norm) == (1e-3, 0.9, 0.999, 1e-8, 0.01, None)


RANGES = {  # the ends of each number's range, as its docstring has them
    "momentum": (lambda u: SGD(0.1, momentum=u), 0, 0.9999),
    "beta1": (lambda u: AdamW(0.1, beta1=u), 0, 0.999999),
    "beta2": (lambda u: AdamW(0.1, beta2=u), 0, 0.999999),
    "weight_decay": (lambda u: SGD(0.1, weight_decay=u), 0, None),
    "weight_decay of AdamW": (lambda u: AdamW(0.1, weight_decay=u), 0, None),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_number_may_lie_at_the_ends_of_its_range_and_not_beyond(name):
    make, low, high = RANGES[name]
    said = f"{name.partition(' ')[0]} must be a finite number >= {low}" + (f" and <= {high}" if high else "")
    assert getattr(make(low), name.partition(" ")[0]) == low
    with pytest.raises(ArgumentError, match=f"^{said}, got -1e-09$"):
        make(-1e-9)
    if high:
        assert getattr(make(high), name) == high
        with pytest.raises(ArgumentError, match=f"^{said}, got 1$"):
            make(1)


@pytest.mark.parametrize(
    "make", [lambda u: AdamW(0.1, epsilon=u), lambda u: SGD(0.1, max_norm=u), lambda u: AdamW(max_norm=u)]
)
def test_a_number_above_0_may_be_small_and_not_0(make):
    make(1e-30)
    with pytest.raises(ArgumentError, match=r"^(epsilon|max_norm) must be a finite number > 0, got 0$"):
        make(0)


def test_every_optimiser_takes_a_max_norm():
    assert SGD(0.1, max_norm=2).max_norm == AdamW(max_norm=2).max_norm == 2


@pytest.mark.parametrize("make", [lambda: SGD(0.1), lambda: SGD(0.1, nesterov=True), lambda: AdamW(0.1)])
def test_all_that_is_remembered_is_rid_of_subnormal_numbers_at_every_hundredth_step(monkeypatch, make):
    network, optimizer, flushed = a_layer(Backend(), (2, 2)), make(), []
    monkeypatch.setattr(Backend, "flush", lambda self, *vectors: flushed.append((optimizer.steps, vectors)))
    descend(optimizer, network, 201 * [no_gradient(network)], 201 * [0.1])
    assert [steps for steps, _ in flushed] == [100, 200]
    for vector, remembered in zip(flushed[0][1], [network.gradients, *optimizer.state.values()], strict=True):
        assert vector is remembered


def test_what_an_earlier_training_left_is_not_the_momentum_of_a_new_one(backend):
    network = a_layer(backend, (2, 2))
    descend(SGD(0.1), network, [(np.ones((1, 2)), np.ones((1, 2)))], [0.1])
    before = backend.to_host(network.parameters).copy()
    np.testing.assert_array_equal(descend(SGD(0.1), network, [no_gradient(network)], [0.1]), before)


def test_what_goes_back_must_have_the_shape_of_what_came_out():
    network = a_layer(Backend(), (2, 3))
    network.forward(np.ones((4, 2)))
    with pytest.raises(
        ArgumentError, match=r"^dz must have shape \(4, 3\), that of the logits given last, got \(4, 2\)$"
    ):
        SGD(0.1).step(network, np.ones((4, 2)), 0.1)


def test_an_optimiser_belongs_to_the_first_network_that_it_steps(backend):
    optimizer, networks = SGD(0.1), [a_layer(backend, (2, 2)) for _ in range(2)]
    descend(optimizer, networks[0], [no_gradient(networks[0])], [0.1])
    with pytest.raises(ArgumentError, match=r"^network must be the one .*: make one for each$"):
        descend(optimizer, networks[1], [no_gradient(networks[1])], [0.1])


def test_an_optimiser_that_another_has_replaced_does_not_go_on_with_the_others_momentum(backend):
    network, first, second = a_layer(backend, (2, 2)), SGD(0.1), SGD(0.1)
    for optimizer in (first, second):
        descend(optimizer, network, [no_gradient(network)], [0.1])
    with pytest.raises(ArgumentError, match=r"^network must have one optimiser at a time"):
        descend(first, network, [no_gradient(network)], [0.1])


def test_an_update_that_would_not_be_called_or_is_missing_or_returns_the_new_parameters_is_an_error(backend):
    with pytest.raises(
        ArgumentError, match=r"^DoubleMomentum\.update would not be called by SGD: derive from Optimizer"
    ):

        class DoubleMomentum(SGD):
            def update(self, w, g, learning_rate):
                self.v = self.momentum * self.v + learning_rate * g
                w -= self.v

    class Missing(Optimizer):
        pass

    class Returning(Optimizer):
        def update(self, w, g, learning_rate):
            return w - learning_rate * g

    network = a_layer(backend, (2, 2))
    with pytest.raises(NotImplementedError, match="Missing must define update"):
        descend(Missing(0.1), network, [no_gradient(network)], [0.1])
    with pytest.raises(ArgumentError, match=r"^Returning\.update must change w in place, and return nothing$"):
        descend(Returning(0.1), network, [no_gradient(network)], [0.1])


class Lion(Optimizer):
    """w -= η sign(β1 m + (1 - β1) g), then m = β2 m + (1 - β2) g (Chen et al. 2023), written by the contract alone."""

    remembers = ("m",)

    def update(self, w, g, learning_rate):
        m = self.state["m"]
        u = 0.9 * m + 0.1 * g
        w -= learning_rate * ((u > 0) * 1.0 - (u < 0) * 1.0)
        m *= 0.99
        m += 0.01 * g


def textbook_lion(w, gradients, rates):
    m = np.zeros_like(w)
    for g, rate in zip(gradients, rates, strict=True):
        w, m = w - rate * np.sign(0.9 * m + 0.1 * g), 0.99 * m + 0.01 * g
    return w


OPTIMIZERS: dict[
    str, tuple[Callable[[], Optimizer], Any]
] = {  # every one of the package, and one by the contract alone
    "SGD": (lambda: SGD(0.1, weight_decay=0.01), lambda w, g, eta: textbook(w, g, eta, 0.9, False, 0.01)),
    "Nesterov": (lambda: SGD(0.1, nesterov=True), lambda w, g, eta: textbook(w, g, eta, 0.9, True)),
    "AdamW": (lambda: AdamW(0.1), lambda w, g, eta: textbook_adamw(w, g, eta, 0.9, 0.999, 1e-8, 0.01)),
    "Lion": (lambda: Lion(0.1), textbook_lion),
}


@pytest.mark.parametrize(("make", "its_textbook"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimiser_takes_the_steps_of_its_textbook_alone_and_in_replicas(backend, make, its_textbook):
    assert check_optimizer(make, its_textbook, backend=backend) < 1e-10


class Rebinds(Lion):
    def update(self, w, g, learning_rate):
        w = w - learning_rate * g


class Forgets(Lion):
    def update(self, w, g, learning_rate):
        super().update(w, g, learning_rate)
        self.state["m"] *= 0


class KeepsTheBuffer(Optimizer):
    """Gradient averaging, (g + the one before)/2, that keeps the network's buffer instead of a copy of it."""

    def update(self, w, g, learning_rate):
        w -= learning_rate * (g + getattr(self, "before", 0 * g)) / 2
        self.before = g


def textbook_average(w, gradients, rates):
    for g, before, rate in zip(gradients, [0 * w, *gradients[:-1]], rates, strict=True):
        w = w - rate * (g + before) / 2
    return w


@pytest.mark.parametrize(
    ("make", "its_textbook", "message"),
    [(Rebinds, textbook_lion, "must change w in place"), (Forgets, textbook_lion, "the steps of its textbook"),
     (KeepsTheBuffer, textbook_average, "the steps of its textbook")],
)  # fmt: skip
def test_check_optimizer_notices_one_that_does_not_move_or_remember_or_keeps_the_gradients_buffer(
    make, its_textbook, message
):
    with pytest.raises(WrongOptimizer, match=message):
        check_optimizer(lambda: make(0.1), its_textbook)


class RightFor(SGD):
    """SGD, whose step is a tenth longer where there are not so many parameters."""

    def __init__(self, size):
        super().__init__(0.1)
        self.size = size

    def _descend(self, network, dz, learning_rate):
        super()._descend(network, dz, learning_rate if network.parameters.size == self.size else 1.1 * learning_rate)


def textbook_sgd(w, gradients, rates):
    return textbook(w, gradients, rates, 0.9, False)


@pytest.mark.parametrize(
    ("make", "its_textbook", "options", "text"),
    [
        (lambda: Rebinds(0.1), textbook_lion, {},
         r"Rebinds must change w in place, as `w -= \.\.\.` does: after 6 steps it is as it was"),
        (lambda: RightFor(16), textbook_sgd, {"steps": 4},
         r"RightFor must take the steps of its textbook: after 4 of them, with two replicas, it is off by 0\.\d+ of "
         r"the largest parameter, tolerated 1e-10"),
        (lambda: RightFor(32), textbook_sgd, {"tolerance": 0.001},
         r"RightFor must take the steps of its textbook: after 6 of them, with one network, it is off by 0\.\d+ of the "
         r"largest parameter, tolerated 0\.001"),
        (lambda: SGD(0.1), lambda w, gradients, rates: w * np.nan, {},
         r"SGD must take the steps of its textbook: after 6 of them, with two replicas, it is off by nan of the "
         r"largest parameter, tolerated 1e-10"),
    ],
    ids=["does not move", "wrong in replicas", "wrong alone", "nan"],
)  # fmt: skip
def test_check_optimizer_says_what_is_wrong_and_by_how_much(make, its_textbook, options, text):
    with pytest.raises(WrongOptimizer, match=f"^{text}$"):
        check_optimizer(make, its_textbook, **options)


@pytest.mark.parametrize("rate", [1e-3, 1e3])
def test_the_error_of_an_optimiser_is_relative_to_the_largest_parameter(rate):
    off = lambda w, g, eta: (1 + 1e-4) * textbook_sgd(w, g, eta)  # noqa: E731
    assert check_optimizer(lambda: SGD(0.1), off, learning_rate=rate, tolerance=2e-4) == pytest.approx(1e-4, rel=1e-3)


def asked_of_a_textbook(**options):
    asked = []

    def recorded(w, gradients, rates):
        asked.append((w.copy(), [g.copy() for g in gradients], list(rates)))
        return textbook_sgd(w, gradients, rates)

    check_optimizer(lambda: SGD(0.1), recorded, **options)
    return asked


def test_an_optimiser_is_tried_in_two_replicas_and_alone_at_one_two_and_three_times_its_rate():
    together, one, other = asked_of_a_textbook(learning_rate=0.1, steps=4)
    np.testing.assert_array_equal(np.sort(together[0]), np.sort(np.r_[one[0], other[0]]))
    for _, gradients, rates in (together, one, other):
        np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.1])
        assert len(gradients) == 4
        assert all((g != h).all() for g, h in pairwise(gradients))


def test_an_optimiser_is_tried_on_numbers_that_are_the_seeds():
    def numbers(**options):
        return np.concatenate([np.r_[rates, w, *gradients] for w, gradients, rates in asked_of_a_textbook(**options)])

    np.testing.assert_array_equal(numbers(), numbers(learning_rate=0.05, steps=6, seed=0))
    np.testing.assert_array_equal(numbers(seed=3), numbers(seed=3))
    assert np.isin(numbers(seed=3), numbers(seed=8)).sum() == 3 * 6 + 4 * 4  # the rates, and biases that start at 0


def test_an_optimiser_is_tried_on_the_backend_that_is_given():
    given, seen = Backend(), set()

    class Watched(Lion):
        def update(self, w, g, learning_rate):
            seen.add(self.backend)
            super().update(w, g, learning_rate)

    check_optimizer(lambda: Watched(0.1), textbook_lion, backend=given)
    assert seen == {given}


def test_what_an_optimiser_remembers_is_a_tuple_of_names():
    with pytest.raises(ArgumentError, match=r"^Bare\.remembers must be a tuple of names, got 'velocity'$"):

        class Bare(Optimizer):
            remembers = "velocity"


def test_every_optimiser_of_the_package_is_in_the_table_of_the_tested():
    import minidistill

    public = {getattr(minidistill, name) for name in minidistill.__all__}
    optimisers = {one for one in public if isinstance(one, type) and issubclass(one, Optimizer)} - {Optimizer}
    assert optimisers <= {type(make()) for make, _ in OPTIMIZERS.values()}, "add it to OPTIMIZERS, with its textbook"


@pytest.mark.parametrize("schedule", [linear_decay, cosine_decay, step_decay])
def test_without_a_warm_up_the_first_rate_is_the_peak_and_with_one_the_warm_up_ends_there(schedule):
    assert schedule(0.3)(0.0) == 0.3
    warm = schedule(0.3, warmup=0.4)
    assert 0 < warm(0.0) < 1e-3
    np.testing.assert_allclose(warm(0.4 - 1e-12), 0.3, rtol=1e-6)
    np.testing.assert_allclose(warm(0.2), 0.15, rtol=2e-3)
    np.testing.assert_allclose(warm(0.4), 0.3)


def test_a_step_of_the_schedule_is_taken_at_its_fraction():
    schedule = step_decay(1.0, at=(0.5, 0.75), factor=0.1)
    np.testing.assert_allclose([schedule(t) for t in (0.4999, 0.5, 0.7499, 0.75)], [1, 0.1, 0.1, 0.01])


def test_momentum_is_classical_unless_asked_otherwise_and_keeps_no_second_vector(backend):
    optimizer, network = SGD(linear_decay(0.1)), a_layer(backend, (2, 2))
    assert (optimizer.nesterov, optimizer.momentum, optimizer.learning_rate(0.5)) == (False, 0.9, 0.05)
    assert (optimizer.weight_decay, optimizer.max_norm) == (0, None)
    descend(optimizer, network, [no_gradient(network)], [0.1])
    assert optimizer.state == {}
    assert optimizer.steps == 1


@pytest.mark.parametrize("make", [lambda: SGD(0.01), lambda: SGD(0.01, nesterov=True), lambda: AdamW(1e-3)])
def test_no_subnormal_numbers_stay_in_what_an_optimiser_remembers(monkeypatch, make):
    """Neither in SGD's velocity nor in AdamW's means, in a distillation of MNIST; without `flush` they pile up."""

    def subnormals(after: int) -> int:
        network, optimizer = Network.mlp([784, 30, 30, 10], backend=Backend()), make()
        data = mnist_transfer(Backend()).subset(range(1600))
        fit(network, data, Objective(4.0, alpha=1.0), optimizer, epochs=after // 50, batch_size=32, progress=False)
        remembered = np.concatenate([network.gradients, *optimizer.state.values()])
        return int(((remembered != 0) & (abs(remembered) < np.finfo(np.float32).tiny)).sum())

    assert subnormals(after=2000) == 0  # a multiple of 100; between two of them some arise
    monkeypatch.setattr(Backend, "flush", lambda self, *vectors: None)
    assert subnormals(after=2000) > 100
