"""What a distillation loss computes, in words: its terms, their weights, reductions and powers of T."""

from dataclasses import asdict, dataclass
from typing import Any

from .domain import Domain, random_batch
from .frameworks import Unusable
from .terms import Term
from .weights import Weights


@dataclass(frozen=True)
class Fingerprint:
    """Hold what a loss computes.

    form: a key of FORMS, or "unknown". reduction: "batchmean", "sum", "mean" (over classes too), "sum / N", one of
    them "times" a factor, or its powers of B and N. power: the exponent of T on the soft term, None if no power fits.
    alpha: the term that it weighs, "soft" or "hard", or both weights; None for a loss without labels. hard: the hard
    term's kind, with hard_power and hard_reduction. detached: whether the teacher gets no gradient; None if the loss
    does not tell. arithmetic: the coarsest type met. leading: what (B, L, N) gives, beside the same (B L, N).
    """

    form: str
    reduction: str
    power: float | None
    alpha: str | None = None
    hard_power: float | None = None
    detached: bool | None = None
    hard: str | None = None
    hard_reduction: str | None = None
    arithmetic: str = "float64"
    leading: str = "not taken"

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by their names, for JSON."""
        return asdict(self)


def fingerprint(domain: Domain, weights: Weights, soft: Term, hard: Term | None) -> Fingerprint:
    """Return what the terms are, in words."""
    z, v, _ = random_batch(*domain.base)
    gradient = domain.at(soft.mix, z, v, domain.T).teacher_gradient
    known, types = soft.sums is not None, {name: kind for name, kind in domain.types.items() if kind != "float64"}
    words = None if hard is None else weights.words(soft, hard)
    weighted = words not in (None, "soft", "hard")
    return Fingerprint(
        soft.kind, soft.reduction(weighted) if known else "unknown", soft.power if known else None,
        words, None if hard is None else hard.power, None if gradient is None else not gradient.any(),
        None if hard is None else hard.kind,
        None if hard is None or hard.sums is None else hard.reduction(weighted),
        ", ".join(f"{name} in {kind}" for name, kind in types.items()) or "float64", leading(domain, soft),
    )  # fmt: skip


def leading(domain: Domain, soft: Term) -> str:
    """Tell what logits (B, L, N) give: "rows" for the same as B L rows, and what else they are divided by."""
    L, (B, N), T = 3, domain.base, domain.T
    z, v, y = random_batch(B * L, N)
    try:
        rows = domain.at(soft.mix, z, v, T, y).value
        found = domain.at(soft.mix, z.reshape(B, L, N), v.reshape(B, L, N), T, y.reshape(B, L)).value
    except (Unusable, ValueError, IndexError):
        return "not taken"
    for times, words in ((1.0, "rows"), (float(L), "divided by B alone, not by B L"), (1 / L, "divided by L too")):
        if abs(found - times * rows) <= 1e-6 * abs(found) + 64 * domain.epsilon * abs(rows):
            return words
    return "something else than B L rows: a softmax over another axis?"
