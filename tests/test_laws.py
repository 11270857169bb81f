"""The laws, one at a time, before judges that know a right loss and ask another: what each says, how finely."""

import copy
import functools
import re

import museum
import numpy as np
import pytest

from minidistill.testing.losses.domain import random_batch
from minidistill.testing.losses.frameworks import Loss, Outcome, Unusable
from minidistill.testing.losses.judge import Broken, Case, Judge
from minidistill.testing.losses.laws import LAWS

CASE = Case(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [3.0, 0.0]]), 2.0, np.array([1, 0]), 0.25)
SOFT, MIXED = museum.kl_sum_t2, museum.alpha_weighs_the_soft_term


def SINGLE(z, v, T):
    value, gradient = SOFT(z.astype("f"), v.astype("f"), T)
    return float(value), gradient


@functools.cache
def knowing(loss):
    return Judge(Loss(loss))


def told(function, known=SOFT):
    """A judge that knows one loss and asks another."""
    judge = copy.copy(knowing(known))
    judge.domain = copy.copy(judge.domain)
    judge.loss = judge.domain.loss = Loss(function)
    judge.domain._known = {}
    vars(judge).pop("bent", None)
    return judge


def says(law, function, case=CASE, known=SOFT):
    """What the law says of the loss; None where it holds."""
    try:
        LAWS[law].check(told(function, known), case)
    except Broken as broken:
        return str(broken)
    return None


def only_at(*, z=None, v=None):
    """A loss of 1 that is 0 at these logits."""
    return lambda a, b, T: float(not (z is None or np.allclose(a, z)) or not (v is None or np.allclose(b, v)))


def overwrites(z, v, T):
    v[0, 0] = 7
    return 0.0


@pytest.mark.parametrize(
    ("law", "function", "text"),
    [
        ("it_leaves_its_inputs_alone", overwrites, "it overwrote the teacher's logits"),
        ("finite_at_extreme_logits", lambda z, v, T: np.inf, "at ±10000 in float64 the value is inf"),
        ("finite_at_extreme_logits", lambda z, v, T: (0.0, z * np.nan),
         "at ±10000 in float64 the gradient has 4 NaN or inf"),
        ("finite_at_extreme_logits", lambda z, v, T: np.nan if z.dtype == "f" else 1.0,
         "at ±10000 in float32 the value is nan"),
        ("float32_agrees_with_float64", lambda z, v, T: 1.0 + (z.dtype == "f"), "in float32: 1 became 2"),
        ("float32_agrees_with_float64", lambda z, v, T: (1.0, 0 * z + (z.dtype == "f")),
         "in float32 the gradient is off by 1 of 0"),
        ("smallest_where_student_equals_teacher", lambda z, v, T: ((z - CASE.z) ** 2).sum(),
         "C(z, v) = 0 is below C(v, v) = 15"),
        ("smallest_where_student_equals_teacher", only_at(z=CASE.v + (CASE.z - CASE.v) / 10),
         "C(v + (z - v)/10, v) = 0 is below C(v, v) = 1"),
        ("smallest_where_student_equals_teacher", lambda z, v, T: ((z - 2 * v) ** 2).sum(),
         "C(2 v, v) = 0 is below C(v, v) = 10"),
        ("smallest_where_student_equals_teacher", only_at(z=CASE.v / 2), "C(v/2, v) = 0 is below C(v, v) = 1"),
        ("shift_of_the_student_changes_nothing", lambda z, v, T: z.sum(),
         "adding 3, 6 or 9 to the student's rows: 3 became 21"),
        ("shift_of_the_teacher_changes_nothing", lambda z, v, T: v.sum(),
         "adding 3, 6 or 9 to the teacher's rows: 4 became 22"),
        ("an_impossible_class_changes_nothing", lambda z, v, T: z.shape[1],
         "with one impossible class more: 2 became 3"),
        ("an_impossible_class_changes_nothing", lambda z, v, T: z.min(),
         "with one impossible class more: 0 became -1998"),
        ("an_impossible_class_changes_nothing", lambda z, v, T: v.min(),
         "with one impossible class more: 0 became -1997"),
        ("doubling_the_batch_gives_the_same_or_twice_the_loss", lambda z, v, T: len(z) ** 2,
         "the batch twice over: 4 became 16"),
        ("doubling_the_batch_gives_the_same_or_twice_the_loss", lambda z, v, T: 1 / len(v),
         "the batch twice over: 0.5 became 0.25"),
        ("order_of_the_batch_changes_nothing", lambda z, v, T: z[0, 0], "rows in reverse order: 1 became 0"),
        ("order_of_the_batch_changes_nothing", lambda z, v, T: v[0, 0], "rows in reverse order: 0 became 3"),
        ("order_of_the_classes_changes_nothing", lambda z, v, T: z[0, 0], "classes in reverse order: 1 became 0"),
        ("order_of_the_classes_changes_nothing", lambda z, v, T: v[1, 0], "classes in reverse order: 3 became 0"),
        ("the_teachers_rows_belong_to_the_students", lambda z, v, T: T,
         "teacher rows in reverse order leave the loss at 4"),
        ("its_values_are_those_of_its_formula_everywhere", lambda z, v, T: 1.0,
         f"as KL(teacher || student) it would be {SOFT(CASE.z, CASE.v, 2.0)[0]:.10g}, it is 1"),
        ("rows_of_the_gradient_sum_to_0", lambda z, v, T: (0.0, np.array([[1.0, -1.0], [3.0, -2.5]])),
         "a row of the gradient sums to 0.5, its largest component is 3"),
        ("a_step_against_the_gradient_lowers_the_loss", lambda z, v, T: (0.0, 0 * z),
         "the gradient is 0 although student and teacher differ"),
        ("a_step_against_the_gradient_lowers_the_loss", lambda z, v, T: (z.sum(), -2 + 0 * z),
         "after a small step against the gradient: 3 became 3.00000008"),
        ("a_step_against_the_gradient_lowers_the_loss", lambda z, v, T: (5.0, 1 + 0 * z),
         "after a small step against the gradient: 5 became 5"),
    ],
)  # fmt: skip
def test_a_broken_law_says_what_it_saw(law, function, text):
    assert says(law, function) == text
    assert says(law, SOFT) is None


