"""How each component of a gradient is judged, and groups of them along directions."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from gradient_table import real as not_analytic
from known import near

from minidistill.testing import CannotJudge, WrongGradient, check_gradient
from minidistill.testing.gradients.components import FEW, MARGIN, OPERATIONS, Components, GradientCheck, of_one_size
from minidistill.testing.gradients.derivative import (
    NOTHING,
    Slope,
    random_direction,
)
from minidistill.testing.gradients.trees import Tree


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
