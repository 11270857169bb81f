"""Laws that the values of every distillation loss obey, whatever its conventions."""

from itertools import product

import numpy as np

from .domain import random_batch
from .forms import HINTON_FORMS
from .frameworks import Unusable
from .judge import Broken, Case, Judge
from .terms import value_of


def it_answers_where_it_is_asked(judge: Judge, case: Case) -> None:
    """Inside the temperatures, shapes and alphas that it takes, it raises no error."""
    for mix in judge.mixes:
        try:
            judge.at(mix, case.z, case.v, case.T, case.y)
        except Unusable as error:
            raise Broken(str(error)) from error


def it_leaves_its_inputs_alone(judge: Judge, case: Case) -> None:
    """The logits and the labels that it was given are the same after the call."""
    for mix in judge.mixes:
        changed = judge.at(mix, case.z, case.v, case.T, case.y).changed
        if changed:
            raise Broken(f"it overwrote the {changed}")


def what_it_returns_is_its_own(judge: Judge, case: Case) -> None:
    """Value and gradient stay as they are when it is called again with other logits of the same shape."""
    (alpha, *_) = judge.soft_term.mix
    first, second = ((z.copy(), case.v.copy(), case.T, case.y.copy(), alpha) for z in (case.z, case.v))
    if not judge.loss.kept(first, second):
        raise Broken("what it returned was overwritten by the next call")


def finite_at_extreme_logits(judge: Judge, case: Case) -> None:
    """Value and gradient are finite at logits of ±1e4 in float64 and float32, and at ±5e3 if float16 is offered.

    In float16 only T = 1 is tried: its largest number is 65504, which a sum over rows or T² may rightly exceed.
    """
    T = max(case.T, 1.0) if judge.domain.precision == "float16" and 1 in judge.domain.temperatures else case.T
    dtypes = [(np.dtype(np.float64), 1e4, T), (np.dtype(np.float32), 1e4, T)]
    B, N = case.z.shape
    plain = judge.hard_term is None or judge.hard_term.kind == "cross-entropy"  # others sum over the classes too
    fits = not judge.soft_term.named or abs(judge.soft_term.factor(B, N, 1.0)) * B <= 4  # rows of up to 1e4 each
    if plain and fits and judge.offers_float16 and 1 in judge.domain.temperatures and max(B, N) < 6:
        dtypes.append((np.dtype(np.float16), 5e3, 1.0))
    for (dtype, size, at), mix in product(dtypes, judge.mixes):
        z, v = ((size * np.sign(u) + u).astype(dtype) for u in (case.z, case.v))
        found = judge.at(mix, z, v, at, case.y)
        if not np.isfinite(found.value):
            raise Broken(f"at ±{size:g} in {dtype} the value is {found.value}")
        if found.gradient is not None and not np.isfinite(found.gradient).all():
            raise Broken(f"at ±{size:g} in {dtype} the gradient has {np.sum(~np.isfinite(found.gradient))} NaN or inf")


def float32_agrees_with_float64(judge: Judge, case: Case) -> None:
    """On float32 logits, value and gradient are those on the same numbers in float64, up to float32's rounding."""
    z32, v32 = (u.astype(np.float32) for u in (case.z, case.v))
    z, v = (np.array(u, dtype=np.float64) for u in (z32, v32))
    for mix in judge.mixes[:2] if judge.bent else judge.mixes:  # of what bends between, too little is known
        a, b = judge.at(mix, z, v, case.T, case.y), judge.at(mix, z32, v32, case.T, case.y)
        judge.require_equal(a, b, judge.noise(mix, z, v, case.T, a, "float32"), "in float32")
        if a.gradient is not None and b.gradient is not None:
            off = np.abs(a.gradient - b.gradient)
            if not (off <= judge.gradient_noise(mix, z, v, case.T, case.y, "float32")).all():
                raise Broken(f"in float32 the gradient is off by {off.max():.3g} of {np.abs(a.gradient).max():.3g}")


def _unchanged(judge: Judge, case: Case, z: np.ndarray, v: np.ndarray, what: str) -> None:
    """Raise Broken unless the soft term is the same at z and v."""
    a, b = judge.soft(case.z, case.v, case.T), judge.soft(z, v, case.T)
    noise = sum(judge.noise(judge.soft_term.mix, *pair, case.T, o) for pair, o in (((case.z, case.v), a), ((z, v), b)))
    judge.require_equal(a, b, noise, what)


