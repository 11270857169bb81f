"""The laws of a distillation loss: what every correct one obeys, whatever its conventions, and the mistakes they catch.

A law is a function of a Judge and a Case that raises Broken.
"""

from collections.abc import Callable
from itertools import product
from typing import Protocol

import numpy as np

from .fingerprint import FORMS, PROPER, log_softmax, tame
from .judge import Broken, Case, Judge


class Law(Protocol):
    """A function that raises Broken."""

    __name__: str

    def __call__(self, judge: Judge, case: Case, /) -> None: ...


LAWS: dict[str, tuple[Law, str, str]] = {}  # name: the law, the likely mistake, what a loss must have to be judged


def law(mistake: str, needs: str = "") -> Callable[[Law], Law]:
    """Register a law under its function's name. needs: "gradient", "labels" or nothing."""

    def register(check: Law) -> Law:
        LAWS[check.__name__] = (check, mistake, needs)
        return check

    return register


# --- values ---


@law("logits beyond the range of exp: take the row's maximum out first, and use log_softmax, not log(softmax)")
def finite_at_extreme_logits(judge: Judge, case: Case) -> None:
    """Value and gradient are finite for logits of ±1e4, in float64 and float32, and of ±5e3 in float16 where offered.

    In float16, whose largest number is 65504, at T = 1: a sum of three rows, or a T² beyond it, is no mistake.
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


@law("student and teacher swapped, T on one of them alone, or a softmax applied twice: the minimum is not at z = v")
def smallest_where_student_equals_teacher(judge: Judge, case: Case) -> None:
    """C(z, v) >= C(v, v): KL is never negative, and a cross-entropy never below the teacher's entropy.

    Tried at z, near v, and at multiples of v, where a temperature on one of the two alone has its minimum.
    """
    at_teacher = judge.soft(case.v, case.v, case.T).value
    for name, z in (("z", case.z), ("v + (z - v)/10", case.v + (case.z - case.v) / 10), ("2 v", 2 * case.v),
                    ("v/2", case.v / 2)):  # fmt: skip
        elsewhere = judge.soft(z, case.v, case.T).value
        if elsewhere < at_teacher and not judge.close(elsewhere, at_teacher, case):
            raise Broken(f"C({name}, v) = {elsewhere:.10g} is below C(v, v) = {at_teacher:.10g}")


@law("the softmax is missing, or over the wrong axis")
def shift_of_the_student_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant added to a row of the student's logits leaves the loss as it is."""
    shift = 3.0 * np.arange(1, 1 + len(case.z))[:, None]
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z + shift, case.v, case.T).value
    judge.require_equal(a, b, case, "adding 3, 6, ... to the student's rows")


@law("the teacher's softmax is missing, over the wrong axis, or applied to probabilities")
def shift_of_the_teacher_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant added to a row of the teacher's logits leaves the loss as it is."""
    shift = 3.0 * np.arange(1, 1 + len(case.v))[:, None]
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z, case.v + shift, case.T).value
    judge.require_equal(a, b, case, "adding 3, 6, ... to the teacher's rows")


@law("a division by the number of classes: reduction='mean' of kl_div, where 'batchmean' is meant")
def an_impossible_class_changes_nothing(judge: Judge, case: Case) -> None:
    """One more class to which neither gives any probability leaves the loss as it is."""
    far = -1000.0 * case.T
    z, v = (np.c_[u, np.full(len(u), u.max() + far)] for u in (case.z, case.v))
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(z, v, case.T).value
    judge.require_equal(a, b, case, "with one impossible class more")


@law("rows that depend on each other: a softmax or a mean over the wrong axis")
def doubling_the_batch_gives_the_same_or_twice_the_loss(judge: Judge, case: Case) -> None:
    """A batch twice over has the same mean and twice the sum."""
    a = judge.soft(case.z, case.v, case.T).value
    b = judge.soft(np.r_[case.z, case.z], np.r_[case.v, case.v], case.T).value
    if not (judge.close(a, b, case) or judge.close(2 * a, b, case)):
        raise Broken(f"the batch twice over: {a:.10g} became {b:.10g}")


@law("rows that depend on each other, or on their place")
def order_of_the_batch_changes_nothing(judge: Judge, case: Case) -> None:
    """Rows of student and teacher reversed together."""
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z[::-1], case.v[::-1], case.T).value
    judge.require_equal(a, b, case, "rows in reverse order")


@law("a class is treated apart, or the softmax is over the wrong axis")
def order_of_the_classes_changes_nothing(judge: Judge, case: Case) -> None:
    """Classes of student and teacher reversed together."""
    a, b = judge.soft(case.z, case.v, case.T).value, judge.soft(case.z[:, ::-1], case.v[:, ::-1], case.T).value
    judge.require_equal(a, b, case, "classes in reverse order")


