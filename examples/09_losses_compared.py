"""Ten losses, one student: hard labels, label smoothing, Hinton's soft targets, and seven losses that came later.

All learn from the same teacher at T = 4, for as many epochs, each at the learning rate that was best for it on
validation images. On a GPU all seeds of a loss train together, as replicas of one network.
"""

import statistics
import sys
from dataclasses import replace
from typing import Any

import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import LOSSES, SOFT, suited
from store import Store, soft_targets

import minidistill as md

EPOCHS = {"quick": 1, "default": 4, "full": 8}
CAUTION = {"quick": 0.3, "default": 1.0, "full": 1.0}  # times the rates: a short warm-up needs lower ones


def main() -> None:
    options = parser(__doc__, seeds=2)
    options.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(LOSSES), help="some of the losses")
    arguments = options.parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    found: dict[str, dict[str, Any]] = {}
    for name in arguments.losses:
        loss, rate = LOSSES[name]
        recipe = suited(replace(SOFT[kind], epochs=EPOCHS[kind], learning_rate=CAUTION[kind] * rate), arguments)
        try:
            students = list(store.train_each(recipe, transfer, range(arguments.seeds), name, loss))
        except md.Diverged as error:
            print(f"{name}: {error}", file=sys.stderr)
            students = []
        found[name] = {"learning_rate": recipe.learning_rate, "errors": [md.errors(s, test) for s in students]}
    finish(arguments, store.seconds, {"losses": found}, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return a row for each loss."""
    rows: list[list[object]] = [["loss", "learning rate", "test errors", "each seed"]]
    for name, one in results["losses"].items():
        errors = one["errors"]
        mean = mean_and_spread(errors) if errors else "diverged"
        rows.append([name, f"{one['learning_rate']:g}", mean, " ".join(map(str, errors))])
    return f"\n{table(rows)}\n\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Name the three losses with the fewest errors."""
    mean = {name: statistics.mean(one["errors"]) for name, one in results["losses"].items() if one["errors"]}
    first = sorted(mean, key=lambda name: mean[name])[:3]
    return "The fewest errors: " + ", ".join(f"{mean[name]:.0f} by {name}" for name in first)


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a dot for each seed, a line at the mean."""
    plots.dots(axes, {name: one["errors"] for name, one in results["losses"].items()}, strong=["KL(p || q)"])
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
