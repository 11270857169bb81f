"""What a distillation loss computes, told from its values: the divergence, the reduction, and the power of T.

The values on random logits are compared with a list of formulas. The loss has the formula that it is proportional to,
and the factor, at several sizes and temperatures, tells the rest.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...checks import MinidistillError
from .frameworks import Loss

TOLERANCE = 1e-4  # relative, in float64; a float32 inside the loss still passes


class Unrecognised(MinidistillError):
    """Say that the loss has no soft term of its own to recognise."""


def log_softmax(z: np.ndarray, T: float = 1.0) -> np.ndarray:
    """Return log q of logits z (B, N), with q of Eq. 1; written anew here, so that no judge shares the loss's code."""
    s = (z - z.max(axis=-1, keepdims=True)) / T
    return np.asarray(s - np.log(np.exp(s).sum(axis=-1, keepdims=True)))


def kl(log_p: np.ndarray, log_q: np.ndarray) -> float:
    """Return KL(p || q), summed over rows and classes."""
    return float((np.exp(log_p) * (log_p - log_q)).sum())


def cross_entropy(log_p: np.ndarray, log_q: np.ndarray) -> float:
    """Return -Σ p log q, over rows and classes."""
    return float(-(np.exp(log_p) * log_q).sum())


FORMS: dict[str, Callable[[np.ndarray, np.ndarray, float], float]] = {  # sums over rows and classes
    "KL(teacher || student)": lambda z, v, T: kl(log_softmax(v, T), log_softmax(z, T)),
    "cross-entropy(teacher, student)": lambda z, v, T: cross_entropy(log_softmax(v, T), log_softmax(z, T)),
    "KL(student || teacher)": lambda z, v, T: kl(log_softmax(z, T), log_softmax(v, T)),
    "cross-entropy(student, teacher)": lambda z, v, T: cross_entropy(log_softmax(z, T), log_softmax(v, T)),
    "KL, T on the student alone": lambda z, v, T: kl(log_softmax(v), log_softmax(z, T)),
    "KL, T on the teacher alone": lambda z, v, T: kl(log_softmax(v, T), log_softmax(z)),
    "KL, T on neither": lambda z, v, T: kl(log_softmax(v), log_softmax(z)),
    "cross-entropy, T on the student alone": lambda z, v, T: cross_entropy(log_softmax(v), log_softmax(z, T)),
    "cross-entropy, T on the teacher alone": lambda z, v, T: cross_entropy(log_softmax(v, T), log_softmax(z)),
    "cross-entropy, T on neither": lambda z, v, T: cross_entropy(log_softmax(v), log_softmax(z)),
    "KL of a softmax of probabilities": lambda z, v, T: kl(log_softmax(np.exp(log_softmax(v, T))), log_softmax(z, T)),
    "squared difference of the logits": lambda z, v, T: float(((z - v) ** 2).sum()),
    "squared difference of the probabilities": lambda z, v, T: float(
        ((np.exp(log_softmax(z, T)) - np.exp(log_softmax(v, T))) ** 2).sum()
    ),
}
HINTON_FORMS = ("KL(teacher || student)", "cross-entropy(teacher, student)")


