"""A term of a loss: the formula that its values are in proportion to, and the factor at every B, N and T."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .domain import Domain, Mix, random_batch
from .forms import FORMS, Form, Sums
from .frameworks import Unusable

SAME = 1e-4  # two ratios to a formula are one, relative; in float16 less is asked
ROUNDINGS = 16  # that a few operations in a row may make
SURE = 0.1  # a ratio that rounding may change by more, relative, tells nothing
SEEDS = range(6)  # of the random batches on which a formula is told
CLASSES = (10, 5, 100, 2, 3, 1000)  # other N that a term is asked for, until one is answered
REDUCTIONS: dict[tuple[float, float], str] = {
    (-1, 0): "batchmean",
    (0, 0): "sum",
    (-1, -1): "mean",
    (0, -1): "sum / N",
}  # by powers of B and N
Shares = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of labels y (B,) and an array (B, N) to targets (B, N)


@dataclass
class Term:
    """Hold a term of the loss: where it stands alone, its formula, and the factor on it.

    factor(B, N, T) is constant * B^of_B * N^of_N * T^power. named: whether that holds at every size that was tried, so
    that it tells the value. bent: at which T it is not so, and by how much. slack: how far the formula itself is
    known, where it was measured. epsilon: the least error of its numbers. classes: the only N of a formula that knows
    no other.
    """

    mix: Mix
    form: Form | None = None
    sums: Sums | None = None
    kind: str = "unknown"
    constant: float = np.nan
    power: float | None = None
    of_B: float = 0.0
    of_N: float = 0.0
    bent: dict[float, float] = field(default_factory=dict)
    slack: float = 0.0
    epsilon: float = 0.0
    classes: int | None = None
    shares: Shares | None = None

    @property
    def named(self) -> bool:
        """Return whether the factor is known at every B, N and T."""
        return self.sums is not None and self.power is not None and all(x == round(x) for x in (self.of_B, self.of_N))

    def factor(self, B: int, N: int, T: float) -> float:
        """Return what the formula, a sum over rows and classes, is multiplied by."""
        return float(self.constant * float(B) ** self.of_B * float(N) ** self.of_N * T ** (self.power or 0.0))

    def reduction(self, weighted: bool = False) -> str:
        """Name the reduction, by the powers of B and N; weighted: alpha's weights tell the constant."""
        named = REDUCTIONS.get((self.of_B, self.of_N))
        if named is None:
            return f"B^{self.of_B:.2f} N^{self.of_N:.2f} times {self.constant:.3g}"
        plain = abs(self.constant - 1) < SAME or weighted
        return named if plain else f"{named} times {self.constant:.3g}"

    def own_constant(self) -> float:
        """Return the constant that is no part of a reduction's name."""
        return self.constant if self.named and (self.of_B, self.of_N) in REDUCTIONS else 1.0


def rounding(epsilon: float, z: np.ndarray, v: np.ndarray, T: float) -> float:
    """Return the error that the loss's arithmetic may make in log q of one row, and so in each row of a divergence."""
    largest = float(max(np.abs(z).max(), np.abs(v).max()))
    return float(ROUNDINGS * epsilon * (1 + np.log(z.shape[1]) + largest / T))


def value_of(sums: Sums, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray) -> float:
    """Return the one part of a formula."""
    return float(sums(z, v, T, y)[0])


def soft_term(domain: Domain, mix: Mix) -> Term:
    """Return the soft term: its formula, if it is one of FORMS, and the factor."""
    (B, N), T, term = domain.base, domain.T, Term(mix)
    same = max(SAME, ROUNDINGS * domain.epsilon)
    batches = [(z, v, _labels(domain, y)) for z, v, y in (random_batch(B, N, seed) for seed in SEEDS)]
    found = np.array([domain.at(mix, z, v, T, y).value for z, v, y in batches])
    if not np.isfinite(found).all():
        return term
    other = next((float(t) for t in domain.temperatures if t not in (T, 1)), T)  # at 1 many forms are one
    nearest = np.inf
    for name, form in FORMS.items():
        if term.form is not None and not (form.word and form.word == term.form.word):
            break  # variants of one, which stand side by side, are near
        parts = np.array([form.sums(z, v, T, y) for z, v, y in batches])
        weights = np.linalg.pinv(parts) @ found
        off = np.abs(parts @ weights - found).max()
        if (
            not off <= min(same * np.abs(found).max(), nearest / 10)
            or np.abs(weights).min() < 1e-3 * np.abs(weights).max()
        ):
            continue
        sums = form.sums if len(weights) == 1 else _weighted(form, weights / weights[1])
        pairs = [(domain.at(mix, z, v, other, y).value, value_of(sums, z, v, other, y)) for z, v, y in batches]
        ratios = np.array([value / formula for value, formula in pairs])
        if np.ptp(ratios) <= 4 * same * np.abs(ratios).max():
            more = "" if len(weights) == 1 else f", {weights[0] / weights[1]:.3g} : 1"
            term.form, term.sums, term.kind = form, sums, name + more
            term.epsilon = max(domain.epsilon, 1e-9 if form.word else 0)  # ln 2 in float32 is no mistake
            nearest = off
    scale(domain, term)
    return term


