"""The report on a distillation loss: its fingerprint, a verdict for each law, the smallest counterexamples.

`python -m minidistill check FILE.py:function` prints it; assert_distillation_loss raises it in a test.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...checks import ArgumentError, check_count
from .fingerprint import HINTON_FORMS, Fingerprint, Unrecognised
from .frameworks import Loss, Unusable
from .judge import Judge
from .laws import LAWS
from .search import Verdict, try_law

EXPECTATIONS = (("kl", "ce"), ("batchmean", "sum"), ("t2", "t0"), ("detached",))  # a loss is one of each
WANTED = (
    "a distillation loss is a function of (student_logits, teacher_logits, temperature) or of (student_logits, "
    "teacher_logits, temperature, labels, alpha); with numpy it returns its value or (value, gradient)"
)


@dataclass(frozen=True)
class Report:
    """Hold what was found out about a loss; printed, it is text for a person.

    verdicts: one for each law, then one for each word of `expect`. If the function could not be judged, `fingerprint`
    is None and `unusable` says why.
    """

    name: str
    framework: str
    fingerprint: Fingerprint | None
    verdicts: list[Verdict]
    unusable: str | None = None

    @property
    def broken(self) -> list[Verdict]:
        """Return the verdicts on broken laws."""
        return [verdict for verdict in self.verdicts if verdict.broken is not None]

    @property
    def passed(self) -> bool:
        """Return whether the loss could be judged and broke no law."""
        return self.unusable is None and not self.broken

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.framework})"]
        if self.unusable is not None:
            return "\n".join([*lines, f"cannot be judged: {self.unusable}", WANTED])
        assert self.fingerprint is not None
        lines += ["", *(f"  {name:16} {value}" for name, value in _described(self.fingerprint)), ""]
        for verdict in self.verdicts:
            word = "BROKEN" if verdict.broken else "holds" if verdict.judged else "-"
            lines.append(f"  {word:7} {verdict.law.replace('_', ' ')}")
        for verdict in self.broken:
            lines += ["", f"{verdict.law.replace('_', ' ')}: {verdict.broken}"]
            lines += [f"  at {verdict.case}"] if verdict.case is not None else []
            lines += [f"  likely: {verdict.mistake}"] if verdict.mistake else []
        judged = sum(verdict.judged for verdict in self.verdicts)
        return "\n".join([*lines, "", f"{judged - len(self.broken)} of {judged} laws hold"])

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON: name, framework, passed, unusable, fingerprint, and laws by their names."""
        laws = {}
        for verdict in self.verdicts:
            word = "broken" if verdict.broken else "holds" if verdict.judged else "not judged"
            laws[verdict.law] = {"verdict": word, "what": verdict.broken, "mistake": verdict.mistake or None,
                                 "case": str(verdict.case) if verdict.case else None}  # fmt: skip
        return {"name": self.name, "framework": self.framework, "passed": self.passed, "unusable": self.unusable,
                "fingerprint": self.fingerprint.as_dict() if self.fingerprint else None, "laws": laws}  # fmt: skip


def check_distillation_loss(
    function: Callable[..., Any], framework: str = "numpy", expect: str = "", examples: int = 60, seed: int = 0
) -> Report:
    """Judge function(student_logits, teacher_logits, temperature[, labels, alpha]), and return the report.

    framework: "numpy" (returns a value or (value, gradient)), "torch", "jax" or "keras". expect: what the loss is meant
    to be, words of kl or ce, batchmean or sum, t2 or t0, and detached, with commas or spaces between them; a loss that
    is something else is then broken. examples: how many cases are tried for each law. seed: of their search. Raises
    ArgumentError, and BackendUnavailable if the framework cannot be imported.
    """
    expected = _words(expect)
    loss = Loss(function, framework)
    check_count("examples", examples)
    check_count("seed", seed, at_least=0)
    with np.errstate(all="ignore"):
        try:
            judge = Judge(loss)
        except (Unusable, Unrecognised) as error:
            return Report(loss.name, framework, None, [], str(error))
        verdicts = [try_law(judge, name, examples, seed) for name in LAWS]
    verdicts += [_expectation(word, judge.fingerprint) for word in expected]
    return Report(loss.name, framework, judge.fingerprint, verdicts)


