"""check_gradient accepts what is a derivative, rejects what is not, and knows a kink when it meets one."""

import fake_cupy
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minidistill as md
from minidistill import Backend, random
from minidistill.testing import WrongGradient, check_backward, check_gradient
from minidistill.testing.gradients.check import _tolerance
from minidistill.testing.gradients.derivative import Slope, derivative_along, to_host

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
        (lambda u: u, np.ones(3), r"^f must return one number, got shape \(3,\): contract it with a cotangent$"),
        (lambda u: u[:2], np.ones(3), r"^f must return one number, got shape \(2,\)"),
        (lambda u: u.sum(), np.ones(2), "gradient must have the shape of x"),
        (lambda u: u.sum(), None, r"^f must return \(value, gradient\) where no gradient is given$"),
    ],
)
def test_parts_that_do_not_fit_are_an_argument_error(f, gradient, text):
    with pytest.raises(md.ArgumentError, match=text):
        check_gradient(f, np.ones(3), gradient)


def test_a_nan_gradient_is_rejected_with_its_place():
    with pytest.raises(WrongGradient, match=r"gradient\[1\] is nan, x\[1\] = 1.0"):
        check_gradient(lambda u: u.sum(), np.ones(3), np.array([1, np.nan, 1]))


def bound(layer, backend, dtype):
    """A layer with random parameters on a backend, the same for each."""
    rng, arrays = np.random.default_rng(0), {}
    for name, parameter in layer.parameters().items():
        arrays[name] = backend.asarray(rng.standard_normal(parameter.shape), dtype=dtype)
        arrays[f"d{name}"] = backend.xp.zeros_like(arrays[name])
    layer.bind(backend, np.dtype(dtype), 0, random.seed_key(7), arrays)
    return layer


LAYERS = {
    "Dense": lambda: md.Dense(4, 3),
    "DenseReLU": lambda: md.DenseReLU(4, 3),
    "DenseReLU with dropout": lambda: md.DenseReLU(4, 3, 0.5),
    "ReLU": md.ReLU,
    "Dropout": lambda: md.Dropout(0.4),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_every_layers_backward_is_the_derivative_of_its_forward_on_every_backend(backend, make, dtype):
    layer, exact = (bound(make(), *where) for where in ((backend, dtype), (Backend(), np.float64)))
    x = np.random.default_rng(1).standard_normal((5, 4)).astype(dtype)

    def forward(u, layer=layer):
        layer.scratch = layer.make_scratch(u.shape)
        out = layer.xp.empty((5, layer.n_out or 4), dtype=u.dtype)
        return layer.forward(u, out, 3)  # step 3: a dropout mask, the same each time

    def backward(dy):
        return layer.backward(dy, backend.xp.empty((5, 4), dtype=dtype))

    check = check_backward(
        forward, backward, backend.asarray(x), reference=lambda u: forward(u, exact), method="difference"
    )
    assert check.error < (1e-6 if dtype == np.float64 else 1e-4)
    for wrong in (lambda dy: 1.01 * backward(dy), lambda dy: 0 * backward(dy)):
        with pytest.raises(WrongGradient):
            check_backward(
                forward, wrong, backend.asarray(x), reference=lambda u: forward(u, exact), method="difference"
            )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(rng=rngs, T=st.sampled_from([1.0, 20.0]))
def test_a_loss_on_a_device_or_in_float32_is_judged_against_float64_on_the_host(backend, dtype, rng, T):
    z, v = (u.astype(dtype) for u in logits(rng))
    there, x = backend.asarray(v), backend.asarray(z)

    def exact(u):
        return md.kl_divergence(u, v.astype(np.float64), T)

    assert check_gradient(lambda u: md.kl_divergence(u, there, T), x, reference=exact).method == "complex"
    wrong = 1.001 * md.kl_divergence(x, there, T)[1]
    with pytest.raises(WrongGradient):
        check_gradient(lambda u: md.kl_divergence(u, there, T)[0], x, wrong, reference=exact)


def test_a_mask_that_is_not_frozen_is_an_argument_error():
    rng = np.random.default_rng(0)
    with pytest.raises(
        md.ArgumentError,
        match=r"^f must give the same number .*: freeze its dropout mask or its seed$",
    ):
        check_gradient(lambda u: (u * (rng.random(9) < 0.5)).sum(), np.arange(1.0, 10.0), np.ones(9))


def test_the_boundary_of_a_max_norm_is_a_kink():
    W = np.array([[3.0, 0.3], [4.0, 0.4]])  # the first column's norm is the limit itself
    cotangent = np.array([[1.0, 2.0], [-1.0, 3.0]])

    def f(u):
        u = u.copy()
        Backend().max_norm(u, 5.0)
        return float((u * cotangent).sum())

    assert check_gradient(f, W, cotangent).kinks == [(0, 0), (1, 0)]
    with pytest.raises(WrongGradient, match=r"gradient\[1, 1\]"):
        check_gradient(f, W, cotangent + np.array([[0, 0], [0, 0.1]]))


@pytest.mark.parametrize("seed", [None, 5])
def test_the_cotangent_of_a_layer_leaves_no_output_out_and_is_the_same_for_the_same_seed(seed):
    x, seen = np.arange(12.0, dtype=np.float32).reshape(3, 4) / 7, []

    def backward(dy):
        seen.append(dy.copy())
        return 3 * dy

    options = {} if seed is None else {"seed": seed}
    assert check_backward(lambda u: 3 * u, backward, x, **options).error < 1e-3
    rng = np.random.default_rng(seed or 0)
    expected = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)
    assert seen[0].dtype == np.float32
    np.testing.assert_array_equal(seen[0], expected.astype(np.float32))
    with pytest.raises(WrongGradient):
        check_backward(lambda u: 3 * u, lambda dy: 3.5 * dy, x)


