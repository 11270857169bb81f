"""The laws, one at a time, before judges that know a right loss and ask another: what each says, how finely."""

import copy
import functools
import re
from types import SimpleNamespace

import museum
import numpy as np
import pytest

from minidistill import ArgumentError
from minidistill.testing.losses.domain import EPSILONS, random_batch
from minidistill.testing.losses.frameworks import Loss, Outcome, Unusable
from minidistill.testing.losses.gradient_laws import _worst
from minidistill.testing.losses.judge import Broken, Case, Judge
from minidistill.testing.losses.laws import LAWS
from minidistill.testing.losses.terms import Term
from minidistill.testing.losses.value_laws import _shift

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
    judge.loss.takes_labels = knowing(known).loss.takes_labels
    judge.domain._known, judge._magnitudes = {}, {}
    vars(judge).pop("bent", None)
    return judge


def verdict(law, judge, case=CASE):
    """What the law says to the judge; None where it holds."""
    try:
        LAWS[law].check(judge, case)
    except Broken as broken:
        return str(broken)
    return None


def says(law, function, case=CASE, known=SOFT, **replaced):
    """What the law says of the loss; None where it holds. replaced: parts of the judge."""
    judge = told(function, known)
    vars(judge).update(replaced)
    return verdict(law, judge, case)


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


def test_rounding_is_allowed_to_be_a_larger_part_of_a_limit_of_logits_that_differ_less():
    wrong = lambda z, v, T: (0.0, (z - z.mean(-1, keepdims=True)) - (v - v.mean(-1, keepdims=True)) + 1e-4 * z.max())  # noqa: E731
    for times, holds in ((1, True), (3, False)):
        case = Case(times * CASE.z, times * CASE.v, 2.0, CASE.y)
        assert (says(HIGH, wrong, case, known=SINGLE) is None) == holds


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


ASKED_WITH_LABELS = [
    "it_answers_where_it_is_asked", "it_leaves_its_inputs_alone", "finite_at_extreme_logits",
    "float32_agrees_with_float64", "its_values_are_those_of_its_formula_everywhere",
    "the_teacher_changes_nothing_in_the_hard_term", "the_hard_term_is_the_cross_entropy_with_the_labels",
    "alpha_mixes_the_two_terms", "the_gradient_is_the_derivative_of_the_value", "rows_of_the_gradient_sum_to_0",
    "the_gradient_is_proportional_to_q_minus_p", "the_gradient_of_the_hard_term_is_q_minus_the_labels",
    "a_step_against_the_gradient_lowers_the_loss", "at_high_temperature_the_gradient_is_that_of_logit_matching",
]  # fmt: skip


@pytest.mark.parametrize("law", ASKED_WITH_LABELS)
def test_a_loss_is_asked_about_a_case_with_its_labels_and_no_others(law):
    def loss(z, v, T, y, alpha):
        of_the_case = np.count_nonzero(v == 0) == np.count_nonzero(CASE.v == 0)  # random logits have no zeros
        assert not of_the_case or np.array_equal(y, CASE.y)
        return MIXED(z, v, T, y, alpha)

    assert says(law, loss, known=MIXED) is None


def test_the_values_of_a_loss_with_labels_in_its_soft_term_are_held_to_its_formula_with_them():
    z, v, _ = random_batch(3, 4, 0)
    law, case = "its_values_are_those_of_its_formula_everywhere", Case(z, v, 2.0, np.array([1, 3, 2]))
    assert says(law, museum.decoupled, case, known=museum.decoupled) is None
    other = lambda z, v, T, y, alpha: museum.decoupled(z, v, T, 0 * y, alpha)  # noqa: E731
    assert says(law, other, case, known=museum.decoupled)
    first_class = lambda z, v, T: museum.decoupled(z, v, T, np.zeros(len(z), dtype=int), 1.0)  # noqa: E731
    assert verdict(law, Judge(Loss(first_class)), case) is None


