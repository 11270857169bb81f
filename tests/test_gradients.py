"""check_gradient accepts what is a derivative, rejects what is not, and knows a kink when it meets one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidistill as md
from minidistill.testing import WrongGradient, check_gradient

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def logits(rng, shape=(3, 4)):
    return 3 * rng.standard_normal(shape), 3 * rng.standard_normal(shape)


@given(rng=rngs, T=st.sampled_from([0.5, 1.0, 20.0, 1e3, 1e6]))
def test_the_gradient_of_a_soft_loss_is_accepted_at_every_temperature(rng, T):
    z, v = logits(rng)
    check = check_gradient(lambda u: md.soft_cross_entropy(u, v, T), z)
    assert check.method == "complex"
    assert check.error < 1e-9


@given(rng=rngs, T=st.sampled_from([1.0, 20.0, 1e3, 1e6]), factor=st.sampled_from([0.0, 0.999, 1.001, -1.0]))
def test_a_gradient_that_is_off_by_a_thousandth_or_is_zero_is_rejected_at_every_temperature(rng, T, factor):
    z, v = logits(rng)
    with pytest.raises(WrongGradient, match=r"gradient\[\d, \d\] is .* and must be .*\nreproduce with x = np.array"):
        check_gradient(lambda u: md.soft_cross_entropy(u, v, T)[0], z, factor * md.soft_cross_entropy(z, v, T)[1])


@given(rng=rngs, index=st.tuples(st.integers(0, 2), st.integers(0, 3)))
def test_one_wrong_component_is_named(rng, index):
    z, v = logits(rng)
    gradient = md.kl_divergence(z, v, 1.0)[1]
    gradient[index] += 0.01 * np.abs(gradient).max()
    with pytest.raises(WrongGradient, match=rf"gradient\[{index[0]}, {index[1]}\]"):
        check_gradient(lambda u: md.kl_divergence(u, v, 1.0)[0], z, gradient)


@given(rng=rngs)
def test_a_function_that_is_not_analytic_is_judged_by_differences(rng):
    x = rng.standard_normal(6)
    x[np.abs(x) < 0.1] = 0.5
    check = check_gradient(lambda u: float(np.abs(u).sum()), x, np.sign)
    assert (check.method, check.kinks) == ("difference", [])
    with pytest.raises(WrongGradient):
        check_gradient(lambda u: float(np.abs(u).sum()), x, lambda u: np.sign(u) * 1.01)


def test_a_kink_is_reported_and_not_failed():
    x = np.array([1.0, 0.0, -2.0])
    check = check_gradient(lambda u: float(np.maximum(u, 0).sum()), x, lambda u: (u > 0) * 1.0)
    assert check.kinks == [(1,)]
    with pytest.raises(WrongGradient, match=r"gradient\[0\]"):
        check_gradient(lambda u: float(np.maximum(u, 0).sum()), x, lambda u: (u > 0) * 1.1)


@given(rng=rngs)
def test_float32_is_judged_by_what_float32_can_show(rng):
    z, v = (u.astype(np.float32) for u in logits(rng))
    check_gradient(
        lambda u: md.kl_divergence(u, v, 1.0)[0], z, md.kl_divergence(z, v, 1.0)[1], method="difference", step=1e-1
    )
    with pytest.raises(WrongGradient):
        check_gradient(
            lambda u: md.kl_divergence(u, v, 1.0)[0], z, -md.kl_divergence(z, v, 1.0)[1], method="difference", step=1e-1
        )


def test_a_large_array_is_tried_along_directions_that_leave_no_component_out():
    x, gradient = np.random.default_rng(0).standard_normal(5000), np.ones(5000)
    f = lambda u: u.sum()  # noqa: E731
    assert check_gradient(f, x, gradient).error < 1e-9
    gradient[4321] = 0
    with pytest.raises(WrongGradient, match="along a random direction of seed 0"):
        check_gradient(f, x, gradient)


@pytest.mark.parametrize(
    ("f", "gradient", "text"),
    [
        (lambda u: u, np.ones(3), "f must return one number"),
        (lambda u: u.sum(), np.ones(2), "gradient must have the shape of x"),
        (lambda u: u.sum(), None, r"f must return \(value, gradient\)"),
    ],
)
def test_parts_that_do_not_fit_are_an_argument_error(f, gradient, text):
    with pytest.raises(md.ArgumentError, match=text):
        check_gradient(f, np.ones(3), gradient)


def test_a_nan_gradient_is_rejected_with_its_place():
    with pytest.raises(WrongGradient, match=r"gradient\[1\] is nan, x\[1\] = 1.0"):
        check_gradient(lambda u: u.sum(), np.ones(3), np.array([1, np.nan, 1]))


@pytest.mark.parametrize("what", ["W", "b", "x"])
def test_a_layer_of_this_project_is_checked_by_contracting_it_with_a_cotangent(what):
    rng = np.random.default_rng(0)
    layer = md.Hidden(4, 3)
    x, W, b, dy = (rng.standard_normal(shape) for shape in ((5, 4), (4, 3), (1, 3), (5, 3)))
    layer.bind(md.get_backend(), 0, (0, 0))
    layer.set_parameters(W, b, np.zeros_like(W), np.zeros_like(b))
    layer.prepare(x.shape)

    def forward(u):
        layer.set_parameters(u if what == "W" else W, u if what == "b" else b, layer.dW, layer.db)
        return float((layer.forward(u if what == "x" else x, np.empty((5, 3)), None) * dy).sum())

    forward({"W": W, "b": b, "x": x}[what])
    dx = layer.backward(dy.copy(), np.empty_like(x))
    gradient = {"W": layer.dW.copy(), "b": layer.db.copy(), "x": dx}[what]
    assert check_gradient(forward, {"W": W, "b": b, "x": x}[what], gradient).method == "difference"