def domain(x):
    return np.log(x).sum()


def l1(w):
    return (w**2).sum() / 2 + 1e-4 * np.abs(w).sum()


def relu(x):
    return float(np.maximum(x, 0).sum())


W = np.random.default_rng(0).normal(size=10)


@pytest.mark.parametrize(
    ("f", "x", "right", "wrong"),
    [
        (domain, np.array([1e-4, 0.5]), lambda x: 1 / x, lambda x: 0 * x),
        (lambda p: -float((p * np.log(p)).sum()), np.array([1e-5, 0.5]), lambda p: -np.log(p) - 1, lambda p: 0 * p),
        (l1, W, lambda w: w + 1e-4 * np.sign(w), lambda w: w),
        (lambda w: 1e-6 * l1(w), W, lambda w: 1e-6 * (w + 1e-4 * np.sign(w)), lambda w: 1e-6 * w),
        (lambda x: x[0] + np.sin(x[1:]).sum(), np.array([1e4, 1, 2.0]), lambda x: np.r_[1, np.cos(x[1:])],
         lambda x: np.r_[1, 0, 0]),
        (lambda x: float(x[0] + np.sin(x[1:]).sum()), np.array([1e4, 1, 2.0]), lambda x: np.r_[1, np.cos(x[1:])],
         lambda x: np.r_[1, 0, 0]),
        (relu, np.array([5e-4, 1.0, -7e-6]), lambda x: (x > 0) * 1.0, lambda x: (x > -1e-5) * 1.0),
    ],
    ids=["the border of a domain", "p log p", "a small part that is not analytic", "the same, small",
         "large beside small", "the same, real", "a kink near by"],
)  # fmt: skip
def test_neither_a_border_nor_a_small_part_nor_a_kink_near_by_hides_a_wrong_gradient(f, x, right, wrong):
    assert check_gradient(f, x, right).kinks == []
    with pytest.raises(WrongGradient):
        check_gradient(f, x, wrong)


