"""Which teacher teaches? Networks trained in different ways, a student of each, and what could have told them apart.

Every teacher is measured before it teaches: by its own errors, by how large and how soft its logits are, by how sure it
is of them. Then the last 10,000 training images, which none of them has seen, judge the students.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import LOSSES, MEMBER, SOFT, Loss, Recipe, suited
from store import Store

import minidistill as md

HELD_OUT = 10_000
_BASE = replace(MEMBER, dropout=0.0, jitter=0, centred=True, weight_scale=0.25)
_MOVED = replace(_BASE, jitter=2)
TEACHERS: dict[str, tuple[Recipe, Loss | None]] = {
    "plain": (_BASE, None),
    "label smoothing": (_BASE, LOSSES["label smoothing"][0]),
    "dropout 0.2": (replace(_BASE, dropout=0.2), None),
    "dropout 0.5": (replace(_BASE, dropout=0.5), None),
    "jitter": (_MOVED, None),
    "jitter, dropout 0.2": (replace(_MOVED, dropout=0.2), None),
    "jitter, dropout 0.5": (replace(_MOVED, dropout=0.5), None),
    "jitter, max-norm 2": (replace(_MOVED, input_dropout=0.1, dropout=0.4, max_norm=2.0), None),
}
MEAN = "the mean of all"
MEASURES = {  # of a teacher; its logits on training images, then on those held out with their labels
    "errors": lambda seen, v, y: int((v.argmax(axis=-1) != y).sum()),
    "cross-entropy": lambda seen, v, y: md.cross_entropy(v, y)[0],
    "size of logits": lambda seen, v, y: float(abs(seen - seen.mean(axis=-1, keepdims=True)).mean()),
    "entropy, T = 4": lambda seen, v, y: entropy(seen, 4.0),
    "overconfidence": lambda seen, v, y: confidence(v) - float((v.argmax(axis=-1) == y).mean()),
}  # fmt: skip


def main() -> None:
    arguments = parser(__doc__, seeds=2).parse_args()
    train, _ = start(arguments, quick_rows=None)
    quick, store = arguments.preset == "quick", Store(arguments.runs)
    rest = len(train) - min(HELD_OUT, len(train) // 6)
    seen, held_out = train.subset(slice(min(rest, 5_000) if quick else rest)), train.subset(slice(rest, None))
    student = replace(suited(SOFT[arguments.preset], arguments), temperature=4.0, epochs=2 if quick else 8)
    to_host = train.backend.to_host
    y, logits, unseen = to_host(held_out.labels), {}, {}
    for name, (recipe, loss) in TEACHERS.items():
        recipe = replace(suited(recipe, arguments), epochs=2 if quick else 12)
        teacher = store.train(recipe, seen, 0, f"teacher, {name}", loss)
        logits[name], unseen[name] = (
            to_host(teacher.predict(data.inputs)).astype(np.float64) for data in (seen, held_out)
        )
    for of in (logits, unseen):
        of[MEAN] = np.asarray(md.geometric_mean(np.stack(list(of.values()))))
    teachers: dict[str, Any] = {}
    for name, v in logits.items():
        transfer = md.TransferSet(seen.inputs, v.astype(np.float32), seen.labels)
        students = store.train_each(student, transfer, range(arguments.seeds), f"student of {name}")
        teachers[name] = {of: measure(v, unseen[name], y) for of, measure in MEASURES.items()}
        teachers[name]["students"] = [md.errors(one, held_out) for one in students]
    finish(arguments, store.seconds, {"teachers": teachers, "held_out": len(held_out)}, report, draw)


def entropy(v: np.ndarray, T: float) -> float:
    """Return the mean entropy of softmax(v/T), in nats."""
    return -float((md.softmax(v, T) * md.log_softmax(v, T)).sum(axis=-1).mean())


def confidence(v: np.ndarray) -> float:
    """Return the mean probability of the most probable class."""
    return float(md.softmax(v, 1.0).max(axis=-1).mean())


def rank_correlation(a: list[float], b: list[float]) -> float:
    """Return Spearman's rank correlation in [-1, 1], equal values at their mean rank; nan if all of one are equal."""

    def ranks(values: list[float]) -> np.ndarray:
        x = np.asarray(values)
        return (x[:, None] > x).sum(axis=1) + 0.5 * (x[:, None] == x).sum(axis=1)

    if len(set(a)) == 1 or len(set(b)) == 1:
        return float("nan")
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def told(results: dict[str, Any]) -> dict[str, float]:
    """Return how each measure of a teacher goes with its students' mean errors, from -1 to 1."""
    teachers = results["teachers"].values()
    students = [statistics.mean(one["students"]) for one in teachers]
    return {name: rank_correlation([one[name] for one in teachers], students) for name in MEASURES}


def report(results: dict[str, Any]) -> str:
    """Return a row for each teacher, the best to learn from first, and the rank correlations."""
    shown: dict[str, Callable[[float], str]] = dict.fromkeys(MEASURES, "{:,.4g}".format)
    rows: list[list[object]] = [["teacher", *MEASURES, "its students' errors"]]
    by_students = sorted(results["teachers"].items(), key=lambda item: statistics.mean(item[1]["students"]))
    rows += [
        [name, *(shown[m](one[m]) for m in MEASURES), mean_and_spread(one["students"])] for name, one in by_students
    ]
    rows.append(["rank correlation with them", *(f"{r:+.2f}" for r in told(results).values()), ""])
    return (
        f"\n{table(rows)}\n\nerrors, cross-entropy and overconfidence on {results['held_out']:,} held-out images; "
        f"size and entropy on those trained on\n{footer(results)}"
    )


def finding(results: dict[str, Any]) -> str:
    """Name the best teacher by its students' errors, and the best by its own."""
    of = results["teachers"]
    teaches = min(of, key=lambda name: statistics.mean(of[name]["students"]))
    alone = min(of, key=lambda name: of[name]["errors"])
    return f"Best by its students' errors: {teaches}; by its own: {alone}"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw each teacher by its own errors and its students'."""
    upwards = sorted(results["teachers"].items(), key=lambda item: statistics.mean(item[1]["students"]))
    for i, (name, one) in enumerate(upwards):  # names above and below in turn
        mean, half = statistics.mean(one["students"]), np.ptp(one["students"]) / 2
        axes.errorbar(one["errors"], mean, half, fmt="o", color=plots.DARK, capsize=3)
        axes.annotate(name, (one["errors"], mean), (6, -11 if i % 2 else 4), textcoords="offset points", fontsize=8.5)
    axes.margins(x=0.15)
    axes.set(xlabel="the teacher's errors on held-out images", ylabel="its students' errors, their mean and range")
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
