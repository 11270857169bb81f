"""Laws that the values of every distillation loss obey, whatever its conventions."""

from itertools import product

import numpy as np

from .fingerprint import FORMS, HINTON_FORMS, log_softmax, random_batch
from .judge import Broken, Case, Judge


def finite_at_extreme_logits(judge: Judge, case: Case) -> None:
    """Value and gradient are finite at logits of ±1e4 in float64 and float32, and at ±5e3 if float16 is offered.

    In float16 only T = 1 is tried: its largest number is 65504, which a sum over rows or T² may rightly exceed.
    """
    dtypes = [(np.dtype(np.float64), 1e4, case.T), (np.dtype(np.float32), 1e4, case.T)]
    if judge.offers_float16:
        dtypes.append((np.dtype(np.float16), 5e3, 1.0))
    for (dtype, size, T), alpha in product(dtypes, judge.alphas):
        z, v = ((size * np.sign(u) + u).astype(dtype) for u in (case.z, case.v))
        found = judge.at(alpha, z, v, T, case.y)
        if not np.isfinite(found.value):
            raise Broken(f"at ±{size:g} in {dtype} the value is {found.value}")
        if found.gradient is not None and not np.isfinite(found.gradient).all():
            raise Broken(f"at ±{size:g} in {dtype} the gradient has {np.sum(~np.isfinite(found.gradient))} NaN or inf")


def smallest_where_student_equals_teacher(judge: Judge, case: Case) -> None:
    """C(z, v) >= C(v, v): KL is never negative, and a cross-entropy is never below the teacher's entropy.

    Tried at z, near v, and at multiples of v, which are the minimum if only one of the two has a temperature.
    """
    at_teacher = judge.soft(case.v, case.v, case.T).value
    for name, z in (("z", case.z), ("v + (z - v)/10", case.v + (case.z - case.v) / 10), ("2 v", 2 * case.v),
                    ("v/2", case.v / 2)):  # fmt: skip
        elsewhere = judge.soft(z, case.v, case.T).value
        if elsewhere < at_teacher and not judge.close(elsewhere, at_teacher, case):
            raise Broken(f"C({name}, v) = {elsewhere:.10g} is below C(v, v) = {at_teacher:.10g}")


def shift_of_the_student_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant that is added to a row of the student's logits leaves the loss as it is."""
    shift = 3.0 * np.arange(1, 1 + len(case.z))[:, None]
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z + shift, case.v, case.T).value
    judge.require_equal(a, b, case, "adding 3, 6, ... to the student's rows")


def shift_of_the_teacher_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant that is added to a row of the teacher's logits leaves the loss as it is."""
    shift = 3.0 * np.arange(1, 1 + len(case.v))[:, None]
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z, case.v + shift, case.T).value
    judge.require_equal(a, b, case, "adding 3, 6, ... to the teacher's rows")


def an_impossible_class_changes_nothing(judge: Judge, case: Case) -> None:
    """One more class, to which neither student nor teacher gives any probability, leaves the loss as it is."""
    far = -1000.0 * case.T
    z, v = (np.c_[u, np.full(len(u), u.max() + far)] for u in (case.z, case.v))
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(z, v, case.T).value
    judge.require_equal(a, b, case, "with one impossible class more")


def doubling_the_batch_gives_the_same_or_twice_the_loss(judge: Judge, case: Case) -> None:
    """A batch that is repeated has the same loss if it is a mean, and twice the loss if it is a sum."""
    a = judge.soft(case.z, case.v, case.T).value
    b = judge.soft(np.r_[case.z, case.z], np.r_[case.v, case.v], case.T).value
    if not (judge.close(a, b, case) or judge.close(2 * a, b, case)):
        raise Broken(f"the batch twice over: {a:.10g} became {b:.10g}")


def order_of_the_batch_changes_nothing(judge: Judge, case: Case) -> None:
    """Reversing the rows of student and teacher together leaves the loss as it is."""
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z[::-1], case.v[::-1], case.T).value
    judge.require_equal(a, b, case, "rows in reverse order")


def order_of_the_classes_changes_nothing(judge: Judge, case: Case) -> None:
    """Reversing the classes of student and teacher together leaves the loss as it is."""
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z[:, ::-1], case.v[:, ::-1], case.T).value
    judge.require_equal(a, b, case, "classes in reverse order")


