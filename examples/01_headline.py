"""The main result of the paper's section 3, on real MNIST: a large teacher, a small network trained plainly, and the
same small network trained on the teacher's soft targets, compared by their errors on the test set.

The teacher's soft targets come with the package; --train-teacher trains it now. --full trains several teachers, and
students on clean and on jittered images, and on an ensemble of the teachers.
"""

import argparse
import json
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import plots
from common import commit, finish, footer, mean_and_spread, parser, run, start, table, write_json
from recipes import BRIGHTER, JITTERED, PLAIN, SOFT, TEACHER, Recipe
from store import Store, soft_targets

import minidistill as md
from minidistill.checks import check_count, check_number
from minidistill.measure import prediction_cost
from minidistill.shell import whole_file

NAMES = {  # with the paper's number of errors (Hinton, Vinyals, Dean 2015, section 3)
    "teacher": ("teacher", 67),
    "baseline": ("student, hard labels", 146),
    "student": ("student, soft targets", 74),
    "jittered": ("student, soft targets, jitter", None),
    "ensemble": ("ensemble of the teachers", None),
    "clean_ensemble": ("student of the ensemble", None),
    "from_ensemble": ("student of the ensemble, jitter", None),
}


def main() -> None:
    options = parser(__doc__, seeds=3)
    options.add_argument("--teachers", type=int, metavar="M", help="teachers of --full, which it needs (default: 3)")
    options.add_argument(
        "--arms", nargs="+", metavar="ARM", choices=list(NAMES), default=list(NAMES),
        help=f"some of the arms: {', '.join(NAMES)} (default: all that the preset has)",
    )  # fmt: skip
    options.add_argument("--train-teacher", action="store_true", help="train the teacher instead of using its logits")
    options.add_argument(
        "--teacher-units", type=int, default=1600, choices=(1200, 1600), help="in a hidden layer (default: 1600)"
    )
    options.add_argument("--rate", type=float, metavar="F", help=f"times every rate; 1, or {BRIGHTER} with --data")
    options.add_argument("--epochs", type=int, metavar="E", help="of a student on soft targets; else the preset's")
    options.add_argument(
        "--save-logits",
        type=Path,
        metavar="FILE.npy",
        help="write the teachers' mean logits there, as float16, and what they are of to FILE.json",
    )
    arguments = options.parse_args()
    train, test = start(arguments, outputs=check_options(arguments))
    store = Store(arguments.runs)
    results, networks = experiment(arguments, store, train, test)
    for name, network in networks.items():
        cost = asdict(prediction_cost(network, seconds=0.1 if arguments.preset == "quick" else 0.5))
        M = results.get("taught_by", 1) if name == "teacher" else 1  # networks in use
        results[name] |= {of: value / M if of == "per_second" else value * M for of, value in cost.items()}
    finish(arguments, store.seconds, results, report, draw)


def check_options(arguments: argparse.Namespace) -> dict[str, Path]:
    """Check this script's own options, fill in their defaults and return the files that they write, by their options.

    Raises md.ArgumentError.
    """
    full = arguments.preset == "full"
    if arguments.teachers is not None and not full:
        raise md.ArgumentError(f"--teachers must be left out without --full, got {arguments.teachers}")
    arguments.teachers = check_count("--teachers", arguments.teachers if arguments.teachers is not None else 3)
    default = BRIGHTER if arguments.data else 1.0
    arguments.rate = check_number("--rate", arguments.rate if arguments.rate is not None else default, above=0)
    if arguments.epochs is not None:
        check_count("--epochs", arguments.epochs)
    if not full and not {"teacher", "baseline", "student"} & set(arguments.arms):
        raise md.ArgumentError(
            f"--arms must have one of teacher, baseline, student without --full, got {arguments.arms}"
        )
    path = arguments.save_logits
    if path is None:
        return {}
    if not (arguments.train_teacher or full):
        raise md.ArgumentError("--save-logits needs a teacher that is trained now: --train-teacher or --full")
    if path.suffix.lower() != ".npy":
        raise md.ArgumentError(f"--save-logits must end in .npy, got {str(path)!r}")
    return {"--save-logits": path, "the description of --save-logits": path.with_suffix(".json")}