ALONE, SAME_FOR_ALL = (lambda f: lambda z, v, T: f(z, v)), (lambda f: lambda z, v, T, y, alpha: f(z, v))
NOISES = [  # a law, how many values that rounding moves it compares, and a loss that is off by x where it looks
    ("float32_agrees_with_float64", 1, lambda x: ALONE(lambda z, v: x * (z.dtype == "f"))),
    ("smallest_where_student_equals_teacher", 2, lambda x: ALONE(lambda z, v: x * np.array_equal(z, v))),
    ("shift_of_the_student_changes_nothing", 2, lambda x: ALONE(lambda z, v: x * (z.max() > 3))),
    ("shift_of_the_teacher_changes_nothing", 2, lambda x: ALONE(lambda z, v: x * (v.max() > 3))),
    ("an_impossible_class_changes_nothing", 2, lambda x: ALONE(lambda z, v: x * (z.shape[1] > 2))),
    ("doubling_the_batch_gives_the_same_or_twice_the_loss", 3,
     lambda x: ALONE(lambda z, v: 9 * len(z) + x * (len(z) > 2))),
    ("order_of_the_batch_changes_nothing", 2, lambda x: ALONE(lambda z, v: x * (z[0, 0] == 0))),
    ("order_of_the_classes_changes_nothing", 2, lambda x: ALONE(lambda z, v: x * (z[0, 0] == 0))),
    ("its_values_are_those_of_its_formula_everywhere", 1, lambda x: lambda z, v, T: SOFT(z, v, T)[0] + x),
    ("the_teacher_changes_nothing_in_the_hard_term", 2, lambda x: SAME_FOR_ALL(lambda z, v: x * (v[0, 0] == 1))),
    ("the_teacher_changes_nothing_in_the_hard_term", 2, lambda x: SAME_FOR_ALL(lambda z, v: x * (not v.any()))),
    ("the_hard_term_is_the_cross_entropy_with_the_labels", 1,
     lambda x: lambda z, v, T, y, alpha: museum.hard(z, y)[0] + x),
]  # fmt: skip


@pytest.mark.parametrize(("law", "number", "loss"), NOISES)
def test_each_value_that_is_compared_may_be_off_by_its_own_noise(law, number, loss):
    known, judged = MIXED if "hard" in law else SOFT, {"noise": lambda *_: 1.0}
    assert says(law, loss(number - 0.01), known=known, **judged) is None
    assert says(law, loss(number + 0.01), known=known, **judged)


@pytest.mark.parametrize(
    ("law", "number", "known", "right"),
    [
        ("rows_of_the_gradient_sum_to_0", 2, SOFT, lambda z, v, T: SOFT(z, v, T)[1]),
        ("the_gradient_is_proportional_to_q_minus_p", 1, SOFT, lambda z, v, T: SOFT(z, v, T)[1]),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", 1, MIXED, lambda z, v, T, y, _: museum.hard(z, y)[1]),
        ("float32_agrees_with_float64", 1, MIXED, lambda z, v, T, y, _: 0.0),
    ],
)
def test_each_component_of_a_gradient_may_be_off_by_its_own_noise(law, number, known, right):
    def noise(mix, z, v, T, y, dtype="float64"):
        assert mix in knowing(known).mixes
        assert (T, dtype) == (CASE.T, "float32" if "float32" in law else "float64")
        for given, expected in ((z, CASE.z), (v, CASE.v), (y, CASE.y)):
            np.testing.assert_array_equal(given, expected)
        return np.ones(z.shape)

    for x, holds in ((0.99, True), (1.01, False), (-0.99, True), (-1.01, False)):

        def loss(z, v, *rest, x=x):
            return 0.0, right(z, v, *rest) + np.array([[number * x, 0], [0, 0]]) * (z.dtype == "d")

        assert (says(law, loss, known=known, gradient_noise=noise, bent="") is None) == holds


