"""What is known of a loss before any law is tried, and the case that a law is tried on.

Tolerances follow from the arithmetic: log q of a row is known to a few roundings of the logits over T, and of 1, and
the term's own factor makes that an error of the value, or of the gradient. What has no formula is measured by its
size on random logits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...checks import ArgumentError
from .domain import EPSILONS, Domain, Mix, random_batch
from .fingerprint import Fingerprint, fingerprint
from .forms import log_softmax
from .frameworks import Loss, Outcome, Unusable
from .hard import hard_term
from .terms import Term, rounding, soft_term
from .weights import Unrecognised, Weights, weights_of

SMALLEST = {"float64": 1e-300, "float32": 1e-37, "float16": 1e-4, "bfloat16": 1e-37}  # numbers that keep their digits


class Broken(Exception):
    """Say that a law does not hold, and by how much. mistake: the likely one, where it is not the law's own."""

    def __init__(self, text: str, mistake: str = "") -> None:
        super().__init__(text)
        self.mistake = mistake


@dataclass(frozen=True)
class Case:
    """Hold logits z and v (B, N), a temperature T, labels y (B,) and an alpha; seed: of large, random ones."""

    z: np.ndarray
    v: np.ndarray
    T: float
    y: np.ndarray
    alpha: float = 0.5
    seed: int | None = None

    def __str__(self) -> str:
        B, N = self.z.shape
        arrays = f"z = {self.z.tolist()}, v = {self.v.tolist()}, y = {self.y.tolist()}"
        if self.seed is not None:
            arrays = f"z, v, y = random_batch({B}, {N}, seed={self.seed})"
        return f"{arrays}, T = {self.T:g}, alpha = {self.alpha:g}"

    def arguments(self) -> dict[str, Any]:
        """Return what makes it again, by from_arguments, in lists and numbers."""
        if self.seed is not None:
            return {"shape": self.z.shape, "seed": self.seed, "T": self.T, "alpha": self.alpha}
        return {"z": self.z.tolist(), "v": self.v.tolist(), "y": self.y.tolist(), "T": self.T, "alpha": self.alpha}

    @classmethod
    def from_arguments(cls, given: dict[str, Any]) -> "Case":
        """Make a case of z, v and y, or of shape and seed; and of T and alpha. Raises ArgumentError for other names."""
        given, seed = dict(given), given.get("seed")
        if seed is not None:
            B, N = given.pop("shape")
            given |= dict(zip("zvy", random_batch(B, N, given.pop("seed")), strict=True))
        if set(given) - {"alpha"} != {"z", "v", "y", "T"}:
            raise ArgumentError(
                f"case must have z, v, y, T and alpha, or shape, seed, T and alpha, got {', '.join(given)}"
            )
        z, v = (np.asarray(given[name], dtype=np.float64) for name in "zv")
        return cls(z, v, float(given["T"]), np.asarray(given["y"]), float(given.get("alpha", 0.5)), seed)


