"""The report on a distillation loss: its fingerprint, a verdict for each law, the smallest counterexamples.

`python -m minidistill check FILE.py:function` prints it; assert_distillation_loss raises it in a test.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...checks import ArgumentError, check_count
from .fingerprint import Fingerprint
from .forms import HINTON_FORMS, LATER, Form
from .frameworks import Loss, Unusable
from .judge import Broken, Case, Judge
from .laws import LAWS
from .search import Verdict, drawn, has, try_law
from .targets import load_function, name_of
from .weights import Unrecognised

EXPECTATIONS = (("kl", "ce", *LATER), ("batchmean", "sum"), ("t2", "t0"), ("detached",), ("rows",))  # one of each
DIVERGENCE = "it_is_a_divergence_from_teacher_to_student"
SLOW = 15  # cases of a loss that takes 10 ms a call
WANTED = (
    "a distillation loss is a function of (student_logits, teacher_logits, temperature) or of (student_logits, "
    "teacher_logits, temperature, labels, alpha); with numpy it returns its value or (value, gradient)"
)


@dataclass(frozen=True)
class Report:
    """Hold what was found out about a loss; printed, it is text for a person.

    verdicts: one for each law, then one for each word of `expect`. If the function could not be judged, `fingerprint`
    is None and `unusable` says why. notes: what it refuses, and what it was not asked for. later: the paper's loss that
    it is, if it is a later one. target: what load_function finds it by, and options: what else check_law needs.
    """

    name: str
    framework: str
    fingerprint: Fingerprint | None
    verdicts: list[Verdict]
    unusable: str | None = None
    notes: list[str] = field(default_factory=list)
    later: Form | None = None
    target: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def broken(self) -> list[Verdict]:
        """Return the verdicts on broken laws."""
        return [verdict for verdict in self.verdicts if verdict.broken is not None]

    @property
    def passed(self) -> bool:
        """Return whether the loss could be judged and broke no law."""
        return self.unusable is None and not self.broken

    @property
    def sentence(self) -> str:
        """Return what was found in one sentence."""
        if self.unusable is not None:
            return f"cannot be judged: {self.unusable}"
        assert self.fingerprint is not None
        f, judged = self.fingerprint, sum(verdict.judged for verdict in self.verdicts)
        power = "" if f.power == 0 else f", times T^{f.power:g}" if f.power is not None else ", times no power of T"
        what = f"it is {f.form}, {f.reduction}{power}" if f.form != "unknown" else "it is none of the known formulas"
        if self.later and self.later.paper:
            others = [verdict for verdict in self.broken if verdict.law != DIVERGENCE]
            judged -= len(others) < len(self.broken)
            what = f"this is {self.later.word} ({self.later.paper}), no mistake where it is meant"
            what += "; judged by its own formula"
            if others:
                name = others[0].law.replace("_", " ")
                return f"{what}, it breaks {len(others)} of {judged} laws, {name}: {others[0].broken}"
            return f"{what}, all {judged} laws that apply hold" + (
                f": --expect {self.later.word}" if self.broken else ""
            )
        if not self.broken:
            return f"{what}: all {judged} laws that apply hold"
        first = self.broken[0]
        return f"{what}: {len(self.broken)} of {judged} laws broken, {first.law.replace('_', ' ')}: {first.broken}"

    def reproducer(self, verdict: Verdict) -> str:
        """Return a script that asks for one law again, at the case that broke it."""
        assert verdict.case is not None
        target = f'"{self.target}"' if self.target else "loss"
        which = "" if self.target else "# loss is the function that was checked\n"
        given = "".join(f", {name}={value!r}" for name, value in self.options.items())
        return (
            f"from minidistill.testing import check_law\n{which}"
            f'check_law({target}, "{verdict.law}", {verdict.case.arguments()!r}{given})'
        )

    def __str__(self) -> str:
        lines = [f"{self.name} ({self.framework}): {self.sentence}"]
        if self.unusable is not None:
            return "\n".join([*lines, WANTED])
        assert self.fingerprint is not None
        lines += ["", *(f"  {name:16} {value}" for name, value in _described(self.fingerprint))]
        lines += [*(f"  {'note':16} {note}" for note in self.notes), ""]
        for verdict in self.verdicts:
            word = "BROKEN" if verdict.broken else "holds" if verdict.judged else "-"
            refused = f": {'some ' * verdict.judged}not tried, {verdict.refused}" if verdict.refused else ""
            lines.append(f"  {word:7} {verdict.law.replace('_', ' ')}{refused}")
        for verdict in self.broken:
            lines += ["", f"{verdict.law.replace('_', ' ')}: {verdict.broken}"]
            lines += [f"  at {verdict.case}"] if verdict.case is not None else []
            lines += [f"  likely: {verdict.mistake}"] if verdict.mistake else []
            if verdict.case is not None and verdict.law in LAWS:
                lines += ["", *(f"    {line}" for line in self.reproducer(verdict).splitlines())]
        judged = sum(verdict.judged for verdict in self.verdicts)
        return "\n".join([*lines, "", f"{judged - len(self.broken)} of {judged} laws hold"])

    def markdown(self) -> str:
        """Return the report for an issue: the sentence, what it is, and each broken law with its reproducer."""
        lines = [f"### `{self.name}` ({self.framework})", "", f"{self.sentence[:1].upper()}{self.sentence[1:]}."]
        if self.fingerprint is not None:
            lines += ["", "| | |", "|---|---|"]
            both = [*_described(self.fingerprint), *(("note", note) for note in self.notes)]
            lines += [f"| {name} | {value} |".replace("||", "‖") for name, value in both]
        for verdict in self.broken:
            lines += ["", f"**{verdict.law.replace('_', ' ')}**: {verdict.broken}."]
            lines += [f"Likely: {verdict.mistake}."] if verdict.mistake else []
            if verdict.case is not None and verdict.law in LAWS:
                lines += ["", "```python", self.reproducer(verdict), "```"]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for JSON: name, framework, passed, sentence, unusable, notes, fingerprint, laws by name."""
        laws = {}
        for verdict in self.verdicts:
            word = "broken" if verdict.broken else "holds" if verdict.judged else "not judged"
            laws[verdict.law] = {"verdict": word, "what": verdict.broken, "mistake": verdict.mistake or None,
                                 "case": str(verdict.case) if verdict.case else None}  # fmt: skip
        return {"name": self.name, "framework": self.framework, "passed": self.passed, "sentence": self.sentence,
                "unusable": self.unusable, "notes": self.notes,
                "fingerprint": self.fingerprint.as_dict() if self.fingerprint else None, "laws": laws}  # fmt: skip