@given(rng=rngs)
def test_a_network_of_relus_at_random_inputs_is_never_accused(rng):
    x = rng.normal(size=40)
    check_gradient(relu, x, lambda x: (x > 0) * 1.0)


def test_a_kink_is_found_in_float32_and_among_many():
    assert check_gradient(relu, np.array([0, 1, -2], np.float32), lambda x: (x > 0) * 1.0).kinks == [(0,)]
    many = np.random.default_rng(0).normal(size=1500)
    many[7] = 0
    assert check_gradient(lambda x: np.maximum(x, 0).sum(), many, lambda x: (x > 0) * 1.0).kinks == [(7,)]


def test_where_nothing_can_be_said_an_argument_is_wrong_and_no_gradient_passes():
    with pytest.raises(md.ArgumentError, match=r"^x must lie where f has a derivative, got a kink in every component$"):
        check_gradient(lambda x: float(np.abs(x).sum()), np.zeros(2), np.zeros(2))
    with pytest.raises(md.ArgumentError, match=r"^x must not lie on a kink of f .* each component by itself$"):
        check_gradient(lambda x: 1e4 * abs(float(x[0])), np.zeros(3000), np.zeros(3000))
    with pytest.raises(md.ArgumentError, match="f must be finite at x, got nan"):
        check_gradient(lambda x: float("nan"), np.ones(2), np.zeros(2))
    with pytest.raises(md.ArgumentError, match="f must be finite near x"):
        check_gradient(lambda x: 1.0 if (x == 1).all() else float("nan"), np.ones(2), np.zeros(2), method="difference")


def test_a_function_that_refuses_complex_numbers_in_its_own_way_is_judged_by_differences():
    def picky(x):
        if x.dtype != np.float64:
            raise RuntimeError("not implemented for ComplexDouble")
        return (x**2).sum()

    assert check_gradient(picky, np.array([1.0, 2.0]), lambda x: 2 * x).method == "difference"


def test_a_function_may_keep_its_gradient_in_a_buffer_and_overwrite_its_argument():
    buffer = np.empty(3)

    def f(x):
        buffer[...] = 2 * x
        value = (x**2).sum()
        x *= 0
        return value, buffer

    assert check_gradient(f, np.array([1.0, 2.0, 3.0]), method="difference").error < 1e-6
    x = np.array([0.5, 1.0])
    assert check_backward(lambda u: np.exp(u, out=u), lambda dy: dy * np.exp(x), x).error < 1e-6
    np.testing.assert_array_equal(x, [0.5, 1.0])


def test_what_is_tolerated_follows_from_the_digits_of_the_truth_and_of_the_gradient():
    expected = {
        ("complex", 8, False): 1e-9, ("difference", 8, False): 1e-6, ("difference", 8, True): 1e-6,
        ("complex", 4, False): 1e-4, ("difference", 4, True): 1e-4, ("difference", 4, False): 3e-2,
        ("complex", 2, False): 3e-2, ("difference", 2, True): 3e-2, ("difference", 2, False): 0.3,
    }  # fmt: skip
    assert {key: _tolerance(*key) for key in expected} == expected


@pytest.mark.parametrize(("size", "shown"), [(64, True), (65, False)])
def test_a_reproducer_shows_up_to_64_numbers(size, shown):
    with pytest.raises(WrongGradient) as raised:
        check_gradient(lambda u: u.sum(), np.ones(size), np.zeros(size))
    what = str([1.0] * size) if shown else "..."
    assert str(raised.value).endswith(f"reproduce with x = np.array({what}, dtype=np.float64)")


def test_a_kink_is_a_jump_of_the_slope_that_does_not_shrink_and_is_more_than_rounding():
    assert Slope(1.0, (0.51, 1.0)).is_kink(1.0, 1e-6)
    assert not Slope(1.0, (0.5, 1.0)).is_kink(1.0, 1e-6)  # it shrinks
    assert not Slope(1.0, (10 * 1e-6, 1e-5)).is_kink(1.0, 1e-6)  # it is as good as nothing
    assert Slope(1.0, (1.05e-5, 1e-5)).is_kink(1.0, 1e-6)
    assert not Slope(1.0, (0.1, 0.1)).is_kink(1.0, 0.5)
    assert Slope(1.0, (0.11, 0.1)).is_kink(1.0, 0.5)
    assert not Slope(1.0, (0.2, 0.2), 0.2).is_kink(1.0, 1e-6)  # it may be rounding