@pytest.mark.parametrize(
    ("law", "known", "right"),
    [
        ("the_gradient_is_proportional_to_q_minus_p", SOFT, lambda z, v, T: SOFT(z, v, T)[1]),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", MIXED, lambda z, v, T, y, _: museum.hard(z, y)[1]),
    ],
)
def test_of_a_wrong_gradient_the_component_is_named_that_is_farthest_beyond_its_noise(law, known, right):
    loss = lambda z, v, *rest: (0.0, right(z, v, *rest) + np.array([[3.0, 0.5], [1.0, 2.0]]))  # noqa: E731
    noise = np.array([[4.0, 0.0], [0.0, 1.5]])
    assert says(law, loss, known=known, gradient_noise=lambda *_: noise).startswith("gradient[1, 0] ")


def factor(constant, of_B=-1.0, power=2.0):
    return Term({1.0: 1.0}, sums=len, constant=constant, power=power, of_B=of_B)


@pytest.mark.parametrize(
    ("shape", "changed", "tried"),
    [
        ((2, 2), {}, True),
        ((2, 2), {"offers_float16": False}, False),
        ((2, 2), {"temperatures": [2.0]}, False),
        ((5, 5), {}, True),
        ((2, 6), {}, False),
        ((6, 2), {}, False),
        ((2, 2), {"hard_term": Term({0.0: 1.0}, kind="cross-entropy")}, True),
        ((2, 2), {"hard_term": Term({0.0: 1.0}, kind="label smoothing 0.1")}, False),
        ((2, 2), {"soft_term": factor(3.0)}, True),
        ((2, 2), {"soft_term": factor(-5.0)}, False),
        ((4, 2), {"soft_term": factor(1.0, of_B=0.0)}, True),
        ((5, 2), {"soft_term": factor(1.0, of_B=0.0)}, False),
        ((2, 2), {"soft_term": factor(5.0, power=None)}, True),
    ],
)
def test_extreme_logits_are_tried_in_float16_where_their_sum_is_within_its_range(shape, changed, tried):
    asked = []

    def at(mix, z, v, T, y):
        asked.extend((u.dtype.name, float(np.abs(u).max()), T) for u in (z, v))
        return Outcome(0.0, None)

    known = {"hard_term": None, "soft_term": factor(1.0), "offers_float16": True, "temperatures": [1.0, 2.0], **changed}
    domain = SimpleNamespace(precision="float64", temperatures=known["temperatures"])
    judge = SimpleNamespace(domain=domain, mixes=[{1.0: 1.0}], at=at, **known)
    case = Case(np.full(shape, 2.0), np.full(shape, -2.0), 0.5, np.zeros(shape[0], dtype=int))
    assert verdict("finite_at_extreme_logits", judge, case) is None
    expected = [("float64", 10002.0, 0.5)] * 2 + [("float32", 10002.0, 0.5)] * 2
    assert asked == expected + [("float16", float(np.float16(5002)), 1.0)] * 2 * tried


@pytest.mark.parametrize(
    ("precision", "temperatures", "T", "asked_at"),
    [("float16", [0.5, 1.0], 0.5, 1.0), ("float16", [1.0, 2.0], 2.0, 2.0), ("float16", [0.5], 0.5, 0.5),
     ("float32", [0.5, 1.0], 0.5, 0.5)],
)  # fmt: skip
def test_extreme_logits_are_not_divided_by_less_than_1_in_float16(precision, temperatures, T, asked_at):
    asked = set()
    judge = told(lambda z, v, T: float(asked.add(T) or 0.0))
    judge.domain.precision, judge.domain.temperatures = precision, temperatures
    judge.offers_float16 = False
    assert verdict("finite_at_extreme_logits", judge, Case(CASE.z, CASE.v, T, CASE.y)) is None
    assert asked == {asked_at}


def test_of_a_loss_that_bends_between_its_ends_float32_is_compared_at_the_ends():
    law = "float32_agrees_with_float64"
    for at, bent, holds in ((0.5, 1.0, True), (0.5, 0.0, False), (1.0, 1.0, False), (0.0, 1.0, False)):

        def loss(z, v, T, y, alpha, at=at, bent=bent):
            return MIXED(z, v, T, y, alpha)[0] + bent * (alpha == 0.5) + (alpha == at and z.dtype == "f")

        assert (says(law, loss, known=MIXED) is None) == holds