def check_distillation_loss(
    function: Callable[..., Any],
    framework: str = "numpy",
    expect: str = "",
    examples: int = 60,
    seed: int = 0,
    *,
    labels: str | None = None,
    alpha: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge function(student_logits, teacher_logits, temperature[, labels, alpha]), and return the report.

    framework: "numpy" (returns a value or (value, gradient)), "torch", "jax" or "keras". expect: what the loss is meant
    to be, words of kl, ce or the name of a later loss, batchmean or sum, t2 or t0, detached, and rows (logits (B, L, N)
    are B L rows), with commas or spaces between them; a loss that is something else is then broken. examples: how many
    cases are tried for each law. seed: of their search. labels, alpha: the names of the parameters that take them, if
    they are not the fourth and the fifth. progress: is called with the name of what is tried next. Raises
    ArgumentError, and BackendUnavailable if the framework cannot be imported.
    """
    expected = _words(expect)
    loss = Loss(function, framework, labels, alpha)
    check_count("examples", examples)
    check_count("seed", seed, at_least=0)
    tell = progress or (lambda what: None)
    options = {
        name: value
        for name, value in (("framework", framework), ("labels", labels), ("alpha", alpha))
        if value not in (None, "numpy")
    }
    with np.errstate(all="ignore"):
        try:
            tell("what it computes")
            judge = Judge(loss, seed)
        except (Unusable, Unrecognised) as error:
            return Report(loss.name, framework, None, [], str(error))
        examples = min(examples, SLOW) if loss.slow else examples
        tried, verdicts = drawn(judge, examples, seed), list[Verdict]()
        for name in LAWS:
            tell(name.replace("_", " "))
            verdicts.append(try_law(judge, name, examples, seed, tried))
    form = judge.soft_term.form
    if form is not None and form.word in expected:
        verdicts = [Verdict(v.law, judged=False) if v.law == DIVERGENCE else v for v in verdicts]
    verdicts += [_expectation(word, judge.fingerprint, form) for word in expected]
    notes = judge.domain.notes
    if loss.slow:
        notes.append(f"JAX cannot compile it, as it reads the value of T or alpha: {examples} cases for each law")
    if loss.not_given:
        notes.append(f"not given: {', '.join(loss.not_given)}; a hard term takes --labels NAME --alpha NAME")
    return Report(
        loss.name, framework, judge.fingerprint, verdicts, None, notes, form if form and form.word else None,
        name_of(function), options,
    )  # fmt: skip


def assert_distillation_loss(
    function: Callable[..., Any],
    framework: str = "numpy",
    expect: str = "",
    examples: int = 60,
    seed: int = 0,
    *,
    labels: str | None = None,
    alpha: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Return the report of check_distillation_loss, with its arguments. Raises AssertionError with the report's text
    if a law is broken, or if the function cannot be judged.
    """
    report = check_distillation_loss(
        function, framework, expect, examples, seed, labels=labels, alpha=alpha, progress=progress
    )
    if not report.passed:
        raise AssertionError(str(report))
    return report


def check_law(
    loss: str | Callable[..., Any],
    law: str,
    case: dict[str, Any],
    *,
    framework: str = "numpy",
    labels: str | None = None,
    alpha: str | None = None,
) -> None:
    """Ask for one law at one case, as a report's reproducer does. Raises AssertionError if the loss breaks it.

    loss: a function, or a target such as FILE.py:name. case: z, v, y, T and alpha, or shape and seed for z, v and y.
    framework, labels, alpha: as in check_distillation_loss. Raises ArgumentError, also for a loss without what the law
    needs.
    """
    if law not in LAWS:
        raise ArgumentError(f"law must be one of {', '.join(LAWS)}, got {law!r}")
    function = load_function(loss) if isinstance(loss, str) else loss
    with np.errstate(all="ignore"):
        judge = Judge(Loss(function, framework, labels, alpha))
        if not has(judge, LAWS[law].needs):
            raise ArgumentError(f"law must be one that needs no {LAWS[law].needs}, which the loss has not, got {law!r}")
        try:
            LAWS[law].check(judge, Case.from_arguments(case))
        except Broken as error:
            raise AssertionError(f"{law.replace('_', ' ')}: {error}") from None


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


def _expectation(word: str, found: Fingerprint, form: Form | None) -> Verdict:
    """Return the verdict on one word of `expect`."""
    fields: dict[str, tuple[object, object]] = {
        "kl": (found.form, HINTON_FORMS[0]),
        "ce": (found.form, HINTON_FORMS[1]),
        "batchmean": (found.reduction, "batchmean"),
        "sum": (found.reduction, "sum"),
        "t2": (found.power, 2.0),
        "t0": (found.power, 0.0),
        "detached": (found.detached, True),
        "rows": (found.leading, "rows"),
    }
    actual, declared = fields.get(word) or (form.word if form and form.word else found.form, word)
    broken = None if actual == declared else f"it is {actual}, declared was {declared}"
    return Verdict(f"it_is_{word}_as_declared", broken)


def _described(f: Fingerprint) -> list[tuple[str, str]]:
    """Return the fingerprint as pairs of a name and a description."""
    lines = [
        ("form", f.form),
        ("reduction", f.reduction),
        ("power of T", "none" if f.power is None else f"{f.power:g}"),
    ]
    if f.alpha in ("soft", "hard"):
        lines.append(("alpha weighs", f"the {f.alpha} term"))
    elif f.alpha is not None:
        lines.append(("weights", f.alpha))
    if f.alpha is not None:
        hard = "unknown" if f.hard_power is None else f"{f.hard_power:g}"
        lines += [("hard term", f"{f.hard}, {f.hard_reduction or 'unknown'}"), ("T, hard term", hard)]
    if f.detached is not None:
        lines.append(("teacher", "detached" if f.detached else "takes a gradient: call it without one for the teacher"))
    lines += [("arithmetic", f.arithmetic)] if f.arithmetic != "float64" else []
    return [*lines, ("logits (B, L, N)", f.leading)]