@dataclass(frozen=True)
class Fingerprint:
    """Hold what a loss computes.

    form: a key of FORMS, or "unknown". reduction: "batchmean", "sum", "mean" (over classes too), "sum / N", one of
    them "times" a factor, or its powers of B and N. power: the exponent of T on the soft term, None if no power fits.
    alpha: the term that it weighs, "soft" or "hard"; None for a loss without labels. hard_power: the exponent of T on
    the hard term. detached: whether the teacher gets no gradient; None if the loss does not tell.
    """

    form: str
    reduction: str
    power: float | None
    alpha: str | None = None
    hard_power: float | None = None
    detached: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by their names, for JSON."""
        return asdict(self)


def random_batch(B: int, N: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random logits z and v (B, N) of deviation 2, and labels y (B,)."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (B, N)), rng.normal(0, 2, (B, N)), rng.integers(0, N, B)


def soft_alpha(loss: Loss) -> float:
    """Return the alpha, 1 or 0, that leaves the soft term alone: the loss depends on the teacher, not on the labels.

    Raises Unrecognised if neither does.
    """
    if not loss.takes_labels:
        return 1.0
    z, v, y = random_batch(4, 5, 0)
    other_y, other_v = (y + 1) % 5, v[:, ::-1]

    def depends(alpha: float) -> tuple[bool, bool]:
        base = loss(z, v, 2.0, y, alpha).value
        moved = (loss(z, v, 2.0, other_y, alpha).value, loss(z, other_v, 2.0, y, alpha).value)
        labels, teacher = (abs(m - base) > 1e-9 * max(abs(m), abs(base)) for m in moved)
        return labels, teacher

    at = {alpha: depends(alpha) for alpha in (1.0, 0.0)}
    for alpha in (1.0, 0.0):
        if at[alpha] == (False, True):
            return alpha
    raise Unrecognised(
        "at neither alpha = 1 nor alpha = 0 is the soft term alone: the loss must then depend on the teacher and not "
        "on the labels"
    )


def fingerprint(loss: Loss) -> Fingerprint:
    """Return the fingerprint of a loss. Raises Unrecognised, or Unusable if the loss fails on random logits."""
    alpha = soft_alpha(loss)

    def soft(B: int, N: int, T: float, seed: int) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
        z, v, y = random_batch(B, N, seed)
        return loss(z, v, T, y, alpha).value, (z, v)

    def factor(form: str, B: int, N: int, T: float) -> float | None:
        """Return loss / formula if it is one number on several logits, else None."""
        ratios = [value / FORMS[form](*pair, T) for value, pair in (soft(B, N, T, seed) for seed in range(4))]
        middle = float(np.median(ratios))
        steady = middle != 0 and np.ptp(ratios) <= TOLERANCE * abs(middle)
        return middle if steady and np.isfinite(middle) else None

    sizes = ((4, 5, 1.0), (8, 5, 1.0), (4, 10, 1.0), (4, 5, 2.0), (4, 5, 4.0))
    form, factors = "unknown", list[float]()
    for candidate in FORMS:
        if factor(candidate, *sizes[-1]) is None:
            continue
        found = [f for f in (factor(candidate, *size) for size in sizes) if f is not None]
        if len(found) == len(sizes):
            form, factors = candidate, found
            break
    detached = _detached(loss, alpha)
    weighs = None if not loss.takes_labels else "soft" if alpha == 1 else "hard"
    hard_power = _hard_power(loss, 1 - alpha) if loss.takes_labels else None
    if form == "unknown":
        return Fingerprint(form, "unknown", None, weighs, hard_power, detached)
    base, twice_B, twice_N, at_2, at_4 = factors
    power_of_B, power_of_N = np.log2(abs(twice_B / base)), np.log2(abs(twice_N / base))
    powers = np.log2(abs(at_2 / base)), np.log2(abs(at_4 / at_2))
    power = round(float(powers[0]), 2) + 0.0 if abs(powers[0] - powers[1]) < 0.01 else None
    return Fingerprint(form, _reduction(base, power_of_B, power_of_N), power, weighs, hard_power, detached)


def _reduction(factor: float, power_of_B: float, power_of_N: float) -> str:
    """Name the reduction, from the factor at B = 4 and N = 5 and its powers of B and N."""
    named = {
        (-1, 0): ("batchmean", 1 / 4),
        (0, 0): ("sum", 1.0),
        (-1, -1): ("mean", 1 / 20),
        (0, -1): ("sum / N", 1 / 5),
    }
    key = (round(power_of_B), round(power_of_N))
    if max(abs(power_of_B - key[0]), abs(power_of_N - key[1])) > 0.01 or key not in named:
        return f"B^{power_of_B:.2f} N^{power_of_N:.2f} times {factor:.3g}"
    name, expected = named[key]
    times = factor / expected
    return name if abs(times - 1) < TOLERANCE else f"{name} times {times:.3g}"


def _hard_power(loss: Loss, alpha: float) -> float | None:
    """Return the power of T on the hard term, which this alpha leaves alone; None if no power fits."""
    z, v, y = random_batch(4, 5, 0)
    at_1, at_2, at_4 = (loss(z, v, T, y, alpha).value for T in (1.0, 2.0, 4.0))
    with np.errstate(all="ignore"):  # a term of 0 or of infinity has no power
        low, high = (float(np.log2(np.abs(np.divide(b, a)))) for a, b in ((at_1, at_2), (at_2, at_4)))
    return round(low, 2) + 0.0 if abs(low - high) < 0.01 else None


def _detached(loss: Loss, alpha: float) -> bool | None:
    """Return whether the soft term, which this alpha leaves alone, gives the teacher no gradient; None if untold."""
    z, v, y = random_batch(4, 5, 0)
    gradient = loss(z, v, 2.0, y, alpha).teacher_gradient
    return None if gradient is None else not gradient.any()