def test_a_gradient_that_is_given_in_one_type_alone_is_compared_with_none():
    for kind in "fd":
        loss = lambda z, v, T, kind=kind: SOFT(z, v, T) if z.dtype == kind else SOFT(z, v, T)[0]  # noqa: E731
        assert says("float32_agrees_with_float64", loss) is None


@pytest.mark.parametrize(
    ("epsilon", "T", "lowest"),
    [(1e-12, 1000.0, -1e6), (2.0**-24, 2.0, -2e3), (2.0**-11, 2.0, -200.0), (2.0**-8, 100.0, -1e4),
     (2.0**-11, 101.0, 0.0)],
)  # fmt: skip
def test_a_class_is_impossible_in_the_losss_own_arithmetic_and_within_its_range(epsilon, T, lowest):
    asked = []
    judge = told(lambda z, v, T: float(asked.append(min(z.min(), v.min())) or 0.0))
    judge.domain.epsilon = epsilon
    assert verdict("an_impossible_class_changes_nothing", judge, Case(CASE.z, CASE.v, T, CASE.y)) is None
    assert min(asked, default=0.0) == pytest.approx(lowest, abs=3)


@pytest.mark.parametrize(
    ("shapes", "tried"),
    [([(3, 10), (4, 2), (5, 2), (10, 3)], (4, 2)), ([(32, 10)], (2, 2)), ([(2, 3)], (2, 3)), ([(1, 5)], None)],
)
def test_the_teachers_rows_are_exchanged_in_a_batch_of_2_to_4_rows(shapes, tried):
    law, asked = "the_teachers_rows_belong_to_the_students", set()
    judge = told(lambda z, v, T: float(asked.add(z.shape) or 5.0))
    judge.domain.shapes = shapes
    assert (verdict(law, judge) is not None) == (tried is not None)
    assert tried is None or asked == {tried}


def test_rows_that_are_exchanged_may_change_little_and_not_nothing():
    law = "the_teachers_rows_belong_to_the_students"
    for size in (1e-9, -1.0, 1e9):
        for x, holds in ((1e-7, False), (1e-5, True), (-1e-5, True)):
            loss = lambda z, v, T, x=x, size=size: size * (1 + x * (v[0, 0] > v[-1, 0]))  # noqa: E731
            assert (says(law, loss) is None) == holds


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (museum.swapped, "KL(student || teacher), no mistake where it is meant (Gu et al. 2024, arXiv:2306.08543): "
         "--expect reverse-kl"),
        (museum.temperature_on_neither, "KL, T on neither"),
        (lambda z, v, T: np.abs(z - v).sum(), "unknown"),
        (lambda z, v, T: ((z - v) ** 2).sum(), "squared difference of the logits, no mistake where it is meant "
         "(Ba and Caruana 2014, arXiv:1312.6184): --expect logit-matching"),
    ],
)  # fmt: skip
def test_a_loss_of_another_kind_is_named_and_if_it_has_a_paper_that_and_its_word(loss, text):
    found = verdict("it_is_a_divergence_from_teacher_to_student", Judge(Loss(loss)))
    assert found == f"the values are those of: {text}"
    assert verdict("it_is_a_divergence_from_teacher_to_student", knowing(SOFT)) is None


DEPARTS = ": at T = 0.5 it is 3.25 times what the power at most other T makes it"


