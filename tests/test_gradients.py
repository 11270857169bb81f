"""check_gradient accepts what is a derivative, rejects what is not, and knows a kink when it meets one."""

import contextlib
import math
import warnings
from typing import NamedTuple

import fake_cupy
import numpy as np
import pytest
from gradient_table import CASES, N6, by_loop, mistakes_of
from gradient_table import real as not_analytic
from hypothesis import given
from hypothesis import strategies as st
from known import near
from strategies import law, some

import minidistill as md
from minidistill import Backend, random
from minidistill.backend import CupyBackend
from minidistill.testing import CannotJudge, WrongGradient, check_backward, check_gradient
from minidistill.testing.gradients import derivative
from minidistill.testing.gradients.check import MAX_COMPONENTS, _gradient_of, _is_analytic, _near, _tolerance, _value_of
from minidistill.testing.gradients.trees import Tree, to_host

rngs = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def logits(rng, shape=(3, 4)):
    return 3 * rng.standard_normal(shape), 3 * rng.standard_normal(shape)


@law
@given(rng=rngs, T=st.sampled_from([0.5, 1.0, 20.0, 1e3, 1e6]))
def test_the_gradient_of_a_soft_loss_is_accepted_at_every_temperature(rng, T):
    z, v = logits(rng)
    check = check_gradient(lambda u: md.soft_cross_entropy(u, v, T), z)
    assert check.method == "complex"
    assert check.error < 1e-9


@law
@given(rng=rngs, T=st.sampled_from([1.0, 20.0, 1e3, 1e6]), factor=st.sampled_from([0.0, 0.999, 1.001, -1.0]))
def test_a_gradient_that_is_off_by_a_thousandth_or_is_zero_is_rejected_at_every_temperature(rng, T, factor):
    z, v = logits(rng)
    with pytest.raises(WrongGradient, match=r"gradient\[\d, \d\] is .* and must be .*\nreproduce with x = np.array"):
        check_gradient(lambda u: md.soft_cross_entropy(u, v, T)[0], z, factor * md.soft_cross_entropy(z, v, T)[1])


@law
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


@some
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
@some
@given(rng=rngs, T=st.sampled_from([1.0, 20.0]))
def test_a_loss_on_a_device_or_in_float32_is_judged_against_float64_on_the_host(arrays, dtype, rng, T):
    z, v = (u.astype(dtype) for u in logits(rng))
    there, x = arrays.asarray(v), arrays.asarray(z)

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
