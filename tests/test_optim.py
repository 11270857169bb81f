"""The optimiser: momentum by `carry` is the textbook's, schedules stay positive, and max-norm only ever shortens."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import law

from minidistill import SGD, ArgumentError, Dense, Network, constant, cosine, linear
from minidistill import steps as stepwise
from minidistill.testing.gradients.strategies import seeds

EPS = float(np.finfo(np.float64).eps)
rates = st.floats(1e-6, 10)
momenta = st.floats(0, 0.99)
warmups = st.just(0.0) | st.floats(1e-6, 0.9)
leads = st.sampled_from([None, [5, 6]])  # one network, or two replicas


def a_layer(backend: Any, shape: tuple[int, int], lead: Any = None, dtype: Any = np.float64) -> Network:
    return Network([Dense(*shape)], seeds=3 if lead is None else lead, dtype=dtype, backend=backend)


def descend(optimizer: SGD, network: Network, batches: list[Any], learning_rate: list[float]) -> np.ndarray:
    """The parameters after a step on each (x, dz), as the training loop takes it: dz is scaled by η beforehand."""
    backend = network.backend
    for (x, dz), eta in zip(batches, learning_rate, strict=True):
        network.forward(backend.asarray(x))
        network.backward(backend.asarray(eta * dz), optimizer.carry)
        optimizer.step(network)
    return backend.to_host(network.parameters).copy()


def textbook(w: np.ndarray, gradients: list[np.ndarray], eta: list[float], m: float, nesterov: bool) -> np.ndarray:
    """Sutskever et al. (2013): v = m v + η g; w -= v, or w -= m v + η g."""
    w, v = w.copy(), np.zeros_like(w)
    for g, rate in zip(gradients, eta, strict=True):
        v = m * v + rate * g
        w -= m * v + rate * g if nesterov else v
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


@pytest.mark.parametrize("nesterov", [False, True], ids=["classical", "nesterov"])
@law
@given(descents(), momenta)
def test_momentum_is_the_recursion_of_the_textbook(backend, nesterov, descent, m):
    shape, lead, batches, gradients, eta = descent
    network = a_layer(backend, shape, lead)
    start = backend.to_host(network.parameters).copy()
    found = descend(SGD(0.1, m, nesterov), network, batches, eta)
    expected = textbook(start, gradients, eta, m, nesterov)
    atol = rounding(eta, m) * (1 + np.abs(start).max())
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("nesterov", [False, True], ids=["classical", "nesterov"])
@law
@given(descents(), st.floats(0.1, 0.99))
def test_the_test_of_momentum_rejects_the_other_recursion(backend, nesterov, descent, m):
    shape, lead, batches, gradients, eta = descent
    network = a_layer(backend, shape, lead)
    start = backend.to_host(network.parameters).copy()
    found = descend(SGD(0.1, m, nesterov), network, batches, eta)
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
        found = descend(SGD(0.1, 0.0, nesterov), network, batches, eta)
        expected = start - sum(rate * g for rate, g in zip(eta, gradients, strict=True))
        np.testing.assert_allclose(found, expected, rtol=0, atol=rounding(eta, 0) * (1 + np.abs(start).max()))


# --- schedules -----------------------------------------------------------------------------------------------------

SCHEDULES = {"linear": linear, "cosine": cosine, "steps": lambda rate, warmup: stepwise(rate, warmup=warmup)}
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
    assert linear(rate, warmup)(done) == pytest.approx(rate * (1 - t), rel=0, abs=atol)
    assert cosine(rate, warmup)(done) == pytest.approx(rate * np.cos(np.pi * t / 2) ** 2, rel=0, abs=2 * atol)
    assert constant(rate)(done) == rate


@law
@given(rates, st.floats(0.1, 0.4), st.floats(0.5, 0.9), st.floats(0.01, 0.99), fractions())
def test_steps_multiplies_by_its_factor_at_each_fraction(rate, first, second, factor, done):
    expected = rate * factor ** (int(done >= first) + int(done >= second))
    assert stepwise(rate, (first, second), factor)(done) == pytest.approx(expected, rel=4 * EPS)


# --- max-norm ------------------------------------------------------------------------------------------------------


@law
@given(leads, st.integers(1, 6), st.integers(1, 6), st.floats(0.1, 3), st.sampled_from([np.float32, np.float64]))
def test_max_norm_shortens_long_columns_to_the_limit_and_leaves_the_others(backend, lead, n, m, limit, dtype):
    network = a_layer(backend, (n, m), lead, dtype)
    before = np.array(backend.to_host(network.layers[0].W))
    before[..., 0] = 0  # a dead unit, whose norm nothing may be divided by
    network.layers[0].W[...] = backend.asarray(before)
    network.layers[0].b[...] = 100.0
    SGD(0.1, max_norm=limit).step(network)  # the gradients are 0
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
    "rate below 0": ("learning rate", lambda: linear(-0.1)),
    "rate NaN": ("learning rate", lambda: cosine(float("nan"))),
    "rate infinite": ("learning rate", lambda: constant(float("inf"))),
    "rate in words": ("learning rate", lambda: SGD("fast")),
    "warmup of 1": ("warmup", lambda: linear(0.1, warmup=1.0)),
    "warmup below 0": ("warmup", lambda: stepwise(0.1, warmup=-0.1)),
    "momentum 1": ("momentum", lambda: SGD(0.1, momentum=1.0)),
    "momentum below 0": ("momentum", lambda: SGD(0.1, momentum=-0.1)),
    "max_norm 0": ("max_norm", lambda: SGD(0.1, max_norm=0)),
    "factor 0": ("factor", lambda: stepwise(0.1, factor=0)),
    "at below 0": ("at", lambda: stepwise(0.1, at=(-0.1,))),
    "at above 1": ("at", lambda: stepwise(0.1, at=(0.5, 1.5))),
}


@pytest.mark.parametrize(("name", "build"), BAD.values(), ids=BAD)
def test_an_error_names_the_argument_first(name, build):
    with pytest.raises(ArgumentError, match=rf"^{name} must "):
        build()


def test_an_optimiser_belongs_to_the_first_network_that_it_steps(backend):
    optimizer = SGD(0.1)
    optimizer.step(a_layer(backend, (2, 2)))
    with pytest.raises(ArgumentError, match=r"^network must .*: make an SGD for each network$"):
        optimizer.step(a_layer(backend, (2, 2)))


@pytest.mark.parametrize("schedule", [linear, cosine, stepwise])
def test_without_a_warm_up_the_first_rate_is_the_peak_and_with_one_the_warm_up_ends_there(schedule):
    assert schedule(0.3)(0.0) == 0.3
    warm = schedule(0.3, warmup=0.4)
    assert 0 < warm(0.0) < 1e-3
    np.testing.assert_allclose(warm(0.4 - 1e-12), 0.3, rtol=1e-6)
    np.testing.assert_allclose(warm(0.2), 0.15, rtol=2e-3)
    np.testing.assert_allclose(warm(0.4), 0.3)


def test_a_step_of_the_schedule_is_taken_at_its_fraction():
    schedule = stepwise(1.0, at=(0.5, 0.75), factor=0.1)
    np.testing.assert_allclose([schedule(t) for t in (0.4999, 0.5, 0.7499, 0.75)], [1, 0.1, 0.1, 0.01])


def test_momentum_is_classical_unless_asked_otherwise_and_keeps_no_second_vector(backend):
    optimizer = SGD(linear(0.1))
    assert (optimizer.nesterov, optimizer.carry, optimizer.learning_rate(0.5)) == (False, 0.9, 0.05)
    optimizer.step(a_layer(backend, (2, 2)))
    assert optimizer.velocity is None
    assert SGD(0.1, nesterov=True).carry == 0
