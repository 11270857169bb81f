"""The hard term of a loss: a cross-entropy with the labels, which may be smoothed, or weighted by their class."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from .domain import Domain, Mix, random_batch
from .forms import Sums, log_softmax
from .frameworks import Unusable
from .terms import SEEDS, Shares, Term, scale

MOST_CLASSES = 12  # of weights that are measured: each pair of classes is an unknown
SPARE = 8  # batches more than there are unknowns
APART, MEASURED = 1e3, 1e4  # roundings by which measured numbers differ, and to which they are known


def hard_term(domain: Domain, mix: Mix) -> Term:
    """Return the hard term: a cross-entropy with labels that are smoothed, weighted by their class, or neither."""
    term = Term(mix)
    for kind, shares, weighted in _guesses(domain, mix):
        if _fits(domain, mix, shares):
            term.kind, term.shares, term.sums = kind, shares, _sums(shares)
            if weighted:
                term.classes, term.slack = domain.base[1], MEASURED * domain.epsilon
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
    A = _targets(domain, mix)
    if A is None:
        return
    own, others = A.diagonal(), (A.sum(axis=0) - A.diagonal()) / (N - 1)
    if not (own > 0).all():
        return
    noise = APART * domain.epsilon * own.max()
    epsilon = N / (N + float((own / others).mean()) - 1) if (others > noise).all() else 0.0
    digits = 6 if domain.epsilon < 1e-9 else 3
    for times, by_others in ((1.0, False), ((N - 1) / N, True)):  # ε / N for each class, or ε / (N - 1) for the others
        e = float(f"{times * epsilon:.{digits}g}")  # somebody chose it
        if np.ptp(own) <= noise:
            yield f"label smoothing {e:.3g}", _shares(None, e, by_others), False
            continue
        kind = f"weighted, label smoothing {e:.3g}" if e else "weighted"
        for divided in (False, True):
            yield kind, _shares(own / own.mean(), e, by_others, divided), True


def _shares(
    weights: np.ndarray | None = None, epsilon: float = 0.0, by_others: bool = False, divided: bool = False
) -> Shares:
    """Return the targets of a cross-entropy; divided: with weights whose mean over the batch is 1."""

    def shares(y: np.ndarray, like: np.ndarray) -> np.ndarray:
        N = like.shape[1]
        own, w = np.arange(N) == y[:, None], np.ones(N) if weights is None else weights
        e = epsilon * N / (N - 1) if by_others else epsilon
        targets = (1 - e) * own * w[y][:, None] + e / N * w
        return np.asarray(targets / w[y].mean() if divided else targets)

    return shares


def _sums(shares: Shares) -> Sums:
    return lambda z, v, T, y: (_cross_entropy(shares, z, y),)


def _cross_entropy(shares: Shares, z: np.ndarray, y: np.ndarray) -> Any:
    return -(shares(y, z) * log_softmax(z)).sum()


def _fits(domain: Domain, mix: Mix, shares: Shares) -> bool:
    """Return whether the values are in one positive proportion to a formula, and at another N as well."""
    (B, N), same = domain.base, max(1e-6, APART * domain.epsilon)
    for n in (N, max(N - 1, 2)):
        try:
            batches = [random_batch(B, n, seed) for seed in SEEDS]
            ratios = [domain.at(mix, z, v, domain.T, y).value / _cross_entropy(shares, z, y) for z, v, y in batches]
        except (Unusable, ValueError):  # it knows no other N, or the formula does
            return n < N
        if not (min(ratios) > 0 and np.ptp(ratios) <= same * max(ratios)):
            return False
    return True


def _targets(domain: Domain, mix: Mix) -> np.ndarray | None:
    """Return the A (N, N) by which Σ_ij A_ij (-log q_ij) is nearest to the hard term for the labels 0, 1, ..., N - 1.

    None if it is not to be asked for so many classes. Whether the hard term is such a sum at all, _fits tells.
    """
    N = domain.base[1]
    if N > MOST_CLASSES:
        return None
    batches = [random_batch(N, N, seed)[:2] for seed in range(N * N + SPARE)]
    try:
        values = np.array([domain.at(mix, z, v, domain.T, np.arange(N)).value for z, v in batches])
    except Unusable:
        return None
    features = np.array([-log_softmax(z).ravel() for z, _ in batches])
    return np.asarray((np.linalg.pinv(features) @ values).reshape(N, N))
