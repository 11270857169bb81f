"""The validation sweeps behind recipes.py: trained on the first 50,000 training images, judged on the last 10,000.

The test set is not read. docs/results/validation.json keeps the errors.
"""

from dataclasses import asdict, replace
from typing import Any

from common import finish, footer, parser, preset, record, run, start, table
from recipes import PLAIN, SOFT, TEACHER, Store

import minidistill as md

EPOCHS = {"quick": 1, "default": 40, "full": 40}  # of a teacher
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "teacher": [
        {"input_dropout": i, "dropout": d, "learning_rate": 0.3}
        for i, d in ((0.0, 0.2), (0.0, 0.35), (0.1, 0.35), (0.1, 0.5))
    ],
    "plain": [{"learning_rate": rate} for rate in (0.05, 0.1, 0.2, 0.3)],
    "soft": [{"temperature": T, "learning_rate": rate} for T in (4.0, 20.0) for rate in (0.05, 0.1)],
}


def main() -> None:
    options = parser(__doc__, seeds=1)
    options.add_argument("--only", choices=list(VARIANTS), help="one of the sweeps")
    arguments = options.parse_args()
    train, _ = start(arguments)
    kind, store = preset(arguments), Store(arguments.runs)
    if len(train) != 60_000:
        raise md.ArgumentError(f"--data must hold 60,000 training images, got {len(train):,}")
    size = 5_000 if kind == "quick" else 50_000
    part, held_out = train.subset(slice(size)), train.subset(slice(50_000, None))
    teacher_recipe = replace(TEACHER[kind], epochs=EPOCHS[kind])
    sweeps = []
    for name in [arguments.only] if arguments.only else VARIANTS:
        base = {"teacher": teacher_recipe, "plain": PLAIN[kind], "soft": SOFT[kind]}[name]
        data = part
        if name == "soft":
            data = store.transfer([store.train(teacher_recipe, part, 0, "validation, teacher")], part)
        for variant in VARIANTS[name]:
            recipe = replace(base, **variant)
            networks = store.train_each(recipe, data, range(arguments.seeds), f"validation, {name}, {variant}")
            errors = [md.errors(network, held_out) for network in networks]
            sweeps.append({"of": name, "variant": variant, "recipe": asdict(recipe), "errors": errors})
    results = record(arguments, store.seconds) | {"sweeps": sweeps}
    finish(arguments, results, report(results), draw)


def report(results: dict[str, Any]) -> str:
    """A row for each variant."""
    rows: list[list[object]] = [["of", "variant", "epochs", "validation errors"]]
    for one in results["sweeps"]:
        variant = ", ".join(f"{name} {value:g}" for name, value in one["variant"].items())
        rows.append([one["of"], variant, one["recipe"]["epochs"], " ".join(map(str, one["errors"]))])
    return f"\n{table(rows)}\n\n{footer(results)}"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """A dot for each training."""
    for row, one in enumerate(results["sweeps"]):
        axes.plot(one["errors"], [row] * len(one["errors"]), "o")
    axes.set_yticks(
        range(len(results["sweeps"])), [f"{one['of']} {list(one['variant'].values())}" for one in results["sweeps"]]
    )
    axes.set(xlabel="validation errors")


if __name__ == "__main__":
    run(main)
