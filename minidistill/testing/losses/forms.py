"""The formulas that a loss is told by: Hinton's, what mistakes make of them, and the losses that came later.

Written anew here, so that no judge shares the loss's code, and for complex z too, so that a complex step tells slopes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

NEVER = -1e300  # a logarithm, of a probability of 0

Sums = Callable[[np.ndarray, np.ndarray, float, np.ndarray], tuple[Any, ...]]


def log_softmax(z: np.ndarray, T: float = 1.0) -> np.ndarray:
    """Return log q of logits z (..., N), with q of Eq. 1."""
    s = (z - z.real.max(axis=-1, keepdims=True)) / T
    return np.asarray(s - np.log(np.exp(s).sum(axis=-1, keepdims=True)))


def kl(log_p: np.ndarray, log_q: np.ndarray) -> Any:
    """Return KL(p || q), summed over rows and classes."""
    return (np.exp(log_p) * (log_p - log_q)).sum()


def cross_entropy(log_p: np.ndarray, log_q: np.ndarray) -> Any:
    """Return -Σ p log q, over rows and classes."""
    return -(np.exp(log_p) * log_q).sum()


def squares(a: np.ndarray, b: np.ndarray) -> Any:
    """Return Σ (a - b)², over rows and classes."""
    return ((a - b) ** 2).sum()


def centre(u: np.ndarray) -> np.ndarray:
    """Return u (..., N) less the mean of each row."""
    return np.asarray(u - u.mean(axis=-1, keepdims=True))


@dataclass(frozen=True)
class Form:
    """Hold a formula.

    sums: its parts, summed over rows and classes, of (z, v, T, y); the loss is a multiple of it, or of two parts with a
    weight of each. word: what `expect` calls it, and paper: where it is from, if it is a later loss. apart: the laws of
    Hinton's loss that it does not obey. softened: whether T divides the student's logits.
    """

    sums: Sums
    word: str = ""
    paper: str = ""
    apart: frozenset[str] = frozenset()
    softened: bool = True


def of_logs(divergence: Callable[[np.ndarray, np.ndarray], Any], student: bool = True, teacher: bool = True) -> Form:
    """Return a divergence of the two softmaxes, of which each has T or not."""
    return Form(
        lambda z, v, T, y: (divergence(log_softmax(v, T if teacher else 1), log_softmax(z, T if student else 1)),),
        softened=student,
    )


def mixture(log_p: np.ndarray, log_q: np.ndarray, part: float) -> np.ndarray:
    """Return the logarithm of part p + (1 - part) q."""
    return np.asarray(np.log(part * np.exp(log_p) + (1 - part) * np.exp(log_q)))


def jensen_shannon(beta: float) -> Sums:
    """Return β KL(p || m) + (1 - β) KL(q || m), with m = β p + (1 - β) q."""

    def sums(z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> tuple[Any, ...]:
        log_p, log_q = log_softmax(v, T), log_softmax(z, T)
        m = mixture(log_p, log_q, beta)
        return (beta * kl(log_p, m) + (1 - beta) * kl(log_q, m),)

    return sums


def skewed(part: float, reverse: bool) -> Sums:
    """Return KL(p || part p + (1 - part) q), or with p and q exchanged."""

    def sums(z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> tuple[Any, ...]:
        log_p, log_q = log_softmax(v, T), log_softmax(z, T)
        of, to = (log_q, log_p) if reverse else (log_p, log_q)
        return (kl(of, mixture(of, to, part)),)

    return sums


def decoupled(z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> tuple[Any, ...]:
    """Return the two parts, KL about the target and KL about the others."""
    target = np.arange(z.shape[-1]) == y[..., None]
    log_p, log_q = log_softmax(v, T), log_softmax(z, T)

    def about_target(log_u: np.ndarray) -> np.ndarray:
        others = log_u + np.where(target, NEVER, 0)
        top = others.real.max(axis=-1, keepdims=True)
        rest = top + np.log(np.exp(others - top).sum(axis=-1, keepdims=True))
        return np.stack([log_u[target], rest.ravel()])

    without = [log_softmax(u[~target].reshape(*y.shape, z.shape[-1] - 1), T) for u in (v, z)]
    return kl(about_target(log_p), about_target(log_q)), kl(*without)


def dist(clamped: bool) -> Sums:
    """Return the sums of B (1 - ρ), averaged over rows, and over columns, of the probabilities.

    clamped: whether norms below 1e-8 are taken for 1e-8, as in PyTorch's cosine similarity; else 1e-8 is added to their
    product, as in the authors' code.
    """

    def distance(a: np.ndarray, b: np.ndarray) -> Any:
        a, b = centre(a), centre(b)
        norms = [np.sqrt((u * u).sum(-1)) for u in (a, b)]
        if clamped:
            norms = [np.where(norm.real > 1e-8, norm, 1e-8) for norm in norms]
        return (1 - (a * b).sum(-1) / (norms[0] * norms[1] + (0 if clamped else 1e-8))).sum()

    def sums(z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> tuple[Any, ...]:
        q, p = np.exp(log_softmax(z, T)), np.exp(log_softmax(v, T))
        B, N = z.shape[-2:]
        return distance(q, p), B / N * distance(q.swapaxes(-1, -2), p.swapaxes(-1, -2))

    return sums


def standardised(less: int) -> Sums:
    """Return the KL of logits with mean 0 and deviation 1, of which the squares are averaged over N - less classes."""

    def standard(u: np.ndarray) -> np.ndarray:
        deviation = np.sqrt((centre(u) ** 2).sum(axis=-1, keepdims=True) / (u.shape[-1] - less))
        return np.asarray(centre(u) / (deviation + 1e-7))

    return lambda z, v, T, y: (kl(log_softmax(standard(v), T), log_softmax(standard(z), T)),)


def centred(z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> tuple[Any, ...]:
    """Return Σ (z - z̄ - (v - v̄))²."""
    return (squares(centre(z), centre(v)),)


_NO_EQ2 = frozenset({"the_gradient_is_proportional_to_q_minus_p"})
_MATCHING = "at_high_temperature_the_gradient_is_that_of_logit_matching"
_CLASS = "an_impossible_class_changes_nothing"
_NO_SCALE = _NO_EQ2 | {  # a row of equal logits has no deviation to divide by
    _MATCHING, _CLASS, "the_gradient_is_the_derivative_of_the_value", "float32_agrees_with_float64",
    "finite_at_extreme_logits"}  # fmt: skip
_RELATIONS = _NO_SCALE | {
    "smallest_where_student_equals_teacher", "doubling_the_batch_gives_the_same_or_twice_the_loss",
    "a_step_against_the_gradient_lowers_the_loss"}  # fmt: skip
_NO_SOFTMAX = _NO_EQ2 | {_MATCHING, _CLASS, "shift_of_the_student_changes_nothing",
                         "shift_of_the_teacher_changes_nothing", "rows_of_the_gradient_sum_to_0",
                         "finite_at_extreme_logits", "float32_agrees_with_float64"}  # fmt: skip
_GU, _AGARWAL = "Gu et al. 2024, arXiv:2306.08543", "Agarwal et al. 2024, arXiv:2306.13649"
_KO, _ZHAO = "Ko et al. 2024, arXiv:2402.03898", "Zhao et al. 2022, arXiv:2203.08679"
_HUANG, _SUN = "Huang et al. 2022, arXiv:2205.10536", "Sun et al. 2024, arXiv:2403.01427"
_BA, _TARVAINEN = "Ba and Caruana 2014, arXiv:1312.6184", "Tarvainen and Valpola 2017, arXiv:1703.01780"

HINTON_FORMS = ("KL(teacher || student)", "cross-entropy(teacher, student)")
FORMS: dict[str, Form] = {
    HINTON_FORMS[0]: of_logs(kl),
    HINTON_FORMS[1]: of_logs(cross_entropy),
    "KL(student || teacher)": Form(
        lambda z, v, T, y: (kl(log_softmax(z, T), log_softmax(v, T)),), "reverse-kl", _GU, _NO_EQ2
    ),
    "cross-entropy(student, teacher)": of_logs(lambda log_p, log_q: cross_entropy(log_q, log_p)),
    "KL, T on the student alone": of_logs(kl, teacher=False),
    "KL, T on the teacher alone": of_logs(kl, student=False),
    "KL, T on neither": of_logs(kl, student=False, teacher=False),
    "cross-entropy, T on the student alone": of_logs(cross_entropy, teacher=False),
    "cross-entropy, T on the teacher alone": of_logs(cross_entropy, student=False),
    "cross-entropy, T on neither": of_logs(cross_entropy, student=False, teacher=False),
    "KL of a softmax of probabilities": Form(
        lambda z, v, T, y: (kl(log_softmax(np.exp(log_softmax(v, T))), log_softmax(z, T)),)
    ),
    "squared difference of the logits": Form(
        lambda z, v, T, y: (squares(z, v),), "logit-matching", _BA, _NO_SOFTMAX
    ),
    "squared difference of the centred logits": Form(centred, "logit-matching", _BA, _NO_SOFTMAX),
    "squared difference of the probabilities": Form(
        lambda z, v, T, y: (squares(np.exp(log_softmax(z, T)), np.exp(log_softmax(v, T))),),
        "probability-mse", _TARVAINEN, _NO_EQ2 | {_CLASS},
    ),
    "decoupled": Form(decoupled, "decoupled", _ZHAO, _NO_EQ2 | {_MATCHING, "order_of_the_classes_changes_nothing"}),
    "DIST": Form(dist(clamped=False), "dist", _HUANG, _RELATIONS),
    "DIST, norms of at least 1e-8": Form(dist(clamped=True), "dist", _HUANG, _RELATIONS),
    "KL of standardised logits": Form(standardised(0), "standardised", _SUN, _NO_SCALE),
    "KL of standardised logits, deviation over N - 1": Form(standardised(1), "standardised", _SUN, _NO_SCALE),
}  # fmt: skip
for _part in (0.5, 0.1, 0.2, 0.25, 0.3, 0.4, 0.6, 0.7, 0.75, 0.8, 0.9):
    FORMS[f"Jensen-Shannon, beta {_part:g}"] = Form(jensen_shannon(_part), "jensen-shannon", _AGARWAL, _NO_EQ2)
    FORMS[f"skewed KL, {_part:g}"] = Form(skewed(_part, reverse=False), "skewed-kl", _KO, _NO_EQ2)
    FORMS[f"skewed reverse KL, {_part:g}"] = Form(skewed(_part, reverse=True), "skewed-kl", _KO, _NO_EQ2)
LATER = tuple(dict.fromkeys(form.word for form in FORMS.values() if form.word))
