"""A loss before its judge: what is known of it before any law is tried, and what a law is tried on.

Tolerances are relative to the loss's own size on tame logits: an absolute one passes everything at high T.
"""

from dataclasses import dataclass

import numpy as np

from .fingerprint import Fingerprint, fingerprint, soft_alpha, tame
from .frameworks import Loss, Outcome, Unusable


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
    """A loss with what is known of it: its fingerprint, its precision, and its size on tame logits.

    alphas: at which it is judged, its soft term's alone first. tolerance: 1e-7, or 1e-3 for a loss that computes in
    float32 inside. offers_float16: whether it has a value for tame logits in float16. Raises Unusable or Unrecognised.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        z, v, y = tame(4, 5, 7)
        alpha = soft_alpha(loss)
        self.alphas: tuple[float, ...] = (alpha, 1 - alpha, 0.5) if loss.takes_labels else (alpha,)
        first, second = (self.at(alpha, z, v, 1.0, y) for _ in range(2))
        if first.value != second.value and not np.isnan([first.value, second.value]).all():
            raise Unusable("the same logits gave two values: freeze its dropout, or its seed")
        self.has_gradient = first.gradient is not None
        self.fingerprint: Fingerprint = fingerprint(loss)
        moved = np.array([self.soft(z * (1 + 1e-10 * k), v, 1.0).value for k in range(8)])
        noise = np.ptp(moved) / max(abs(moved).max(), 1e-300)  # float32 does not see so small a change, or takes a jump
        self.tolerance = 1e-7 if 0 < noise < 1e-8 else 1e-3
        self.offers_float16 = self._offers_float16()
        self._sizes: dict[tuple[int, int, float, float], float] = {}

    def at(self, alpha: float, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """Value and gradient; all labels are 0 where none are given."""
        return self.loss(z, v, T, np.zeros(len(z), dtype=np.int64) if y is None else y, alpha)

    def soft(self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None) -> Outcome:
        """The soft term alone."""
        return self.at(self.alphas[0], z, v, T, y)

    def _offers_float16(self) -> bool:
        z, v, _ = tame(3, 4, 7)
        try:
            half, full = self.soft(z.astype(np.float16), v.astype(np.float16), 1.0).value, self.soft(z, v, 1.0).value
        except Unusable:
            return False
        return abs(half - full) <= 0.05 * abs(full)

    def size(self, case: Case, alpha: float | None = None) -> float:
        """The largest loss on some tame logits of the case's shape and temperature."""
        (B, N), T, alpha = case.z.shape, case.T, self.alphas[0] if alpha is None else alpha
        if (B, N, T, alpha) not in self._sizes:
            values = [self.at(alpha, z, v, T, y).value for z, v, y in (tame(B, N, seed) for seed in range(3))]
            self._sizes[B, N, T, alpha] = max(map(abs, values))
        return self._sizes[B, N, T, alpha]

    def close(self, a: float, b: float, case: Case) -> bool:
        scale = max(abs(a), abs(b), self.size(case))
        return bool(abs(a - b) <= self.tolerance * scale)

    def require_equal(self, a: float, b: float, case: Case, what: str) -> None:
        if not self.close(a, b, case):
            nan = "0 log 0: a probability underflows to 0, and its logarithm is taken" if np.isnan([a, b]).any() else ""
            raise Broken(f"{what}: {a:.10g} became {b:.10g}", nan)
