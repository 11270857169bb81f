"""A loss before its judge: what is known of it before any law is tried, and what a law is tried on.

Tolerances are relative to the loss's own size on tame logits: an absolute one passes everything at high T.
"""

from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
    def offers_float16(self) -> bool:
        """Whether it takes tame logits in float16 and has a finite value for them, close to that in float64."""
        z, v, _ = tame(3, 4, 7)
        try:
            half, full = self.soft(z.astype(np.float16), v.astype(np.float16), 1.0).value, self.soft(z, v, 1.0).value
        except Unusable:
            return False
        return abs(half - full) <= 0.05 * abs(full)

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