def _weighted(form: Form, weights: np.ndarray) -> Sums:
    return lambda z, v, T, y: (weights @ np.array(form.sums(z, v, T, y)),)


def _labels(domain: Domain, y: np.ndarray) -> np.ndarray:
    """Return the labels that a formula is asked with: 0 where the loss takes none."""
    return y if domain.loss.takes_labels else np.zeros_like(y)


def scale(domain: Domain, term: Term) -> None:
    """Find the factor on a term's formula, at every T and at other B and N; without a formula, its power of T alone."""
    (B, N), T0 = domain.base, domain.T

    def ratio(B: int, N: int, T: float, seed: int = 0) -> tuple[float, float]:
        """Return value / formula, and how far rounding may change it."""
        z, v, y = random_batch(B, N, seed)
        y = _labels(domain, y)
        try:
            found = domain.at(term.mix, z, v, T, y)
        except Unusable:
            return np.nan, np.inf
        if not np.isfinite(found.value):
            return np.nan, np.inf
        formula = value_of(term.sums, z, v, T, y) if term.sums else 1.0
        off = B * rounding(max(domain.epsilon, term.epsilon), z, v, T) / abs(formula)
        off += ROUNDINGS * domain.epsilon * found.size / max(abs(found.value), 1e-300)
        return found.value / formula, max(off, 1e-9)

    temperatures = sorted(float(T) for T in domain.temperatures)
    ratios, off = np.array([ratio(B, N, T) for T in temperatures]).T
    good = (ratios != 0) & (off < max(SURE, 2 * off.min()))
    run, rise = (np.subtract.outer(x, x) for x in (np.log(temperatures)[good], np.log(np.abs(ratios[good]))))
    slopes = rise[run > 0.2] / run[run > 0.2]
    power = float(np.median(slopes)) if slopes.size else 0.0
    power = round(power, 2 if domain.epsilon < 1e-4 else 0) + 0.0
    level = ratios / np.array(temperatures) ** power
    constant = float(np.median(level[good])) if good.any() else np.nan
    wrong = ~(np.abs(level / constant - 1) <= np.maximum(off, 0.01 if power != round(power) else 0))
    wrong &= ~(off >= SURE)
    for i in np.flatnonzero(wrong):  # a factor is the same for other logits
        if abs(ratio(B, N, temperatures[i], seed=1)[0] - ratios[i]) <= max(1e-3, off[i]) * abs(ratios[i]):
            term.bent[temperatures[i]] = float(level[i] / constant)
    here, _ = ratio(B, N, T0)
    term.power = power if 3 * len(term.bent) <= len(temperatures) and np.isfinite(constant) else None
    term.constant = here if term.power is None else constant
    if term.sums is None:
        return

    def exponent(size: tuple[int, int], more: float) -> float | None:
        there, off = ratio(*size, T0)
        if not there * here > 0:
            return None
        found = float(np.log(there / here) / np.log(more))
        return float(round(found)) if abs(found - round(found)) < max(0.01, 10 * off) else found

    of_B = exponent((2 * B, N), 2)
    of_N = None
    if term.classes is None:
        of_N = next((e for n in CLASSES if n != N and (e := exponent((B, n), n / N)) is not None), None)
    guesses = [
        (b, n) for b in ((-1.0, 0.0) if of_B is None else (of_B,)) for n in ((0.0, -1.0) if of_N is None else (of_N,))
    ]
    constants = [term.constant / (float(B) ** b * float(N) ** n) for b, n in guesses]
    best = min(range(len(guesses)), key=lambda i: abs(constants[i] - 1))  # where B or N is fixed, the simplest
    (term.of_B, term.of_N), term.constant = guesses[best], constants[best]
    if abs(term.constant - 1) < ROUNDINGS * domain.epsilon:
        term.constant = 1.0
