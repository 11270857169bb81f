"""What holds the student back, its loss or its time? A student of an ensemble of teachers, on jittered images, by soft
targets at T = 20 and by matching the logits, for a while and for four times as long.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import JITTERED, LOSSES, TEACHER, suited
from store import Store

import minidistill as md

LONGER = 4  # times the epochs of the preset
TEACHERS = {"quick": 1, "default": 3, "full": 3}
MATCHING, MATCHING_RATE = LOSSES["logit matching"]


def main() -> None:
    arguments = parser(__doc__, seeds=2).parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    soft, teacher = JITTERED[kind], suited(TEACHER[kind], arguments)
    if kind == "quick":  # a teacher's logits on every move of every image take longer than the rest
        soft, teacher = replace(soft, jitter=0, epochs=1), replace(teacher.with_units(400), epochs=2)
    soft, matching = (suited(recipe, arguments) for recipe in (soft, replace(soft, learning_rate=MATCHING_RATE)))
    teachers = list(store.train_each(teacher, train, range(TEACHERS[kind]), "teacher"))
    transfer = store.transfer(teachers, train, soft.jitter)
    rows: list[dict[str, Any]] = []
    for epochs in (soft.epochs, LONGER * soft.epochs):
        taught = (f"soft targets, T = {soft.temperature:g}", soft, None), ("logit matching", matching, MATCHING)
        for name, recipe, loss in taught:
            recipe = replace(recipe, epochs=epochs)
            students = store.train_each(recipe, transfer, range(arguments.seeds), f"{name}, {epochs} epochs", loss)
            errors = [md.errors(student, test) for student in students]
            rows.append({"loss": name, "epochs": epochs, "learning_rate": recipe.learning_rate, "errors": errors})
    vote = md.geometric_mean(test.backend.xp.stack([network.predict(test.inputs) for network in teachers]))
    results = {
        "students": rows,
        "teachers": [md.errors(network, test) for network in teachers],
        "ensemble": int((vote.argmax(axis=-1) != test.labels).sum()),
    }
    finish(arguments, store.seconds, results, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return a row for each loss and length."""
    rows: list[list[object]] = [["student of the ensemble, jitter", "epochs", "test errors", "each seed"]]
    for one in results["students"]:
        errors = one["errors"]
        rows.append([one["loss"], one["epochs"], mean_and_spread(errors), " ".join(map(str, errors))])
    teachers = " ".join(map(str, results["teachers"]))
    return f"\n{table(rows)}\n\nthe teachers: {teachers}; their ensemble: {results['ensemble']}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Name the best student, and its ensemble."""
    best = min(results["students"], key=lambda one: np.mean(one["errors"]))
    errors = f"{np.mean(best['errors']):.0f}"
    return (
        f"The best student, by {best['loss']} for {best['epochs']} epochs, leaves {errors} errors; "
        f"the ensemble that taught it leaves {results['ensemble']}"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw errors against epochs, a line for each loss, a dot for each seed; the ensemble as a dotted line."""
    lengths = list(dict.fromkeys(one["epochs"] for one in results["students"]))
    names = dict.fromkeys(one["loss"] for one in results["students"])
    for name, (colour, marker, line) in zip(names, plots.KINDS, strict=False):
        rows = [one for one in results["students"] if one["loss"] == name]
        mean = [np.mean(one["errors"]) for one in rows]
        axes.plot([one["epochs"] for one in rows], mean, line, marker="", color=colour, label=name)
        for one in rows:
            axes.plot([one["epochs"]] * len(one["errors"]), one["errors"], marker, color=colour, alpha=0.6)
    axes.axhline(results["ensemble"], color="black", linestyle=":", marker="", label="the ensemble that teaches")
    plots.plain(axes.xaxis, lengths)
    axes.margins(x=0.1)
    axes.set(xlabel="epochs", ylabel="test errors, a dot for each seed")
    axes.legend()
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
