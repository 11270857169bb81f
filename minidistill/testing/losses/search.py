"""The search for a case that breaks a law: Hypothesis makes the cases, and shrinks one that breaks it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from .domain import Domain
from .frameworks import Unusable
from .judge import Broken, Case, Judge
from .laws import LAWS


@dataclass(frozen=True)
class Pool:
    """Hold what cases are made of: shapes (B, N), temperatures and alphas."""

    shapes: tuple[tuple[int, int], ...]
    temperatures: tuple[float, ...]
    alphas: tuple[float, ...]

    @classmethod
    def of(cls, domain: Domain) -> "Pool":
        """Return all that a loss answers to."""
        return cls(tuple(domain.shapes), tuple(domain.temperatures), tuple(domain.alphas))

    def readable(self) -> "Pool":
        """Return the part of it whose shapes a person can read."""
        return replace(self, shapes=tuple(self.by_size()[0]))

    def by_size(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the shapes that a person can read, of up to 5 rows and classes, and the others."""
        small = [shape for shape in self.shapes if max(shape) <= 5]
        return small, [shape for shape in self.shapes if max(shape) > 5]


@st.composite
def cases(draw: Any, pool: Pool) -> Case:
    """Draw cases of a pool. Shrinking goes towards small shapes and towards 0.

    Small logits are multiples of 1/2 within ±10; some rows are all 0, as a network's first guess nearly is. Large ones
    are random, of deviation 2.
    """
    small, large = pool.by_size()
    many = small and (not large or draw(st.integers(0, 3)) < 3)
    B, N = draw(st.sampled_from(small if many else large))
    T = float(draw(st.sampled_from(pool.temperatures)))
    alpha = float(draw(st.sampled_from(pool.alphas)))
    if not many:
        seed = draw(st.integers(0, 1000))
        return Case.from_arguments({"shape": (B, N), "seed": seed, "T": T, "alpha": alpha})
    row = st.just([0] * N) | st.lists(st.integers(-20, 20), min_size=N, max_size=N)
    z, v = (np.array(draw(st.lists(row, min_size=B, max_size=B)), dtype=np.float64) / 2 for _ in "zv")
    y = np.array(draw(st.lists(st.integers(0, N - 1), min_size=B, max_size=B)))
    return Case(z, v, T, y, alpha)


@dataclass(frozen=True)
class Verdict:
    """Hold what the search found out about one law.

    broken: what went wrong at `case`, the smallest that was found; None if the law holds. mistake: the likely one.
    judged: False if the loss has nothing for the law to judge, such as a gradient, or is of another kind. refused: the
    error by which it refused cases that the law made of its own.
    """

    law: str
    broken: str | None = None
    case: Case | None = None
    mistake: str = ""
    judged: bool = True
    refused: str = ""


def run(pool: Pool, examples: int, seed: int, ask: Callable[[Case], None], shrink: bool) -> None:
    """Call `ask` with cases that Hypothesis draws; the same seed draws the same. shrink: whether to make one smaller
    that raises, until none smaller does.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, *[hypothesis.Phase.shrink] * shrink),
        report_multiple_bugs=False,
    )
    @hypothesis.given(cases(pool))
    def search(case: Case) -> None:
        ask(case)

    search()


@lru_cache(maxsize=8)  # most losses answer to the same, and to draw costs as much as to ask
def _drawn(pool: Pool, examples: int, seed: int) -> tuple[Case, ...]:
    found: list[Case] = []
    run(pool, examples, seed, found.append, shrink=False)
    return tuple(found)


def drawn(judge: Judge, examples: int, seed: int) -> list[Case]:
    """Return the cases of a seed. All laws are tried on them, so that the loss is asked once for what many need."""
    return list(_drawn(Pool.of(judge.domain), examples, seed))


def has(judge: Judge, needs: str) -> bool:
    """Return whether a loss has all that a law needs."""
    known = {"gradient": judge.has_gradient, "labels": judge.hard_term is not None,
             "autodiff": judge.loss.framework != "numpy"}  # fmt: skip
    return all(known[need] for need in needs.split())


def try_law(judge: Judge, name: str, examples: int = 60, seed: int = 0, tried: list[Case] | None = None) -> Verdict:
    """Search for a case that breaks the law of this name; the same seed tries the same cases.

    tried: the cases of this seed, where they are drawn already. What the loss refuses on the way breaks no law.
    """
    law, form = LAWS[name], judge.soft_term.form
    if not has(judge, law.needs) or (form is not None and name in form.apart):
        return Verdict(name, judged=False)
    found, refused = list[tuple[Case, Verdict]](), list[str]()

    def ask(case: Case) -> None:
        try:
            law.check(judge, case)
        except Unusable as error:
            refused.append(str(error))
        except Broken as error:
            found.append((case, Verdict(name, str(error), case, error.mistake or law.mistake)))
            raise

    tried = drawn(judge, examples, seed) if tried is None else tried
    broken = [case for case in tried if _breaks(ask, case)]
    if not broken:
        return Verdict(name, judged=len(refused) < len(tried), refused=refused[0] if refused else "")
    pool = Pool.of(judge.domain)
    if any(case.seed is None for case in broken):
        pool = pool.readable()
    with suppress(Broken, hypothesis.errors.Flaky):
        run(pool, examples, seed, ask, shrink=True)
    smallest, verdict = found[-1]
    if not _breaks(ask, smallest):
        return Verdict(name, "the same logits gave two answers: freeze its dropout, or its seed", smallest)
    return verdict


def _breaks(ask: Callable[[Case], None], case: Case) -> bool:
    try:
        ask(case)
    except Broken:
        return True
    return False


@contextmanager
def hypothesis_keeps_nothing() -> Iterator[None]:
    """Let Hypothesis keep its files in a folder that goes at the end, not in .hypothesis of the working directory."""
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)
