"""The laws of a distillation loss: what every correct one obeys, whatever its conventions, and the mistakes they catch.

A law is a function of a Judge and a Case that raises Broken. Hypothesis looks for a case that breaks it, and shrinks it
to the smallest. Tolerances are relative to the loss's own size on tame logits: an absolute one passes all at high T.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from ..checks import ArgumentError
from .fingerprint import PROPER, Fingerprint, Unrecognised, fingerprint, log_softmax, soft_alpha, tame
from .frameworks import Loss, Outcome, Unusable

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError:
    raise ArgumentError("minidistill.testing needs hypothesis, which the extra 'testing' installs") from None


class Broken(Exception):
    """A law does not hold; the text says by how much. mistake: the likely one, if it is not the law's own."""

    def __init__(self, text: str, mistake: str = "") -> None:
        super().__init__(text)
        self.mistake = mistake


@dataclass(frozen=True)
class Case:
    """Logits z, v (B, N), temperature T and labels y (B,)."""

    z: np.ndarray
    v: np.ndarray
    T: float
    y: np.ndarray

    def __str__(self) -> str:
        return f"z = {self.z.tolist()}, v = {self.v.tolist()}, T = {self.T:g}, y = {self.y.tolist()}"


class Judge:
    """A loss with what is known of it: its fingerprint, its precision, and its size on tame logits."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.alpha = soft_alpha(loss)
        self.fingerprint: Fingerprint = fingerprint(loss)
        self._sizes: dict[tuple[int, int, float], float] = {}

    def soft(self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """The soft term alone."""
        return self.loss(z, v, T, np.zeros(len(z), dtype=np.int64) if y is None else y, self.alpha)

    @cached_property
    def has_gradient(self) -> bool:
        return self.soft(*tame(2, 3, 0)[:2], 1.0).gradient is not None

    @cached_property
    def tolerance(self) -> float:
        """1e-7, or 1e-3 for a loss that computes in float32 inside."""
        z, v, _ = tame(4, 5, 7)
        moved = np.array([self.soft(z * (1 + 1e-10 * k), v, 1.0).value for k in range(8)])
        noise = np.ptp(moved) / max(abs(moved).max(), 1e-300)  # float32 does not see so small a change, or takes a jump
        return 1e-7 if 0 < noise < 1e-8 else 1e-3

    def size(self, case: Case) -> float:
        """The largest loss on some tame logits of the case's shape and temperature."""
        (B, N), T = case.z.shape, case.T
        if (B, N, T) not in self._sizes:
            values = [self.soft(*tame(B, N, seed)[:2], T).value for seed in range(3)]
            self._sizes[B, N, T] = max(map(abs, values))
        return self._sizes[B, N, T]

    def close(self, a: float, b: float, case: Case) -> bool:
        scale = max(abs(a), abs(b), self.size(case))
        return bool(abs(a - b) <= self.tolerance * scale)

    def require_equal(self, a: float, b: float, case: Case, what: str) -> None:
        if not self.close(a, b, case):
            nan = "0 log 0: a probability underflows to 0, and its logarithm is taken" if np.isnan([a, b]).any() else ""
            raise Broken(f"{what}: {a:.10g} became {b:.10g}", nan)


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
    """Value and gradient are finite for logits of ±1e4, in float64 and float32."""
    for dtype in (np.float64, np.float32):
        z, v = ((1e4 * np.sign(u) + u).astype(dtype) for u in (case.z, case.v))
        found = judge.soft(z, v, case.T, case.y)
        if not np.isfinite(found.value):
            raise Broken(f"at ±1e4 in {np.dtype(dtype)} the value is {found.value}")
        if found.gradient is not None and not np.isfinite(found.gradient).all():
            raise Broken(
                f"at ±1e4 in {np.dtype(dtype)} the gradient has {np.sum(~np.isfinite(found.gradient))} NaN or inf"
            )