def test_a_large_constant_beside_an_analytic_function_is_no_reason_to_doubt_it():
    x = np.array([0.3, -1.2])
    assert check_gradient(lambda u: 1e9 + np.sin(u).sum(), x, np.cos).method == "complex"


def test_a_layers_options_are_passed_on():
    with pytest.raises(WrongGradient, match="tolerated 1e-30"):
        check_backward(
            lambda u: u * u / 3, lambda dy: dy * 2 * np.arange(1.0, 4) / 3.0000001, np.arange(1.0, 4), tolerance=1e-30
        )


@pytest.mark.parametrize(
    ("x", "options", "text"),
    [
        (np.array([1, 2]), {}, r"^x must hold finite floating-point numbers, got int64 \(2,\)$"),
        (np.empty((0, 2)), {}, r"^x must hold finite floating-point numbers, got float64 \(0, 2\)$"),
        (np.array([1.0, np.nan]), {}, "^x must hold finite floating-point numbers"),
        ("text", {}, "^x must be an array of numbers, got str$"),
        (np.ones(2), {"method": "newton"}, "^method must be auto, complex or difference, got 'newton'$"),
        (np.ones(2), {"step": 0.0}, "^step must"),
        (np.ones(2), {"tolerance": 0.0}, "^tolerance must"),
    ],
)
def test_a_wrong_argument_is_named(x, options, text):
    with pytest.raises(md.ArgumentError, match=text):
        check_gradient(lambda u: u.sum(), x, np.ones(2), **options)


def test_one_number_is_enough_and_either_method_can_be_asked_for():
    for method in ("auto", "complex", "difference"):
        found = check_gradient(lambda u: (u**2).sum(), np.array([3.0]), np.array([6.0]), method=method)
        assert found.method == ("difference" if method == "difference" else "complex")


def test_an_array_on_a_device_needs_a_reference():
    x = fake_cupy.asarray(np.array([1.0, 2.0]))
    with pytest.raises(md.ArgumentError, match=r"^reference must be given for an x on a device, got None and ndarray$"):
        check_gradient(lambda u: (u * u).sum(), x, lambda u: 2 * u)
    assert check_gradient(lambda u: (u * u).sum(), x, lambda u: 2 * u, reference=lambda u: (u * u).sum()).error < 1e-9
    np.testing.assert_array_equal(to_host(x), [1.0, 2.0])


@pytest.mark.parametrize(("dtype", "levels"), [(np.float64, 7), (np.float32, 3)])
def test_differences_are_taken_at_ever_smaller_steps_relative_to_what_moves(dtype, levels):
    x, seen = np.array([5.0, 100.0], dtype), []

    def f(u):
        assert u.dtype == dtype
        seen.append(u - x)
        return 7.0

    for d, largest in ((np.array([0.0, 1.0]), 0.1), (np.array([1.0, 0.0]), 5e-3), (np.array([1.0, 1.0]), 5e-3)):
        seen.clear()
        slope = derivative_along(f, x, d, 1e-3, "difference")
        moved = np.array([np.abs(u).max() for u in seen])
        np.testing.assert_allclose(moved.max(), largest, rtol=1e-3)
        assert len(seen) == 1 + 4 * levels
        nearest = largest / 4 ** (levels - 1) / 2
        np.testing.assert_allclose(moved[moved > 0].min(), nearest, rtol=0.1 if dtype == np.float32 else 1e-3)
        np.testing.assert_allclose(slope.rounding, 8 * np.finfo(dtype).eps * 7 / nearest)
    assert slope.value == 0