class Judge:
    """Hold a loss and what is known of it: its domain, its terms and its fingerprint.

    mixes: where it is judged, the soft term, and with labels the hard term and both. offers_float16: whether it gives
    the same value, to a twentieth, in float16. Raises Unusable if the loss cannot be called or is random, Unrecognised
    if no alpha leaves its soft term alone.
    """

    def __init__(self, loss: Loss, seed: int = 0) -> None:
        self.loss = loss
        self.domain = domain = Domain(loss, seed)
        try:
            self.weights = weights_of(domain)
            self.soft_term = soft_term(domain, self.weights.soft_alone)
        except Unrecognised:  # a later loss may need the labels in all of it
            self.weights = Weights({domain.alpha: 1.0})
            self.soft_term = soft_term(domain, self.weights.soft_alone)
            if self.soft_term.form is None and domain.finite:  # what is not finite breaks laws, whatever it is
                raise
        self.hard_term: Term | None = None
        self.mixes = [self.soft_term.mix]
        if self.weights.hard_alone is not None:
            self.hard_term = hard_term(domain, self.weights.hard_alone)
            middle = min(domain.alphas, key=lambda alpha: abs(alpha - 0.5))
            self.mixes += [self.hard_term.mix, {middle: 1.0}]
        self.fingerprint: Fingerprint = fingerprint(domain, self.weights, self.soft_term, self.hard_term)
        self.has_gradient = self.at(self.mixes[0], *random_batch(*domain.base)[:2], domain.T).gradient is not None
        self._magnitudes: dict[tuple[int, int, float, str], float] = {}

    def at(self, mix: Mix, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Return value and gradient at a mix of alphas; y None stands for labels of 0."""
        return self.domain.at(mix, z, v, T, y)

    def soft(self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Return value and gradient of the soft term alone."""
        return self.at(self.soft_term.mix, z, v, T, y)

    @cached_property
    def offers_float16(self) -> bool:
        """Return whether the values in float16 and in float64 agree to a twentieth."""
        z, v, _ = random_batch(*self.domain.base)
        T = 1.0 if 1 in self.domain.temperatures else self.domain.T
        try:
            half, full = self.soft(z.astype(np.float16), v.astype(np.float16), T).value, self.soft(z, v, T).value
        except Unusable:
            return False
        return abs(half - full) <= 0.05 * abs(full)

    @cached_property
    def in_a_sum(self) -> Loss:
        """Return the loss 2 C + Σ z."""
        return self.loss.in_a_sum()

    @cached_property
    def bent(self) -> str:
        """Return at which alpha of the domain the loss leaves the line between its ends, in words; "" for none."""
        z, v, y = random_batch(*self.domain.base)
        if len(self.domain.alphas) < 3:
            return ""
        inner = sorted(self.domain.alphas, key=lambda alpha: abs(alpha - 0.5))
        return next(filter(None, (self.off_the_line(z, v, self.domain.T, y, a) for a in inner)), "")

    def off_the_line(self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray, alpha: float) -> str:
        """Return what the loss is at alpha and what it is on the line between two others, in words; "" if the same."""
        others, d = [a for a in self.domain.alphas if a != alpha], self.weights.d
        low, high = min(others), max(others)
        at = {a: self.at({a: 1.0}, z, v, T, y) for a in (low, high, alpha)}
        part = (alpha - low) / (high - low)
        ends = part * at[high].value * (1 + d * high) + (1 - part) * at[low].value * (1 + d * low)
        expected = ends / (1 + d * alpha)
        if abs(at[alpha].value - expected) <= sum(self.noise({a: 1.0}, z, v, T, found) for a, found in at.items()):
            return ""
        return f"at alpha = {alpha:g} it is {at[alpha].value:.10g}, between its ends it should be {expected:.10g}"

    def terms(self, mix: Mix) -> list[tuple[Term, bool]]:
        """Return the terms that a mix of alphas computes, and whether each is the soft one."""
        both = [(self.soft_term, True)] + ([(self.hard_term, False)] if self.hard_term else [])
        alone = [(term, soft) for term, soft in both if mix is term.mix and len(mix) == 1]
        return alone or both

    def magnitude(self, mix: Mix, B: int, N: int, T: float) -> float:
        """Return the largest |loss| on some random logits of a shape and a temperature."""
        key = B, N, T, str(mix)
        if key not in self._magnitudes:
            values = [self.at(mix, z, v, T, y).value for z, v, y in (random_batch(B, N, seed) for seed in range(3))]
            self._magnitudes[key] = max(map(abs, values))
        return self._magnitudes[key]

    def noise(self, mix: Mix, z: np.ndarray, v: np.ndarray, T: float, found: Outcome, dtype: str = "float64") -> float:
        """Return how far rounding may move the value `found` of a mix at z and v, in this type or a coarser one."""
        epsilon, (B, N) = max(self.domain.epsilon, EPSILONS[dtype]), z.shape
        error = 16 * epsilon * found.size
        for term, soft in self.terms(mix):
            t = _temperature(term, soft, T)
            if term.named:
                in_a_row = rounding(max(epsilon, term.epsilon) + term.slack / 16, z, v, t)
                error += abs(term.factor(B, N, T)) * B * in_a_row * sum(map(abs, mix.values()))
            else:
                error += max(1e-7, 1e3 * epsilon) * max(found.size, self.magnitude(mix, B, N, T))
                if term.sums is not None:  # its power of T is unknown here: it may be 2
                    squares = max(T / self.domain.T, 1.0) ** 2
                    error += abs(term.factor(B, N, T)) * squares * B * rounding(epsilon, z, v, t)
        return float(error)

    def gradient_noise(
        self, mix: Mix, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray, dtype: str = "float64"
    ) -> np.ndarray:
        """Return how far rounding may move each component of the gradient of a mix at z and v."""
        kind = max(dtype, self.domain.precision, key=EPSILONS.__getitem__)
        epsilon, (B, N), total = EPSILONS[kind], z.shape, np.zeros(z.shape)
        for term, soft in self.terms(mix):
            t = _temperature(term, soft, T)
            if not term.named:
                return total + max(1e-5, 1e4 * epsilon) * self.magnitude(mix, B, N, T) / min(T, 1.0)
            p = np.exp(log_softmax(v, T)) if soft else _targets(term, z, y)
            shares = p.sum(axis=-1, keepdims=True) * np.exp(log_softmax(z, t)) + p + (epsilon > 1e-9) / N
            if epsilon > 1e-9:  # in coarse numbers small ones are what rounding left of large ones
                shares = shares.max(axis=-1, keepdims=True)
            factor = abs(term.factor(B, N, T)) / t * sum(map(abs, mix.values()))
            total = total + factor * ((rounding(epsilon, z, v, t) + term.slack) * shares + SMALLEST[kind])
        return total

    def require_equal(self, a: Outcome, b: Outcome, noise: float, what: str, times: float = 1.0) -> None:
        """Raise Broken, which names what was done to the logits, if b is not a times a number, up to the noise."""
        if not abs(times * a.value - b.value) <= noise:
            nan = np.isnan([a.value, b.value]).any()
            raise Broken(
                f"{what}: {a.value:.10g} became {b.value:.10g}",
                "0 log 0: a probability underflows to 0, and its logarithm is taken" if nan else "",
            )


def _targets(term: Term, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return what a hard term holds the student to (B, N): the labels themselves, where that is not known."""
    if term.shares is None or term.classes not in (None, z.shape[1]):
        return np.asarray(np.eye(z.shape[1])[y])
    return term.shares(y, z)


def _temperature(term: Term, soft: bool, T: float) -> float:
    """Return what divides the student's logits in a term, or less where T divides the teacher's alone."""
    if not soft:
        return 1.0
    return T if term.form is None or term.form.softened else min(T, 1.0)