def experiment(
    arguments: argparse.Namespace, store: Store, train: md.Dataset, test: md.Dataset
) -> tuple[dict[str, Any], dict[str, md.Network]]:
    """Return the errors of every arm, and one network of each."""
    kind, seeds = arguments.preset, range(arguments.seeds)
    factor = arguments.rate
    soft, jittered = (
        replace(recipe[kind].scaled(factor), epochs=arguments.epochs or recipe[kind].epochs)
        for recipe in (SOFT, JITTERED)
    )
    live = arguments.train_teacher or kind == "full" or arguments.data or arguments.teacher_units != 1600
    recipe = TEACHER[kind].with_units(arguments.teacher_units).scaled(factor)
    numbers = range((arguments.teachers if kind == "full" else 1) if live else 0)
    teachers = list(store.train_each(recipe, train, numbers, "teacher"))
    clean = [store.transfer([t], train) for t in teachers] or [soft_targets(arguments, store, train)]
    counts: dict[str, list[int]] = {}
    networks: dict[str, md.Network] = {}  # one of each arm: all together would take most of the memory

    def count(name: str, arm: Iterable[md.Network]) -> None:
        for network in arm if name in arguments.arms else ():
            counts.setdefault(name, []).append(md.errors(network, test))
            networks.setdefault(name, network)

    count("teacher", teachers)
    count("baseline", store.train_each(PLAIN[kind].scaled(factor), train, seeds, "hard labels"))
    count("student", taught(store, soft, clean, seeds, "soft targets"))
    if teachers:
        vote = md.geometric_mean(test.backend.xp.stack([teacher.predict(test.inputs) for teacher in teachers]))
        together = int((vote.argmax(axis=-1) != test.labels).sum())
        if arguments.save_logits:
            about = {"preset": kind, "seeds": list(numbers), "recipe": asdict(recipe), "test_errors": together}
            save_logits(arguments.save_logits, store.transfer(teachers, train), about)
    if kind == "full":
        if "ensemble" in arguments.arms:
            counts["ensemble"] = [together]
        every = [[teacher] for teacher in teachers]
        for name, student, of in (
            ("jittered", jittered, every), ("clean_ensemble", soft, [teachers]), ("from_ensemble", jittered, [teachers])
        ):  # fmt: skip
            if name in arguments.arms:  # else their logits on every moved image are not needed
                transfers = [store.transfer(teaching, train, student.jitter) for teaching in of]
                count(name, taught(store, student, transfers, seeds, NAMES[name][0]))
    recipes = {"teacher": asdict(recipe), "baseline": asdict(PLAIN[kind].scaled(factor)), "student": asdict(soft)}
    if kind == "full":
        recipes["jittered"] = asdict(jittered)
    results: dict[str, Any] = {"recipes": recipes}
    if not teachers and "teacher" in arguments.arms:
        embedded = json.loads((files("minidistill") / "datasets/mnist/teacher.json").read_text("utf-8"))
        recipes["teacher"], counts["teacher"] = embedded["recipe"], [embedded["test_errors"]]
        networks["teacher"] = recipe.network(train, 0)  # untrained, it costs what a trained one does
        results["taught_by"] = len(embedded["seeds"])
    results |= {name: {"errors": counts[name], "test_size": len(test)} for name in NAMES if name in counts}
    return results, networks


def taught(
    store: Store, recipe: Recipe, transfers: list[md.TransferSet], seeds: range, title: str
) -> Iterator[md.Network]:
    """Yield a student for each seed, the teachers in turn; on a GPU the students of a teacher train together."""
    M = len(transfers)
    students = [store.train_each(recipe, transfers[m], seeds[m::M], f"{title}, teacher {m}") for m in range(M)]
    return (next(students[i % M]) for i in range(len(seeds)))


def named(results: dict[str, Any], name: str) -> tuple[str, int | None]:
    """Return an arm's name and the paper's errors, which are of one teacher; the embedded logits may be of several."""
    together = results.get("taught_by", 1)
    return (f"{together} teachers together", None) if name == "teacher" and together > 1 else NAMES[name]


def report(results: dict[str, Any]) -> str:
    """Return two tables, errors and costs, and what distillation gained."""
    present = [name for name in NAMES if name in results]
    rows: list[list[object]] = [["test errors", "mean ± sd", "each seed", "paper"]]
    costs: list[list[object]] = [["cost of deployment", "parameters", "bytes", "one image", "images/s in batches"]]
    for name in present:
        (label, paper), r = named(results, name), results[name]
        shown = paper if paper and results["data"] == "MNIST" else "-"
        rows.append([label, mean_and_spread(r["errors"]), " ".join(map(str, r["errors"])), shown])
        if "bytes" in r and name in ("teacher", "baseline", "student"):
            speed = [f"{r['latency_us']:,.0f} µs", f"{r['per_second']:,.0f}"]
            costs.append([label, f"{r['parameters']:,}", f"{r['bytes']:,}", *speed])
    tables = f"\n{table(rows)}\n" + (f"\n{table(costs)}\n" if costs[1:] else "")
    mean = {name: statistics.mean(results[name]["errors"]) for name in present}
    if not {"baseline", "student"} <= set(mean):
        return f"{tables}\n{footer(results)}"
    gain = mean["baseline"] - mean["student"]
    gap = mean["baseline"] - mean["teacher"] if "teacher" in mean else 0
    share = f", {gain / gap:.0%} of the way to the teacher" if gap > 0 and gain > 0 else ""
    return (
        f"{tables}\nof {results['student']['test_size']:,} test images, soft targets "
        f"{'saved' if gain >= 0 else 'cost'} {abs(gain):.1f} errors{share}\n{footer(results)}"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a dot for each seed, a line at their mean, a cross at the paper's number."""
    present = [name for name in NAMES if name in results]
    names = [named(results, name) for name in present]
    counts = {label: results[name]["errors"] for name, (label, _) in zip(present, names, strict=True)}
    plots.dots(axes, counts, strong=["student, soft targets"])
    papers = [(row, paper) for row, (_, paper) in enumerate(names) if paper]
    if results["data"] == "MNIST":
        axes.plot([paper for _, paper in papers], [row for row, _ in papers], "x", color="black")
    size = results[present[0]]["test_size"]
    axes.set(xlabel=f"errors on {size:,} test images; dots: seeds, ×: the paper", xlim=(0, None))
    said = {"student": "errors with soft targets", "baseline": "with labels",
            "teacher": "by teachers" if results.get("taught_by", 1) > 1 else "by the teacher"}  # fmt: skip
    shown = [name for name in said if name in present] or present[:1]
    mean = {name: f"{statistics.mean(results[name]['errors']):.0f}" for name in shown}
    plots.title(figure, ", ".join(f"{mean[name]} {said.get(name, 'by ' + NAMES[name][0])}" for name in shown))


def save_logits(path: Path, transfer: md.TransferSet, about: dict[str, Any]) -> None:
    """Write what the package embeds: teachers' logits on the training images, and what they are of."""
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, transfer.backend.to_host(transfer.unmoved).astype(np.float16))
    write_json(path.with_suffix(".json"), about | {"commit": commit()})


if __name__ == "__main__":
    run(main)
