"""The laws, one at a time, before judges that are told what they know: what each says, and where it draws its line."""

import re
from itertools import product

import museum
import numpy as np
import pytest

from minidistill.testing.losses.fingerprint import Fingerprint, random_batch
from minidistill.testing.losses.frameworks import Loss
from minidistill.testing.losses.judge import Broken, Case, Judge
from minidistill.testing.losses.laws import LAWS

CASE = Case(np.array([[1.0, 0.0], [0.0, 2.0]]), np.array([[0.0, 1.0], [3.0, 0.0]]), 2.0, np.array([1, 0]))
KL = Fingerprint("KL(teacher || student)", "sum", 0.0)


class Told(Judge):
    """A judge of a loss whose alphas, tolerance, size (one, or one for each alpha) and fingerprint are given."""

    def __init__(self, function, *, tolerance=1e-7, size=1.0, fingerprint=KL, offers_float16=False):
        self.loss = Loss(function)
        self.alphas = (1.0, 0.0, 0.5) if self.loss.takes_labels else (1.0,)
        self.tolerance, self.fingerprint, self.offers_float16, self._size = tolerance, fingerprint, offers_float16, size

    def magnitude(self, case, alpha=None):
        return self._size[alpha] if isinstance(self._size, dict) else self._size


def says(law, function, case=CASE, **told):
    """What the law says of the loss; None where it holds."""
    try:
        LAWS[law].check(Told(function, **told), case)
    except Broken as broken:
        return str(broken)
    return None


def only_at(*, z=None, v=None):
    """A loss of 1 that is 0 at these logits."""
    return lambda a, b, T: float(not (z is None or np.allclose(a, z)) or not (v is None or np.allclose(b, v)))


