"""An ensemble as the teacher: M = 1 to 10 networks, soft targets by their arithmetic and geometric mean.

What the ensemble saves in errors, how much of it a single student keeps, and what the ensemble costs in use.
"""

import statistics
from dataclasses import replace
from typing import Any

import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import MEMBER, SOFT, suited
from store import Store

import minidistill as md
from minidistill.measure import prediction_cost

MEMBERS = {"quick": (1, 2), "default": (1, 2, 5), "full": (1, 2, 3, 5, 10)}  # ensembles that teach
EPOCHS = {"quick": 1, "default": 8, "full": 8}  # a student's
MEANS = ("arithmetic", "geometric")


def main() -> None:
    arguments = parser(__doc__, seeds=2).parse_args()
    train, test = start(arguments)
    kind, store, xp = arguments.preset, Store(arguments.runs), train.backend.xp
    member = replace(suited(MEMBER, arguments), epochs=2 if kind == "quick" else MEMBER.epochs)
    recipe = replace(suited(SOFT[kind], arguments), epochs=EPOCHS[kind])
    teachers = list(store.train_each(member, train, range(max(MEMBERS[kind])), "ensemble"))
    on_train, on_test = (xp.stack([t.predict(data.inputs) for t in teachers]) for data in (train, test))  # (M, N, 10)

    def mean(how: str, logits: Any) -> Any:
        return md.geometric_mean(logits) if how == "geometric" else md.arithmetic_mean(logits, recipe.temperature)

    def count(z: Any) -> int:
        return int((z.argmax(axis=-1) != test.labels).sum())

    results: dict[str, Any] = {
        "alone": [count(z) for z in on_test],
        "ensemble": {},
        "student": {how: {} for how in MEANS},
        "latency_us": prediction_cost(teachers[0]).latency_us,
    }
    for M in range(1, len(teachers) + 1):
        votes = {"arithmetic": md.arithmetic_mean(on_test[:M], 1.0), "geometric": md.geometric_mean(on_test[:M])}
        results["ensemble"][str(M)] = {how: count(vote) for how, vote in votes.items()}
    for M in MEMBERS[kind]:
        for how in MEANS[M == 1 :]:  # the mean of one network is the network itself
            transfer = md.TransferSet(train.inputs, mean(how, on_train[:M]), train.labels)
            students = store.train_each(recipe, transfer, range(arguments.seeds), f"student of {M}, {how}")
            results["student"][how][str(M)] = [md.errors(student, test) for student in students]
    finish(arguments, store.seconds, results, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return a row for each M: the ensemble's errors and the student's, by both means, and what prediction costs."""
    head = ["M", "ensemble, arithmetic", "geometric", "student, arithmetic", "geometric", "one image"]
    rows: list[list[object]] = [head]
    for M, by_mean in results["ensemble"].items():
        taught = [results["student"][how].get(M) for how in MEANS]
        cells = [mean_and_spread(errors) if errors else "" for errors in taught]
        rows.append([M, *by_mean.values(), *cells, f"{int(M) * results['latency_us']:,.0f} µs"])
    alone = mean_and_spread(results["alone"])
    note = f"test errors; M = 1 is the first member, the mean of all is {alone}; a student costs one member"
    return f"\n{table(rows)}\n\n{note}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what the largest ensemble leaves, its student, and a member alone."""
    M = list(results["ensemble"])[-1]
    together, alone = (f"{statistics.mean(e):.0f}" for e in (results["ensemble"][M].values(), results["alone"]))
    students = [errors for by_M in results["student"].values() for errors in by_M.get(M, [])]
    taught = f", its student {statistics.mean(students):.0f}" if students else ""
    return f"An ensemble of {M} leaves {together} errors{taught}, one member {alone} on average"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw errors against M, of the ensemble and of its student."""
    for how, (colour, marker, _) in zip(MEANS, plots.KINDS, strict=False):
        sizes = [int(M) for M in results["ensemble"]]
        errors = [e[how] for e in results["ensemble"].values()]
        axes.plot(sizes, errors, color=colour, marker=marker, linestyle="--", label=f"ensemble, {how} mean")
        students = {int(M): statistics.mean(errors) for M, errors in results["student"][how].items()}
        axes.plot(*zip(*students.items(), strict=True) if students else ([], []), color=colour, marker=marker,
                  linestyle="-", markerfacecolor="white", label=f"its student, {how} mean")  # fmt: skip
    axes.set(xlabel="members M; M = 1 is the first of them", ylabel="test errors")
    axes.set_xticks([int(M) for M in results["ensemble"]])
    axes.legend()
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
