"""What brought the errors down? From the usual recipe to the full one, a step at a time, for teachers and students.

Each row is the row before it with one thing changed. The teachers begin in the size of the students, who are taught by
those of the teachers' last recipe: each seed by its own, until a row gives every one of them all the teachers.
"""

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import HELD_BACK, SOFT, TEACHER, Recipe, suited
from store import Store

import minidistill as md

# Epochs of teachers and of students, but for the last steps.
SHORT = {"quick": (1, 1), "default": (6, 4), "full": (12, 20)}
LONGER = 4  # times the epochs of a full student, in the last step
TOGETHER = "all teachers' mean logits"  # from this step on


def main() -> None:
    arguments = parser(__doc__, seeds=3).parse_args()
    train, test = start(arguments)
    store, seeds = Store(arguments.runs), range(arguments.seeds)
    of_teachers, of_students = ladders(arguments.preset)
    errors: dict[str, dict[str, list[int]]] = {"teacher": {}, "student": {}}
    teachers: list[md.Network] = []
    for name, recipe in of_teachers.items():
        teachers = list(store.train_each(suited(recipe, arguments), train, seeds, f"teacher, {name}"))
        errors["teacher"][name] = [md.errors(teacher, test) for teacher in teachers]
    vote = md.geometric_mean(test.backend.xp.stack([teacher.predict(test.inputs) for teacher in teachers]))
    errors["teacher"]["all teachers' vote"] = [int((vote.argmax(axis=-1) != test.labels).sum())]
    lessons = [[teacher] for teacher in teachers]
    for name, recipe in of_students.items():
        lessons = [teachers] * len(seeds) if name == TOGETHER else lessons
        errors["student"][name] = []
        for seed in seeds:
            transfer = store.transfer(lessons[seed], train, recipe.jitter)
            student = store.train(suited(recipe, arguments), transfer, seed, f"student, {name}, seed {seed}")
            errors["student"][name].append(md.errors(student, test))
    finish(arguments, store.seconds, {"errors": errors}, report, draw)


def ladders(kind: str) -> tuple[dict[str, Recipe], dict[str, Recipe]]:
    """Return the recipes of the teachers and of the students, each with one thing changed from the one before."""
    full, soft = replace(HELD_BACK, epochs=TEACHER[kind].epochs), SOFT[kind]
    few, some = SHORT[kind]
    if kind == "quick":
        full, soft = full.with_units(100), soft.with_units(100)
    width = soft.units[0]
    held = replace(full.with_units(width), epochs=few)  # by dropout and max-norm
    small = replace(held, input_dropout=0.0, dropout=0.2, max_norm=None)
    student = replace(soft, epochs=some, centred=False, weight_scale=1.0, weight_decay=0.0)
    centred, clean, moved = replace(student, centred=True), replace(soft, epochs=some), replace(soft, jitter=2)
    return {
        f"{width} units, He's weights, {few} epochs": replace(small, centred=False, weight_scale=1.0),
        "mean image taken away, weights × 0.25": small,
        "dropout 0.1 and 0.4, max-norm 2": held,
        f"{full.units[0]} units, {full.epochs} epochs": full,
    }, {
        f"He's weights, {some} epochs": student,
        "mean image taken away": centred,
        "weights × 0.1": replace(centred, weight_scale=0.1),
        "weight decay 0.0001": clean,
        TOGETHER: clean,
        "images moved": replace(moved, epochs=some),
        f"{LONGER * soft.epochs} epochs": replace(moved, epochs=LONGER * soft.epochs),
    }


def report(results: dict[str, Any]) -> str:
    """Return a row for each step: its errors, and what they are less than before it."""
    rows: list[list[object]] = [["test errors, from step to step", "mean ± sd", "each seed", "change"]]
    for of, steps in results["errors"].items():
        before = None
        for name, errors in steps.items():
            mean = statistics.mean(errors)
            change = "" if before is None else f"{mean - before:+.1f}"
            rows.append([f"{of}: {name}", mean_and_spread(errors), " ".join(map(str, errors)), change])
            before = mean
    return f"\n{table(rows)}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what the first and the last student leave, and which step brought most."""
    means = {name: statistics.mean(errors) for name, errors in results["errors"]["student"].items()}
    names, values = list(means), list(means.values())
    best = int(np.argmin(np.diff(values))) + 1
    return (
        f"From {values[0]:.0f} errors of a student to {values[-1]:.0f}; most by one step, {names[best]}: "
        f"{values[best] - values[best - 1]:+.0f}"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a row for each step, the teachers' above the students'."""
    rows = {f"{of}: {name}": errors for of, steps in results["errors"].items() for name, errors in steps.items()}
    plots.dots(axes, rows, strong=[name for name in rows if name.startswith("student")])
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
