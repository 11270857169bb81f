"""Classes that the student never sees: a transfer set without 3s, with 7s and 8s alone, and without each digit in turn.

The soft targets of other digits tell a student what a 3 looks like; only its bias for 3 is far too low. The paper
raises that bias by the value that is best on the test set (3.5). Here it is found without a test label, from what the
student would see in use: on unlabelled training images the mean probability of every class must be its prior, 1/10.
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

PAPER = {"no 3": "206 → 109", "7 and 8 alone": "4730 → 1320"}
EPOCHS = {"quick": 4, "default": 8, "full": 20}
SETS = {"no 3": [d for d in range(10) if d != 3], "7 and 8 alone": [7, 8]}


def main() -> None:
    options = parser(__doc__, seeds=3)
    others = [d for d in range(10) if d != 3]
    options.add_argument("--digits", type=int, nargs="*", choices=others, help="left out in turn; all, --quick: none")
    arguments = options.parse_args()
    train, test = start(arguments)
    kind, store = arguments.preset, Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    recipe = replace(suited(SOFT[kind], arguments), epochs=EPOCHS[kind])
    if transfer.classes != 10:
        raise md.ArgumentError(f"--data must hold the ten digits, or ten other classes, got {transfer.classes}")
    labels, test_labels = (data.backend.to_host(data.labels) for data in (transfer, test))
    found: dict[str, Any] = {}
    left_out = arguments.digits if arguments.digits is not None else [] if kind == "quick" else others
    for name, kept in (SETS | {f"no {out}": [d for d in range(10) if d != out] for out in left_out}).items():
        part = transfer.subset(np.flatnonzero(np.isin(labels, kept)))
        unseen = [d for d in range(transfer.classes) if d not in kept]
        by_way: dict[str, Any] = {}
        for student in store.train_each(recipe, part, range(arguments.seeds), f"transfer set: {name}"):
            z, z_train = (test.backend.to_host(student.predict(data.inputs)) for data in (test, transfer))
            ways = {"as trained": np.zeros(transfer.classes), "prior": bias_by_prior(z_train, unseen),
                    "test labels": bias_by_test_labels(z, test_labels, unseen)}  # fmt: skip
            for way, bias in ways.items():
                wrong = (z + bias).argmax(axis=-1) != test_labels
                cell = by_way.setdefault(way, {"errors": [], "on_unseen": [], "bias": []})
                cell["errors"].append(int(wrong.sum()))
                cell["on_unseen"].append(int(wrong[np.isin(test_labels, unseen)].sum()))
                cell["bias"].append(float(bias[unseen].mean()))
        found[name] = {"unseen": int(np.isin(test_labels, unseen).sum()), "by": by_way}
    finish(arguments, store.seconds, {"sets": found}, report, draw)


def bias_by_prior(z: np.ndarray, unseen: list[int]) -> np.ndarray:
    """Return what to add to the logits z (M, N) of the unseen classes so that the mean probability of each is 1/N.

    A fixed point, as in iterative scaling: log(prior / mean probability) is added until it is 0.
    """
    N = z.shape[-1]
    bias = np.zeros(N)
    for _ in range(200):
        mean = md.softmax(z + bias, 1.0).mean(axis=0)
        bias[unseen] += np.log(1 / N / np.maximum(mean[unseen], 1e-12))
    return bias


def bias_by_test_labels(z: np.ndarray, labels: np.ndarray, unseen: list[int]) -> np.ndarray:
    """Return the paper's bias: one number for all unseen classes, the best of a grid on the test set itself."""
    is_unseen = np.isin(np.arange(z.shape[-1]), unseen)
    grid = np.arange(0, 20.1, 0.1)
    return is_unseen * grid[int(np.argmin([((z + is_unseen * b).argmax(-1) != labels).sum() for b in grid]))]


def report(results: dict[str, Any]) -> str:
    """Return a row for each transfer set: errors on all test images, and on those of unseen classes."""
    head = ["transfer set", "as trained", "bias by prior", "bias by test labels", "paper"]
    rows: list[list[object]] = [[*head, "unseen", "as trained", "by prior", "bias"]]
    for name, one in results["sets"].items():
        all_errors = [mean_and_spread(cell["errors"]) for cell in one["by"].values()]
        on_unseen = [f"{statistics.mean(one['by'][way]['on_unseen']):.0f}" for way in ("as trained", "prior")]
        bias = f"{statistics.mean(one['by']['prior']['bias']):+.1f}"
        paper = PAPER.get(name, "-") if results["data"] == "MNIST" else "-"
        rows.append([name, *all_errors, paper, one["unseen"], *on_unseen, bias])
    note = "errors on the test set, then on its images of unseen classes; the paper's after → are tuned on the test set"
    return f"\n{table(rows)}\n\n{note}\n{footer(results)}"


def recognised(one: dict[str, Any], way: str) -> float:
    """Return the share, in percent, of the test images of unseen classes that are right."""
    return 100 * (1 - statistics.mean(one["by"][way]["on_unseen"]) / one["unseen"])


def finding(results: dict[str, Any]) -> str:
    """Say how many 3s a student recognises that never saw one."""
    no_3 = results["sets"]["no 3"]
    return (
        f"A student that never saw a 3 recognises {recognised(no_3, 'as trained'):.0f}% of them, "
        f"and {recognised(no_3, 'prior'):.0f}% with the bias that the prior gives it"
    )


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw the share of unseen test images that each way gets right, a row for each transfer set."""
    names = list(results["sets"])
    for way in ("as trained", "prior", "test labels"):
        share = [recognised(one, way) for one in results["sets"].values()]
        axes.plot(share, range(len(names)), linestyle="", label=way if way == "as trained" else f"bias by {way}")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="% of the test images of unseen classes that are right", xlim=(0, 101))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.legend(loc="lower left")
    figure.set_size_inches(7, 1.6 + 0.3 * len(names))
    plots.title(figure, finding(results))


if __name__ == "__main__":
    run(main)