@pytest.mark.parametrize(
    ("power", "bent", "soft", "hard"),
    [
        (0.0, {}, "", ""),
        (2.0, {}, "", "2.0 of T"),
        (-2.0, {}, "-2.0 of T", "-2.0 of T"),
        (1.0, {0.5: 3.25, 7.0: 4.0}, "1.0 of T", "1.0 of T"),
        (0.0, {0.5: 3.25, 7.0: 4.0}, f"0 of T{DEPARTS}", f"0 of T{DEPARTS}"),
        (2.0, {0.5: 3.25}, f"2 of T{DEPARTS}", "2.0 of T"),
        (None, {0.5: 3.25}, f"None of T{DEPARTS}", f"None of T{DEPARTS}"),
        (None, {}, "None of T", "None of T"),
    ],
)
def test_a_terms_power_of_temperature_is_told_and_where_it_is_another(power, bent, soft, hard):
    term = Term({1.0: 1.0}, sums=len, power=power, bent=bent)
    for law, which, text in (("the_power_of_temperature_is_0_or_2", "soft", soft),
                             ("the_hard_term_has_no_power_of_temperature", "hard", hard)):  # fmt: skip
        found = verdict(law, SimpleNamespace(soft_term=term, hard_term=term))
        assert found == (f"the {which} term has the power {text}" if text else None)


def test_of_a_soft_term_without_a_formula_the_power_is_not_known_and_no_mistake():
    of_no_formula = SimpleNamespace(soft_term=Term({1.0: 1.0}, power=1.0), hard_term=None)
    assert verdict("the_power_of_temperature_is_0_or_2", of_no_formula) is None
    assert verdict("the_hard_term_has_no_power_of_temperature", of_no_formula) is None


@pytest.mark.parametrize("T", [0.25, 1.0, 1e4])
@pytest.mark.parametrize(
    ("known", "part", "hard"), [(SOFT, 1e-2, False), (SINGLE, 0.3, False), (MIXED, 1e-2, True)],
    ids=["float64", "float32", "with a hard term"],
)  # fmt: skip
def test_a_slope_is_taken_over_a_part_of_T_or_of_1_if_a_hard_term_varies_on_it(known, part, hard, T):
    directions = []
    for z in (CASE.z, CASE.z + 1, CASE.z - 2):
        asked = []

        def loss(at, v, T, *rest, z=z, asked=asked):
            asked.append(np.abs(at - z).max())
            directions.append(np.sign(at - z))
            return known(at, v, T, *rest)

        assert says("the_gradient_is_the_derivative_of_the_value", loss, Case(z, CASE.v, T, CASE.y), known) is None
        longest = part * (min(T, 1.0) if hard else T)
        assert longest / 2 <= max(asked) <= longest * (1 + 1e-6)
    assert any(len({*direction.flat}) == 2 for direction in directions), "some logits go up and others down"


@pytest.mark.parametrize("T", [0.1, 1.0, 1e4])
def test_a_gradient_that_is_a_thousandth_too_large_is_caught_at_every_temperature(T):
    law, case = "the_gradient_is_the_derivative_of_the_value", Case(CASE.z, CASE.v, T, CASE.y)
    assert says(law, SOFT, case) is None
    assert says(law, lambda z, v, T: (SOFT(z, v, T)[0], SOFT(z, v, T)[1] * 1.001), case)


def test_a_gradient_where_student_equals_teacher_is_held_to_0():
    law, case = "the_gradient_is_the_derivative_of_the_value", Case(CASE.v, CASE.v, 2.0, CASE.y)
    for x, holds in ((0.0, True), (1e-9, True), (1e-4, False)):
        loss = lambda z, v, T, x=x: (SOFT(z, v, T)[0], SOFT(z, v, T)[1] + x)  # noqa: E731
        assert (says(law, loss, case) is None) == holds


def test_a_row_of_a_gradient_is_held_as_finely_in_a_large_batch_as_in_a_small_one():
    law, (z, v, y) = "rows_of_the_gradient_sum_to_0", random_batch(300, 2, 0)

    def loss(x):
        off = np.array([[x, 0], [-x, 0]])  # and all of it sums to 0
        return lambda z, v, T: (0.0, SOFT(z, v, T)[1] + np.r_[off, np.zeros((len(z) - 2, 2))])

    for case in (CASE, Case(z, v, 2.0, y)):
        assert says(law, loss(1e-12), case) is None
        assert says(law, loss(1e-8), case) is not None