@pytest.mark.parametrize(
    ("law", "function", "text"),
    [
        ("finite_at_extreme_logits", lambda z, v, T: np.inf, "at ±10000 in float64 the value is inf"),
        ("finite_at_extreme_logits", lambda z, v, T: (0.0, z * np.nan),
         "at ±10000 in float64 the gradient has 4 NaN or inf"),
        ("smallest_where_student_equals_teacher", lambda z, v, T: ((z - CASE.z) ** 2).sum(),
         "C(z, v) = 0 is below C(v, v) = 15"),
        ("smallest_where_student_equals_teacher", only_at(z=CASE.v + (CASE.z - CASE.v) / 10),
         "C(v + (z - v)/10, v) = 0 is below C(v, v) = 1"),
        ("smallest_where_student_equals_teacher", lambda z, v, T: ((z - 2 * v) ** 2).sum(),
         "C(2 v, v) = 0 is below C(v, v) = 10"),
        ("smallest_where_student_equals_teacher", only_at(z=CASE.v / 2), "C(v/2, v) = 0 is below C(v, v) = 1"),
        ("shift_of_the_student_changes_nothing", lambda z, v, T: z.sum(),
         "adding 3, 6, ... to the student's rows: 3 became 21"),
        ("shift_of_the_teacher_changes_nothing", lambda z, v, T: v.sum(),
         "adding 3, 6, ... to the teacher's rows: 4 became 22"),
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
         "teacher rows in reverse order leave the loss at 2"),
        ("alpha_mixes_the_two_terms", lambda z, v, T, y, alpha: alpha**2,
         "at alpha = 0.001 it is 1e-06, between its ends it should be 0.001"),
        ("the_hard_term_is_the_cross_entropy_with_the_labels",
         lambda z, v, T, y, alpha: len(z) * museum.hard(z, y)[0] * z.shape[1],
         "it is 2 times -Σ log q_y with 2 classes, 5 times with 5"),
        ("the_hard_term_is_the_cross_entropy_with_the_labels",
         lambda z, v, T, y, alpha: -len(z) * museum.hard(z, y)[0],
         "it is -1 times -Σ log q_y with 2 classes, -1 times with 5"),
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


def test_the_extremes_are_10000_and_5000_in_float16_where_it_is_offered_and_every_alpha_is_asked():
    asked = []

    def loss(z, v, T, y, alpha):
        asked.append((z.dtype.name, v.dtype.name, np.abs(z - np.sign(z)).max() // 1000, T, alpha))
        np.testing.assert_array_equal(y, CASE.y)
        assert np.isin(np.round(np.abs([z, v]), -3), (0, 5000, 10000)).all()
        return museum.kl_batchmean_t2(z, v, T)

    for offered in (False, True):
        asked.clear()
        assert says("finite_at_extreme_logits", loss, offers_float16=offered) is None
        kinds = [("float64", 10, 2.0), ("float32", 10, 2.0), *([("float16", 5, 1.0)] if offered else [])]
        assert asked == [(name, name, size, T, alpha) for name, size, T in kinds for alpha in (1.0, 0.0, 0.5)]
    for narrow, text in (("float32", "at ±10000 in float32"), ("float16", "at ±5000 in float16")):
        bad = lambda z, v, T, narrow=narrow: np.nan if z.dtype.name == narrow else 1.0  # noqa: E731
        assert says("finite_at_extreme_logits", bad, offers_float16=True) == f"{text} the value is nan"
        bad = lambda z, v, T, narrow=narrow: (1.0, z * (np.nan if z.dtype.name == narrow else 1.0))  # noqa: E731
        assert says("finite_at_extreme_logits", bad, offers_float16=True) == f"{text} the gradient has 4 NaN or inf"


@pytest.mark.parametrize(
    ("law", "function", "ten_times"),
    [  # of a loss of size 1, a function of what is wrong with it
        ("smallest_where_student_equals_teacher", lambda x: lambda z, v, T: 1 + x * np.array_equal(z, v), 1),
        ("shift_of_the_student_changes_nothing", lambda x: lambda z, v, T: 1 - x * (z.max() > 3), 1),
        ("shift_of_the_teacher_changes_nothing", lambda x: lambda z, v, T: 1 - x * (v.max() > 3), 1),
        ("an_impossible_class_changes_nothing", lambda x: lambda z, v, T: 1 - x * (z.shape[1] > 2), 1),
        ("doubling_the_batch_gives_the_same_or_twice_the_loss", lambda x: lambda z, v, T: 1 - x * (len(z) > 2), 1),
        ("doubling_the_batch_gives_the_same_or_twice_the_loss",
         lambda x: lambda z, v, T: (1 - x * (len(z) > 2)) * len(z) / 4, 1),
        ("alpha_mixes_the_two_terms", lambda x: lambda z, v, T, y, alpha: 1 - x * (alpha == 0.25), 10),
        ("alpha_mixes_the_two_terms", lambda x: lambda z, v, T, y, alpha: 1 - x * (alpha == 0.5), 10),
        ("alpha_mixes_the_two_terms", lambda x: lambda z, v, T, y, alpha: 1 - x * (alpha == 0.999), 10),
        ("rows_of_the_gradient_sum_to_0", lambda x: lambda z, v, T: (0.0, np.array([[1, x - 1], [0, 0]])), 100),
        ("rows_of_the_gradient_sum_to_0", lambda x: lambda z, v, T: (0.0, np.array([[1, x - 1], [0, -x]])), 100),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tolerance", [1e-7, 1e-3])
def test_a_difference_is_one_from_the_judges_tolerance_on(law, function, ten_times, tolerance):
    line = ten_times * tolerance
    assert says(law, function(0.9 * line), tolerance=tolerance) is None
    assert says(law, function(1.1 * line), tolerance=tolerance)


def test_a_gradient_is_measured_by_the_losses_size_over_T_where_it_is_smaller():
    def loss(x):
        return lambda z, v, T: (0.0, np.array([[1e-9, x - 1e-9], [0, 0]]))

    assert says("rows_of_the_gradient_sum_to_0", loss(0.9e-5 * 30 / 2), size=30.0) is None
    assert says("rows_of_the_gradient_sum_to_0", loss(1.1e-5 * 30 / 2), size=30.0)


@pytest.mark.parametrize("a", [1e-3, 0.25, 0.5, 0.999])
def test_every_alpha_between_is_tried_and_measured_by_the_largest_of_the_losses(a):
    def loss(x, at=a):
        return lambda z, v, T, y, alpha: 100 + 900 * alpha + x * (alpha == at)

    assert says("alpha_mixes_the_two_terms", loss(0.9e-3)) is None
    between = 100 + 900 * a
    expected = f"at alpha = {a:g} it is {between + 1:.10g}, between its ends it should be {between:.10g}"
    assert says("alpha_mixes_the_two_terms", loss(1.0)) == expected
    assert says("alpha_mixes_the_two_terms", loss(0.9e-2), size=1e4) is None
    assert says("alpha_mixes_the_two_terms", loss(1.1e-2), size=1e4)


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_the_teachers_rows_must_change_the_loss_by_a_millionth(size):
    _, first, _ = random_batch(4, 5, 1)

    def loss(x):
        return lambda z, v, T: size * (1 + x * np.array_equal(v, first))

    for x, holds in ((1.1e-6, True), (-1.1e-6, True), (0.9e-6, False), (-0.9e-6, False)):
        assert (says("the_teachers_rows_belong_to_the_students", loss(x)) is None) == holds


@pytest.mark.parametrize(
    ("law", "field", "right", "wrong", "text"),
    [
        ("it_is_a_divergence_from_teacher_to_student", "form", KL.form, "KL(student || teacher)",
         "the values are those of: KL(student || teacher)"),
        ("it_is_a_divergence_from_teacher_to_student", "form", "cross-entropy(teacher, student)", "unknown",
         "the values are those of: unknown"),
        ("the_power_of_temperature_is_0_or_2", "power", 0.0, 1.0, "the soft term has the power 1.0 of T"),
        ("the_power_of_temperature_is_0_or_2", "power", 2.0, None, "the soft term has the power None of T"),
        ("the_hard_term_has_no_power_of_temperature", "hard_power", 0.0, 2.0, "the hard term has the power 2.0 of T"),
    ],
)  # fmt: skip
def test_three_laws_read_the_fingerprint(law, field, right, wrong, text):
    known = {"form": KL.form, "reduction": "sum", "power": 0.0}
    assert says(law, museum.kl_value_alone, fingerprint=Fingerprint(**known | {field: right})) is None
    assert says(law, museum.kl_value_alone, fingerprint=Fingerprint(**known | {field: wrong})) == text


def never(z, v, T):
    raise AssertionError("not to be called")


def test_of_an_unknown_loss_neither_formula_nor_power_is_judged():
    for law in ("its_values_are_those_of_its_formula_everywhere", "the_power_of_temperature_is_0_or_2"):
        assert says(law, never, fingerprint=Fingerprint("unknown", "unknown", 1.0)) is None


def test_a_loss_that_leaves_its_formula_is_told_what_it_would_be():
    def loss(x):
        return lambda z, v, T: 3 * museum.kl_rows(z, v, T).sum() + x * np.array_equal(z, CASE.z)

    law, expected = "its_values_are_those_of_its_formula_everywhere", loss(0)(CASE.z, CASE.v, CASE.T)
    assert says(law, loss(1)) == f"as {KL.form} it would be {expected:.10g}, it is {expected + 1:.10g}"
    assert says(law, loss(1), fingerprint=Fingerprint("KL, T on neither", "sum", 0.0))
    assert says(law, loss(0.9e-7 * expected)) is None
    assert says(law, loss(1.1e-7 * (expected + 1)))


def hard_sum(z, y):
    return len(z) * museum.hard(z, y)[0]


def test_the_hard_term_is_asked_without_a_teacher_and_one_that_leaves_its_formula_is_told_so():
    law, truth = "the_hard_term_is_the_cross_entropy_with_the_labels", hard_sum(CASE.z, CASE.y)
    (few_z, _, few_y), (more_z, _, _) = random_batch(2, 2, 0), random_batch(2, 5, 0)
    few = hard_sum(few_z, few_y)

    def loss(x, at=CASE.z, factor=1.0):
        def function(z, v, T, y, alpha):
            assert not v.any()
            assert (v.shape, T, alpha) == (z.shape, 2.0, 0.0)
            return factor * hard_sum(z, y) * (1 + x * np.array_equal(z, at))

        return function

    assert says(law, loss(0)) is None
    assert says(law, loss(1)) == f"as a cross-entropy it would be {truth:.10g}, it is {2 * truth:.10g}"
    assert says(law, loss(0, factor=0.0))
    assert says(law, loss(0, factor=1e-30)) is None
    line = 10e-7 * max(truth, few) / truth
    for sign, factor in product((-1, 1), (0.1, 10.0)):
        assert says(law, loss(0.9 * sign * line, factor=factor)) is None
        assert says(law, loss(1.1 * sign * line, factor=factor))
        assert says(law, loss(0.9e-6 * sign, at=more_z, factor=factor)) is None
        assert says(law, loss(1.1e-6 * sign, at=more_z, factor=factor))


# --- laws of the gradient ---

DERIVATIVE = "the_gradient_is_the_derivative_of_the_value"


def test_a_gradient_that_is_not_the_derivative_is_told_by_how_much_at_any_alpha():
    found = re.fullmatch(
        r"along a direction the value changes by (.*), the gradient says (.*)",
        says(DERIVATIVE, lambda z, v, T: (z.sum(), 3 + 0 * z)),
    )
    truth, ours = map(float, found.groups())
    assert ours == pytest.approx(3 * truth, rel=1e-6)
    for at in (1.0, 0.0, 0.5):
        wrong = lambda z, v, T, y, alpha, at=at: (z.sum(), (3 if alpha == at else 1) + 0 * z)  # noqa: E731
        assert says(DERIVATIVE, wrong)
    assert says(DERIVATIVE, lambda z, v, T, y, alpha: (z.sum(), 1 + 0 * z)) is None


@pytest.mark.parametrize(("tolerance", "line"), [(1e-7, 1e-4), (1e-3, 0.02)])
def test_a_gradient_is_wrong_from_a_ten_thousandth_on_and_in_float32_from_a_fiftieth(tolerance, line):
    def loss(x):
        return lambda z, v, T: (z.sum(), (1 + x) * (1 + 0 * z))

    for sign in (-1, 1):
        assert says(DERIVATIVE, loss(0.98 * sign * line), tolerance=tolerance, size=0.0) is None
        assert says(DERIVATIVE, loss(1.02 * sign * line), tolerance=tolerance, size=0.0)


def test_where_the_derivative_is_0_the_losses_size_over_T_is_the_measure():
    row = np.array([[1.0, 0.0], [0.0, 0.0]])  # a direction moves it by 1/2 to 1
    assert says(DERIVATIVE, lambda z, v, T: (7.0, 0.9e-4 * 30 / 2 * row), size=30.0) is None
    assert says(DERIVATIVE, lambda z, v, T: (7.0, 2.1e-4 * 30 / 2 * row), size=30.0)
    for at in (1.0, 0.0, 0.5):
        large = lambda z, v, T, y, alpha, at=at: (7.0, (0.9e-4 * 30 / 2 if alpha == at else 0.0) * row)  # noqa: E731
        assert says(DERIVATIVE, large, size={1.0: 1.0, 0.0: 1.0, 0.5: 1.0} | {at: 30.0}) is None


def test_the_difference_is_extrapolated_so_that_a_cubic_costs_nothing():
    at_0 = Case(np.zeros((2, 2)), CASE.v, 2.0, CASE.y)
    assert says(DERIVATIVE, lambda z, v, T: (z.sum() + 100 * (z**3).sum(), 1 + 300 * z**2), at_0, size=0.0) is None


@pytest.mark.parametrize("T", [0.5, 20.0])
@pytest.mark.parametrize(("tolerance", "of_unit"), [(1e-7, 1e-2), (1e-3, 0.3)])
def test_its_steps_are_a_part_of_what_the_loss_changes_over(T, tolerance, of_unit):
    case, seen = Case(CASE.z, CASE.v, T, CASE.y), []

    def soft(z, v, temperature):
        assert temperature == T
        seen.append(z - CASE.z)
        return z.sum(), 1 + 0 * z

    def labelled(z, v, temperature, y, alpha):
        np.testing.assert_array_equal(y, CASE.y)
        return soft(z, v, temperature)

    for function, unit in ((soft, T), (labelled, min(T, 1.0))):
        tried = []
        for _ in range(2):
            seen.clear()
            assert says(DERIVATIVE, function, case, tolerance=tolerance) is None
            tried.append([step.tobytes() for step in seen])
        assert tried[0] == tried[1], "the same directions every time"
        h = of_unit * unit
        steps = [np.abs(step) for step in seen if step.any()]
        assert all(h / 4 <= step.min() and step.max() <= h * (1 + 1e-9) for step in steps)
        assert max(step.max() for step in steps) > 0.8 * h
        assert len({step.tobytes() for step in steps if step.max() > h / 2}) >= 2, "one direction may be blind"
        assert any((step > 0).any() and (step < 0).any() for step in seen), "all in step would see no shift"


def eq2(factor=1.0, plus=0.0):
    return lambda z, v, T: (0.0, factor * museum.difference(z, v, T) + plus * np.array([[1.0, 1.0], [0.0, 0.0]]))


def test_a_gradient_along_q_minus_p_has_a_positive_factor_and_a_small_rest():
    law, largest = "the_gradient_is_proportional_to_q_minus_p", np.abs(museum.difference(CASE.z, CASE.v, 2.0)).max()
    assert says(law, eq2(1e-12)) is None
    for factor, plus in ((-1.5, 0.0), (1.0, 0.5)):
        found = re.fullmatch(
            rf"gradient = {factor:g} \(q - p\) \+ a rest of (.*), of (.*)", says(law, eq2(factor, plus))
        )
        assert float(found[1]) == pytest.approx(plus, rel=0.01, abs=1e-12)
        gradient = eq2(factor, plus)(CASE.z, CASE.v, 2.0)[1]
        assert found[2] == f"{np.abs(gradient).max():.3g}"
    for factor in (1.0, 100.0):
        line = 1e-5 * factor * largest
        assert says(law, eq2(factor, 0.9 * line)) is None
        assert says(law, eq2(factor, 1.1 * line))


@pytest.mark.parametrize("T", [1.0, 4.0])
def test_where_student_and_teacher_agree_a_direction_cannot_be_told(T):
    def apart(by):
        v = CASE.z.copy()
        v[0, 0] += by
        return Case(CASE.z, v, T, CASE.y)

    slope = np.exp(1 / T) / (1 + np.exp(1 / T)) ** 2 / T  # of q in one of two logits, at a difference of 1
    for law, line in (
        ("the_gradient_is_proportional_to_q_minus_p", 1e-3),
        ("a_step_against_the_gradient_lowers_the_loss", 1e-2),
    ):
        wrong = lambda z, v, T: (0.0, 0 * z)  # noqa: E731
        assert says(law, wrong, apart(0.9 * line / slope)) is None
        assert says(law, wrong, apart(1.1 * line / slope))


def test_in_float32_a_step_that_is_lost_in_rounding_is_no_mistake():
    law = "a_step_against_the_gradient_lowers_the_loss"
    assert says(law, lambda z, v, T: (5.0, 1 + 0 * z), tolerance=1e-3) is None
    assert says(law, lambda z, v, T: (z.sum(), 1 + 0 * z)) is None


def test_the_laws_of_the_gradient_ask_with_the_cases_labels():
    def loss(z, v, T, y, alpha):
        np.testing.assert_array_equal(y, CASE.y)
        return museum.alpha_weighs_the_soft_term(z, v, T, y, alpha)

    for name, law in LAWS.items():
        if law.needs == "gradient":
            assert says(name, loss) is None


HIGH = "at_high_temperature_the_gradient_is_that_of_logit_matching"


def matching(rest, size=1.0):
    """The gradient of Eq. 4, of any size, with a rest that depends on T, as a part of the largest component."""

    def loss(z, v, T):
        d = (z - z.mean(-1, keepdims=True)) - (v - v.mean(-1, keepdims=True))
        across = np.array([[1.0, 1.0], [1.0, 1.0]]) * np.abs(d).max()
        return 0.0, size * (d + rest(T) * across)

    return loss


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize(("tolerance", "low", "high"), [(1e-7, 1e2, 1e4), (1e-3, 1e1, 1e2)])
def test_the_residual_of_eq4_must_fall_to_a_twentieth_or_be_nothing(tolerance, low, high, size):
    def of(at_low, at_high):
        return says(HIGH, matching(lambda T: {low: at_low, high: at_high}[T], size), tolerance=tolerance)

    assert of(0.3, 0.3) == f"the residual of Eq. 4 is 0.3 at T = {low:g} and 0.3 at T = {high:g}"
    nothing = 100 * tolerance
    assert of(9.0, 0.9 * 0.05 * 9) is None
    assert of(9.0, 1.1 * 0.05 * 9)
    assert of(0.0, 0.9 * nothing) is None
    assert of(0.0, 1.1 * nothing)


def test_residuals_are_judged_where_the_centred_logits_differ_by_a_half():
    def case(by):
        z = np.array([[by, -by], [0.0, 0.0]])
        return Case(z + 5.0, np.zeros((2, 2)) - 3.0, 1.0, CASE.y)

    assert says(HIGH, matching(lambda T: 1.0), case(0.45)) is None
    assert says(HIGH, matching(lambda T: 1.0), case(0.55))
    assert says(HIGH, lambda z, v, T: (0.0, 0 * z), case(0.55)) is None
