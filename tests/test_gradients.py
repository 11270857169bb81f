"""check_gradient accepts what is a derivative, rejects what is not, and knows a kink when it meets one."""

import contextlib
import itertools
import math
import warnings
from types import SimpleNamespace
from typing import NamedTuple

import fake_cupy
import numpy as np
import pytest
from gradient_table import CASES, N6, by_loop, mistakes_of
from gradient_table import real as not_analytic
from hypothesis import given
from hypothesis import strategies as st

import minidistill as md
from minidistill import Backend, random
from minidistill.backend import CupyBackend
from minidistill.testing import CannotJudge, WrongGradient, check_backward, check_gradient
from minidistill.testing.gradients import derivative
from minidistill.testing.gradients.check import (
    MAX_COMPONENTS,
    _gradient_of,
    _is_analytic,
    _near,
    _tolerance,
    _value_of,
)
from minidistill.testing.gradients.components import (
    FEW,
    MARGIN,
    OPERATIONS,
    Components,
    GradientCheck,
    of_one_size,
)
from minidistill.testing.gradients.derivative import (
    NOTHING,
    Near,
    Slope,
    Slopes,
    _granularity,
    _refined,
    random_direction,
)
from minidistill.testing.gradients.trees import Tree, holds_arrays, leaves, to_host

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
    with pytest.raises(WrongGradient, match=r"gradient\[4321\] is 0 and must be 1, by complex steps"):
        check_gradient(f, x, gradient)