def assert_distillation_loss(
    function: Callable[..., Any], framework: str = "numpy", expect: str = "", examples: int = 60, seed: int = 0
) -> Report:
    """Return the report of check_distillation_loss, with its arguments. Raises AssertionError with the report's text
    if a law is broken, or if the function cannot be judged.
    """
    report = check_distillation_loss(function, framework, expect, examples, seed)
    if not report.passed:
        raise AssertionError(str(report))
    return report


def _words(expect: str) -> list[str]:
    """Return the words of `expect`, each once. Raises ArgumentError for an unknown word, or two that contradict."""
    words = list(dict.fromkeys(re.findall(r"[^\s,]+", expect)))
    known = [word for one_of in EXPECTATIONS for word in one_of]
    for word in words:
        if word not in known:
            raise ArgumentError(f"expect must be some of {', '.join(known)}, got {word!r}")
    for one_of in EXPECTATIONS:
        if len(set(words).intersection(one_of)) > 1:
            raise ArgumentError(f"expect must hold at most one of {' and '.join(one_of)}, got {expect!r}")
    return words


def _expectation(word: str, found: Fingerprint) -> Verdict:
    """Return the verdict on one word of `expect`."""
    fields: dict[str, tuple[object, object]] = {
        "kl": (found.form, HINTON_FORMS[0]),
        "ce": (found.form, HINTON_FORMS[1]),
        "batchmean": (found.reduction, "batchmean"),
        "sum": (found.reduction, "sum"),
        "t2": (found.power, 2.0),
        "t0": (found.power, 0.0),
        "detached": (found.detached, True),
    }
    actual, declared = fields[word]
    broken = None if actual == declared else f"it is {actual}, declared was {declared}"
    return Verdict(f"it_is_{word}_as_declared", broken)


def _described(f: Fingerprint) -> list[tuple[str, str]]:
    """Return the fingerprint as pairs of a name and a description."""
    lines = [
        ("form", f.form),
        ("reduction", f.reduction),
        ("power of T", "none" if f.power is None else f"{f.power:g}"),
    ]
    if f.alpha is not None:
        hard = "unknown" if f.hard_power is None else f"{f.hard_power:g}"
        lines += [("alpha weighs", f"the {f.alpha} term"), ("T, hard term", hard)]
    if f.detached is not None:
        lines.append(("teacher", "detached" if f.detached else "takes a gradient: call it without one for the teacher"))
    return lines


def load_function(target: str) -> Callable[..., Any]:
    """Import the function that FILE.py:name or package.module:name names. Raises ArgumentError if there is none."""
    place, separator, name = target.rpartition(":")
    if not separator or not name:
        raise ArgumentError(f"target must be FILE.py:function or package.module:function, got {target!r}")
    try:
        if place.endswith(".py"):
            if not Path(place).is_file():
                raise ArgumentError(f"target must name a file that exists, got {place!r}")
            spec = importlib.util.spec_from_file_location(f"checked_{Path(place).stem}", place)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module  # a dataclass looks for its own module there
            sys.path.insert(0, str(Path(place).resolve().parent))
            spec.loader.exec_module(module)
        else:
            sys.path.insert(0, "")
            module = importlib.import_module(place)
    except ArgumentError:
        raise
    except (Exception, SystemExit) as error:
        raise ArgumentError(f"target {place} cannot be imported: {type(error).__name__}: {error}") from None
    function = getattr(module, name, None)
    if not callable(function):
        raise ArgumentError(f"target must name a function of {place}, got {name!r}")
    return function  # type: ignore[no-any-return]  # callable() was asked
