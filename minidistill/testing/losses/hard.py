"""The hard term of a loss: a cross-entropy with the labels, which may be smoothed, or weighted by their class."""

from collections.abc import Iterator

import numpy as np

from .domain import Domain, Mix, random_batch
from .forms import Sums, log_softmax
from .frameworks import Unusable
from .terms import Shares, Term, scale, value_of


def hard_term(domain: Domain, mix: Mix) -> Term:
    """Return the hard term: a cross-entropy with labels that are smoothed, weighted by their class, or neither."""
    term = Term(mix)
    for kind, shares, weighted in _guesses(domain, mix):
        if _fits(domain, mix, shares):
            term.kind, term.shares, term.sums = kind, shares, _sums(shares)
            if weighted:
                term.classes, term.slack = domain.base[1], 1e4 * domain.epsilon
            break
    scale(domain, term)
    return term


def _guesses(domain: Domain, mix: Mix) -> Iterator[tuple[str, Shares, bool]]:
    """Yield kinds of hard terms, what they hold the student to, and whether the weights are those of one N.

    A hard term of the labels 0, 1, ..., N - 1 is Σ_ij A_ij (-log q_ij): A is w_i for the label itself, and for others
    their share of what the smoothing takes from it.
    """
    yield "cross-entropy", _shares(), False
    N = domain.base[1]
    A = _targets(domain, mix, N)
    if A is None:
        return
    own, others = A.diagonal(), (A.sum(axis=0) - A.diagonal()) / (N - 1)
    weights, noise = own / own.mean(), max(1e-9, 1e3 * domain.epsilon) * np.abs(A).max()
    if not (own > 0).all() or np.abs(A - np.where(np.eye(N), own, others)).max() > noise:
        return
    epsilon = N / (N + float((own / others).mean()) - 1) if (others > noise).all() else 0.0
    digits = 6 if domain.epsilon < 1e-9 else 3
    for times, by_others in ((1.0, False), ((N - 1) / N, True)):  # ε / N for each class, or ε / (N - 1) for the others
        e = float(f"{times * epsilon:.{digits}g}")  # somebody chose it
        if np.ptp(own) <= noise:
            yield f"label smoothing {e:.3g}", _shares(None, e, by_others), False
        for divided in (False, True):
            kind = f"weighted, label smoothing {e:.3g}" if e else "weighted"
            if np.ptp(own) > noise:
                yield kind, _shares(weights, e, by_others, divided), True


def _shares(
    weights: np.ndarray | None = None, epsilon: float = 0.0, by_others: bool = False, divided: bool = False
) -> Shares:
    """Return the targets of a cross-entropy; divided: with weights whose mean over the batch is 1."""

    def shares(y: np.ndarray, like: np.ndarray) -> np.ndarray:
        N = like.shape[-1]
        own, w = np.arange(N) == y[:, None], np.ones(N) if weights is None else weights
        e = epsilon * N / (N - 1) if by_others else epsilon
        targets = (1 - e) * own * w[y][:, None] + e / N * w
        return np.asarray(targets / w[y].mean() if divided else targets)

    return shares


def _sums(shares: Shares) -> Sums:
    return lambda z, v, T, y: (-(shares(y, z) * log_softmax(z)).sum(),)


def _fits(domain: Domain, mix: Mix, shares: Shares) -> bool:
    """Return whether the values are in one positive proportion to a formula, and at another N as well."""
    N, same, sums = domain.base[1], max(1e-6, 1e3 * domain.epsilon), _sums(shares)
    for n in (N, N - 1):
        try:
            batches = [random_batch(4, n, seed) for seed in range(6)]
            ratios = [
                domain.at(mix, z, v, domain.T, y).value / value_of(sums, z, v, domain.T, y) for z, v, y in batches
            ]
        except (Unusable, IndexError, ValueError):
            return n < N  # it knows no other N, or the formula does
        if not (min(ratios) > 0 and np.ptp(ratios) <= same * max(ratios)):
            return False
    return True


def _targets(domain: Domain, mix: Mix, N: int) -> np.ndarray | None:
    """Return A (N, N) of a hard term that is Σ_ij A_ij (-log q_ij) for the labels 0, 1, ..., N - 1; None if none is."""
    y, T = np.arange(N), domain.T
    if N > 12:  # too many unknowns
        return None
    batches = [random_batch(N, N, seed)[:2] for seed in range(N * N + 8)]
    try:
        found = [domain.at(mix, z, v, T, y) for z, v in batches]
    except Unusable:
        return None
    values = np.array([one.value for one in found])
    if not np.isfinite(values).all() or not values.any():
        return None
    features = np.array([-log_softmax(z).ravel() for z, _ in batches])
    A = np.linalg.lstsq(features, values, rcond=None)[0]
    off = np.abs(features @ A - values).max()
    return A.reshape(N, N) if off <= max(1e-8, 64 * domain.epsilon) * max(one.size for one in found) else None
