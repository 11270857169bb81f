"""What a derivative is measured to be, and what is unknown of it: steps, sides of a kink, rounding."""

import itertools
import math

import numpy as np
import pytest
from gradient_table import N6
from known import near

import minidistill as md
from minidistill.testing import CannotJudge
from minidistill.testing.gradients import derivative
from minidistill.testing.gradients.derivative import (
    NOTHING,
    Near,
    Slope,
    Slopes,
    _granularity,
    _refined,
)


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