def smallest_where_student_equals_teacher(judge: Judge, case: Case) -> None:
    """C(z, v) >= C(v, v): KL is never negative, and a cross-entropy is never below the teacher's entropy.

    Tried at z, near v, and at multiples of v, which are the minimum if only one of the two has a temperature.
    """
    at_teacher = judge.soft(case.v, case.v, case.T)
    for name, z in (("z", case.z), ("v + (z - v)/10", case.v + (case.z - case.v) / 10), ("2 v", 2 * case.v),
                    ("v/2", case.v / 2)):  # fmt: skip
        elsewhere = judge.soft(z, case.v, case.T)
        if elsewhere.value < at_teacher.value - 2 * judge.noise(judge.soft_term.mix, z, case.v, case.T, at_teacher):
            raise Broken(f"C({name}, v) = {elsewhere.value:.10g} is below C(v, v) = {at_teacher.value:.10g}")


def _shift(u: np.ndarray) -> np.ndarray:
    return np.asarray(u + 3.0 * (1 + np.arange(len(u)) % 3)[:, None])


def shift_of_the_student_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant that is added to a row of the student's logits leaves the loss as it is."""
    _unchanged(judge, case, _shift(case.z), case.v, "adding 3, 6 or 9 to the student's rows")


def shift_of_the_teacher_changes_nothing(judge: Judge, case: Case) -> None:
    """A constant that is added to a row of the teacher's logits leaves the loss as it is."""
    _unchanged(judge, case, case.z, _shift(case.v), "adding 3, 6 or 9 to the teacher's rows")


def an_impossible_class_changes_nothing(judge: Judge, case: Case) -> None:
    """One more class, to which neither student nor teacher gives any probability, leaves the loss as it is."""
    coarse = judge.domain.epsilon > 1e-4  # float16 ends at 65504
    if coarse and case.T > 100:
        return
    far = -case.T * (100.0 if coarse else 1000.0)
    z, v = (np.c_[u, np.full(len(u), u.max() + far)] for u in (case.z, case.v))
    a, b = judge.soft(case.z, case.v, case.T), judge.soft(z, v, case.T)
    noise = judge.noise(judge.soft_term.mix, case.z, case.v, case.T, a)  # what is impossible adds none
    judge.require_equal(a, b, 2 * noise, "with one impossible class more")


def doubling_the_batch_gives_the_same_or_twice_the_loss(judge: Judge, case: Case) -> None:
    """A batch that is repeated has the same loss if it is a mean, and twice the loss if it is a sum."""
    z, v = np.r_[case.z, case.z], np.r_[case.v, case.v]
    a, b = judge.soft(case.z, case.v, case.T), judge.soft(z, v, case.T)
    times = min((1.0, 2.0), key=lambda times: abs(times * a.value - b.value))
    noise = 2 * judge.noise(judge.soft_term.mix, case.z, case.v, case.T, a)
    judge.require_equal(a, b, noise + judge.noise(judge.soft_term.mix, z, v, case.T, b), "the batch twice over", times)


def order_of_the_batch_changes_nothing(judge: Judge, case: Case) -> None:
    """Reversing the rows of student and teacher together leaves the loss as it is."""
    _unchanged(judge, case, case.z[::-1], case.v[::-1], "rows in reverse order")


def order_of_the_classes_changes_nothing(judge: Judge, case: Case) -> None:
    """Reversing the classes of student and teacher together leaves the loss as it is."""
    _unchanged(judge, case, case.z[:, ::-1], case.v[:, ::-1], "classes in reverse order")


def the_teachers_rows_belong_to_the_students(judge: Judge, case: Case) -> None:
    """Teacher rows in another order change the loss. Tried on random logits of up to 4 rows."""
    B, N = max((shape for shape in judge.domain.shapes if shape[0] < 5), default=case.z.shape)
    z, v, _ = random_batch(B, N, 1)
    a, b = (judge.soft(z, u, judge.domain.T).value for u in (v, v[::-1]))
    if B > 1 and abs(a - b) <= 1e-6 * max(abs(a), abs(b)):
        raise Broken(f"teacher rows in reverse order leave the loss at {a:.10g}")


def it_is_a_divergence_from_teacher_to_student(judge: Judge, case: Case) -> None:
    """The fingerprint's formula is KL(p || q) or the cross-entropy of p and q, both at one T."""
    form = judge.soft_term.form
    if judge.fingerprint.form not in HINTON_FORMS:
        later = f", no mistake where it is meant ({form.paper}): --expect {form.word}" if form and form.word else ""
        raise Broken(f"the values are those of: {judge.fingerprint.form}{later}")