HARD = museum.hard(CASE.z, CASE.y)[1][1, 0]


@pytest.mark.parametrize(
    ("law", "function", "text"),
    [
        ("alpha_mixes_the_two_terms", lambda z, v, T, y, alpha: alpha**2,
         "at alpha = 0.5 it is 0.25, between its ends it should be 0.5"),
        ("the_teacher_changes_nothing_in_the_hard_term", lambda z, v, T, y, alpha: v[1, 0],
         "the hard term, with the teacher's classes in reverse order: 3 became 0"),
        ("the_teacher_changes_nothing_in_the_hard_term", lambda z, v, T, y, alpha: np.abs(v).sum(),
         "the hard term, without a teacher: 4 became 0"),
        ("the_hard_term_is_the_cross_entropy_with_the_labels", lambda z, v, T, y, alpha: 0.0,
         f"as cross-entropy it would be {museum.hard(CASE.z, CASE.y)[0]:.10g}, it is 0"),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels",
         lambda z, v, T, y, alpha: (0.0, museum.hard(z, y)[1] + np.array([[0, 0], [1, 0]])),
         f"gradient[1, 0] of the hard term is {1 + HARD:.10g}, it must be {HARD:.10g}"),
    ],
)  # fmt: skip
def test_a_broken_law_of_the_hard_term_says_what_it_saw(law, function, text):
    assert says(law, function, known=MIXED) == text
    assert says(law, MIXED, known=MIXED) is None


def test_a_loss_that_fails_is_said_to_by_one_law_with_its_error():
    def fails(z, v, T):
        raise KeyError("no such thing")

    assert says("it_answers_where_it_is_asked", fails) == "it raised KeyError: 'no such thing'"
    with pytest.raises(Unusable):
        says("order_of_the_batch_changes_nothing", fails)


def test_what_a_loss_returns_must_not_be_overwritten_by_the_next_call():
    kept = np.empty((2, 2)), np.empty(())

    def loss(z, v, T, gradient=True):
        mine, value = kept[0] if gradient else np.empty((2, 2)), np.empty(()) if gradient else kept[1]
        mine[...], value[...] = z, z.sum()
        return value, mine

    law, text = "what_it_returns_is_its_own", "what it returned was overwritten by the next call"
    assert says(law, loss) == text
    assert says(law, lambda z, v, T: loss(z, v, T, gradient=False)) == text
    assert says(law, lambda z, v, T: (z.sum(), z.copy())) is None