@law("the teacher is not used, or its rows are averaged away: cached logits in another order would not be noticed")
def the_teachers_rows_belong_to_the_students(judge: Judge, case: Case) -> None:
    """Teacher rows in another order change the loss. Told on tame logits of 4 rows; the case does not matter."""
    z, v, _ = tame(4, 5, 1)
    a, b = judge.soft(z, v, case.T).value, judge.soft(z, v[::-1], case.T).value
    if abs(a - b) <= 1e-6 * max(abs(a), abs(b)):
        raise Broken(f"teacher rows in reverse order leave the loss at {a:.10g}")


@law("student and teacher swapped, T on one softmax alone or on neither, a softmax of probabilities, or no softmax")
def it_is_a_divergence_from_teacher_to_student(judge: Judge, case: Case) -> None:
    """By its values it is KL(p || q) or the cross-entropy of p and q, softened alike. The case does not matter."""
    if judge.fingerprint.form not in PROPER:
        raise Broken(f"the values are those of: {judge.fingerprint.form}")


@law("logits, temperatures or probabilities are clipped or rounded, or an epsilon is added, where these do not show it")
def its_values_are_those_of_its_formula_everywhere(judge: Judge, case: Case) -> None:
    """What it computes on tame logits it computes on all: the factor to its formula is one for a shape and a T."""
    if judge.fingerprint.form not in FORMS:
        return
    formula, (z, v, _) = FORMS[judge.fingerprint.form], tame(len(case.z), case.z.shape[1], 0)
    factor = judge.soft(z, v, case.T).value / formula(z, v, case.T)
    a, b = factor * formula(case.z, case.v, case.T), judge.soft(case.z, case.v, case.T).value
    if not judge.close(a, b, case):
        raise Broken(f"as {judge.fingerprint.form} it would be {a:.10g}, it is {b:.10g}")


@law("the soft term is multiplied by T, or by 1/T², or by a T that the softmax does not have")
def the_power_of_temperature_is_0_or_2(judge: Judge, case: Case) -> None:
    """Beside its softmax, a loss has the factor 1 or, to balance the hard term, T²."""
    if judge.fingerprint.form not in PROPER:
        return
    if judge.fingerprint.power not in (0.0, 2.0):
        raise Broken(f"the soft term has the power {judge.fingerprint.power} of T")


@law("T² is on the hard term as well, whose gradient does not shrink with T", "labels")
def the_hard_term_has_no_power_of_temperature(judge: Judge, case: Case) -> None:
    """The hard term is the same at every T."""
    if judge.fingerprint.hard_power != 0.0:
        raise Broken(f"the hard term has the power {judge.fingerprint.hard_power} of T")