def its_values_are_those_of_its_formula_everywhere(judge: Judge, case: Case) -> None:
    """The loss has its fingerprint's formula on all logits, times its reduction and its power of T."""
    term, (B, N) = judge.soft_term, case.z.shape
    if term.sums is None:
        return
    found = judge.soft(case.z, case.v, case.T, case.y)
    noise, factor = judge.noise(term.mix, case.z, case.v, case.T, found), term.factor(B, N, case.T)
    if not term.named:  # then one for a shape and a T
        z, v, y = random_batch(B, N, 0)
        factor = judge.soft(z, v, case.T, y).value / value_of(term.sums, z, v, case.T, y)
    expected = factor * value_of(term.sums, case.z, case.v, case.T, _labels(judge, case.y))
    if abs(expected - found.value) > noise or np.isnan(found.value):
        raise Broken(f"as {judge.fingerprint.form} it would be {expected:.10g}, it is {found.value:.10g}")


def _labels(judge: Judge, y: np.ndarray) -> np.ndarray:
    return y if judge.loss.takes_labels else np.zeros_like(y)


def the_power_of_temperature_is_0_or_2(judge: Judge, case: Case) -> None:
    """The soft term is multiplied by 1 or, in the balanced objective, by T², at every T from 0.1 to 10,000."""
    _require_power("soft", judge.soft_term.power if judge.soft_term.sums else 0.0, judge.soft_term.bent, (0.0, 2.0))


def the_hard_term_has_no_power_of_temperature(judge: Judge, case: Case) -> None:
    """The hard term is the same at every T."""
    if judge.hard_term is not None:
        _require_power("hard", judge.hard_term.power, judge.hard_term.bent, (0.0,))


def _require_power(term: str, power: float | None, bent: dict[float, float], allowed: tuple[float, ...]) -> None:
    departs = next(
        (
            f": at T = {T:g} it is {times:.6g} times what the power at most other T makes it"
            for T, times in bent.items()
        ),
        "",
    )
    if power not in allowed:
        raise Broken(f"the {term} term has the power {power} of T{departs if power is None else ''}")
    if bent:
        raise Broken(f"the {term} term has the power {power:g} of T{departs}")


def the_two_terms_are_reduced_alike(judge: Judge, case: Case) -> None:
    """Soft and hard term are both means over the batch, or both sums, so that alpha means the same for any batch."""
    soft, hard = judge.soft_term, judge.hard_term
    if hard is not None and soft.sums and hard.sums and soft.of_B != hard.of_B:
        raise Broken(f"the soft term is a {soft.reduction()}, the hard term a {hard.reduction()}")


def the_teacher_changes_nothing_in_the_hard_term(judge: Judge, case: Case) -> None:
    """The hard term is the same for any teacher."""
    term = judge.hard_term
    assert term is not None
    a = judge.at(term.mix, case.z, case.v, case.T, case.y)
    for what, v in (
        ("with the teacher's classes in reverse order", case.v[:, ::-1]),
        ("without a teacher", 0 * case.v),
    ):
        b = judge.at(term.mix, case.z, v, case.T, case.y)
        noise = judge.noise(term.mix, case.z, case.v, case.T, a) + judge.noise(term.mix, case.z, v, case.T, b)
        judge.require_equal(a, b, noise, f"the hard term, {what}")


def the_hard_term_is_the_cross_entropy_with_the_labels(judge: Judge, case: Case) -> None:
    """The hard term is -Σ log q_y at T = 1, of smoothed labels or weighted classes too, for any number of classes."""
    term, (B, N) = judge.hard_term, case.z.shape
    assert term is not None
    if term.sums is None:
        raise Broken("it is no cross-entropy with the labels, smoothed or weighted, at T = 1")
    if term.of_N:
        raise Broken(f"it is a {term.reduction()}: divided by a power of the number of classes")
    if term.classes not in (None, N) or term.power is None:
        return
    found = judge.at(term.mix, case.z, case.v, case.T, case.y)
    expected = term.factor(B, N, case.T) * value_of(term.sums, case.z, case.v, case.T, case.y)
    if not abs(expected - found.value) <= judge.noise(term.mix, case.z, case.v, case.T, found):
        raise Broken(f"as {term.kind} it would be {expected:.10g}, it is {found.value:.10g}")


def alpha_mixes_the_two_terms(judge: Judge, case: Case) -> None:
    """The loss is linear in alpha, from one term to the other, or is that over 1 + alpha; tried at 20 alphas."""
    bent = judge.bent or judge.off_the_line(case.z, case.v, case.T, case.y, case.alpha)
    if bent:
        raise Broken(bent)
