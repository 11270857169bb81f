"""The validation sweeps behind recipes.py: trained on the first 50,000 training images, judged on the last 10,000.

The test set is not read. docs/results/validation*.json keep the errors, a file for each call.
"""

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from common import finish, footer, parser, run, start, table
from recipes import HELD_BACK, LOSSES, MEMBER, PLAIN, SOFT, TEACHER, Loss, Recipe
from store import Store

import minidistill as md

SHORT, HARD = TEACHER["default"], PLAIN["default"]
TAUGHT = replace(SOFT["default"], centred=False, weight_scale=1.0, weight_decay=0.0)  # as most sweeps start
TEACHERS = ((0, 0.2, 0.3), (0.1, 0.2, 0.3), (0.1, 0.25, 0.3), (0, 0.2, 0.4))  # dropout: inputs, units; rate
LONGER = ((0, 0.2), (0, 0.35), (0.1, 0.35), (0.1, 0.5))
FEW = 1_500  # images, which are 3%; they are trained on for as long as in 03_less_data.py
SWEEPS: dict[str, list[Recipe]] = {  # the rest of a recipe is the same throughout a sweep
    "short": [replace(SHORT, input_dropout=i, dropout=d, learning_rate=r) for i, d, r in TEACHERS],
    "teacher": [replace(SHORT, input_dropout=i, dropout=d, epochs=40) for i, d in LONGER],
    "longer": [replace(SHORT, epochs=100, dropout=d) for d in (0.25, 0.4)],
    "hard": [replace(HARD, learning_rate=rate) for rate in (0.05, 0.1, 0.2, 0.3)],
    "soft": [replace(TAUGHT, temperature=T, learning_rate=r) for T in (4.0, 20.0) for r in (0.02, 0.05, 0.1)],
    "momentum": [replace(TAUGHT, momentum=m, learning_rate=0.5 * (1 - m)) for m in (0.9, 0.95, 0.98)],
    "few": [replace(TAUGHT, learning_rate=rate, epochs=46) for rate in (0.03, 0.05)],
}
LONG, START = HELD_BACK, replace(TAUGHT, epochs=20, centred=True, weight_scale=0.1)
SWEEPS |= {  # centred inputs and small first weights, of teachers and of the students of one
    "small teacher": [LONG],
    "start": [replace(START, weight_scale=scale) for scale in (1.0, 0.25, 0.1)],
    "decay": [replace(START, weight_decay=decay) for decay in (1e-4, 3e-4)],
    "few start": [
        replace(START, weight_scale=scale, learning_rate=rate, epochs=46)
        for scale in (1.0, 0.25, 0.1)
        for rate in (0.02, 0.03, 0.05)
    ],
    "hard start": [replace(HARD, epochs=20, centred=scale != 1, weight_scale=scale) for scale in (1.0, 0.25)],
}
FREER = [replace(TEACHER["full"], dropout=d) for d in (0.0, 0.2)]  # held back by jitter alone, or nearly
SWEEPS |= {"freer teacher": FREER, "freer": [replace(START, weight_decay=1e-4)]}
OLDER = SWEEPS["longer"]
TAUGHT_BY = {
    "soft": OLDER,
    "momentum": OLDER[:1],
    "few": OLDER[:1],
    "losses": OLDER[:1],
    "start": [LONG],
    "decay": [LONG],
    "freer": FREER,
    "few start": [replace(MEMBER, centred=True, weight_scale=0.25)],
}
FACTORS = (1 / 3, 1.0, 3.0)  # these times the learning rate of each loss are the sweep "losses"


def main() -> None:
    options = parser(__doc__, seeds=1)
    every = [*SWEEPS, "losses"]
    options.add_argument("--only", choices=every, nargs="+", default=every, help="some of the sweeps")
    arguments = options.parse_args()
    train, _ = start(arguments, quick_rows=None)  # the parts are made here
    store = Store(arguments.runs)
    if len(train) != 60_000:
        raise md.ArgumentError(f"--data must hold 60,000 training images, got {len(train):,}")
    rows = 5_000 if arguments.preset == "quick" else 50_000
    part, held_out = train.subset(slice(rows)), train.subset(slice(50_000, None))
    found: list[dict[str, Any]] = []
    for name in arguments.only:
        for teacher in TAUGHT_BY.get(name, [None]):
            data = part
            if teacher is not None:
                trained = store.train(shortened(arguments, teacher), part, 0, "validation, teacher, seed 0")
                data = store.transfer([trained], part)
                data = data.subset(slice(FEW)) if name.startswith("few") else data
            for variant, recipe, loss in variants(name):
                recipe, errors = shortened(arguments, recipe), []
                for seed in range(arguments.seeds):
                    title = f"validation, {variant}, seed {seed}"
                    try:
                        errors.append(md.errors(store.train(recipe, data, seed, title, loss), held_out))
                    except md.Diverged:
                        errors.append("diverged")
                about = {"of": variant, "sweep": name, "teacher": teacher and asdict(teacher), "recipe": asdict(recipe)}
                found.append(about | {"errors": errors})
    finish(arguments, store.seconds, {"sweeps": found}, report, draw)


def variants(name: str) -> Iterator[tuple[str, Recipe, Loss | None]]:
    """Return what a sweep trains: a name, a recipe and a loss, None for the balanced objective."""
    if name != "losses":
        yield from ((name, recipe, None) for recipe in SWEEPS[name])
        return
    for of, (loss, rate) in LOSSES.items():
        yield from ((of, replace(TAUGHT, learning_rate=round(f * rate, 4)), loss) for f in FACTORS)


def shortened(arguments: argparse.Namespace, recipe: Recipe) -> Recipe:
    """Return the recipe, with a single epoch in the quick preset."""
    return replace(recipe, epochs=1) if arguments.preset == "quick" else recipe


def described(results: dict[str, Any], one: dict[str, Any]) -> str:
    """Return what sets this recipe apart from the others of its sweep, and its teacher."""
    recipe, others = one["recipe"], [other["recipe"] for other in results["sweeps"] if other["sweep"] == one["sweep"]]
    differ = [name for name in recipe if any(recipe[name] != other[name] for other in others)]
    words = [f"{name.replace('_', ' ')} {recipe[name]:g}" for name in differ]
    return ", ".join(words + ([f"teacher's dropout {one['teacher']['dropout']:g}"] if one["teacher"] else []))


def report(results: dict[str, Any]) -> str:
    """Return a row for each recipe."""
    rows: list[list[object]] = [["of", "variant", "epochs", "validation errors"]]
    for one in results["sweeps"]:
        of = f"{one['of']}, {FEW:,} images" if one["of"].startswith("few") else one["of"]
        rows.append([of, described(results, one), one["recipe"]["epochs"], " ".join(map(str, one["errors"]))])
    return f"\n{table(rows)}\n\n{footer(results)}"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a dot for each training that came to its end."""
    for row, one in enumerate(results["sweeps"]):
        errors = [count for count in one["errors"] if count != "diverged"]
        axes.plot(errors, [row] * len(errors), "o")
    labels = [f"{one['of']}, {described(results, one)}" for one in results["sweeps"]]
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="validation errors")
    figure.set_size_inches(8, 1 + 0.25 * len(results["sweeps"]))


if __name__ == "__main__":
    run(main)