@law("the hard term is the teacher's, has the wrong sign, is divided by the classes, or softened by T", "labels")
def the_hard_term_is_the_cross_entropy_with_the_labels(judge: Judge, case: Case) -> None:
    """Without its soft term it is -Σ log q_y at T = 1 times a factor > 0, the same for any number of classes."""
    B, N = case.z.shape

    def both(z: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        """The hard term, and Σ -log q_y; the teacher is the same whatever it says."""
        value = judge.at(judge.alphas[1], z, np.zeros_like(z), case.T, y).value
        return value, float(-log_softmax(z)[np.arange(B), y].sum())

    (z, _, y), (more_z, _, more_y) = tame(B, N, 0), tame(B, N + 3, 0)
    (here, formula), few, many = both(case.z, case.y), both(z, y), both(more_z, more_y)
    of_few, of_many = few[0] / few[1], many[0] / many[1]
    if not (of_few > 0 and abs(of_few - of_many) <= 10 * judge.tolerance * abs(of_few)):
        raise Broken(f"it is {of_few:.6g} times -Σ log q_y with {N} classes, {of_many:.6g} times with {N + 3}")
    if not abs(here - of_few * formula) <= 10 * judge.tolerance * max(abs(here), abs(few[0])):
        raise Broken(f"as a cross-entropy it would be {of_few * formula:.10g}, it is {here:.10g}")


@law("the soft term, its T² or its weight is lost at some alpha", "labels")
def alpha_mixes_the_two_terms(judge: Judge, case: Case) -> None:
    """The loss is linear in alpha, from one term to the other, and so continuous at 0 and 1."""
    y = case.y
    at = {alpha: judge.loss(case.z, case.v, case.T, y, alpha).value for alpha in (0.0, 1e-3, 0.25, 0.5, 0.999, 1.0)}
    scale = max(*map(abs, at.values()), judge.size(case))
    for alpha, value in at.items():
        expected = alpha * at[1.0] + (1 - alpha) * at[0.0]
        if not abs(value - expected) <= 10 * judge.tolerance * scale:
            raise Broken(f"at alpha = {alpha:g} it is {value:.10g}, between its ends it should be {expected:.10g}")


# --- gradients ---


@law(
    "the gradient is not of this value: a detached or in-place operation, a wrong formula, a factor on one of the two",
    "gradient",
)
def the_gradient_is_the_derivative_of_the_value(judge: Judge, case: Case) -> None:
    """Along two directions, by Richardson-extrapolated central differences; with labels also of the hard term."""
    rng, h = (
        np.random.default_rng(0),
        (1e-2 if judge.tolerance < 1e-5 else 0.3) * (case.T if len(judge.alphas) == 1 else min(case.T, 1.0)),
    )
    for alpha in judge.alphas:
        found = judge.at(alpha, case.z, case.v, case.T, case.y)
        assert found.gradient is not None
        for _ in range(2):
            direction = rng.choice([-1.0, 1.0], case.z.shape) * rng.uniform(0.5, 1, case.z.shape)

            def slope(step: float, d: np.ndarray = direction, alpha: float = alpha) -> float:
                up, down = (judge.at(alpha, case.z + s * step * d, case.v, case.T, case.y).value for s in (1, -1))
                return (up - down) / (2 * step)

            truth, ours = (4 * slope(h / 2) - slope(h)) / 3, float((found.gradient * direction).sum())
            scale = max(abs(truth), judge.size(case, alpha) / case.T)
            if not abs(truth - ours) <= max(1e-4, 20 * judge.tolerance) * scale:
                raise Broken(f"along a direction the value changes by {truth:.8g}, the gradient says {ours:.8g}")


@law(
    "the gradient of a softmax loss moves probability from class to class: a row that does not sum to 0 creates some",
    "gradient",
)
def rows_of_the_gradient_sum_to_0(judge: Judge, case: Case) -> None:
    """Shift invariance, differentiated."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    sums, scale = np.abs(gradient.sum(axis=-1)).max(), np.abs(gradient).max()
    if not sums <= 100 * judge.tolerance * max(scale, judge.size(case) / case.T):
        raise Broken(f"a row of the gradient sums to {sums:.3g}, its largest component is {scale:.3g}")


@law("the gradient is not Eq. 4: the two are swapped, T is on one of them alone, or there is no softmax", "gradient")
def the_gradient_is_proportional_to_q_minus_p(judge: Judge, case: Case) -> None:
    """dC/dz = c (q - p) with one c for the whole batch."""
    gradient = judge.soft(case.z, case.v, case.T, case.y).gradient
    assert gradient is not None
    difference = np.exp(log_softmax(case.z, case.T)) - np.exp(log_softmax(case.v, case.T))
    if np.abs(difference).max() < 1e-3:
        return
    c = float((gradient * difference).sum() / (difference**2).sum())
    rest = np.abs(gradient - c * difference).max()
    if not (c > 0 and rest <= 100 * judge.tolerance * np.abs(c * difference).max()):
        raise Broken(f"gradient = {c:.6g} (q - p) + a rest of {rest:.3g}, of {np.abs(gradient).max():.3g}")


@law("nothing is learned: the loss compares the teacher, or the student, with itself", "gradient")
def a_step_against_the_gradient_lowers_the_loss(judge: Judge, case: Case) -> None:
    """Where student and teacher differ the gradient is not 0, and a small step against it helps."""
    found = judge.soft(case.z, case.v, case.T, case.y)
    difference = np.abs(np.exp(log_softmax(case.z, case.T)) - np.exp(log_softmax(case.v, case.T))).max()
    assert found.gradient is not None
    if difference < 0.01:
        return
    if not found.gradient.any():
        raise Broken("the gradient is 0 although student and teacher differ")
    step = 1e-2 * case.T / np.abs(found.gradient).max()
    after = judge.soft(case.z - step * found.gradient, case.v, case.T, case.y).value
    if not after < found.value and judge.tolerance < 1e-5:
        raise Broken(f"after a small step against the gradient: {found.value:.10g} became {after:.10g}")


@law(
    "the loss does not become logit matching (Eq. 6): T is missing from one of the softmaxes, or logits are clipped",
    "gradient",
)
def at_high_temperature_the_gradient_is_that_of_logit_matching(judge: Judge, case: Case) -> None:
    """The residual of Eq. 6, relative to the gradient, falls as 1/T."""
    centred = (case.z - case.z.mean(-1, keepdims=True)) - (case.v - case.v.mean(-1, keepdims=True))
    if np.abs(centred).max() < 0.5:
        return
    residual = {}
    for T in (1e2, 1e4) if judge.tolerance < 1e-5 else (1e1, 1e2):
        gradient = judge.soft(case.z, case.v, T, case.y).gradient
        assert gradient is not None
        c = float((gradient * centred).sum() / (centred**2).sum())
        residual[T] = np.abs(gradient - c * centred).max() / max(np.abs(c * centred).max(), 1e-300)
    low, high = residual.values()
    if not (high <= 0.05 * low or high <= 100 * judge.tolerance):
        raise Broken(
            f"the residual of Eq. 6 is {low:.3g} at T = {min(residual):g} and {high:.3g} at T = {max(residual):g}"
        )