def test_the_jump_of_a_kink_stays_and_that_of_a_curve_shrinks_with_the_step():
    x, d = np.zeros(1), np.ones(1)
    nearest = 1e-3 / 4**6 / 2
    np.testing.assert_allclose(derivative_along(lambda u: float(abs(u[0])), x, d, 1e-3, "difference").jumps, (2, 2))
    found = derivative_along(lambda u: float(u[0] ** 2), x, d, 1e-3, "difference")
    np.testing.assert_allclose(found.jumps, (2 * nearest, 32 * nearest))
    assert derivative_along(lambda u: 1e-3 * u[0], x, d, 1e-3, "difference").rounding < 1e-300  # of a value of 0


def test_what_a_slope_cannot_be_taken_of_is_said():
    x, d = np.ones(1), np.ones(1)
    with pytest.raises(TypeError, match=r"^f drops the imaginary part$"):
        derivative_along(lambda u: 1.0, x, d, 1e-3, "complex")
    with pytest.raises(md.ArgumentError, match=r"^f must be finite for a complex step from x, got .*nan"):
        derivative_along(lambda u: u[0] * np.nan, x, d, 1e-3, "complex")
    with pytest.raises(md.ArgumentError, match=r"^f must be finite near x, got nan within 1.22e-07 of it$"):
        derivative_along(lambda u: 1.0 if u[0] == 1 else np.nan, x, d, 1e-3, "difference")


def test_against_a_derivative_of_zero_only_zero_is_right():
    x = np.ones(3)
    assert check_gradient(lambda u: 0 * u.sum() + 2, x, np.zeros(3)).error == 0
    with pytest.raises(WrongGradient, match=r"gradient\[1\] is 1e-200 and must be 0, by complex steps: .* inf"):
        check_gradient(lambda u: 0 * u.sum() + 2, x, np.array([0, 1e-200, 0]))


def test_a_complex_step_shows_an_error_of_one_in_ten_million():
    x = np.array([1.0, 2.0])
    assert check_gradient(lambda u: (u**2).sum(), x, 2 * x * (1 + 1e-10)).error < 1e-9
    with pytest.raises(WrongGradient, match="by complex steps: relative error 1e-07, tolerated 1e-09"):
        check_gradient(lambda u: (u**2).sum(), x, 2 * x * (1 + 1e-7))


@pytest.mark.parametrize("seed", [0, 3])
def test_random_directions_leave_no_component_out_and_are_the_seeds(seed):
    x, seen = np.ones(3000), []

    def f(u):
        if u.dtype.kind == "c":
            seen.append(u.imag / 1e-30)
        return u.sum()

    assert check_gradient(f, x, np.ones(3000), method="complex", seed=seed).error < 1e-12
    rng = np.random.default_rng(seed)
    expected = [rng.choice([-1.0, 1.0], 3000) * rng.uniform(0.5, 1.0, 3000) for _ in range(4)]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    with pytest.raises(WrongGradient, match=f"along a random direction of seed {seed}, the gradient is .*, by complex"):
        check_gradient(f, x, np.full(3000, 1.001), method="complex", seed=seed)


def test_two_thousand_components_are_tried_one_by_one():
    x = np.random.default_rng(0).normal(size=2000)
    x[-1] = 0
    assert check_gradient(lambda u: np.maximum(u, 0).sum(), x, lambda u: (u > 0) * 1.0).kinks == [(1999,)]


def test_along_a_direction_the_errors_of_many_components_add_up_like_a_root():
    x = np.ones(2500)
    for error in (0.02, 0.9 * 50):  # in units of the tolerance of one component
        check_gradient(lambda u: u.sum(), x, np.full(2500, 1 + error * 1e-9), method="complex")
    with pytest.raises(WrongGradient, match="along a random direction"):
        check_gradient(lambda u: u.sum(), x, np.full(2500, 1 + 1.1 * 50 * 1e-9), method="complex")
