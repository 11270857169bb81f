"""Which temperature, for a student of which width? The paper: with 300 units a layer or more, all T above 8 are alike;
with 30 units, T of 2.5 to 4 is significantly better.

All temperatures and seeds of a width train together, as replicas of one network.
"""

import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import SOFT, suited
from store import Store, soft_targets

import minidistill as md

TEMPERATURES = (1.0, 2.0, 2.5, 4.0, 8.0, 12.0, 20.0, 50.0)
WIDTHS = {"quick": (30, 100), "default": (30, 100, 300), "full": (30, 100, 300, 800)}
RATE = {"quick": 0.01, "default": 0.03, "full": 0.03}  # the recipe's is too much for a small student at T = 50
EPOCHS = {"quick": 2, "default": 5, "full": 8}


def main() -> None:
    arguments = parser(__doc__, seeds=3).parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    seeds = [seed for _ in TEMPERATURES for seed in range(arguments.seeds)]
    every_T = tuple(T for T in TEMPERATURES for _ in range(arguments.seeds))
    errors: dict[str, dict[str, list[int]]] = {}
    for width in WIDTHS[kind]:
        recipe = replace(
            SOFT[kind].with_units(width), epochs=EPOCHS[kind], learning_rate=RATE[kind], temperature=every_T
        )
        students = store.train(suited(recipe, arguments), transfer, seeds, f"{len(seeds)} students of width {width}")
        counts = np.reshape(md.errors(students, test), (len(TEMPERATURES), -1))
        errors[str(width)] = {f"{T:g}": row.tolist() for T, row in zip(TEMPERATURES, counts, strict=True)}
    finish(arguments, store.seconds, {"errors": errors}, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return a row for each width, a column for each temperature; and the best temperature of each."""
    rows: list[list[object]] = [["test errors, units", *(f"T = {T:g}" for T in TEMPERATURES), "best T (test)"]]
    for width, by_T in results["errors"].items():
        best = min(by_T, key=lambda T: statistics.mean(by_T[T]))
        rows.append([f"2 x {width}", *map(mean_and_spread, by_T.values()), best])
    paper = "the paper: 300 units or more, all T above 8 alike; 30 units, T of 2.5 to 4 better"
    return f"\n{table(rows)}\n\n{paper}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say which T was best for each width."""
    best = {w: min(by_T, key=lambda T: statistics.mean(by_T[T])) for w, by_T in results["errors"].items()}
    return "The best T, by test errors: " + ", ".join(f"{T} with 2 x {width} units" for width, T in best.items())


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw errors against T, a line for each width, one standard deviation over the seeds as a band."""
    for width, by_T in results["errors"].items():
        counts = np.array(list(by_T.values()), dtype=float)  # (temperatures, seeds)
        mean, spread = counts.mean(axis=1), counts.std(axis=1, ddof=counts.shape[1] > 1)
        (line,) = axes.plot(TEMPERATURES, mean, label=f"2 x {width} units")
        axes.fill_between(TEMPERATURES, mean - spread, mean + spread, alpha=0.15, color=line.get_color(), linewidth=0)
        axes.plot(TEMPERATURES[mean.argmin()], mean.min(), "o", color="black", fillstyle="none", markersize=11)
    plots.plain(axes.xaxis, TEMPERATURES)
    every = [errors for by_T in results["errors"].values() for counts in by_T.values() for errors in counts]
    plots.plain(axes.yaxis, plots.round_ticks(every))
    axes.set(xlabel="temperature T; a circle is a width's best", ylabel="test errors")
    axes.legend(ncols=2)
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
