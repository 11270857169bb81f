"""Is it really the teacher? The same student on targets that share one property of soft targets, and not the others.

shuffled rows: another image's soft targets, of the same class; label smoothing: as much entropy, no knowledge; class
means: what a class looks like, not what this image looks like; hard labels, matched: with the start of the soft
students and the size of their steps.
"""

import math
import statistics
from dataclasses import replace
from typing import Any

import numpy as np
import plots
from common import finish, footer, mean_and_spread, parser, run, start, table
from recipes import PLAIN, SOFT, Recipe, suited
from store import Store, soft_targets

import minidistill as md

EPOCHS = {"quick": 1, "default": 8, "full": 8}


def main() -> None:
    arguments = parser(__doc__, seeds=3).parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    hard, soft = (replace(suited(recipe[kind], arguments), epochs=EPOCHS[kind]) for recipe in (PLAIN, SOFT))
    to_host = train.backend.to_host
    v, y, T = to_host(transfer.unmoved).astype(np.float64), to_host(transfer.labels), float(soft.temperature)
    arms: dict[str, tuple[Recipe, Any]] = {
        "hard labels": (hard, v),
        "hard labels, matched": (replace(soft, learning_rate=matched_rate(v, y, T, soft.learning_rate), alpha=0.0), v),
        "label smoothing": (soft, smoothed(v, y, T)),
        "class means": (soft, class_means(v, y, T)),
        "shuffled rows, same class": (soft, v[shuffled(y, within_classes=True)]),
        "shuffled rows": (soft, v[shuffled(y, within_classes=False)]),
        "the teacher": (soft, v),
    }
    errors = {}
    for name, (recipe, logits) in arms.items():
        data = md.TransferSet(transfer.inputs, logits.astype(np.float32), transfer.labels)
        students = store.train_each(recipe, data, range(arguments.seeds), name)
        errors[name] = [md.errors(student, test) for student in students]
    finish(arguments, store.seconds, {"errors": errors}, report, draw)


def shuffled(y: np.ndarray, within_classes: bool) -> np.ndarray:
    """Return an order of the rows in which each gets another's, of its own class or of any."""
    rng = np.random.default_rng(0)
    if not within_classes:
        return rng.permutation(len(y))
    order = np.empty(len(y), dtype=np.int64)
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        order[rows] = rng.permutation(rows)
    return order


def smoothed(v: np.ndarray, y: np.ndarray, T: float) -> np.ndarray:
    """Return logits of p = 1 - ε on the label and ε/(N-1) elsewhere, with the teacher's mean entropy at T."""
    p = md.softmax(v, T)
    wanted, N = float(-(p * np.log(p)).sum(axis=-1).mean()), v.shape[-1]
    low, high = 1e-12, 1 - 1 / N
    for _ in range(60):  # the entropy grows with ε
        middle = (low + high) / 2
        entropy = -(1 - middle) * math.log(1 - middle) - middle * math.log(middle / (N - 1))
        low, high = (middle, high) if entropy < wanted else (low, middle)
    return T * np.log(np.where(np.arange(N) == y[:, None], 1 - low, low / (N - 1)))


def class_means(v: np.ndarray, y: np.ndarray, T: float) -> np.ndarray:
    """Return for every image the logits of its class's mean probabilities at T."""
    p = md.softmax(v, T)
    means = np.stack([p[y == label].mean(axis=0) for label in range(v.shape[-1])])
    return T * np.log(means[y])


def matched_rate(v: np.ndarray, y: np.ndarray, T: float, rate: float) -> float:
    """Return the rate at which hard labels take steps as long as the soft loss does, at the start, where z = 0."""
    z = np.zeros_like(v)
    _, soft = md.distillation(z, v, y, T, 1.0)
    _, hard = md.cross_entropy(z, y)
    return rate * float(np.linalg.norm(soft) / np.linalg.norm(hard))


def report(results: dict[str, Any]) -> str:
    """Return a row for each control: errors, and the share of the teacher's gain over hard labels that it explains."""
    mean = {name: statistics.mean(errors) for name, errors in results["errors"].items()}
    gain = mean["hard labels"] - mean["the teacher"]
    rows: list[list[object]] = [["targets", "test errors", "each seed", "share of the gain"]]
    for name, errors in results["errors"].items():
        share = f"{(mean['hard labels'] - mean[name]) / gain:.0%}" if gain > 0 else "-"
        rows.append([name, mean_and_spread(errors), " ".join(map(str, errors)), share])
    return f"\n{table(rows)}\n\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what the teacher's targets leave, labels, and the best of the controls."""
    mean = {name: statistics.mean(errors) for name, errors in results["errors"].items()}
    best = min((name for name in mean if name not in ("hard labels", "the teacher")), key=lambda name: mean[name])
    return (
        f"The teacher's own targets leave {mean['the teacher']:.0f} errors, labels {mean['hard labels']:.0f}, "
        f"and the best of the other targets, {best}, {mean[best]:.0f}"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a dot for each seed, a line at the mean."""
    plots.dots(axes, results["errors"], log=True, strong=["the teacher"])
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