FINE = [  # a law, and a right loss that is wrong by x where the law looks
    ("float32_agrees_with_float64", lambda x: lambda z, v, T: SOFT(z, v, T)[0] * (1 + x * (z.dtype == "f")), 1e-7),
    ("smallest_where_student_equals_teacher", lambda x: lambda z, v, T: 1 + abs(x) * np.array_equal(z, v), 1e-12),
    ("shift_of_the_student_changes_nothing", lambda x: lambda z, v, T: SOFT(z, v, T)[0] + x * (z.max() > 3), 1e-12),
    ("shift_of_the_teacher_changes_nothing", lambda x: lambda z, v, T: SOFT(z, v, T)[0] + x * (v.max() > 3), 1e-12),
    ("an_impossible_class_changes_nothing", lambda x: lambda z, v, T: SOFT(z, v, T)[0] + x * (z.shape[1] > 2), 1e-12),
    ("doubling_the_batch_gives_the_same_or_twice_the_loss",
     lambda x: lambda z, v, T: SOFT(z, v, T)[0] + x * (len(z) > 2), 1e-12),
    ("its_values_are_those_of_its_formula_everywhere", lambda x: lambda z, v, T: SOFT(z, v, T)[0] * (1 + x), 1e-12),
    ("the_gradient_is_proportional_to_q_minus_p",
     lambda x: lambda z, v, T: (0.0, SOFT(z, v, T)[1] * np.array([1, 1 + x])), 1e-12),
    ("rows_of_the_gradient_sum_to_0",
     lambda x: lambda z, v, T: (0.0, SOFT(z, v, T)[1] + x * np.array([1, 0])), 1e-12),
    ("the_gradient_is_the_derivative_of_the_value",
     lambda x: lambda z, v, T: (SOFT(z, v, T)[0], SOFT(z, v, T)[1] * (1 + x)), 1e-8),
]  # fmt: skip


@pytest.mark.parametrize(("law", "loss", "rounding"), FINE, ids=[law for law, _, _ in FINE])
def test_a_difference_is_tolerated_as_far_as_the_arithmetic_makes_one(law, loss, rounding):
    for sign in (-1, 1):
        assert says(law, loss(sign * rounding)) is None
        assert says(law, loss(sign * max(2e3 * rounding, 2e-9)))
    if law != "float32_agrees_with_float64":  # in float32 more is rounding, and a thousandth is not
        assert says(law, loss(1e-7), known=SINGLE) is None
        assert says(law, loss(0.1), known=SINGLE)


def test_a_gradient_is_held_to_its_formula_in_each_component():
    largest = np.array([[1.0, 0.0, -30.0], [0.0, 2.0, -30.0]])  # the last class has a q of 1e-7
    case = Case(largest, np.zeros((2, 3)), 2.0, CASE.y)

    def loss(x):
        return lambda z, v, T: (0.0, SOFT(z, v, T)[1] * np.array([[1, 1, 1 + x], [1, 1, 1]]))

    law = "the_gradient_is_proportional_to_q_minus_p"
    assert says(law, loss(1e-12), case) is None
    q_minus_p = museum.difference(case.z, case.v, 2.0)[0, 2]
    assert says(law, loss(1e-6), case) == (
        f"gradient[0, 2] is {2 * q_minus_p * (1 + 1e-6):.10g}, it must be 2 (q - p) = {2 * q_minus_p:.10g}"
    )


def test_a_gradient_of_an_unknown_factor_must_be_along_q_minus_p_and_not_against_it():
    def known(z, v, T):  # the power of T fits none
        return (1 + T) * museum.kl_rows(z, v, T).sum()

    law = "the_gradient_is_proportional_to_q_minus_p"
    for c, rest in ((3.0, 0.0), (1e-9, 0.0), (-1.5, 0.0), (1.0, 0.5)):
        across = np.array([[1.0, 1.0], [0.0, 0.0]]) * rest
        wrong = lambda z, v, T, c=c, a=across: (0.0, c * museum.difference(z, v, T) + a)  # noqa: E731
        found = says(law, wrong, known=known)
        assert (found is None) == (c > 0 and not rest), found
        assert found is None or found.startswith(f"gradient = {c:g} (q - p) + a rest of ")


def test_where_student_and_teacher_agree_a_step_cannot_be_told():
    law, wrong = "a_step_against_the_gradient_lowers_the_loss", lambda z, v, T: (0.0, 0 * z)
    for by, holds in ((0.03, True), (0.2, False)):
        case = Case(CASE.z, CASE.z + np.array([[by, 0.0], [0.0, 0.0]]), 1.0, CASE.y)
        assert (says(law, wrong, case) is None) == holds


def test_in_float32_a_step_that_is_lost_in_rounding_is_no_mistake():
    flat = lambda z, v, T: (5.0, 1 + 0 * z)  # noqa: E731
    assert says("a_step_against_the_gradient_lowers_the_loss", flat, known=SINGLE) is None
    assert says("a_step_against_the_gradient_lowers_the_loss", flat) is not None