def test_a_row_of_a_gradient_may_be_off_by_a_few_roundings_of_the_largest_component():
    for size in (1e-6, 1e6):
        for x, holds in ((1e-11, True), (1e-9, False)):
            loss = lambda z, v, T, x=x, size=size: (0.0, size * np.array([[1, x - 1], [0, 0]]))  # noqa: E731
            found = says("rows_of_the_gradient_sum_to_0", loss, gradient_noise=lambda *_: np.zeros((2, 2)))
            assert (found is None) == holds


def test_rows_are_shifted_by_3_6_or_9():
    u = np.arange(21.0).reshape(7, 3)
    np.testing.assert_array_equal(_shift(u) - u, np.array([3, 6, 9, 3, 6, 9, 3])[:, None] + 0 * u)


def test_where_student_equals_teacher_no_step_is_asked_for_at_any_temperature():
    law, wrong = "a_step_against_the_gradient_lowers_the_loss", lambda z, v, T: (0.0, 0 * z)
    for T in (0.25, 1.0, 20.0):
        assert says(law, wrong, Case(CASE.z, CASE.z, T, CASE.y)) is None
        assert says(law, wrong, Case(CASE.z, -CASE.z, T, CASE.y)) is not None


@pytest.mark.parametrize("T", [0.25, 4.0])
@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-8, 0.0])
def test_one_of_four_ever_smaller_steps_must_lower_the_loss(size, T):
    def loss(z, v, T):
        step = np.abs(z - CASE.z).max() / T
        return 4.0 if size / 2 < step < 2 * size else 5.0, 3 + 0 * z

    found = says("a_step_against_the_gradient_lowers_the_loss", loss, Case(CASE.z, CASE.v, T, CASE.y))
    assert found == (None if size else "after a small step against the gradient: 5 became 5")


def test_a_step_that_rounding_hides_says_nothing_and_a_longer_one_does():
    law = "a_step_against_the_gradient_lowers_the_loss"
    for g in (1e-3, 1.0, 1e3):  # by the gradient the loss falls by 0.08 g, 0.0008 g, ...
        for value, hidden in ((1e15 * g, True), (1e11 * g, False), (1.0 * g, False)):
            assert (says(law, lambda z, v, T, value=value, g=g: (value, g + 0 * z)) is None) == hidden


def test_the_limit_of_high_temperatures_is_asked_of_logits_of_up_to_10():
    wrong = lambda z, v, T: (0.0, np.array([[1.0, -1.0], [1.0, -1.0]]) + 0 * z)  # noqa: E731
    for largest, asked in ((10.0, True), (-10.0, True), (10.5, False), (-10.5, False)):
        for z, v in ((largest * np.eye(2), CASE.v), (CASE.z, largest * np.eye(2))):
            assert (says(HIGH, wrong, Case(z, v, 2.0, CASE.y)) is not None) == asked


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
@pytest.mark.parametrize(("x", "holds"), [(0.0, True), (1e-12, True), (1e-9, False), (-1e-9, False)])
def test_a_gradient_of_a_sum_is_that_of_its_parts_up_to_the_rounding_of_its_largest(x, holds, size):
    def outcome(z, v, T, y, alpha):
        assert y.shape == z.shape[:1]
        return Outcome(1.0, alpha * size * z)

    def in_a_sum(z, v, T, y, alpha):
        assert y.shape == z.shape[:1]
        gradient = 2 * alpha * size * z + 1
        gradient[1, 2] += x * (1 + np.abs(alpha * size * z).max())
        return Outcome(1.0, gradient)

    for known in (SOFT, MIXED):
        judge = told(known, known)
        judge.domain.loss, judge.in_a_sum = outcome, in_a_sum
        found = verdict("the_gradient_follows_what_is_made_of_the_loss", judge)
        assert (found is None) == holds
        assert holds or found.startswith("gradient[1, 2] of C is ")


@pytest.mark.parametrize(
    ("off", "index"), [([[0.0, 3.0], [2.0, 1.0]], (0, 1)), ([[9.0, 1.0], [np.nan, 2.0]], (1, 0)), ([[5.0]], (0, 0))]
)
def test_the_worst_component_is_the_largest_or_one_that_is_nan(off, index):
    assert _worst(np.array(off)) == (index, f"{index[0]}, {index[1]}")