def the_teachers_rows_belong_to_the_students(judge: Judge, case: Case) -> None:
    """Teacher rows in another order change the loss. Tried on random logits of 4 rows at the case's T."""
    z, v, _ = random_batch(4, 5, 1)
    a, b = judge.soft(z, v, case.T).value, judge.soft(z, v[::-1], case.T).value
    if abs(a - b) <= 1e-6 * max(abs(a), abs(b)):
        raise Broken(f"teacher rows in reverse order leave the loss at {a:.10g}")


def it_is_a_divergence_from_teacher_to_student(judge: Judge, case: Case) -> None:
    """The fingerprint's formula is KL(p || q) or the cross-entropy of p and q, both at one T."""
    if judge.fingerprint.form not in HINTON_FORMS:
        raise Broken(f"the values are those of: {judge.fingerprint.form}")


def its_values_are_those_of_its_formula_everywhere(judge: Judge, case: Case) -> None:
    """The loss has its fingerprint's formula on all logits, with one factor for a shape and a T."""
    if judge.fingerprint.form not in FORMS:
        return
    formula, (z, v, _) = FORMS[judge.fingerprint.form], random_batch(len(case.z), case.z.shape[1], 0)
    factor = judge.soft(z, v, case.T).value / formula(z, v, case.T)
    a, b = factor * formula(case.z, case.v, case.T), judge.soft(case.z, case.v, case.T).value
    if not judge.close(a, b, case):
        raise Broken(f"as {judge.fingerprint.form} it would be {a:.10g}, it is {b:.10g}")


def the_power_of_temperature_is_0_or_2(judge: Judge, case: Case) -> None:
    """The soft term is multiplied by 1 or, in the balanced objective, by T²."""
    if judge.fingerprint.form not in HINTON_FORMS:
        return
    if judge.fingerprint.power not in (0.0, 2.0):
        raise Broken(f"the soft term has the power {judge.fingerprint.power} of T")


def the_hard_term_has_no_power_of_temperature(judge: Judge, case: Case) -> None:
    """The hard term is the same at every T."""
    if judge.fingerprint.hard_power != 0.0:
        raise Broken(f"the hard term has the power {judge.fingerprint.hard_power} of T")


def the_hard_term_is_the_cross_entropy_with_the_labels(judge: Judge, case: Case) -> None:
    """The hard term is -Σ log q_y at T = 1, times a factor > 0 that is the same for any number of classes."""
    B, N = case.z.shape

    def both(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """Return the hard term, for a teacher whose logits are 0, and -Σ log q_y."""
        value = judge.at(judge.alphas[1], z, np.zeros_like(z), case.T, y).value
        return value, float(-log_softmax(z)[np.arange(B), y].sum())

    (z, _, y), (wide_z, _, wide_y) = random_batch(B, N, 0), random_batch(B, N + 3, 0)
    (here, formula), narrow, wide = both(case.z, case.y), both(z, y), both(wide_z, wide_y)
    factor, wide_factor = narrow[0] / narrow[1], wide[0] / wide[1]
    if not (factor > 0 and abs(factor - wide_factor) <= 10 * judge.tolerance * abs(factor)):
        raise Broken(f"it is {factor:.6g} times -Σ log q_y with {N} classes, {wide_factor:.6g} times with {N + 3}")
    if not abs(here - factor * formula) <= 10 * judge.tolerance * max(abs(here), abs(narrow[0])):
        raise Broken(f"as a cross-entropy it would be {factor * formula:.10g}, it is {here:.10g}")


def alpha_mixes_the_two_terms(judge: Judge, case: Case) -> None:
    """The loss is linear in alpha, from one term to the other, and therefore continuous at 0 and 1."""
    y = case.y
    at = {alpha: judge.loss(case.z, case.v, case.T, y, alpha).value for alpha in (0.0, 1e-3, 0.25, 0.5, 0.999, 1.0)}
    scale = max(*map(abs, at.values()), judge.magnitude(case))
    for alpha, value in at.items():
        expected = alpha * at[1.0] + (1 - alpha) * at[0.0]
        if not abs(value - expected) <= 10 * judge.tolerance * scale:
            raise Broken(f"at alpha = {alpha:g} it is {value:.10g}, between its ends it should be {expected:.10g}")
