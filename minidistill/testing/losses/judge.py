"""What is known of a loss before any law is tried, and the case that a law is tried on.

Tolerances are relative to the loss's own magnitude on random logits: an absolute one would pass everything at high T.
"""

from dataclasses import dataclass

import numpy as np

from .fingerprint import Fingerprint, fingerprint, random_batch, soft_alpha
from .frameworks import Loss, Outcome, Unusable


class Broken(Exception):
    """Say that a law does not hold, and by how much. mistake: the likely one, where it is not the law's own."""

    def __init__(self, text: str, mistake: str = "") -> None:
        super().__init__(text)
        self.mistake = mistake


@dataclass(frozen=True)
class Case:
    """Hold logits z and v (B, N), a temperature T and labels y (B,)."""

    z: np.ndarray
    v: np.ndarray
    T: float
    y: np.ndarray

    def __str__(self) -> str:
        return f"z = {self.z.tolist()}, v = {self.v.tolist()}, T = {self.T:g}, y = {self.y.tolist()}"


class Judge:
    """Hold a loss and what is known of it: its fingerprint, its precision, and its magnitude.

    alphas: where it is judged; the first leaves the soft term alone. tolerance: 1e-7, or 1e-3 for a loss that computes
    in float32. offers_float16: whether it gives the same value, to a twentieth, in float16. Raises Unusable if the
    loss cannot be called or is random, Unrecognised if no alpha leaves its soft term alone.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        z, v, y = random_batch(4, 5, 7)
        alpha = soft_alpha(loss)
        self.alphas: tuple[float, ...] = (alpha, 1 - alpha, 0.5) if loss.takes_labels else (alpha,)
        first, second = (self.at(alpha, z, v, 1.0, y) for _ in range(2))
        if first.value != second.value and not np.isnan([first.value, second.value]).all():
            raise Unusable("the same logits gave two values: freeze its dropout, or its seed")
        self.has_gradient = first.gradient is not None
        self.fingerprint: Fingerprint = fingerprint(loss)
        moved = np.array([self.soft(z * (1 + 1e-10 * k), v, 1.0).value for k in range(8)])
        noise = np.ptp(moved) / max(abs(moved).max(), 1e-300)  # in float32 so small a change is lost, or makes a jump
        self.tolerance = 1e-7 if 0 < noise < 1e-8 else 1e-3
        self.offers_float16 = self._offers_float16()
        self._magnitudes: dict[tuple[int, int, float, float], float] = {}

    def at(self, alpha: float, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Return value and gradient at this alpha; y None stands for labels of 0."""
        return self.loss(z, v, T, np.zeros(len(z), dtype=np.int64) if y is None else y, alpha)

    def soft(self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Return value and gradient of the soft term alone."""
        return self.at(self.alphas[0], z, v, T, y)

    def _offers_float16(self) -> bool:
        """Return whether the values in float16 and in float64 agree to a twentieth."""
        z, v, _ = random_batch(3, 4, 7)
        try:
            half, full = self.soft(z.astype(np.float16), v.astype(np.float16), 1.0).value, self.soft(z, v, 1.0).value
        except Unusable:
            return False
        return abs(half - full) <= 0.05 * abs(full)

    def magnitude(self, case: Case, alpha: float | None = None) -> float:
        """Return the largest |loss| on some random logits of the case's shape and temperature."""
        (B, N), T, alpha = case.z.shape, case.T, self.alphas[0] if alpha is None else alpha
        if (B, N, T, alpha) not in self._magnitudes:
            values = [self.at(alpha, z, v, T, y).value for z, v, y in (random_batch(B, N, seed) for seed in range(3))]
            self._magnitudes[B, N, T, alpha] = max(map(abs, values))
        return self._magnitudes[B, N, T, alpha]

    def close(self, a: float, b: float, case: Case) -> bool:
        """Return whether two values of the soft term are equal up to the tolerance."""
        scale = max(abs(a), abs(b), self.magnitude(case))
        return bool(abs(a - b) <= self.tolerance * scale)

    def require_equal(self, a: float, b: float, case: Case, what: str) -> None:
        """Raise Broken, which names what was done to the logits, if the values a before and b after are not close."""
        if not self.close(a, b, case):
            nan = "0 log 0: a probability underflows to 0, and its logarithm is taken" if np.isnan([a, b]).any() else ""
            raise Broken(f"{what}: {a:.10g} became {b:.10g}", nan)
