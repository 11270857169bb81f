"""What soft targets know that labels do not: which 2s look like a 3, and which like a 7.

Of all training images of a digit, those on which the teacher's second choice is strongest, with p at T = 1, 4 and 20.
"""

from typing import Any

import numpy as np
import plots
from common import finish, footer, parser, run, start, table
from store import Store, soft_targets

import minidistill as md

TEMPERATURES = (1.0, 4.0, 20.0)
PAIRS = ((2, 3), (2, 7), (4, 9), (7, 1), (5, 6), (8, 3))  # a digit, and the digit that it looks like


def main() -> None:
    arguments = parser(__doc__, seeds=1).parse_args()
    train, _ = start(arguments)
    store = Store(arguments.runs)
    transfer = soft_targets(arguments, store, train)
    to_host = train.backend.to_host
    v, labels, images = to_host(transfer.unmoved), to_host(transfer.labels), to_host(transfer.inputs)
    found = []
    for digit, other in PAIRS:
        right = np.flatnonzero((labels == digit) & (v.argmax(axis=-1) == digit))
        if not len(right) or max(digit, other) >= transfer.classes:
            raise md.ArgumentError(f"--data must hold images of class {digit} that the teacher gets right, got none")
        near = right[np.argmax(v[right, other] - v[right, digit])]  # the most like `other` that is still the digit
        p = [md.softmax(v[near : near + 1], T)[0] for T in TEMPERATURES]
        found.append({"digit": digit, "like": other, "index": int(near), "p": np.round(p, 6).tolist(),
                      "image": images[near].tolist()})  # fmt: skip
    mean = [md.softmax(v[labels == d].astype(np.float64), 4.0).mean(axis=0).tolist() for d in range(transfer.classes)]
    finish(arguments, store.seconds, {"found": found, "mean_p_at_4": mean}, report, draw)


def report(results: dict[str, Any]) -> str:
    """Return p of each digit and of its likeness at every temperature, and what digits look like on average."""
    head = [f"p at T = {T:g}" for T in TEMPERATURES]
    rows: list[list[object]] = [["training image", "digit", "like", *head]]
    for one in results["found"]:
        pairs = [f"{p[one['digit']]:.3f} / {p[one['like']]:.3f}" for p in one["p"]]
        rows.append([one["index"], one["digit"], one["like"], *pairs])
    order = [np.argsort(p)[::-1][1:4].tolist() for p in results["mean_p_at_4"]]
    typical = ", ".join(f"{d} like {' '.join(map(str, others))}" for d, others in enumerate(order))
    return f"\n{table(rows)}\n\nmost alike on average, T = 4: {typical}\n{footer(results)}"


def finding(results: dict[str, Any]) -> str:
    """Say what the rows have in common."""
    pairs = ", ".join(f"a {one['digit']} like a {one['like']}" for one in results["found"])
    return f"Each image has a second class of its own, and a higher T shows it: {pairs}"


def draw(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a row for each image: the digit, and its soft targets at each temperature."""
    cells(results, figure, axes, lambda p, T: p, (0, 1), "p")
    plots.title(figure, finding(results), 92)


def draw_gradient(results: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw a row for each image: T² (q - p)/T, for a student that knows nothing, whose q is 1/N."""
    cells(results, figure, axes, lambda p, T: T * (1 / len(p) - p), None, "T² ∂C/∂z")
    text = "A step goes against the gradient: below 0, a logit is pushed up. A higher T tells more classes apart"
    plots.title(figure, text, 92)


def cells(results: dict[str, Any], figure: Any, axes: Any, of: Any, limits: Any, label: str) -> None:
    """Draw a row for each image, and bars of of(p, T) for each T: the label's class dark, its likeness hatched."""
    axes.remove()
    rows = results["found"]
    grid = figure.subplots(len(rows), 1 + len(TEMPERATURES), width_ratios=[0.55, 1, 1, 1], sharex=False)
    for number, (line, one) in enumerate(zip(grid, rows, strict=True)):
        line[0].imshow(one["image"], cmap="gray_r")
        line[0].set_title(f"label {one['digit']}", fontsize=8.5, loc="center")
        line[0].axis("off")
        for cell, p, T in zip(line[1:], one["p"], TEMPERATURES, strict=True):
            bars = cell.bar(range(len(p)), of(np.array(p), T), color=plots.REST)
            bars[one["digit"]].set_facecolor(plots.DARK)
            bars[one["like"]].set(facecolor=plots.LIGHT, hatch="////", edgecolor="black", linewidth=0.5)
            cell.set_xticks(range(len(p)))
            cell.tick_params(labelsize=7)
            cell.grid(axis="x", visible=False)
            if limits:
                cell.set(ylim=limits, yticks=(0, 0.5, 1))
            if number == 0:
                cell.set_title(f"T = {T:g}", fontsize=9.5, loc="center")
            if number == len(rows) - 1:
                cell.set_xlabel("class", fontsize=8.5)
        line[1].set_ylabel(label, fontsize=8.5)
    figure.legend([bars[rows[-1]["digit"]], bars[rows[-1]["like"]]], ["the label's class", "the class it resembles"],
                  loc="outside lower right", ncols=2)  # fmt: skip
    figure.set_size_inches(8, 0.9 + 1.15 * len(rows))


if __name__ == "__main__":
    run(main)