@pytest.mark.parametrize(
    ("taken", "precision", "pair"),
    [
        ([10.0, 100.0, 1000.0, 10000.0], "float64", (100.0, 10000.0)),
        ([10.0, 100.0, 1000.0], "float64", (10.0, 1000.0)),
        ([10.0, 100.0], "float64", (10.0, 100.0)),
        ([10.0, 100.0, 1000.0, 10000.0], "float32", (10.0, 100.0)),
        ([10.0, 1000.0, 10000.0], "float32", ()),
        ([1.0, 100.0], "float64", ()),
    ],
)
def test_the_limit_of_high_temperatures_is_told_from_two_that_the_loss_takes(taken, precision, pair):
    asked = []
    judge = told(lambda z, v, T: (float(asked.append(T) or 0.0), z - v))
    judge.domain.temperatures, judge.domain.epsilon = taken, EPSILONS[precision]
    verdict(HIGH, judge)
    assert tuple(asked) == pair


def test_the_limit_of_high_temperatures_is_asked_where_student_and_teacher_differ():
    wrong = lambda z, v, T: (0.0, np.array([[1.0, 1.0], [1.0, 1.0]]) + 0 * z)  # noqa: E731
    for by, asked in ((0.9, False), (1.1, True), (-1.1, True)):  # of which half is left about the mean
        case = Case(CASE.z, CASE.z + np.array([[by, 0.0], [5.0, 5.0]]), 2.0, CASE.y)
        assert (says(HIGH, wrong, case) is not None) == asked


def of_no_power(z, v, T):
    return (1 + T) * museum.kl_rows(z, v, T).sum()


def of_no_power_with_labels(z, v, T, y, alpha):
    return (1 + T) / T**2 * museum.decoupled(z, v, T, y, alpha)


@pytest.mark.parametrize("known", [of_no_power, of_no_power_with_labels])
def test_a_loss_whose_power_of_temperature_is_none_is_held_to_its_formula_at_each(known):
    law, (z, v, _) = "its_values_are_those_of_its_formula_everywhere", random_batch(3, 4, 5)
    for T in (0.5, 3.0):
        case = Case(z, v, T, np.array([1, 3, 2]))
        for x, holds in ((1e-9, True), (1e-3, False), (-1e-3, False)):
            loss = lambda a, v, T, *rest, x=x: known(a, v, T, *rest) * (1 + x * np.array_equal(a, z))  # noqa: E731
            assert (says(law, loss, case, known=known) is None) == holds


def test_a_gradient_of_an_unknown_factor_is_held_to_q_minus_p_up_to_what_its_type_rounds():
    law = "the_gradient_is_proportional_to_q_minus_p"
    in_float32 = lambda z, v, T: float(of_no_power(z.astype("f"), v.astype("f"), T))  # noqa: E731
    for known, rounded, wrong in ((of_no_power, 3e-6, 3e-5), (in_float32, 2e-4, 3e-3)):
        for case in (CASE, Case(CASE.z, CASE.z + np.array([[0.2, 0.0], [0.0, 0.1]]), 2.0, CASE.y)):
            for x, holds in ((rounded, True), (wrong, False)):
                for c in (1e-4, 1e4):
                    loss = lambda z, v, T, x=x, c=c: (0.0, c * museum.difference(z, v, T) * [1, 1 + x])  # noqa: E731
                    assert (says(law, loss, case, known=known) is None) == holds
    against = lambda z, v, T: (0.0, -museum.difference(z, v, T))  # noqa: E731
    for by, holds in ((1e-3, True), (1e-2, False)):  # a q - p of a quarter of it, over T
        case = Case(CASE.z, CASE.z + np.array([[by, 0.0], [0.0, 0.0]]), 1.0, CASE.y)
        assert (says(law, against, case, known=of_no_power) is None) == holds