@law("student and teacher swapped, T on one of them alone, or a softmax applied twice: the minimum is not at z = v")
def smallest_where_student_equals_teacher(judge: Judge, case: Case) -> None:
    """C(z, v) >= C(v, v): KL is never negative, and a cross-entropy never below the teacher's entropy."""
    at_teacher, elsewhere = judge.soft(case.v, case.v, case.T).value, judge.soft(case.z, case.v, case.T).value
    if elsewhere < at_teacher and not judge.close(elsewhere, at_teacher, case):
        raise Broken(f"C(z, v) = {elsewhere:.10g} is below C(v, v) = {at_teacher:.10g}")


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


@law("the soft term, its T² or its weight is lost at some alpha", "labels")
def alpha_mixes_the_two_terms(judge: Judge, case: Case) -> None:
    """The loss is linear in alpha, from one term to the other, and so continuous at 0 and 1."""
    y = case.y
    at = {alpha: judge.loss(case.z, case.v, case.T, y, alpha).value for alpha in (0.0, 1e-3, 0.25, 0.5, 0.999, 1.0)}
    scale = max(*map(abs, at.values()), judge.size(case))
    for alpha, value in at.items():
        expected = alpha * at[1.0] + (1 - alpha) * at[0.0]
        if abs(value - expected) > 10 * judge.tolerance * scale:
            raise Broken(f"at alpha = {alpha:g} it is {value:.10g}, between its ends it should be {expected:.10g}")


# --- gradients ---


@law(
    "the gradient is not of this value: a detached or in-place operation, a wrong formula, a factor on one of the two",
    "gradient",
)
def the_gradient_is_the_derivative_of_the_value(judge: Judge, case: Case) -> None:
    """Along two directions, by Richardson-extrapolated central differences."""
    found = judge.soft(case.z, case.v, case.T, case.y)
    assert found.gradient is not None
    rng, h = np.random.default_rng(0), (1e-2 if judge.tolerance < 1e-5 else 0.3) * case.T
    for _ in range(2):
        direction = rng.choice([-1.0, 1.0], case.z.shape) * rng.uniform(0.5, 1, case.z.shape)

        def slope(step: float, d: np.ndarray = direction) -> float:
            up, down = (judge.soft(case.z + s * step * d, case.v, case.T, case.y).value for s in (1, -1))
            return (up - down) / (2 * step)

        truth, ours = (4 * slope(h / 2) - slope(h)) / 3, float((found.gradient * direction).sum())
        scale = max(abs(truth), judge.size(case) / case.T)
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


# --- the search ---


@st.composite
def cases(draw: Any) -> Case:
    """B of 1 to 3, N of 2 to 5, logits that are halves between -10 and 10, T of 1 to 20; they shrink towards 0."""
    B, N = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    row = st.lists(st.integers(-20, 20), min_size=N, max_size=N)
    z, v = (np.array(draw(st.lists(row, min_size=B, max_size=B)), dtype=np.float64) / 2 for _ in "zv")
    y = np.array(draw(st.lists(st.integers(0, N - 1), min_size=B, max_size=B)))
    return Case(z, v, draw(st.sampled_from([1.0, 2.0, 4.0, 20.0])), y)


@dataclass(frozen=True)
class Verdict:
    """Of one law. broken: what went wrong at `case`, the smallest that was found; None where it holds.

    judged: False where the loss has nothing that the law is about, such as a gradient.
    """

    law: str
    broken: str | None = None
    case: Case | None = None
    mistake: str = ""
    judged: bool = True


def try_law(judge: Judge, name: str, examples: int = 60) -> Verdict:
    """Look for a case that breaks the law of this name."""
    check, mistake, needs = LAWS[name]
    if (needs == "gradient" and not judge.has_gradient) or (needs == "labels" and not judge.loss.takes_labels):
        return Verdict(name, judged=False)
    smallest: list[Verdict] = []

    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        report_multiple_bugs=False,
    )
    @hypothesis.given(cases())
    def search(case: Case) -> None:
        try:
            check(judge, case)
        except (Broken, Unusable) as error:
            likely = (error.mistake if isinstance(error, Broken) else "") or mistake
            smallest[:] = [Verdict(name, str(error), case, likely)]
            raise Broken(str(error)) from None

    try:
        search()
    except Broken:
        return smallest[0]
    return Verdict(name)


__all__ = ["LAWS", "Broken", "Case", "Judge", "Unrecognised", "Verdict", "cases", "law", "try_law"]
