"""The main result of the paper's section 3, on real MNIST: a large teacher, a small network trained plainly, and the
same small network trained on the teacher's soft targets, compared by their errors on the test set.
"""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from common import mean_and_spread, parser, preset, pyplot, run, save, start, table

import minidistill as md
from minidistill.measure import prediction_cost

PAPER = {"teacher": 67, "baseline": 146, "student": 74}  # Hinton, Vinyals, Dean 2015, section 3
NAMES = {"teacher": "teacher", "baseline": "student, hard labels", "student": "student, soft targets"}


@dataclass(frozen=True)
class Preset:
    """Chosen by single trainings on the first 50,000 training images and their errors on the last 10,000."""

    teacher_epochs: int
    student_epochs: int
    train_size: int | None = None  # None: all
    teacher_batch: int = 256
    teacher_rate: float = 0.3
    input_dropout: float = 0.0
    hidden_dropout: float = 0.2
    student_batch: int = 128
    baseline_rate: float = 0.2
    distillation_rate: float = 0.1
    temperature: float = 20.0
    alpha: float = 1.0  # soft targets alone


PRESETS = {
    "quick": Preset(teacher_epochs=5, student_epochs=4, train_size=10_000, temperature=4.0, distillation_rate=0.1),
    "default": Preset(teacher_epochs=12, student_epochs=8),
    "full": Preset(teacher_epochs=60, student_epochs=40, teacher_rate=0.2, input_dropout=0.1, hidden_dropout=0.25),
}


def scaled(chosen: Preset, factor: float) -> Preset:
    """The preset with its learning rates times `factor`: they were chosen for MNIST, whose images are mostly black."""
    if not factor > 0:
        raise md.ArgumentError(f"--rate must be > 0, got {factor}")
    names = ("teacher_rate", "baseline_rate", "distillation_rate")
    return replace(chosen, **{name: factor * getattr(chosen, name) for name in names})


def train_teacher(data: md.Dataset, hidden: int, chosen: Preset) -> md.Network:
    """Dropout on inputs and hidden units, images jittered by up to two pixels."""
    sizes = [data.n_in, hidden, hidden, data.classes]
    teacher = md.Network.mlp(sizes, input_dropout=chosen.input_dropout, dropout=chosen.hidden_dropout)
    optimizer = md.SGD(md.linear(chosen.teacher_rate, warmup=0.1))
    epochs, batch_size = chosen.teacher_epochs, chosen.teacher_batch
    md.fit(teacher, data, md.Objective(), optimizer, epochs=epochs, batch_size=batch_size, jitter=2, title="teacher")
    return teacher


def train_students(data: md.Dataset, objective: md.Objective, rate: float, seeds: int, chosen: Preset) -> md.Network:
    """Two hidden layers of 800 units, no jitter, no dropout; all seeds at once, as replicas."""
    students = md.Network.mlp([data.n_in, 800, 800, data.classes], seeds=range(seeds))
    optimizer = md.SGD(md.linear(rate, warmup=0.1))
    title = "soft targets" if objective.alpha else "hard labels"
    epochs, batch_size = chosen.student_epochs, chosen.student_batch
    md.fit(students, data, objective, optimizer, epochs=epochs, batch_size=batch_size, title=title)
    return students


def main() -> None:
    options = parser(__doc__, seeds=3)
    options.add_argument("--hidden", type=int, default=1600, choices=(1200, 1600), help="units in a teacher's layer")
    options.add_argument(
        "--rate", type=float, metavar="F", help="factor on every learning rate; 1, or 0.4 with --data (brighter images)"
    )
    arguments = options.parse_args()
    began = time.perf_counter()
    train, test = start(arguments)
    factor = arguments.rate if arguments.rate is not None else 0.4 if arguments.data else 1.0
    chosen = scaled(PRESETS[preset(arguments)], factor)
    train = train.subset(slice(chosen.train_size))

    teacher = train_teacher(train, arguments.hidden, chosen)
    transfer = md.TransferSet.from_teacher(teacher, train)  # the teacher's logits, computed once
    soft = md.Objective(chosen.temperature, chosen.alpha)
    networks = {
        "teacher": teacher,
        "baseline": train_students(train, md.Objective(), chosen.baseline_rate, arguments.seeds, chosen),
        "student": train_students(transfer, soft, chosen.distillation_rate, arguments.seeds, chosen),
    }
    results: dict[str, Any] = {
        "preset": preset(arguments),
        "backend": teacher.backend.name,
        "device": teacher.backend.device(),
        "versions": {"minidistill": md.__version__, "numpy": np.__version__},
        "hidden": arguments.hidden,
        "hyperparameters": asdict(chosen),
        "seeds": arguments.seeds,
    }
    for name, network in networks.items():
        results[name] = {"errors": np.ravel(md.errors(network, test)).tolist(), "test_size": len(test)}
        results[name] |= asdict(prediction_cost(network.replica(0)))
    results["seconds"] = time.perf_counter() - began
    print(report(results, paper=not arguments.data))
    save(arguments.json, results)
    if arguments.figure:
        draw(results, arguments.figure, paper=not arguments.data)


def report(results: dict[str, Any], paper: bool) -> str:
    """Two tables, errors and costs, and what distillation gained."""
    errors = {name: results[name]["errors"] for name in NAMES}
    rows: list[list[object]] = [["test errors", "mean ± sd", "each seed", "paper"]]
    for name, label in NAMES.items():
        each = " ".join(map(str, errors[name]))
        rows.append([label, mean_and_spread(errors[name]), each, PAPER[name] if paper else "-"])
    costs: list[list[object]] = [["cost of deployment", "parameters", "bytes", "one image", "images/s in batches"]]
    for name, label in NAMES.items():
        r = results[name]
        latency = f"{r['latency_us']:,.0f} µs"
        costs.append([label, f"{r['parameters']:,}", f"{r['bytes']:,}", latency, f"{r['per_second']:,.0f}"])
    gain = statistics.mean(errors["baseline"]) - statistics.mean(errors["student"])
    gap = statistics.mean(errors["baseline"]) - statistics.mean(errors["teacher"])
    share = f", {gain / gap:.0%} of the way to the teacher" if gap > 0 and gain > 0 else ""
    verb = "saved" if gain >= 0 else "cost"
    size, seconds = results["student"]["test_size"], results["seconds"]
    return (
        f"\n{table(rows)}\n\n{table(costs)}\n"
        f"\nof {size:,} test images, soft targets {verb} {abs(gain):.1f} errors{share}"
        f"\npreset {results['preset']}, {results['backend']} on {results['device']}, {seconds:.0f} s"
    )


def draw(results: dict[str, Any], path: Any, paper: bool) -> None:
    """A dot for each seed, a line at their mean, a cross at the paper's number."""
    figure, axes = pyplot().subplots(figsize=(7, 2.6), layout="constrained")
    labels = []
    for row, (name, label) in enumerate(NAMES.items()):
        errors = results[name]["errors"]
        labels.append(f"{label}\n{mean_and_spread(errors)}")
        axes.plot(errors, [row] * len(errors), "o", color=f"C{row}", alpha=0.6)
        axes.plot([statistics.mean(errors)] * 2, [row - 0.3, row + 0.3], color=f"C{row}", linewidth=2)
        if paper:
            axes.plot(PAPER[name], row, "kx", label="the paper's" if row == 0 else None)
    axes.set(xlabel=f"errors on {results['teacher']['test_size']:,} test images", ylim=(2.6, -0.6))
    axes.set_yticks(range(len(labels)), labels)
    if paper:
        axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    run(main)