@pytest.mark.parametrize(
    ("f", "gradient", "text"),
    [
        (lambda u: u, np.ones(3), r"^f must return one number, got shape \(3,\): contract it with a cotangent$"),
        (lambda u: u[:2], np.ones(3), r"^f must return one number, got shape \(2,\)"),
        (lambda u: u.sum(), np.ones(2), "gradient must have the shape of x"),
        (lambda u: u.sum(), None, r"^f must return \(value, gradient\) where no gradient is given, got float64$"),
        (lambda u: None, np.ones(3), r"^f must return a number, got None: does it lack a return\?$"),
        (lambda u: u.sum(), lambda u: None, r"^gradient must return an array, got None: does it lack a return\?$"),
        (lambda u: u.sum(), 1j * np.ones(3), "^gradient must hold real numbers, got complex128$"),
        (lambda u: u.sum() * 1j, np.ones(3), "^f must return a real number for a real x, got 3j$"),
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


def test_where_nothing_can_be_said_no_gradient_passes_and_none_is_wrong():
    with pytest.raises(CannotJudge, match=r"^x must lie where f has a derivative, got a kink in every component$"):
        check_gradient(lambda x: float(np.abs(x).sum()), np.zeros(2), np.zeros(2))
    with pytest.raises(md.ArgumentError, match="f must be finite at x, got nan"):
        check_gradient(lambda x: float("nan"), np.ones(2), np.zeros(2))
    with pytest.raises(CannotJudge, match=r"f must be finite near x, .* a value of 1 is known to 2.22e-16$"):
        check_gradient(lambda x: 1.0 if (x == 1).all() else float("nan"), np.ones(2), np.ones(2), method="difference")
    with pytest.raises(CannotJudge, match=r"a value of 1e\+16 is known to 2.22$"):
        check_gradient(not_analytic(lambda x: 1e16 + np.sin(x).sum()), 1e-3 * np.ones(2), np.ones(2))

    def refuses(x):
        if (x != 1).any():
            raise ValueError("1 alone")
        return 1.0

    with pytest.raises(CannotJudge, match=r"ValueError: 1 alone$"):
        check_gradient(refuses, np.ones(2), np.ones(2))


def test_a_search_that_takes_too_long_ends(monkeypatch):
    monkeypatch.setattr(derivative, "MOST_EVALUATIONS", 1000)
    with pytest.raises(CannotJudge, match=r"^x must lie where f has a derivative, got none after 1,000 values of f$"):
        check_gradient(lambda x: float(np.abs(x).sum()), np.zeros(3000), np.zeros(3000))


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
    for dtype, expected in (("f8", (1e-9, 1e-6)), ("f4", (1e-4, 1e-4)), ("f2", (3e-2, 3e-2))):
        assert tuple(_tolerance(method, np.finfo(dtype).eps) for method in ("complex", "difference")) == expected


@pytest.mark.parametrize("size", [64, 65])
@pytest.mark.parametrize("kind", ["array", "float32", "dict", "list", "tuple", "pair"])
def test_a_reproducer_runs_as_it_is_pasted_and_loads_more_than_64_numbers(size, kind, monkeypatch, tmp_path):
    monkeypatch.setattr("minidistill.testing.gradients.trees.gettempdir", lambda: str(tmp_path))
    array = np.random.default_rng(0).normal(size=size)
    x = {"array": array, "float32": array.astype("f4"), "dict": {"W": array, "b": array[:2]},
         "list": [array, array[:2]], "tuple": (array,), "pair": (array, array[:2])}[kind]  # fmt: skip
    with pytest.raises(WrongGradient) as raised:
        check_gradient(lambda u: 3.0 * md_sum(u), x, lambda u: u)
    assert len(list(tmp_path.iterdir())) == (size > 64)
    scope = {"np": np}
    exec(str(raised.value).partition("reproduce with ")[2], scope)
    for mine, theirs in zip(arrays_in(x), arrays_in(scope["x"]), strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert type(scope["x"]) is type(x)


def arrays_in(x):
    items = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else [x]
    return [array for item in items for array in (arrays_in(item) if isinstance(item, (dict, list, tuple)) else [item])]


def md_sum(x):
    return sum(array.sum() for array in arrays_in(x))


def test_an_array_that_cannot_be_saved_is_told_and_hides_no_failure(monkeypatch):
    monkeypatch.setattr("minidistill.testing.gradients.trees.gettempdir", lambda: "/nowhere/at/all")
    with pytest.raises(
        WrongGradient, match=r"(?s)gradient\[\d+\] is 0 .*\.\.\.  # 100 numbers, which could not be saved"
    ):
        check_gradient(lambda u: u.sum(), np.ones(100), np.zeros(100))


def test_a_large_constant_beside_an_analytic_function_is_no_reason_to_doubt_it():
    x = np.array([0.3, -1.2])
    assert check_gradient(lambda u: 1e9 + np.sin(u).sum(), x, np.cos).method == "complex"


def test_the_truth_of_a_backward_is_the_derivative_of_the_reference_where_one_is_given():
    x = np.arange(1.0, 4)
    assert check_backward(lambda u: 3 * u, lambda dy: 4 * dy, x, reference=lambda u: 4 * u).error < 1e-9
    with pytest.raises(WrongGradient):
        check_backward(lambda u: 3 * u, lambda dy: 3 * dy, x, reference=lambda u: 4 * u)


def test_a_layers_options_are_passed_on():
    with pytest.raises(WrongGradient, match="tolerated 1e-30"):
        check_backward(
            lambda u: u * u / 3, lambda dy: dy * 2 * np.arange(1.0, 4) / 3.0000001, np.arange(1.0, 4), tolerance=1e-30
        )


@pytest.mark.parametrize(
    ("x", "options", "text"),
    [
        (np.array([True, False]), {}, r"^x must hold finite floating-point numbers, got bool \(2,\)$"),
        (np.array([1j]), {}, r"^x must hold finite floating-point numbers, got complex128 \(1,\)$"),
        (
            {"W": [np.ones(2), np.array([np.nan])]},
            {},
            r"^x\['W'\]\[1\] must hold finite floating-point numbers, got float64 \(1,\)$",
        ),
        ([np.ones(2), np.array([np.inf])], {}, r"^x\[1\] must hold finite floating-point numbers, got float64 \(1,\)$"),
        ({}, {}, r"^x must hold finite floating-point numbers, got float64 \(0,\)$"),
        (
            [np.empty((2, 0)), np.empty(0)],
            {},
            r"^x\[0\] must hold finite floating-point numbers, got float64 \(2, 0\)$",
        ),
        (np.empty((0, 2)), {}, r"^x must hold finite floating-point numbers, got float64 \(0, 2\)$"),
        (np.array([1.0, np.nan]), {}, "^x must hold finite floating-point numbers"),
        ("text", {}, "^x must be an array of numbers, got str$"),
        (np.ones(2), {"method": "newton"}, "^method must be auto, complex or difference, got 'newton'$"),
        (np.ones(2), {"step": 0.0}, "^step must"),
        (np.ones(2), {"tolerance": 0.0}, "^tolerance must"),
        (np.ones(2), {"directions": -1}, "^directions must be a whole number >= 0, got -1$"),
        (np.ones(2001), {"directions": 0}, "^directions must be a whole number >= 1, got 0$"),
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
    x = CupyBackend(xp=fake_cupy).asarray(np.array([1.0, 2.0]))
    with pytest.raises(md.ArgumentError, match=r"^reference must be given for an x on a device, got None and ndarray$"):
        check_gradient(lambda u: (u * u).sum(), x, lambda u: 2 * u)
    assert check_gradient(lambda u: (u * u).sum(), x, lambda u: 2 * u, reference=lambda u: (u * u).sum()).error < 1e-9
    np.testing.assert_array_equal(to_host(x), [1.0, 2.0])


def slopes_of(f, x, noise=0.0):
    return Slopes(lambda t: (t, f(x + t)), f(x), noise, 2.0**-52, 1e-3, 1e-18)


def with_nan(f):
    """f, which is NaN outside its domain and does not warn."""

    def quiet(t):
        with np.errstate(all="ignore"):
            return float(f(t))

    return quiet


def never(slope):
    return False


def test_a_kink_is_two_slopes_that_steps_of_no_size_bring_together():
    found = slopes_of(abs, 0.0).found(never)
    assert (found.kink, found.value) == (True, 0)
    assert found.unknown == pytest.approx(1)
    for f, x in ((lambda t: t * t, 0.0), (lambda t: abs(t) ** 1.5, 0.0), (abs, 1e-9), (np.sqrt, 1e-8)):
        f = with_nan(f)
        assert not slopes_of(f, x, 1e-20).found(never).kink


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8, -1e-5, -1e-7])
@pytest.mark.parametrize("noise", [1e-16, 1e-12])
def test_beside_a_kink_the_slope_is_that_of_the_side_on_which_x_is(distance, noise):
    found = slopes_of(lambda t: max(t, 0.1 * t), distance, noise).found(never)
    assert not found.kink
    assert abs(found.value - (1 if distance > 0 else 0.1)) <= found.unknown < 1e-3


def test_what_is_unknown_covers_what_the_step_leaves_out_and_what_rounding_hides():
    for f, x, truth in ((math.sin, 1.0, math.cos(1)), (math.exp, 5.0, math.exp(5)), (np.log, 1e-6, 1e6)):
        f = with_nan(f)
        for noise in (1e-15, 1e-9, 1e-6):
            exact = slopes_of(f, x, noise).found(never)
            assert abs(exact.value - truth) <= exact.unknown
            assert exact.unknown >= 2 * noise
    assert slopes_of(math.sin, 1.0, 1e-6).found(never).unknown < 1e-3


def test_a_larger_step_may_not_contradict_a_smaller_one():
    ripples = lambda t: t + 1e-3 * math.sin(2e4 * math.pi * t)  # noqa: E731  # steps of 1e-3 see the mean slope, 1
    found = slopes_of(ripples, 0.0, 1e-16).found(never, thorough=True)
    assert abs(found.value - 1 - 20 * math.pi) <= found.unknown < 5


def test_one_look_is_all_that_an_ordinary_component_costs():
    asked = []

    def f(u):
        asked.append(u)
        return float(np.tanh(u).sum() + np.abs(u).sum())

    x = np.linspace(0.5, 2, 400)
    check_gradient(f, x, lambda u: 1 / np.cosh(u) ** 2 + 1)
    assert len(asked) < 5 * 400
    asked.clear()
    check_gradient(lambda u: (asked.append(u), np.tanh(u).sum())[1], x, lambda u: 1 / np.cosh(u) ** 2)
    assert len(asked) < 1.3 * 400


def near(f, x):
    return Near(lambda u: np.asarray(f(u))[()], np.asarray(x, float), lambda u: u, lambda i: np.dtype(float))


@pytest.mark.parametrize(
    ("f", "least", "most"),
    [
        (lambda u: float(np.sin(u).sum()), 1e-16, 3e-15),
        (lambda u: 1e9 + float(np.sin(u).sum()), 1e-7, 2e-6),
        (lambda u: 1e9 + float(np.sin(u).sum()) - 1e9, 1e-7, 2e-6),
        (lambda u: float(np.sin(u.astype("f4")).sum()), 3e-9, 3e-6),
        (lambda u: float(np.sin(u).sum(dtype="f4")), 3e-9, 3e-6),
        (lambda u: float(np.round(u).sum()), 0, 1e-14),
        (lambda u: float(np.round(1000 * u).sum() / 1000), 0, 1e-14),
    ],
    ids=[
        "sine",
        "a constant",
        "a constant taken away",
        "argument in float32",
        "sum in float32",
        "steps",
        "small steps",
    ],
)
def test_the_rounding_of_a_function_is_seen_in_its_values(f, least, most):
    function = near(f, N6)
    function.measure_noise(0)
    assert least <= function.noise <= most


@pytest.mark.parametrize("sigma", [1e-9, 1e-6, 1e-4])
def test_noise_of_a_known_deviation_is_measured_and_covered(sigma):
    def noisy(u):
        return float(u.sum()) + sigma * np.random.default_rng(u.view(np.uint64)).normal()

    measured = []
    for seed in range(16):
        function = near(noisy, N6)
        function.measure_noise(seed)
        measured.append(function.noise / sigma)
    assert min(measured) > 1
    assert 2.5 < np.mean(measured) < 5  # six deviations, by the most modest of three estimates from eight values


@pytest.mark.parametrize(
    ("values", "noise", "found"),
    [
        ([0.0, 3 * 2.0**-20, 2.0**-18, -1.0], 0.0, 2.0**-20),
        ([2.0**-13, 0.5], 0.0, 2.0**-13),
        ([2.0**-12, 0.5], 0.0, 0.0),
        ([2.0**-20, 0.5], 2.0**-24, 2.0**-20),
        ([2.0**-20, 0.5], 2.0**-23, 0.0),
        ([0.0, 0.0], 0.0, 0.0),
        ([1 / 3, 0.1], 2.0**-53, 0.0),
    ],
)
def test_values_that_are_multiples_of_a_small_power_of_two_were_rounded_to_it(values, noise, found):
    assert _granularity(np.array(values), noise) == found


def test_a_number_of_each_type_has_the_rounding_of_its_type_and_whole_numbers_that_of_their_float64():
    for one, eps in ((np.float32(1), 2.0**-23), (np.float64(1), 2.0**-52), (np.complex64(1), 2.0**-23),
                     (np.int64(1), 2.0**-52), (np.True_, 2.0**-52)):  # fmt: skip
        function = near(lambda u, one=one: one, N6)
        assert (function.eps, function.noise) == (eps, eps)


@pytest.mark.parametrize(("first", "again"), [(1.0, np.nan), (1.0, 2.0)])
def test_a_value_that_comes_and_goes_is_no_value(first, again):
    function = near(lambda u: 1.0, N6)
    function.value = lambda u: again
    with pytest.raises(md.ArgumentError, match=f"^f must give the same number for the same x, got two, {first!r} and "):
        function.require_same(N6, first)
    function.value = lambda u: first
    function.require_same(N6, first)


def test_an_error_of_f_is_kept_with_its_type_and_the_last_value_of_f_is_counted(monkeypatch):
    function = near(lambda u: math.log(u[0]), np.ones(1))
    assert np.isnan(function.evaluate(np.array([-1.0])))
    assert function.failure == ", ValueError: math domain error"
    monkeypatch.setattr("minidistill.testing.gradients.derivative.MOST_EVALUATIONS", 3)
    with pytest.raises(CannotJudge, match=r"^x must lie where f has a derivative, got none after 3 values of f$"):
        function.evaluate(np.ones(1))


def test_steps_are_relative_to_x_where_it_is_large_and_never_below_what_moves_it():
    x = np.array([8.0, 0.125, 16.0, 0.0])
    function = near(lambda u: float(u.sum()), x)
    for i, step, smallest in ((0, 8e-3, 2.0**-43), (1, 1e-3, 2.0**-49), (2, 16e-3, 2.0**-42), (3, 1e-3, 1e-250)):
        slopes = function.component(i, 1e-3)
        assert (slopes.step, slopes.smallest) == (step, smallest)
        assert function.component(i, 1e-300).step == smallest
    for d, step, smallest in (
        ([1, 0, 0.5, 0], 8e-3, 2.0**-43),
        ([1, 1, 1, 0], 1e-3, 2.0**-49),
        ([0, 0, 0, 1], 1e-3, 1e-250),
    ):
        slopes = function.direction(np.array(d, float), np.ones(4), 1e-3)
        assert (slopes.step, slopes.smallest) == (step, smallest)
        assert function.direction(np.array(d, float), np.ones(4), 1e-300).step == smallest


@pytest.mark.parametrize("x", [1e-40, 1e-3, 1.0, 1e10])
def test_a_complex_step_is_small_beside_the_component_that_it_moves(x):
    assert near(lambda u: np.log(u[0]), np.array([x])).complex_component(0) == pytest.approx(1 / x, rel=1e-14)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_central_slopes_are_exact_for_a_cubic_and_those_of_a_side_for_a_parabola(noise):
    a, b, c, d = 0.3, -1.25, 2.5, -40.0
    cubic = slopes_of(lambda t: a + b * t + c * t**2 + d * t**3, 0.0, noise)
    parabola = slopes_of(lambda t: a + b * t + c * t**2, 0.0, noise)
    for k in (0, 1, 3):
        rounding = max(noise, 2.0**-52 * a) * 4 ** (k + 1) / 1e-3
        assert cubic.central(k).rounding == pytest.approx(2 * rounding, rel=0.01)
        assert cubic.central(k).value == pytest.approx(b, abs=1e-11)
        assert cubic.central(k).unknown >= abs(d) * (1e-3 / 4**k) ** 2 / 4  # a third of what the step changed
        for side in (0, 1):
            one = parabola.one_sided(k, side)
            assert one.value == pytest.approx(b, abs=1e-10)
            assert one.unknown == pytest.approx(c * 1e-3 / 4**k * 3 / 4 + 3 * rounding, rel=1e-5)


@pytest.mark.parametrize("noise", [1e-15, 1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize(("f", "x"), [(math.sin, 1.0), (math.exp, 5.0), (np.log, 1e-2), (math.atan, 0.0)])
def test_the_steps_found_are_the_most_exact_ones_and_go_little_further(f, x, noise):
    f = with_nan(f)
    every, slopes = slopes_of(f, x, noise), slopes_of(f, x, noise)
    unknown = [every.central(k).unknown for k in range(-4, 20)]
    best = int(np.argmin(unknown)) - 4
    assert slopes.found(never).unknown <= 1.5 * min(unknown)
    assert min(best, 0) - 2 <= min(slopes.known)
    assert max(slopes.known) <= max(best, 0) + 3
    slopes = slopes_of(f, x, noise)
    assert slopes.found(lambda slope: True) == every.central(0)
    assert set(slopes.known) == {0, 1}
    slopes.found(lambda slope: True, thorough=True)
    assert max(slopes.known) >= 4  # before anyone is accused


def test_a_kink_is_seen_as_near_as_numbers_are_and_no_step_is_smaller_than_what_moves_x():
    for distance, smallest in ((1e-30, 1e-40), (1e-17, 1e-18)):
        slopes = Slopes(lambda t, d=distance: (t, max(d + t, 0.1 * (d + t))), distance, 0.0, 0.0, 1e-3, smallest)
        found = slopes.found(never)
        assert abs(found.value - 1) <= found.unknown < 1e-3
        assert 1e-3 / 4.0 ** max(slopes.known) >= smallest


def test_what_a_slope_cannot_be_taken_of_is_said():
    with pytest.raises(TypeError, match=r"^f drops the imaginary part$"):
        near(lambda u: 1.0, np.ones(1)).complex_step(np.ones(1))
    with pytest.raises(md.ArgumentError, match=r"^f must be finite for a complex step from x, got .*nan"):
        near(lambda u: u[0] if u.dtype == float else u[0] * np.nan, np.ones(1)).complex_step(np.ones(1))
    assert near(lambda u: 1.0 if u[0] == 1 else np.nan, np.ones(1)).component(0, 1e-3).found(never) == Slope(
        pytest.approx(np.nan, nan_ok=True), np.inf
    )


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_of_the_table_each_right_gradient_passes_and_each_mistake_is_seen_or_said_to_be_out_of_sight(case):
    found = check_gradient(case.f, case.x, case.gradient, **case.options)
    assert len(found.kinks) == case.kinks
    assert found.error < 1e-5
    for name, wrong, hidden in mistakes_of(case):
        if hidden:
            found = check_gradient(case.f, case.x, wrong, **case.options)
            assert found.untold or "left out" in name, name  # 0 is told relative to the largest component
        else:
            with pytest.raises(WrongGradient):
                check_gradient(case.f, case.x, wrong, **case.options)


def test_a_table_case_of_the_wrong_kind_at_a_kink_is_outside_of_its_two_slopes():
    x = np.array([0.0, 1.0])
    for at_kink in (-1, -0.3, 0, 1):
        check_gradient(not_analytic(lambda u: np.abs(u).sum()), x, np.array([at_kink, 1.0]))
    for at_kink in (-1.1, 1.01, 5):
        with pytest.raises(WrongGradient, match=r"gradient\[0\] is .* within 1 of 0, between the slopes of a kink"):
            check_gradient(not_analytic(lambda u: np.abs(u).sum()), x, np.array([at_kink, 1.0]))


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1.0])
@pytest.mark.parametrize("kept", [np.array, not_analytic(np.sum), np.sum], ids=["twofold", "real", "analytic"])
def test_a_function_that_is_not_deterministic_is_named_as_such(size, kept):
    rng = np.random.default_rng(0)

    def f(u):
        return kept((u**2).sum()) + size * (rng.random() < 0.5)  # the same at every second call

    with pytest.raises(md.ArgumentError, match=r"^f must give the same number for the same x, got two, "):
        check_gradient(f, np.arange(1.0, 4), lambda u: 2 * u)


def two_layers(p):
    (W, b), scale = p["layers"], p["scale"]
    return float((np.maximum(np.ones((2, 3)) @ W + b, 0) ** 2).sum() * scale[0])


def two_layers_gradient(p):
    (W, b), scale = p["layers"], p["scale"]
    h = np.maximum(np.ones((2, 3)) @ W + b, 0)
    return {
        "scale": [np.array((h**2).sum())],
        "layers": (np.ones((3, 2)) @ (2 * h * scale[0]), (2 * h).sum(0) * scale[0]),
    }


def test_lists_tuples_and_dicts_of_arrays_are_checked_and_the_array_is_named():
    rng = np.random.default_rng(1)
    x = {"layers": (rng.normal(size=(3, 4)), rng.normal(size=4)), "scale": [np.array(1.5)]}
    assert check_gradient(two_layers, x, two_layers_gradient).kinks == []
    for names, key in (("['layers'][0][2, 1]", (0, (2, 1))), ("['layers'][1][3]", (1, (3,)))):
        wrong = two_layers_gradient(x)
        wrong["layers"][key[0]][key[1]] += 0.1
        with pytest.raises(WrongGradient) as raised:
            check_gradient(two_layers, x, wrong)
        assert str(raised.value).startswith(f"gradient{names} is ")
    found = check_gradient(lambda p: float(sum(np.abs(a).sum() for a in p)), [np.zeros(2), np.ones((1, 2))],
                           lambda p: [np.sign(a) for a in p])  # fmt: skip
    assert found.kinks == [(0, 0), (0, 1)]


class Pair(NamedTuple):
    W: np.ndarray
    b: np.ndarray


def test_a_named_tuple_stays_one():
    x = Pair(np.array([[1.0, 2.0]]), np.array([3.0, 4.0]))
    right = Pair(2 * x.b[0] * x.W, np.array([(x.W**2).sum(), 1.0]))
    assert check_gradient(lambda p: (p.W**2).sum() * p.b[0] + p.b[1], x, right).error < 1e-9
    with pytest.raises(WrongGradient, match=r"^gradient\[1\]\[0\] is 9 and must be 5, by complex steps"):
        check_gradient(
            lambda p: (p.W**2).sum() * p.b[0] + p.b[1], x, lambda p: Pair(2 * p.b[0] * p.W, np.array([9, 1.0]))
        )


MANY = {"W": [np.arange(3, dtype="f4"), np.arange(4).reshape(2, 2)], "b": (np.array(7.5),), "c": np.array([8, 9], "u1")}


def test_many_arrays_are_one_vector_and_back_each_in_its_type():
    tree = Tree(MANY)
    assert [str(dtype) for dtype in tree.dtypes] == ["float32", "float64", "float64", "float64"]
    assert tree.vector().dtype == Tree(np.ones(2, "f4")).vector().dtype == np.float64
    assert tree.vector().tolist() == [0, 1, 2, 0, 1, 2, 3, 7.5, 8, 9]
    for u, dtypes in ((tree.vector(), tree.dtypes), (1j * tree.vector(), 4 * [np.dtype(complex)])):
        made = tree.filled(u, tree.dtypes)
        assert [(name, a.shape, a.dtype) for name, _, a in leaves(made)] == [
            ("x['W'][0]", (3,), dtypes[0]), ("x['W'][1]", (2, 2), dtypes[1]), ("x['b'][0]", (), dtypes[2]),
            ("x['c']", (2,), dtypes[3]),
        ]  # fmt: skip
        assert np.concatenate([a.ravel() for _, _, a in leaves(made)]).tolist() == u.tolist()
        assert [type(made), type(made["W"]), type(made["b"])] == [dict, list, tuple]
    names = [tree.name("g", i) for i in (2, 5, 7, 9)]
    assert names == ["g['W'][0][2]", "g['W'][1][1, 0]", "g['b'][0][]", "g['c'][1]"]
    assert [tree.place(i) for i in (2, 5, 7, 9)] == [("W", 0, 2), ("W", 1, 1, 0), ("b", 0), ("c", 1)]


@pytest.mark.parametrize(
    ("x", "holds"),
    [(np.ones(2), False), (1.0, False), ([1.0, 2.0], False), ([np.float64(1)], False), ([[1.0], [2.0]], False),
     ([], False), ((), False), ("text", False), (["text"], False), ([SimpleNamespace(dtype=1)], False),
     ([SimpleNamespace(reshape=1)], False), ({}, True), ({"a": 1.0}, True), ([np.ones(1)], True), ((np.ones(1),), True),
     ([1.0, np.ones(1)], True), ([[np.ones(1)]], True), ([{}], True)],
)  # fmt: skip
def test_a_list_holds_arrays_where_one_is_in_it_and_is_an_array_where_numbers_are(x, holds):
    assert holds_arrays(x) == holds
    assert holds_arrays([x]) == (holds or isinstance(x, np.ndarray))


def test_a_copy_of_many_arrays_shares_no_memory():
    tree = Tree(MANY)
    for (_, _, copied), (_, _, array) in zip(leaves(tree.copied()), leaves(tree.x), strict=True):
        np.testing.assert_array_equal(copied, array)
        assert not np.shares_memory(copied, array)


@pytest.mark.parametrize("dtype", ["i1", "i8", "u2", "f2", "f4", "f8"])
def test_whole_numbers_become_float64_and_are_told_from_floats(dtype):
    tree = Tree([np.ones(2, dtype)])
    assert tree.converted == (dtype[0] in "iu")
    assert tree.dtypes == [np.dtype("f8") if tree.converted else np.dtype(dtype)]
    assert [a.dtype for a in tree.matched([np.ones(2, dtype)])] == [np.dtype(dtype)]  # a gradient may be of any


@pytest.mark.parametrize(
    ("gradient", "text"),
    [
        ([np.ones(2)], r"^gradient must be a list of 2 arrays, as x is, got 1$"),
        (np.ones(2), r"^gradient must be a list of 2 arrays, as x is, got ndarray$"),
        (
            [np.ones(2), {"b": np.ones(2)}],
            r"^gradient\[1\] must be a dict of \['W'\], as x\[1\] is, got one of \['b'\]$",
        ),
        ([np.ones(2), np.ones(2)], r"^gradient\[1\] must be a dict of \['W'\], as x\[1\] is, got ndarray$"),
        ([np.ones(3), {"W": np.ones(2)}], r"^gradient\[0\] must have the shape of x\[0\], \(2,\), got \(3,\)$"),
        ([[np.ones(2)], {"W": np.ones(2)}], r"^gradient\[0\] must be an array of the shape of x\[0\], got list$"),
        (
            [np.ones(2), {"W": None}],
            r"^gradient\[1\]\['W'\] must be an array of the shape of x\[1\]\['W'\], got NoneType$",
        ),
        ({"W": np.ones(2)}, r"^gradient must be a list of 2 arrays, as x is, got dict$"),
        ([np.ones(2), {"W": 1j * np.ones(2)}], r"^gradient\[1\]\['W'\] must hold real numbers, got complex128$"),
    ],
)
def test_a_gradient_that_is_not_what_x_is_names_the_part_that_does_not_fit(gradient, text):
    x = [np.ones(2), {"W": np.ones(2)}]
    with pytest.raises(md.ArgumentError, match=text):
        check_gradient(lambda p: (p[0] * p[1]["W"]).sum(), x, gradient)


def test_a_function_may_return_a_complex_number_that_is_real():
    assert check_gradient(lambda u: (u**2).sum() + 0j, N6, lambda u: 2 * u).method == "complex"
    assert check_gradient(lambda u: np.abs(u).sum() + 0j, N6, np.sign).method == "difference"


def test_integers_become_floats_and_a_function_that_needs_integers_is_told():
    assert check_gradient(lambda u: (u**2).sum(), np.array([1, 2]), lambda u: 2 * u).error < 1e-9
    with pytest.raises(md.ArgumentError, match=r"^x must hold floats, as f must take them, got integers: "):
        check_gradient(lambda u: np.arange(5)[u].sum(), np.array([1, 2]), np.zeros(2))


def test_without_a_return_it_is_said_what_lacks_it():
    for parts, text in (
        ((lambda u: u, lambda dy: None), "backward must return dx"),
        ((lambda u: None, None), "forward"),
    ):
        with pytest.raises(md.ArgumentError, match=rf"^{text}.*, got None: does it lack a return\?$"):
            check_backward(*parts, np.ones(3))


def test_a_gradient_that_is_given_is_the_one_that_is_checked():
    def f(u):
        return (u**2).sum(), 7 * u

    assert check_gradient(f, N6, 2 * N6).error < 1e-9
    with pytest.raises(WrongGradient):
        check_gradient(f, N6)


def test_what_could_not_be_told_is_in_the_result_and_in_its_text():
    f = not_analytic(lambda u: 1e10 + np.sin(u).sum())
    found = check_gradient(f, N6[:2], np.cos)
    assert found.untold == [(0,), (1,)]
    assert 1e-5 < found.unknown < 1e-2
    assert "cannot be told to better than 0.00" in str(found)
    assert check_gradient(relu, N6, lambda u: (u > 0) * 1.0).unknown == 0


def test_the_text_of_a_result_lists_five_kinks_and_says_how_many_more_there_are():
    def said(zeros):
        x = np.r_[np.zeros(zeros), 1.0]
        return str(check_gradient(relu, x, lambda u: (u > 0) * 1.0))

    assert said(1).endswith("; kinks, which have no derivative: [0]")
    assert said(5).endswith(": [0], [1], [2], [3], [4]")
    assert said(7).endswith(": [0], [1], [2], [3], [4] and 2 more")


def test_a_component_below_the_rounding_of_the_value_is_unknown_as_a_whole_and_no_more():
    f = not_analytic(lambda u: 1e10 + u[0] + 1e-9 * u[1])
    found = check_gradient(f, np.ones(2), np.array([1, 1e-9]))
    assert found.unknown == 1.0
    assert (1,) in found.untold


def test_a_function_that_is_another_in_float64_is_judged_as_it_is_in_its_own_type():
    def f(u):
        return not_analytic(np.sum)(u) if u.dtype == np.float32 else 3 * u.real.sum()

    x = N6.astype(np.float32)
    assert check_gradient(f, x, np.ones_like(x)).method == "difference"
    with pytest.raises(WrongGradient):
        check_gradient(f, x, 3 * np.ones_like(x))


def test_a_function_of_whole_numbers_has_no_noise_to_hide_a_wrong_gradient_in():
    def f(u):
        return 3 if u.dtype.kind == "f" else 1 / 0

    assert check_gradient(f, N6, np.zeros(6)).error == 0
    with pytest.raises(WrongGradient, match="must be 0"):
        check_gradient(f, N6, np.full(6, 1e-6))


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
    seen = {}
    for chosen in (seed, seed, seed + 1):
        directions = []

        def f(u, directions=directions):
            if u.dtype.kind == "c":
                directions.append(np.abs(u.imag / 1e-30))
            return u.sum()

        assert check_gradient(f, np.ones(3000), np.ones(3000), method="complex", seed=chosen).error < 1e-12
        assert len(directions) == 4
        assert all((d >= 0.5 - 1e-9).all() and (d <= 1 + 1e-9).all() for d in directions)
        seen.setdefault(chosen, []).append(np.array(directions))
    np.testing.assert_array_equal(*seen[seed])
    assert not np.array_equal(seen[seed][0], seen[seed + 1][0])


def test_two_thousand_components_are_tried_one_by_one():
    x = np.random.default_rng(0).normal(size=2000)
    x[-1] = 0
    assert check_gradient(lambda u: np.maximum(u, 0).sum(), x, lambda u: (u > 0) * 1.0).kinks == [(1999,)]


def test_of_a_large_array_no_component_may_be_off_by_more_than_one_alone():
    x = np.ones(2500)
    check_gradient(lambda u: u.sum(), x, np.full(2500, 1 + 0.9e-9), method="complex")
    with pytest.raises(WrongGradient, match=r"gradient\[\d+\] is 1.000000"):
        check_gradient(lambda u: u.sum(), x, np.full(2500, 1 + 1e-7), method="complex")


def test_a_small_component_beside_large_ones_is_judged_by_its_own_size_in_a_large_array_too():
    scale = np.r_[np.full(2000, 1e6), np.full(1000, 1e-3)]
    x = np.random.default_rng(0).normal(size=3000)
    for f in (lambda u: (scale * u**2).sum() / 2, not_analytic(lambda u: (scale * u**2).sum() / 2)):
        check_gradient(f, x, lambda u: scale * u)
        for wrong in (2500, 7):
            with pytest.raises(WrongGradient, match=rf"gradient\[{wrong}\]"):
                check_gradient(f, x, lambda u, wrong=wrong: scale * u * np.where(np.arange(3000) == wrong, 3, 1))


def at_zero(f, step=1.0, noise=0.0, smallest=1e-18):
    return Slopes(lambda t: (t, f(t)), f(0.0), noise, 0.0, step, smallest)


def test_central_differences_are_exact_for_a_quartic_and_one_sided_ones_for_a_parabola():
    for power in (1, 2, 3, 4):
        slopes = at_zero(lambda t, power=power: t + t**power if power > 1 else t)
        assert slopes.central(0).value == pytest.approx(1, abs=1e-15)
        if power < 3:
            assert [slopes.one_sided(1, side).value for side in (0, 1)] == [1, 1]
    assert [at_zero(abs).one_sided(k, side) for k in (0, 3) for side in (0, 1)] == 2 * [Slope(1, 0), Slope(-1, 0)]


def test_half_the_jump_that_the_smallest_step_would_leave_is_unknown():
    for f in (abs, lambda t: abs(t) + t**2):
        assert at_zero(f).central(0).unknown == pytest.approx(1, abs=1e-15)
    for f in (lambda t: t**2, lambda t: t):
        assert at_zero(f).central(0).unknown == 0
    for power in (3, 5, 6):
        found = at_zero(lambda t, power=power: (t - 0.3) ** power).central(1)
        assert abs(found.value - power * (-0.3) ** (power - 1)) <= found.unknown < 0.1


def test_what_rounding_does_to_a_slope_at_its_worst_is_known_and_not_far_exceeded():
    central = one_sided = 0.0
    for signs in itertools.product([-1e-3, 1e-3], repeat=5):
        off = dict(zip((1.0, 0.25, 0.0, -0.25, -1.0), signs, strict=True))
        slopes = at_zero(off.__getitem__)
        central = max(central, abs(slopes.central(0).value))
        one_sided = max(one_sided, *(abs(slopes.one_sided(0, side).value) for side in (0, 1)))
    exact = at_zero(lambda t: 0.0, noise=1e-3)
    assert exact.central(0).rounding == exact.central(0).unknown
    assert central <= exact.central(0).unknown < 2 * central
    assert one_sided <= exact.one_sided(0, 0).unknown == exact.one_sided(0, 1).unknown < 1.2 * one_sided


def test_a_slope_is_over_the_step_that_was_taken_and_there_is_none_where_x_did_not_move():
    taken = Slopes(lambda t: (2 * t, 1 + (6 * t if t > 0 else 8 * t)), 1.0, 0.0, 0.0, 1.0, 1e-18)
    assert taken.sides(0)[:2] == taken.sides(2)[:2] == (3, 4)
    for moved in ((0.0, -1.0), (1.0, 0.0)):
        stuck = Slopes(lambda t, moved=moved: (moved[t < 0], 1.0), 1.0, 0.0, 0.0, 1.0, 1e-18)
        assert all(slope is NOTHING for slope in (stuck.central(0), stuck.one_sided(0, 0), stuck.one_sided(0, 1)))


def test_the_rounding_of_the_largest_value_counts_where_it_exceeds_what_was_measured():
    for noise, expected in ((1e-9, 7e-3), (0.1, 0.1)):
        for up, down in ((5.0, -7.0), (-7.0, 5.0)):
            slopes = Slopes(lambda t, up=up, down=down: (t, up if t > 0 else down), 0.0, noise, 1e-3, 2.0, 1e-18)
            assert slopes.sides(1)[2] == pytest.approx(expected / 0.5)


def precise(most):
    return lambda slope: slope.unknown <= most


@pytest.mark.parametrize(
    ("f", "noise", "smallest", "enough", "thorough", "first", "last"),
    [
        (lambda t: t, 1e-9, 1e-18, precise(1), False, 0, 1),
        (lambda t: t, 1e-9, 1e-18, never, False, -derivative.LARGER, 1),
        (lambda t: t, 1e-9, 1e-18, never, True, -derivative.LARGER, derivative.DEEPER + 1),
        (lambda t: t, 1e-9, 1e-18, precise(1), True, -derivative.LARGER, derivative.DEEPER + 1),
        (lambda t: t, 1e-9, 1e-18, precise(1e-9), False, -2, 1),
        (lambda t: min(t, 2.0), 1e-9, 1e-18, never, False, -1, 1),
        (lambda t: t + 2.16e-7 * (t == 4), 1e-9, 1e-18, never, False, -1, 1),
        (lambda t: t + 3.6e-8 * (t == 1), 1e-9, 1e-18, never, False, 0, 1),
        (lambda t: t + t**3, 1e-20, 1e-18, precise(1e-3), False, 0, 4),
        (lambda t: t + t**3, 1e-3, 1e-18, never, False, -1, 2),
        (abs, 0.0, 1e-6, never, False, 0, 9),
        (abs, 0.0, 1e-40, never, False, 0, 66),
        (abs, 0.0, derivative.TINY, never, False, 0, derivative.DEEPEST + 1),
    ],
    ids=["enough", "rounding", "rounding, thorough", "enough, thorough", "larger until enough", "larger until a bend",
         "larger until a small bend", "a small bend at once", "smaller until enough", "smaller until rounding",
         "as far as x moves", "as far as a tiny x moves", "x of 0"],
)  # fmt: skip
def test_steps_become_smaller_and_larger_as_far_as_that_may_help(f, noise, smallest, enough, thorough, first, last):
    slopes = at_zero(f, 1.0, noise, smallest)
    found = slopes.found(enough, thorough=True) if thorough else slopes.found(enough)
    assert sorted(slopes.known) == list(range(first, last + 1))
    assert found.unknown == min(slopes.central(k).unknown for k in range(first, last)) or found.kink


@pytest.mark.parametrize("noise", [1e-15, 1e-12, 1e-9, 1e-6])
@pytest.mark.parametrize(("f", "x"), [(math.sin, 1.0), (math.exp, 5.0), (math.log, 0.1), (math.sqrt, 0.01)])
def test_no_step_that_was_left_out_would_have_said_more(f, x, noise):
    slopes = slopes_of(f, x, noise)
    assert slopes.found(never).unknown <= min(slopes.central(k).unknown for k in range(-1, 12))


def test_a_kink_is_seen_where_the_slopes_beside_it_bend():
    for steep in (0.125, 1.0, 128.0):
        found = slopes_of(lambda t, steep=steep: steep * (abs(t) + 1e5 * abs(t) ** 3), 0.0).found(never)
        assert (found.value, found.kink) == (0, True)
        assert 1 <= found.unknown / steep < 1.1


def from_sides(*sides):
    """Slopes of which the right and the left one and the rounding are given, from step 0 on."""
    slopes = at_zero(abs)
    slopes.known = dict(enumerate(sides))
    return slopes


def test_at_a_kink_all_between_the_slopes_of_its_sides_and_their_rounding_is_unknown():
    for right, left in ((3.0, 1.0), (1.0, 3.0)):
        found = from_sides(*[(right, left, 1e-3)] * 3).combined(range(1, -1, -1))
        assert (found.value, found.kink) == (2, True)
        assert 1 + 2e-3 <= found.unknown < 1 + 1e-2


def test_where_one_side_is_outside_the_domain_the_other_is_the_slope():
    for k, far in ((0, np.nan), (1, np.nan)):
        assert from_sides((2.0, far, 0.0), (2.0, far, 0.0)).combined(range(1)) == Slope(2, 0), k
        assert from_sides((far, 3.0, 0.0), (far, 3.0, 0.0)).combined(range(1)) == Slope(3, 0), k


def test_of_slopes_at_larger_and_larger_steps_the_first_that_contradicts_ends_the_search():
    a, b, other = Slope(1.0, 0.5), Slope(1.2, 0.1), Slope(5.0, 0.01)
    assert _refined([a, b]) == _refined([a, NOTHING, b]) == _refined([NOTHING, a, b]) == b
    assert _refined([a, b, other, Slope(1.2, 0.001)]) == b
    assert _refined([b, a]) == b
    assert _refined([NOTHING]) is NOTHING


def test_two_slopes_agree_if_both_may_be_one_number():
    assert Slope(1.0, 0.25).agrees(Slope(1.5, 0.25))
    assert Slope(1.5, 0.25).agrees(Slope(1.0, 0.0), 0.25)
    assert not Slope(1.0, 0.25).agrees(Slope(1.625, 0.25))
    assert not Slope(1.625, 0.25).agrees(Slope(1.0, 0.25), 0.0625)


@pytest.mark.parametrize("kind", ["float16", "float32", "complex64", "float64", "complex128", "int64"])
def test_a_value_is_known_to_the_rounding_of_its_type(kind):
    dtype = np.dtype(kind)
    function = near(lambda u: dtype.type(3), [1.0])
    assert (function.at, function.noise) == (3, 3 * (np.finfo(dtype).eps if dtype.kind in "fc" else 2.0**-52))


def test_after_too_many_values_the_search_ends_and_says_so(monkeypatch):
    monkeypatch.setattr(derivative, "MOST_EVALUATIONS", 1005)
    function = near(np.sum, np.ones(2))
    for _ in range(1003):  # two were spent to see that f is deterministic
        assert function.evaluate(np.ones(2)) == 2
    with pytest.raises(CannotJudge) as raised:
        function.evaluate(np.ones(2))
    assert str(raised.value) == "x must lie where f has a derivative, got none after 1,005 values of f"


def test_an_error_of_arithmetic_or_of_a_value_is_no_value_and_is_remembered():
    function = near(lambda u: math.log(u[0]), [1.0])
    assert np.isnan(function.evaluate(np.zeros(1)))
    assert function.failure == ", ValueError: math domain error"
    function = near(lambda u: u[0] if u[0] == 1 else int(u[0]) // 0, [1.0])
    assert np.isnan(function.evaluate(np.zeros(1)))
    assert function.failure.startswith(", ZeroDivisionError: ")
    function = near(lambda u: u[0] if u[0] == 1 else [][1], [1.0])
    with pytest.raises(IndexError):
        function.evaluate(np.zeros(1))


def of_type(f, x, dtype):
    """f near x, as check_gradient would call it on an array of this type."""
    dtype = np.dtype(dtype)

    def cast(u):
        return u.astype(dtype).astype(float)

    return Near(lambda u: np.asarray(f(u.astype(dtype)))[()], cast(np.asarray(x, float)), cast, lambda i: dtype)


@pytest.mark.parametrize(
    ("x", "step"), [(0.0, 1e-3), (1e-9, 1e-3), (0.5, 1e-3), (-1.5, 1.5e-3), (2.0, 2e-3), (1e4, 10.0)]
)
def test_the_first_step_is_relative_to_a_component_and_at_least_to_1(x, step):
    for slopes in (
        near(np.sum, [7.0, x]).component(1, 1e-3),
        near(np.sum, [1e-12, x, 2 * x, 3 * x]).direction(np.array([0, 1.0, -1.0, 1.0]), np.zeros(4), 1e-3),
    ):
        assert slopes.step == pytest.approx(step, rel=1e-12)
        assert abs(x) * 2.0**-48 < slopes.smallest < abs(x) * 2.0**-45 + 1e-200  # where x still moves by some digits


@pytest.mark.parametrize(("dtype", "x"), [("f8", 3.0), ("f4", 3.0), ("f2", 3.0), ("f4", 1e-3)])
def test_no_step_is_so_small_that_x_would_not_move_by_several_of_its_own_digits(dtype, x):
    function, eps = of_type(np.sum, [x, x], dtype), np.finfo(dtype).eps
    for slopes in (function.component(0, 1e-30), function.direction(np.ones(2), np.zeros(2), 1e-30)):
        assert slopes.step == slopes.smallest
        assert 16 * eps * x < slopes.smallest <= 64 * eps * x * (1 + eps)


def test_the_step_along_a_component_is_the_one_that_its_type_takes():
    seen = []
    slopes = of_type(lambda u: (seen.append(u), u.sum())[1], [1.0, 2.0], "f4").component(1, 1e-3)
    step, value = slopes.line(1e-3)
    assert step == float(np.float32(2.001)) - 2 != 1e-3
    assert value == np.float32(3.001)
    np.testing.assert_array_equal(seen[-1], np.array([1.0, 2.001], "f4"))


def test_along_a_direction_what_is_claimed_of_the_step_that_x_took_is_taken_away():
    function = of_type(lambda u: u.astype(float) @ [3.0, 5.0, 7.0], [1.0, 2.0, 4.0], "f4")
    start, d, claimed = function.at, np.array([1.0, 0.0, -0.5]), np.array([2.0, 9.0, 7.0])
    moved = np.float32(1 + 0.1) - 1.0
    t, value = function.line_along(d, claimed)(0.1)
    assert t == 0.1
    assert value == pytest.approx(start + (3 - 2) * moved, abs=1e-12)
    assert function.direction(d, claimed, 0.1).central(0).value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("sigma", [1e-12, 1e-3])
@pytest.mark.parametrize("seed", range(5))
def test_random_rounding_is_measured(sigma, seed):
    def f(u):
        return 1 + sigma * np.random.default_rng(u.view(np.uint64)).standard_normal()  # the same for the same u

    function = near(f, [0.3, -70.0, 0.0])
    function.measure_noise(seed)
    assert sigma / 2 < function.noise < 15 * sigma


@pytest.mark.parametrize("x", [1.0, -1.0, 0.7, 3e-9, 1e6, 1023.9999])
def test_the_steps_that_measure_rounding_are_not_rounded_themselves(x):
    function = near(lambda u: u[0], [x])
    function.measure_noise(0)
    assert function.noise == 2.0**-52 * abs(x)


def test_the_steps_that_measure_rounding_are_small_beside_every_component():
    asked, x = [], np.array([1e-9, -1.0, 1e9])
    near(lambda u: (asked.append(u), np.float64(0.1))[1], x).measure_noise(0)
    moved = np.abs(np.array(asked) - x) / np.abs(x)
    assert (moved.max(0) > 1e-5).all()
    assert (moved.max(0) < 1e-4).all()


@pytest.mark.parametrize("x", [[0.0], [0.0, 0.0], [0.0, 1e-3]])
def test_rounding_is_measured_at_an_x_of_0_too(x):
    function = near(lambda u: 1e9 + 10 * u.sum() - 1e9, x)
    function.measure_noise(0)
    assert 1e-7 < function.noise < 2e-6


@pytest.mark.parametrize("dtype", ["f4", "f2"])
def test_the_rounding_of_a_function_of_a_coarser_type_is_seen_too(dtype):
    function = of_type(lambda u: (3 + u).sum() - 7, [0.3, 0.9], dtype)  # whose value is rounded as those between are
    function.measure_noise(0)
    assert 1 < function.noise / np.finfo(dtype).eps < 50


def test_where_values_stay_the_same_rounding_is_looked_for_at_larger_steps():
    for digits in (9, 6):  # of the argument
        function = near(lambda u, digits=digits: np.exp(1.1 * np.round(u, digits)).sum(), N6)
        function.measure_noise(0)
        assert 0.1 < function.noise / 10.0**-digits < 50


def test_a_value_that_never_changes_is_known_to_the_digits_that_it_has():
    function = near(lambda u: float(np.float32(0.3)), N6)
    function.measure_noise(0)
    assert 2.0**-27 < function.noise < 2.0**-23


def test_where_a_function_ends_beside_x_its_rounding_stays_that_of_its_type():
    function = near(lambda u: 2.0 if u[0] == 1 else np.nan, [1.0])
    function.measure_noise(0)
    assert function.noise == 2.0**-51


@pytest.mark.parametrize("exponent", [-40, -20, -13])
def test_a_grain_that_is_coarser_than_the_rounding_is_found_in_the_values(exponent):
    grain = 2.0**exponent
    values = grain * np.array([0.0, 12.0, -7.0, 2.0**11])
    assert _granularity(values, 0.0) == _granularity(values, grain / 9) == _granularity(-values, 0.0) == grain
    assert _granularity(values, grain / 7) == 0  # it is rounding alone
    assert _granularity(2.0 ** (-12 - exponent) * values, 0.0) == 0  # numbers that f counts in
    assert _granularity(np.zeros(3), 0.0) == 0


@pytest.mark.parametrize("x", [0.0, 1e-40, -1e-200, 0.5, 3.0, -1e10])
def test_a_complex_step_is_small_beside_a_component_of_any_size(x):
    asked = []
    function = near(lambda u: (asked.append(u), u[1] ** 3 + 2 * u[1])[1], [5.0, x])
    assert function.complex_component(1) == pytest.approx(3 * x**2 + 2, rel=1e-15)
    assert abs(asked[-1].imag[1]) <= 1e-30 * (min(abs(x), 1) or 1.0)
    assert asked[-1].imag[0] == 0
    before = len(asked)
    function.complex_component(1)
    assert len(asked) == before  # each is taken once


def test_near_another_point_are_its_own_value_and_derivative():
    here = of_type(lambda u: (u**2).sum(), [1.0, 2.0], "f4")
    there = here.elsewhere(np.array([0.1, 3.0]))
    np.testing.assert_array_equal(there.x, np.array([0.1, 3.0], "f4").astype(float))
    assert there.at == pytest.approx(9.01)
    analytic = near(lambda u: (u**2).sum(), [1.0, 2.0])
    assert analytic.complex_component(1) == 4
    assert analytic.elsewhere(np.array([1.0, 3.0])).complex_component(1) == 6
    assert analytic.complex_component(1) == 4
    assert (here.at, here.noise) == (5, there.noise)


def components(f, x, claimed, method="difference", tolerance=1e-6, eps=2.0**-52):
    x, claimed = np.asarray(x, float), np.asarray(claimed, float)
    return Components(near(f, x), Tree(x), claimed, np.full(len(x), eps), method, 1e-3, tolerance)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (GradientCheck(1.2345e-10, "complex"), "right by complex steps, off by 1.23e-10 of the largest component"),
        (
            GradientCheck(0.0, "difference", [(1,), ("W", 2, 0)]),
            "right by difference steps, off by 0 of the largest component; kinks, which have no derivative: [1], "
            "['W', 2, 0]",
        ),
        (
            GradientCheck(0.0, "difference", [(0,)], 0.01239, [(i,) for i in range(6)]),
            "right by difference steps, off by 0 of the largest component; kinks, which have no derivative: [0]; "
            "cannot be told to better than 0.0124 of itself: [0], [1], [2], [3], [4] and 1 more",
        ),
        (
            GradientCheck(0.0, "difference", unknown=0.5),
            "right by difference steps, off by 0 of the largest component; cannot be told to better than 0.5 of "
            "itself: components together",
        ),
    ],
)
def test_a_result_printed_is_a_sentence(found, text):
    assert str(found) == text


@pytest.mark.parametrize(
    ("slope", "text"),
    [
        (Slope(2.0, 1e-9), "gradient[1] is 3 and must be 2, by difference steps: relative error 0.5, tolerated 1e-06"),
        (Slope(-3.0, 1e-9), "gradient[1] is 3 and must be -3, by difference steps: relative error 2, tolerated 1e-06"),
        (Slope(0.0, 0.0), "gradient[1] is 3 and must be 0, by difference steps: relative error inf, tolerated 1e-06"),
        (
            Slope(2.0, 0.0123),
            "gradient[1] is 3 and must be 2, by difference steps, known to 0.0123: relative error 0.5, tolerated 1e-06",
        ),
        (
            Slope(2.0, 0.5, kink=True),
            "gradient[1] is 3 and must lie within 0.5 of 2, between the slopes of a kink, by difference steps: "
            "relative error 0.5, tolerated 1e-06",
        ),
    ],
    ids=["wrong", "reversed", "of 0", "rounded", "kink"],
)
def test_a_wrong_component_is_reported_with_all_that_is_known_of_it(slope, text):
    report = components(np.sum, [0.5, 1.0], [1.0, 3.0]).report(1, slope)
    assert report == f"{text}\nreproduce with x = np.array([0.5, 1.0], dtype=np.float64)"


def test_the_component_that_is_furthest_off_is_the_one_reported():
    with pytest.raises(WrongGradient, match=r"^gradient\[1\] is 5\.3 "):
        components(lambda u: u @ [10.0, 5.0, 1.0], np.ones(3), [10.1, 5.3, 0.8]).try_components(np.arange(3))
    with pytest.raises(WrongGradient, match=r"^gradient\[2\] is 1 and must be -1"):
        components(lambda u: u @ [10.0, 5.0, -1.0], np.ones(3), [10.5, 4.0, 1.0]).try_components(np.arange(3))


def test_the_error_is_relative_to_the_largest_slope_that_is_no_kinks():
    found = components(lambda u: max(1e3 * u[0], 0.0) + 2 * u[1] - u[2], [0.0, 1.0, 1.0], [7.0, 2 + 2e-7, -1.0])
    found.try_components(np.arange(3))
    assert found.largest == pytest.approx(2)
    assert found.result().error == pytest.approx(1e-7, rel=1e-2)
    assert found.result().kinks == [(0,)]


def test_where_every_slope_is_a_kinks_none_is_the_largest():
    found = components(lambda u: np.abs(u).sum(), np.zeros(2), np.ones(2))
    found.try_components(np.arange(2))
    assert (found.largest, found.kinks) == (0, [0, 1])


@pytest.mark.parametrize(("careful", "right"), [(1 + 1e-7, 1.0), (1 + 1e-5, 1 + 1e-5), (1.5, 1.5), (-1.0, -1.0)])
def test_a_complex_step_is_the_truth_if_a_closer_look_by_differences_shows_the_same(careful, right):
    for claimed in (1.0, careful):
        found = components(lambda u: u[0], [1.0], [claimed], "complex", tolerance=1e-9)
        found.near.component = lambda i, step: SimpleNamespace(found=lambda *_, **__: Slope(careful, 1e-9))
        if claimed == right:
            assert found.judged(0, Slope(1.0, 0.0)).value == right
        else:
            with pytest.raises(WrongGradient, match=f"must be {right:.10g}, "):
                found.judged(0, Slope(1.0, 0.0))


def test_what_a_component_is_judged_by_is_its_own_size_or_the_largest_where_it_may_be_0():
    found = components(np.sum, np.ones(3), [1e-3, 0.0, -7.0])
    assert [found.size(i, Slope(2.0, 0.1)) for i in range(3)] == [2, 2, 7]
    assert [found.size(i, Slope(0.05, 0.1)) for i in range(3)] == [0.05, 7, 7]
    assert [found.enough(i, Slope(2.0, 2e-6)) for i in range(3)] == [True, True, True]
    assert [found.enough(i, Slope(2.0, 3e-6)) for i in range(3)] == [False, False, True]
    assert [found.enough(i, Slope(1e-7, 1e-6)) for i in range(3)] == [False, False, True]  # larger steps may show it
    assert [found.fits(0, Slope(1e-3 + off, 1e-4)) for off in (1e-4, 1e-4 + 1e-9, 1e-4 + 2e-9)] == [True, True, False]
    assert [found.fits(2, Slope(off - 7.0, 0.0)) for off in (-6.9e-6, 6.9e-6, -8e-6, 8e-6)] == [
        True,
        True,
        False,
        False,
    ]
    assert found.fits(0, NOTHING)


def test_what_is_known_of_a_component_is_kept():
    found = components(np.sum, np.ones(6), [1.0, 2.0, 3.0, 0.0, 5.0, 6.0])
    found.note(0, Slope(1.25, 0.125, kink=True))
    assert (found.kinks, found.off, found.shares) == ([0], 0, {})
    found.note(1, Slope(2.5, 1e-9))
    assert (found.off, found.shares) == (0.5 - 1e-9, {})
    found.note(2, Slope(3.5, 0.35))
    assert (found.off, found.shares) == (0.5 - 1e-9, {2: pytest.approx(0.1)})
    found.note(3, Slope(0.0, 1.5))  # may be 0: relative to the largest, 6
    found.note(4, Slope(1.0, 100.0))
    found.note(5, NOTHING)
    assert found.shares == {2: pytest.approx(0.1), 3: 0.25, 4: 1, 5: 1}
    nothing = components(lambda u: 0.0, np.ones(2), np.zeros(2))
    nothing.note(0, NOTHING)
    nothing.note(1, Slope(0.0, 0.0))
    assert nothing.shares == {0: 1}


def test_a_result_is_what_was_found_and_says_where_that_is_nothing():
    found = components(lambda u: 3 * u.sum(), np.ones(3), np.full(3, 2.0))
    found.kinks, found.shares, found.common, found.off = [2, 0], {1: 0.25}, 0.125, 0.5
    assert found.result() == GradientCheck(0.25, "difference", [(0,), (2,)], 0.25, [(1,)])
    found.common = 0.5
    assert found.result().unknown == 0.5
    found.kinks, found.shares = [], {2: 0.1, 0: 1.0}
    assert found.result() == GradientCheck(0.25, "difference", [], 1.0, [(0,), (2,)])
    found.kinks = [0, 1, 2]
    with pytest.raises(CannotJudge, match=r"^x must lie where f has a derivative, got a kink in every component$"):
        found.result()
    found.kinks, found.shares, found.near.noise, found.near.failure = [1], {0: 1.0, 2: 1.0}, 0.25, ", ValueError: no"
    with pytest.raises(CannotJudge) as raised:
        found.result()
    assert str(raised.value) == (
        "f must be finite near x, and more than rounding must be left of its derivative, got nothing in any component: "
        "a value of 9 is known to 0.25, ValueError: no"
    )
    found.shares[0] = 0.9
    assert found.result().untold == [(0,), (2,)]
    zero = components(lambda u: 1.0, np.ones(2), np.zeros(2))
    assert zero.result() == GradientCheck(0.0, "difference")


def test_a_first_look_that_was_deceived_accuses_no_one():
    def ripples(u):  # whose mean slope alone steps of 1e-3 see
        return float(u[0] + 1e-3 * math.sin(2e4 * math.pi * u[0]))

    check_gradient(ripples, np.zeros(1), np.array([1 + 20 * math.pi]))


def part_in_many(far):
    """A function that rounds much, of one component, and of another of which `far` makes what complex steps miss."""
    return lambda u: 1e9 + np.sin(u[0]) + far(u[1])


def test_a_part_that_a_complex_step_does_not_see_may_hide_below_the_rounding():
    x, claimed = np.array([1.0, 0.5]), np.array([np.cos(1.0), 1e-9])

    def raises(v):
        if abs(v) > 1e3:
            raise IndexError("too far")
        return 0.0

    for far in (lambda v: 1e-9 * v.real, raises, lambda v: 1.0 * (v.imag > 1), lambda v: 1.0 * (v.real > 1e3)):
        found = check_gradient(part_in_many(far), x, claimed, method="complex")
        assert (found.untold, found.unknown) == ([(1,)], 1)
    for shift in (0.0, 1e10):
        with pytest.raises(WrongGradient, match=r"gradient\[1\] is 1e-09 and must be 0, by complex steps.* inf"):
            check_gradient(part_in_many(lambda v: 0 * v), np.r_[1.0, 0.5 + shift], claimed, method="complex")


def test_a_component_that_is_not_analytic_is_judged_by_differences():
    def f(u):
        return u[0] + u[1].real ** 2 + 0j

    check_gradient(f, np.array([1.0, 3.0]), np.array([1.0, 6.0]), method="complex")
    with pytest.raises(WrongGradient, match=r"gradient\[1\] is 6.1 and must be 6, "):
        check_gradient(f, np.array([1.0, 3.0]), np.array([1.0, 6.1]), method="complex")


def rounded(f, x, i=0, method="difference", slope=0.0, unknown=0.0, eps=2.0**-52, noise=0.0):
    """How many roundings a right gradient of component i may be off, where it is claimed to be 0."""
    found = components(f, x, np.zeros(len(x)), method, eps=eps)
    found.near.noise = noise
    return found.rounding(i, Slope(slope, unknown)) / (eps * MARGIN)


def test_a_gradient_may_be_off_by_the_rounding_of_what_is_as_steep_as_f_between_x_and_0():
    assert rounded(lambda u: u @ [0.0, 0.0], [3.0, 1.0]) == 0
    for slope in (-7.0, 7.0):
        assert rounded(lambda u: 0.0, [3.0, 1.0], slope=slope) == 7 * OPERATIONS
        assert rounded(lambda u, s=slope: s * u[0], [-3.0, 1.0]) == 7 * OPERATIONS
    assert rounded(lambda u: 4 * u[1], [1.0, 3.0]) == 3 * OPERATIONS  # on the way on which all become 0
    assert rounded(lambda u: 4 * u[1], [1.0, -3.0]) == 3 * OPERATIONS
    assert rounded(lambda u: max(u[0] - 2.0, 0.0), [4.0, 4.0]) == OPERATIONS  # steepest close to x
    assert rounded(lambda u: 4 * max(u[1] - 2.0, 0.0), [0.0, 4.0]) == 0  # one that is 0 is made of nothing
    assert rounded(lambda u: 4 * max(u[1] - 2.0, 0.0), [1.0, 4.0]) == pytest.approx(8 / 2.5 * OPERATIONS)
    assert rounded(lambda u: 4.0 if u[0] >= 2 else np.nan, [3.0, 1.0]) == 0
    assert rounded(lambda u: float(u[0] > 2) / 8, [4.0, 1.0], noise=1 / 16) == 0  # a difference that is rounding
    assert rounded(lambda u: float(u[0] > 2), [4.0, 4.0], noise=1 / 4) == OPERATIONS / 4
    assert rounded(lambda u: float(u[1] > 2), [4.0, 4.0], noise=1 / 4) == OPERATIONS / 8


def test_a_gradient_may_be_off_by_the_rounding_of_the_largest_component():
    found = components(lambda u: 0.0, [3.0, 1.0], [0.0, -5.0])
    assert found.rounding(0, Slope(0.0, 0.0)) == 5 * MARGIN * 2.0**-52


def test_a_gradient_may_be_that_of_a_point_that_differs_from_x_by_rounding_and_no_other():
    steep = 1e6
    f = lambda u: np.cos(steep * (u[0] - u[1]))  # noqa: E731  # flat at x, of curvature -steep²
    for i in (0, 1):
        assert steep**2 < rounded(f, [1.0, 1.0], i, "complex") < 20 * steep**2
        real = rounded(not_analytic(f), [1.0, 1.0], i, eps=2.0**-23, noise=1e-18)
        assert real > 0.1 * steep
    assert rounded(not_analytic(f), [1.0, 1.0]) < 1e3  # by differences in float64 that is known to be unknown
    assert rounded(f, [1.0, 1.0], method="complex", unknown=steep**2 * 2.0**-46) < 1e3  # and here as well


def test_the_derivative_at_the_next_number_is_right_and_one_a_thousand_further_is_wrong():
    x = np.array([1.0, 2.0])

    def gradient(u):
        return 1e9 * np.cos(1e9 * u)

    check_gradient(lambda u: np.sin(1e9 * u).sum(), x, gradient(np.nextafter(x, 3)), method="complex")
    with pytest.raises(WrongGradient):
        check_gradient(lambda u: np.sin(1e9 * u).sum(), x, gradient(x + 1000 * np.spacing(x)), method="complex")


def grouped(value, unknown=0.0, rounding=0.0, kink=False, claimed=2.0):
    """What try_group makes of such a residual of 100 components in the first place, and what it asks for then."""
    found, asked = components(np.sum, np.ones(100), np.full(100, claimed), tolerance=1e-3), []
    found.largest = 100.0  # elsewhere
    found.residual = lambda d, allowed: (Slope(value, unknown, kink=kink), rounding)
    found.try_components = asked.append
    at_once = found.try_group(np.arange(100), np.random.default_rng(0))
    assert at_once == (not asked)
    if asked:  # all of them, in parts that are small
        assert sorted(np.concatenate(asked).tolist()) == list(range(100))
        assert max(len(part) for part in asked) <= FEW
        assert min(len(part) for part in asked) >= FEW // 3
    return at_once, found.off, found.common


@pytest.mark.parametrize(
    ("residual", "right", "off", "common"),
    [
        ({"value": 1e-3}, True, 1e-3, 0),
        ({"value": -1.9e-3}, True, 1.9e-3, 0),
        ({"value": 2.1e-3}, False, 0, 0),
        ({"value": -2.1e-3}, False, 0, 0),
        ({"value": 2.5e-3, "unknown": 1e-3}, True, 1.5e-3, 0),
        ({"value": 3.5e-3, "unknown": 1e-3}, False, 0, 0),
        ({"value": 1e-3, "kink": True}, False, 0, 0),
        ({"value": 0.0, "unknown": 0.04}, False, 0, 0),
        ({"value": 0.0, "unknown": 0.04, "rounding": 0.01}, False, 0, 0),
        ({"value": 0.0, "unknown": 0.04, "rounding": 0.02}, True, 0, 0.02),
        ({"value": 0.0, "unknown": 0.1, "rounding": 0.1}, False, 0, 0),
        ({"value": 0.0, "unknown": 0.04, "rounding": 0.02, "claimed": 1.0}, False, 0, 0),
        ({"value": 0.0, "unknown": 0.0, "claimed": 0.0}, True, 0, 0),
        ({"value": 1e-14, "unknown": 0.0, "claimed": 0.0}, True, 1e-14, 0),
        ({"value": 1e-11, "unknown": 0.0, "claimed": 0.0}, False, 0, 0),
    ],
)
def test_a_group_is_right_at_once_if_what_is_left_along_a_direction_is_known_and_tolerated(
    residual, right, off, common
):
    assert grouped(**residual) == (right, pytest.approx(off), pytest.approx(common))


def test_of_several_groups_the_least_known_and_the_furthest_off_count():
    found = components(np.sum, np.ones(100), np.full(100, 2.0), tolerance=1e-3)
    for slope in (Slope(1.5e-3, 0), Slope(0, 0.02), Slope(0, 0.04), Slope(1e-4, 0), Slope(0, 0.03)):
        found.residual = lambda d, allowed, slope=slope: (slope, 1.0)
        assert found.try_group(np.arange(100), np.random.default_rng(0))
    assert (found.off, found.common) == (1.5e-3, 0.02)


def test_a_few_components_are_asked_for_one_by_one_and_once():
    found, asked = components(np.sum, np.ones(FEW + 2), np.r_[np.full(FEW, 5.0), 70.0, -80.0]), []
    found.try_components = lambda group: asked.append(group.tolist())
    found.try_directions(4, 0)
    assert asked == [list(range(FEW)), [FEW, FEW + 1]]


def test_a_group_of_zeros_is_known_relative_to_the_largest_component():
    found = components(np.sum, np.ones(100), np.r_[np.zeros(90), np.ones(10)], tolerance=1e-3)
    for unknown, right in ((0.02, True), (0.04, False)):
        found.residual = lambda d, allowed, unknown=unknown: (Slope(0.0, unknown), 1.0)
        found.try_components = lambda group: None
        assert found.try_group(np.arange(90), np.random.default_rng(0)) is right
    assert found.common == 0


@pytest.mark.parametrize("size", [30, 3000])
def test_the_rounding_of_every_component_is_tolerated_in_a_group_and_no_more(size):
    rng = np.random.default_rng(0)
    noise = 2.0**-52 * rng.choice([-1.0, 0.0, 0.0, 1.0], size)

    def right(times):
        found = components(np.sum, np.ones(size), 1 + times * noise, "complex", tolerance=1e-30)
        found.largest, found.try_components = 100.0, lambda group: None
        return [found.try_group(np.arange(size), np.random.default_rng(seed)) for seed in range(1, 10)]

    assert all(right(1))
    assert not all(right(20))


@pytest.mark.parametrize("method", ["complex", "difference"])
def test_what_is_left_along_a_direction_is_the_true_slope_less_the_claimed_one(method):
    found = components(lambda u: (u @ [3.0, 5.0])[()], [1.0, 2.0], [2.0, 7.0], method)
    found.near.noise = 1e-11
    slope, rounding = found.residual(np.array([0.5, 1.0]), 1e-6)
    assert slope.value == pytest.approx(0.5 - 2.0, rel=1e-7)
    assert slope.unknown < 1e-6
    assert rounding == pytest.approx(0 if method == "complex" else 2e-11 / (1e-3 / 4))  # at the first step


def test_values_of_about_one_size_are_taken_together():
    with np.errstate(divide="ignore"):
        groups = list(of_one_size(np.array([1.0, 0.0, -9.9, 10.0, 1e-30, 0.0, 99.0, -1e-30, 0.99])))
    assert [group.tolist() for group in groups] == [[1, 5], [4, 7], [8], [0, 2], [3, 6]]


def test_a_direction_moves_every_component_of_its_group_and_no_other():
    d = random_direction(np.random.default_rng(0), np.arange(10, 90), 100)
    assert not d[:10].any()
    assert not d[90:].any()
    assert ((np.abs(d[10:90]) >= 0.5) & (np.abs(d[10:90]) <= 1)).all()
    assert 20 < (d[10:90] > 0).sum() < 60
    assert len(set(np.abs(d[10:90]))) == 80


def warns(u):
    warnings.warn("too old", DeprecationWarning, stacklevel=1)
    return (u**2).sum()


def drops_what_is_imaginary(u):
    return (u.astype(float) ** 2).sum() + 0j


@pytest.mark.parametrize(
    ("f", "expected"),
    [
        (lambda u: (u**2).sum(), True),
        (lambda u: 1e12 + (u**2).sum(), True),
        (warns, True),
        (lambda u: (u.real**2).sum(), False),
        (lambda u: (u * u.conj()).sum(), False),
        (drops_what_is_imaginary, False),
        (lambda u: np.abs(u).sum(), False),
        (by_loop(math.exp), False),
        (lambda u: (u.real**2 + 1j * (2 + 1e-5) * u.real * u.imag).sum(), False),
        (lambda u: (u.real**2 + 1j * (2 + 1e-9) * u.real * u.imag).sum(), True),
        (lambda u: u[0] * 1e6 + u[1] + np.abs(u[2]) * 1e-3, False),
        (lambda u: np.sqrt((u - 0.5) ** 2).sum(), False),
        (lambda u: u.sum() if u.dtype.kind == "c" or ((u == 0.5).any() and (u == 2).any()) else np.nan, False),
    ],
    ids=["squares", "squares beside a constant", "one that warns", "real", "conjugate", "imaginary part dropped",
         "absolute", "standard library", "off by much", "off by little", "a small part", "kink", "undefined near x"],
)  # fmt: skip
@pytest.mark.parametrize("size", [3, MAX_COMPONENTS + 1])
def test_a_function_is_analytic_if_its_complex_steps_agree_with_its_differences(f, expected, size):
    x = np.r_[0.5, -1.0, 2.0, np.full(size - 3, 0.75)]
    truth = 2 * x if size > 3 else np.zeros(3)  # which complex steps tell of a small x
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        function = near(f, x)
        function.measure_noise(0)
        assert _is_analytic(function, truth, 1e-3, 0) is expected


def in_float32(u):
    return u.dtype.kind == "f" and u.dtype.itemsize == 4


@pytest.mark.parametrize(
    ("f", "better"),
    [
        (lambda u: u.sum(), True),
        (lambda u: 1e3 + u.sum() - u.dtype.type(1e3), True),
        (lambda u: u.sum() * (u.dtype.type(1.015) if in_float32(u) else 1), True),
        (lambda u: u.sum() * (u.dtype.type(0.985) if in_float32(u) else 1), True),
        (lambda u: u.sum() * (u.dtype.type(1.05) if in_float32(u) else 1), False),
        (lambda u: u.sum() * (u.dtype.type(0.95) if in_float32(u) else 1), False),
        (lambda u: -u.sum() * (u.dtype.type(1.05) if in_float32(u) else 1), False),
        (lambda u: u.astype("f4").sum(), False),
        (lambda u: u.sum() if in_float32(u) else int("x"), False),
        (lambda u: (u + 64 - 64).sum() - u.sum() + u[0] * u.dtype.type(1e-9), True),
    ],
    ids=["sum", "far from 0", "1.5% more", "1.5% less", "5% more", "5% less", "below 0", "rounded in any case",
         "float32 alone", "rounding alone"],
)  # fmt: skip
def test_a_function_is_judged_in_float64_if_that_is_the_same_function_and_rounds_less(f, better):
    chosen = _near(f, Tree(np.array([0.3, 0.7, 1.9], "f4")), None, 0)
    assert chosen.types(0) == (np.float64 if better else np.float32)
    assert chosen.cast(chosen.x + 1e-12).dtype == np.float64
    assert (chosen.cast(chosen.x + 1e-12) == chosen.x).all() == (not better)


def test_each_array_is_rounded_to_its_own_type():
    def f(p):
        return p[0].sum() * p[1].sum() if in_float32(p[0]) else int("x")

    function = _near(f, Tree([N6.astype("f4"), N6]), None, 0)
    assert [function.types(i) for i in (0, 5, 6, 11)] == [np.float32, np.float32, np.float64, np.float64]
    u = function.x + 1e-12
    np.testing.assert_array_equal(function.cast(u), np.r_[function.x[:6], u[6:]])


def test_a_function_is_asked_whether_it_is_deterministic_even_if_another_is_the_truth():
    rng = np.random.default_rng(0)
    with pytest.raises(md.ArgumentError, match=r"^f must give the same number for the same x, got two, "):
        check_gradient(lambda u: u.sum() + rng.random(), N6, np.ones(6), reference=np.sum)


def test_a_component_that_is_not_finite_is_named_in_whichever_array_it_is():
    x = [np.ones(2), {"W": np.array([[1.0, 2.5]], "f4")}]
    for bad in (np.nan, np.inf):
        gradient = [np.ones(2), {"W": np.array([[1.0, bad]])}]
        with pytest.raises(
            WrongGradient, match=rf"^gradient\[1\]\['W'\]\[0, 1\] is {bad}, x\[1\]\['W'\]\[0, 1\] = 2.5$"
        ):
            check_gradient(lambda p: p[0].sum() + p[1]["W"].sum(), x, gradient)


def test_a_component_is_as_exact_as_the_coarser_of_its_type_in_x_and_in_the_gradient():
    x = [np.ones(2), np.ones(1, "f4"), np.ones(1), np.ones(1, "f4")]
    gradient = [np.ones(2), np.ones(1), np.ones(1, "f2"), np.ones(1, int)]
    claimed, eps = _gradient_of(lambda p: 1.0, Tree(x), gradient)
    np.testing.assert_array_equal(eps, [2.0**-52, 2.0**-52, 2.0**-23, 2.0**-10, 2.0**-23])
    assert claimed.dtype == np.float64
    claimed, _ = _gradient_of(lambda p: 1.0, Tree(np.ones(1, "f4")), np.ones(1, "f4"))
    assert claimed.dtype == np.float64


@pytest.mark.parametrize("method", ["auto", "complex", "difference"])
def test_a_check_asks_for_the_same_values_every_time(method):
    def asked(**options):
        points = []

        def f(u):
            points.append(u.tolist())
            return (np.cos(1e6 * u)).sum()

        x = np.r_[0.0, np.full(3, 2 * math.pi)]  # where rounding makes a right gradient seem wrong
        with contextlib.suppress(WrongGradient):
            check_gradient(f, x, np.array([0.0, 1e-4, 0, 1e-4]), method=method, **options)
        return points

    assert asked() == asked() == asked(seed=0)


def test_the_derivative_of_the_reference_is_the_truth_and_an_array_on_a_device_is_not_even_asked():
    x = N6.astype("f4")
    for there in (x, CupyBackend(xp=fake_cupy).asarray(x)):
        function = _near(lambda u: u.sum(), Tree(there), lambda u: (u**2).sum(), 0)
        assert function.at == pytest.approx((x.astype(float) ** 2).sum(), rel=1e-15)
        assert function.types(0) == np.float64
    rng = np.random.default_rng(0)
    _near(lambda u: u.sum() + rng.random(), Tree(there), np.sum, 0)  # on a device, sums may differ from call to call


def test_the_value_of_a_function_that_returns_its_gradient_too_is_the_first_of_both():
    for f in (lambda u: (u.sum(), 7 * u), lambda u: u.sum(), lambda u: np.array([u.sum()])):
        value = _value_of(f, Tree(N6), [N6.dtype])
        assert value(np.arange(6.0)) == 15
