"""Distil your own: files of inputs and of teachers' logits in, a student in a folder out; and its predictions.

Left out: jitter, and logits for moved images, which need a teacher that can be asked (TransferSet.from_teacher).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from .backend import get_backend
from .checks import ArgumentError, check_count, check_items, check_number
from .datasets import Dataset, TransferSet, read_array, read_labels
from .ensemble import arithmetic_mean, geometric_mean
from .fused import DenseReLU
from .layers import Dense, Layer
from .measure import errors
from .network import Network
from .objective import Objective
from .optim import AdamW
from .parallel import ParallelNetwork, Ranks
from .schedules import linear_decay
from .shell import whole_file
from .softmax import softmax
from .standardise import Standardise
from .train import fit

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)  # among which "auto" chooses
ROWS = 10_000  # predicted at a time


@dataclass
class Settings:
    """Describe a distillation, all but its data.

    hidden: units of each hidden layer. temperature: T > 0, or "auto": the best of TEMPERATURES on the validation rows,
    trained side by side. soft_weight: α in [0, 1]; None: 0.9 with labels, else 1. mean: of several teachers,
    "geometric" or "arithmetic". validation: the share of the rows that choose the epoch and the temperature, in
    (0, 0.9]. learning_rate: AdamW's, at its peak. dtype: the network's.
    """

    hidden: Sequence[int] = (800, 800)
    temperature: float | str = 4.0
    soft_weight: float | None = None
    mean: str = "geometric"
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 1e-3
    dropout: float = 0.0
    validation: float = 0.1
    seed: int = 0
    dtype: str = "float32"


def teachers_mean(logits: Sequence[np.ndarray], settings: Settings) -> np.ndarray:
    """Return the logits (N, classes) of one teacher, or of several together. Raises ArgumentError if they disagree."""
    shapes = {array.shape for array in logits}
    if len(shapes) > 1:
        raise ArgumentError(f"--teacher-logits must be of one shape, got {' and '.join(map(str, sorted(shapes)))}")
    if settings.mean not in ("geometric", "arithmetic"):
        raise ArgumentError(f"--mean must be geometric or arithmetic, got {settings.mean!r}")
    if len(logits) == 1:
        return logits[0]
    if settings.mean == "geometric":
        return np.asarray(geometric_mean(np.stack(logits)))
    if settings.temperature == "auto":
        raise ArgumentError("--temperature must be a number for an arithmetic mean, which holds at one T, got auto")
    return np.asarray(arithmetic_mean(np.stack(logits), float(settings.temperature)))


def distil(
    data: TransferSet,
    settings: Settings,
    progress: bool = True,
    checkpoint: Path | None = None,
    ranks: Ranks | None = None,
) -> tuple[Network, dict[str, Any]]:
    """Train a student of the transfer set, and return it with a summary of what it reached on the validation rows.

    It is the student of the epoch, and of the temperature, with the fewest errors there: against the labels, or without
    labels against the teacher's classes. checkpoint: as in fit. ranks: those that train it together, each calling this
    (parallel.py). Raises ArgumentError, DataError, Diverged.
    """
    hidden = [check_count("hidden", units) for units in check_items("hidden", settings.hidden, int, at_least=0)]
    alpha = settings.soft_weight if settings.soft_weight is not None else 1.0 if data.labels is None else 0.9
    check_number("soft_weight", alpha, at_least=0, at_most=1)
    if data.labels is None and alpha < 1:
        raise ArgumentError(f"soft_weight must be 1 without labels, got {alpha}")
    if data.classes < 2:
        raise ArgumentError(f"logits must be of at least 2 classes, got {data.classes}: there is nothing to tell apart")
    check_number("validation", settings.validation, above=0, at_most=0.9)
    training, validation = data.split(settings.validation, check_count("seed", settings.seed, at_least=0))
    judged = _judged(validation)
    several = settings.temperature == "auto"
    temperatures = TEMPERATURES if several else (check_number("temperature", settings.temperature, above=0),)
    seeds: int | list[int] = [settings.seed] * len(temperatures) if several else settings.seed
    network = (ParallelNetwork if ranks else Network)(
        _layers(training, hidden, settings.dropout), seeds, settings.dtype
    )
    if isinstance(network, ParallelNetwork):
        network.ranks = ranks
    objective = Objective(list(temperatures) if several else temperatures[0], alpha)
    optimizer = AdamW(linear_decay(settings.learning_rate, warmup=0.1))
    options: dict[str, Any] = {"epochs": settings.epochs, "batch_size": settings.batch_size, "progress": progress}
    options |= {"validation": judged, "keep_best": True, "checkpoint": checkpoint}
    history = fit(network, training, objective, optimizer, title="student", **options)
    best = np.min(history.errors, axis=0)  # (temperatures,)
    chosen = int(best.argmin())
    student: Network = network.replica(chosen) if several else network
    summary = {
        "settings": asdict(settings) | {"temperature": temperatures[chosen], "soft_weight": alpha},
        "rows": {"training": len(training), "validation": len(validation)},
        "validation_errors": int(best[chosen]),
        "errors_against": "labels" if data.labels is not None else "the teacher's classes",
        "agreement": 1 - np.sum(errors(student, _judged(validation, by_teacher=True))) / len(validation),
        "temperatures": dict(zip(map(str, temperatures), best.tolist(), strict=True)),
        "curve": history.errors,
        "loss": history.loss,
    }
    return student, summary


def save_student(student: Network, summary: dict[str, Any], folder: Path, labels: Sequence[str] | None = None) -> None:
    """Write the student, its summary, and where matplotlib is installed its learning curve."""
    student.save(folder, labels)
    with whole_file(folder / "summary.json") as path:
        path.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    try:
        import matplotlib
    except ImportError:
        print("no figure: matplotlib is not installed (the extra `plots`)", file=sys.stderr)
        return
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    curve = np.array(summary["curve"]) / summary["rows"]["validation"]  # (epochs, temperatures)
    for i, T in enumerate(summary["temperatures"]):
        axes.plot(range(1, len(curve) + 1), 100 * curve[:, i], label=f"T = {float(T):g}")
    axes.set(xlabel="epoch", ylabel=f"% of validation rows unlike {summary['errors_against']}", ylim=(0, None))
    axes.set_title(f"The student errs on {100 * curve.min():.2g}% of the validation rows at best", fontsize=10)
    axes.legend()
    with whole_file(folder / "curve.png") as path:
        figure.savefig(path, dpi=150, format="png")
    plt.close(figure)


def report(summary: dict[str, Any]) -> str:
    """Return the summary as a few lines."""
    held_out, wrong = summary["rows"]["validation"], summary["validation_errors"]
    rows = [
        ("rows", f"{summary['rows']['training']:,} to train on, {held_out:,} to validate on"),
        ("temperature", f"{summary['settings']['temperature']:g}"),
        ("soft weight", f"{summary['settings']['soft_weight']:g}"),
        ("errors", f"{wrong:,} of {held_out:,} ({wrong / held_out:.2%}) against {summary['errors_against']}"),
        ("agreement", f"{summary['agreement']:.2%} with the teacher"),
        ("parameters", f"{summary['parameters']:,}, {summary['bytes']:,} bytes"),
        ("latency", f"{summary['latency_us']:.0f} µs for one row, {summary['per_second']:,.0f} rows/s in batches"),
    ]
    return "\n".join(f"{name:12} {text}" for name, text in rows)


def predict(folder: Path, inputs: Path, out: Path, probabilities: bool = False) -> int:
    """Write the logits, or the probabilities at T = 1, of all rows of a file, as .npy, and return how many there are.

    A single row (n_in,) is taken as one. The rows are read and written in blocks. Raises DataError, ArgumentError.
    """
    network, x = Network.load(folder), read_array("--inputs", inputs)
    if network.replica_shape:
        raise ArgumentError(f"{folder} must hold one network, got {network.replicas} replicas")
    if x.ndim == 1 or (x.ndim == 2 and x.shape[-1] != network.n_in and x.size == network.n_in):
        x = x[None]
    if out.suffix != ".npy":
        raise ArgumentError(f"--out must end in .npy, got {str(out)!r}")
    with whole_file(out) as unfinished:
        z = np.lib.format.open_memmap(unfinished, "w+", network.dtype, (len(x), network.n_out))
        for start in range(0, len(x), ROWS):
            block = network.backend.to_host(network.predict(np.ascontiguousarray(x[start : start + ROWS])))
            z[start : start + ROWS] = softmax(block) if probabilities else block
        z.flush()
        del z
    return len(x)


def transfer_set(
    inputs: Path, teachers: Sequence[Path], labels: Path | None, settings: Settings, probabilities: bool
) -> TransferSet:
    """Return what these files hold. Raises DataError, ArgumentError."""
    logits = [read_array("--teacher-logits", path) for path in teachers]
    if probabilities:
        smallest = np.finfo(np.float64).tiny  # for 0, as in TransferSet
        logits = [np.log(np.maximum(_checked(p), smallest)) for p in logits]
    v = teachers_mean(logits, settings)
    y = None if labels is None else read_labels(labels)
    return TransferSet(read_array("--inputs", inputs), v, y, get_backend(), False if probabilities else None)


def _checked(p: np.ndarray) -> np.ndarray:
    """Return probabilities, or raise ArgumentError."""
    if p.ndim != 2 or not ((p >= 0) & (p <= 1.05)).all() or not (abs(p.sum(axis=-1) - 1) < 0.05).all():
        raise ArgumentError("--teacher-probabilities must be rows in [0, 1] that sum to 1: leave it out for logits")
    return p


def _layers(data: Dataset, hidden: Sequence[int], dropout: float) -> list[Layer]:
    sizes = [data.n_in, *hidden]
    stack: list[Layer] = [Standardise.of(data.inputs, data.backend.to_host)]
    stack += [DenseReLU(n, m, dropout) for n, m in pairwise(sizes)]
    return [*stack, Dense(sizes[-1], data.classes)]


def _judged(data: TransferSet, by_teacher: bool = False) -> Dataset:
    """Return the rows with the labels that errors are counted against."""
    judged = data.subset(slice(None))
    if data.labels is None or by_teacher:
        judged.labels = data.unmoved.argmax(axis=-1)
    return judged