def test_the_derivative_is_extrapolated_and_asked_at_every_mix_of_the_terms():
    law = "the_gradient_is_the_derivative_of_the_value"
    at_0 = Case(np.zeros((2, 2)), CASE.v, 2.0, CASE.y)
    assert says(law, lambda z, v, T: (z.sum() + (z**5).sum(), 1 + 5 * z**4), at_0) is None
    for at in (1.0, 0.0, 0.5):
        wrong = lambda z, v, T, y, alpha, at=at: (z.sum(), (3 if alpha == at else 1) + 0 * z)  # noqa: E731
        assert says(law, wrong, known=MIXED)
    assert says(law, lambda z, v, T, y, alpha: (z.sum(), 1 + 0 * z), known=MIXED) is None
    found = re.fullmatch(
        r"along a direction the value changes by (.*), the gradient says (.*)",
        says(law, lambda z, v, T: (z.sum(), 3 + 0 * z)),
    )
    truth, ours = map(float, found.groups())
    assert ours == pytest.approx(3 * truth, rel=1e-6)


HIGH = "at_high_temperature_the_gradient_is_that_of_logit_matching"


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("known", "low", "high"), [(SOFT, 1e2, 1e4), (SINGLE, 1e1, 1e2)])
def test_the_residual_of_eq4_must_fall_as_1_over_T_or_be_nothing(known, low, high, size):
    def of(at_low, at_high):
        def loss(z, v, T):
            d = (z - z.mean(-1, keepdims=True)) - (v - v.mean(-1, keepdims=True))
            return 0.0, size * (d + {low: at_low, high: at_high}[T] * np.abs(d).max() * np.ones((2, 2)))

        return says(HIGH, loss, known=known)

    assert of(0.3, 0.3) == f"the residual of Eq. 4 is 0.3 at T = {low:g} and 0.3 at T = {high:g}"
    assert of(9.0, 9 * low / high) is None
    assert of(9.0, 9 * 3 * low / high)
    assert of(0.0, 0.0) is None


def test_a_power_of_temperature_is_told_with_the_T_that_leaves_it():
    law = "the_power_of_temperature_is_0_or_2"

    def judged(factor):
        judge = Judge(Loss(museum.times(factor)))
        try:
            LAWS[law].check(judge, CASE)
        except Broken as broken:
            return str(broken)
        return None

    assert judged(lambda T: T**2) is judged(lambda T: 3.0) is None
    assert judged(lambda T: T) == "the soft term has the power 1.0 of T"
    expected = "the soft term has the power 2 of T: at T = 7 it is 2 times what the power at most other T makes it"
    assert judged(lambda T: T**2 * (1 + (T == 7))) == expected
    assert judged(lambda T: T**2 * (1 + 1e-6 * (T == 0.5))).startswith("the soft term has the power 2 of T: at T = 0.5")


def test_a_backward_that_ignores_what_it_is_given_is_told():
    class Fake(Loss):
        ignores = True

        def in_a_sum(self):
            whole = copy.copy(self)
            whole.factor, whole.plus = (1, 1) if self.ignores else (2, 1)
            return whole

        def __call__(self, z, v, T, y=None, alpha=1.0):
            return Outcome(1.0, getattr(self, "factor", 1) * z + getattr(self, "plus", 0))

    law = "the_gradient_follows_what_is_made_of_the_loss"
    for ignores in (True, False):
        judge = told(SOFT)
        judge.loss = judge.domain.loss = Fake(SOFT)
        judge.loss.ignores = ignores
        vars(judge).pop("in_a_sum", None)
        if ignores:
            with pytest.raises(Broken, match=r"^gradient\[., .\] of C is (.*), of 2 C \+ Σ z (?!\1)"):
                LAWS[law].check(judge, CASE)
        else:
            LAWS[law].check(judge, CASE)


def test_a_case_is_made_again_from_what_a_reproducer_gives():
    for case in (CASE, Case.from_arguments({"shape": (3, 40), "seed": 5, "T": 2.5, "alpha": 0.1})):
        again = Case.from_arguments(eval(repr(case.arguments())))
        assert str(again) == str(case)
        for name in "zvy":
            np.testing.assert_array_equal(getattr(again, name), getattr(case, name))
        assert (again.T, again.alpha) == (case.T, case.alpha)
    z, v, y = random_batch(3, 40, 5)
    np.testing.assert_array_equal(case.z, z)
    np.testing.assert_array_equal(case.v, v)
    np.testing.assert_array_equal(case.y, y)
