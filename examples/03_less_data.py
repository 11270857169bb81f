"""Soft targets as a regulariser: with a small share of the training set, what do hard and soft targets still teach?

The paper makes the case on speech, with 3% of the data; here it is MNIST. The teacher has seen all of it. A share f is
trained for 1/√f times the epochs, and soft and hard students alike.
"""

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import PLAIN, SOFT, suited
from store import Store, soft_targets

import minidistill as md

SHARES = (1.0, 0.3, 0.1, 0.03, 0.01)
WEIGHT_SCALE = 1.0  # of the soft students too: smaller first weights need more steps (validate.py, "few start")
EPOCHS = {"quick": 1, "default": 5, "full": 8}  # on all the data


def main() -> None:
    arguments = parser(__doc__, seeds=3).parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    shares: dict[str, dict[str, Any]] = {}
    for share in SHARES:
        part = transfer.subset(slice(round(share * len(transfer))))
        row: dict[str, Any] = {"images": len(part)}
        for name, recipe in (("hard", PLAIN[kind]), ("soft", replace(SOFT[kind], weight_scale=WEIGHT_SCALE))):
            recipe = replace(suited(recipe, arguments), epochs=round(EPOCHS[kind] / share**0.5))
            title = f"{name} targets, {share:.0%} of the data"
            students = list(store.train_each(recipe, part, range(arguments.seeds), title))
            row[name] = [md.errors(student, test) for student in students]
            row[f"{name}_train"] = [md.errors(student, part) for student in students]
        shares[f"{share:.0%}"] = row
    finish(arguments, store.seconds, {"test_size": len(test), "shares": shares}, report, draw)


def gaps(results: dict[str, Any], row: dict[str, Any], name: str) -> list[float]:
    """Return training less test accuracy, in percent, of each seed."""
    pairs = zip(row[name], row[f"{name}_train"], strict=True)
    return [100 * (on_test / results["test_size"] - on_train / row["images"]) for on_test, on_train in pairs]


def report(results: dict[str, Any]) -> str:
    """Return a row for each share of the data: errors and the gap of both kinds of student."""
    rows: list[list[object]] = [["share", "images", "hard: errors", "soft: errors", "hard: gap", "soft: gap"]]
    for share, row in results["shares"].items():
        gap = [f"{statistics.mean(gaps(results, row, name)):.2f}%" for name in ("hard", "soft")]
        rows.append([share, f"{row['images']:,}", mean_and_spread(row["hard"]), mean_and_spread(row["soft"]), *gap])
    return f"\n{table(rows)}\n\nerrors on the test set; gap: training less test accuracy\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what both kinds of targets leave with the fewest images and with all."""
    rows = sorted(results["shares"].values(), key=lambda row: row["images"])
    soft, hard = ([f"{statistics.mean(row[kind]):,.0f}" for row in (rows[0], rows[-1])] for kind in ("soft", "hard"))
    return (
        f"With {rows[0]['images']:,} images soft targets leave {soft[0]} errors and labels {hard[0]}, "
        f"with {rows[-1]['images']:,} images {soft[1]} and {hard[1]}"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw test errors against the number of images, with a bar of one standard deviation."""
    rows = list(results["shares"].values())
    for name, kind in (("hard labels", "hard"), ("soft targets", "soft")):
        spread = [np.std(row[kind], ddof=len(row[kind]) > 1) for row in rows]
        mean = [statistics.mean(row[kind]) for row in rows]
        axes.errorbar([row["images"] for row in rows], mean, spread, capsize=3, label=name)
    plots.plain(axes.xaxis, [row["images"] for row in rows])
    plots.plain(axes.yaxis, plots.round_ticks(e for row in rows for kind in ("hard", "soft") for e in row[kind]))
    axes.set(xlabel="training images", ylabel="test errors")
    axes.legend()
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