@pytest.mark.parametrize(
    ("law", "wrong"),
    [
        ("the_hard_term_is_the_cross_entropy_with_the_labels", lambda z, v, T, y, alpha: 0.0),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", lambda z, v, T, y, alpha: (0.0, 0 * z)),
    ],
)
def test_a_hard_term_with_weights_of_its_classes_is_judged_with_so_many_classes_alone(law, wrong):
    for N, judged in ((4, False), (5, True), (6, False)):
        z, v, y = random_batch(3, N, 0)
        found = says(law, wrong, Case(z, v, 2.0, y), known=museum.weighted_classes)
        assert (found is not None) == judged


def with_hard(**fields):
    return SimpleNamespace(hard_term=Term({0.0: 1.0}, **fields), soft_term=factor(1.0))


@pytest.mark.parametrize(
    ("law", "judge", "text"),
    [
        ("the_two_terms_are_reduced_alike", with_hard(sums=len, of_B=-1.0), None),
        ("the_two_terms_are_reduced_alike", with_hard(sums=None, of_B=0.0), None),
        ("the_two_terms_are_reduced_alike", with_hard(sums=len, of_B=0.0, constant=1.0),
         "the soft term is a batchmean, the hard term a sum"),
        ("the_two_terms_are_reduced_alike", SimpleNamespace(hard_term=None, soft_term=factor(1.0)), None),
        ("the_two_terms_are_reduced_alike",
         SimpleNamespace(hard_term=factor(1.0), soft_term=Term({1.0: 1.0}, of_B=0.0)), None),
        ("the_hard_term_is_the_cross_entropy_with_the_labels", with_hard(sums=None),
         "it is no cross-entropy with the labels, smoothed or weighted, at T = 1"),
        ("the_hard_term_is_the_cross_entropy_with_the_labels",
         with_hard(sums=len, of_B=-1.0, of_N=-1.0, constant=1.0),
         "it is a mean: divided by a power of the number of classes"),
        ("the_hard_term_is_the_cross_entropy_with_the_labels", with_hard(sums=len, of_B=-1.0, power=None), None),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", with_hard(sums=len, power=None, shares=max), None),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", with_hard(sums=len, power=0.0), None),
        ("the_gradient_of_the_hard_term_is_q_minus_the_labels", SimpleNamespace(hard_term=None), None),
    ],
)  # fmt: skip
def test_a_hard_term_that_is_known_to_be_wrong_is_told_without_asking(law, judge, text):
    assert verdict(law, judge) == text


def test_a_case_of_random_logits_is_shown_and_given_by_its_shape_and_seed():
    given = {"shape": (3, 40), "seed": 5, "T": 2.5, "alpha": 0.1}
    case = Case.from_arguments(given)
    assert str(case) == "z, v, y = random_batch(3, 40, seed=5), T = 2.5, alpha = 0.1"
    assert (case.arguments(), given) == (given, {"shape": (3, 40), "seed": 5, "T": 2.5, "alpha": 0.1})
    first = Case.from_arguments(given | {"seed": 0})
    assert (first.seed, str(first)[:34]) == (0, "z, v, y = random_batch(3, 40, seed")
    shown = "z = [[1.0, 0.0], [0.0, 2.0]], v = [[0.0, 1.0], [3.0, 0.0]], y = [1, 0], T = 2, alpha = 0.25"
    assert str(CASE) == shown
    given = {"z": [[1, 0]], "v": [[0, 1]], "y": [1], "T": 3}
    whole = Case.from_arguments(given)
    assert (whole.z.dtype, whole.v.dtype, whole.seed) == (np.float64, np.float64, None)
    assert whole.arguments() == given | {"alpha": 0.5}, "alpha is a half where none is given"
    assert repr(whole.T) == "3.0"


@pytest.mark.parametrize("given", [{"z": 1, "v": 2}, {"z": 1, "v": 2, "y": 3, "T": 4, "w": 5}])
def test_a_case_of_other_names_is_refused(given):
    with pytest.raises(ArgumentError) as raised:
        Case.from_arguments(given)
    names = ", ".join(given)
    assert str(raised.value) == f"case must have z, v, y, T and alpha, or shape, seed, T and alpha, got {names}"
