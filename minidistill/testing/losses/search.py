"""The search for a case that breaks a law: Hypothesis makes the cases, and shrinks one that breaks it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir

from .frameworks import Unusable
from .judge import Broken, Case, Judge
from .laws import LAWS


@st.composite
def cases(draw: Any) -> Case:
    """Draw cases: B from 1 to 3, N from 2 to 5, logits that are multiples of 1/2 within ±10, T from 0.5 to 20.

    Some rows are all 0, as a network's first guess nearly is. Shrinking goes towards 0.
    """
    B, N = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    row = st.just([0] * N) | st.lists(st.integers(-20, 20), min_size=N, max_size=N)
    z, v = (np.array(draw(st.lists(row, min_size=B, max_size=B)), dtype=np.float64) / 2 for _ in "zv")
    y = np.array(draw(st.lists(st.integers(0, N - 1), min_size=B, max_size=B)))
    return Case(z, v, draw(st.sampled_from([1.0, 0.5, 2.0, 2.5, 4.0, 20.0])), y)


@dataclass(frozen=True)
class Verdict:
    """Hold what the search found out about one law.

    broken: what went wrong at `case`, the smallest that was found; None if the law holds. mistake: the likely one.
    judged: False if the loss has nothing for the law to judge, such as a gradient.
    """

    law: str
    broken: str | None = None
    case: Case | None = None
    mistake: str = ""
    judged: bool = True


def try_law(judge: Judge, name: str, examples: int = 60, seed: int = 0) -> Verdict:
    """Search for a case that breaks the law of this name; the same seed tries the same cases."""
    law = LAWS[name]
    if (law.needs == "gradient" and not judge.has_gradient) or (law.needs == "labels" and not judge.loss.takes_labels):
        return Verdict(name, judged=False)
    smallest: list[Verdict] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        report_multiple_bugs=False,
    )
    @hypothesis.given(cases())
    def search(case: Case) -> None:
        try:
            law.check(judge, case)
        except (Broken, Unusable) as error:
            likely = (error.mistake if isinstance(error, Broken) else "") or law.mistake
            smallest[:] = [Verdict(name, str(error), case, likely)]
            raise Broken(str(error)) from None

    try:
        search()
    except Broken:
        return smallest[0]
    except hypothesis.errors.Flaky:
        return Verdict(name, "the same logits gave two answers: freeze its dropout, or its seed", smallest[0].case)
    return Verdict(name)


@contextmanager
def hypothesis_keeps_nothing() -> Iterator[None]:
    """Let Hypothesis keep its files in a folder that goes at the end, not in .hypothesis of the working directory."""
    with TemporaryDirectory() as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(None)
