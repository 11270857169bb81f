"""The look of every figure: readable in grey and by the colour-blind, a title that states the finding, plain numbers.

The examples draw by it, and tools/figures.py redraws what is in docs/results.
"""

import hashlib
import json
import statistics
import textwrap
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import minidistill as md
from minidistill.shell import whole_file

DARK, LIGHT, MIDDLE, REST = "#0072B2", "#E69F00", "#009E73", "#B8C4CC"  # of Okabe and Ito, apart in grey too
STYLE = {
    "axes.grid": True, "axes.spines.right": False, "axes.spines.top": False, "axes.titlelocation": "left",
    "axes.titlesize": 11, "font.size": 9.5, "grid.color": "#E4E8EB", "grid.linewidth": 0.6, "axes.axisbelow": True,
    "legend.frameon": False, "lines.linewidth": 1.6, "lines.markersize": 5.5,
}  # fmt: skip
KINDS = ((DARK, "o", "-"), (LIGHT, "s", "--"), (MIDDLE, "^", "-."), ("#CC79A7", "D", ":"), ("#444444", "v", "-"))
Draw = Callable[[dict[str, Any], Any, Any], None]


def pyplot() -> Any:
    """Return matplotlib.pyplot, set to draw to files only. Raises md.ArgumentError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise md.ArgumentError("--figure needs matplotlib, which the extra 'plots' installs") from None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


def save(path: Path, results: dict[str, Any], draw: Draw) -> None:
    """Call draw(results, figure, axes) and write the figure, whole or not at all; a PNG names the results' digest."""
    plt = pyplot()
    kind = path.suffix.lower().removeprefix(".")
    with plt.rc_context(STYLE):
        colours, markers, lines = zip(*KINDS, strict=True)
        plt.rc("axes", prop_cycle=plt.cycler(color=colours, marker=markers, linestyle=lines))
        figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
        draw(results, figure, axes)
        with whole_file(path) as unfinished:
            metadata = {"Description": digest(results)} if kind == "png" else None
            figure.savefig(unfinished, dpi=150, format=kind, metadata=metadata)
        plt.close(figure)


def digest(results: dict[str, Any]) -> str:
    """Return a digest of results, the same before they are written as JSON and after."""
    return hashlib.sha256(json.dumps(json.loads(json.dumps(results)), sort_keys=True).encode()).hexdigest()[:16]


def title(figure: Any, text: str, width: int = 78) -> None:
    """State the finding above the whole figure."""
    figure.suptitle(textwrap.fill(text, width), x=0.01, ha="left", fontsize=11)


def plain(axis: Any, ticks: Iterable[float], log: bool = True) -> None:
    """Mark these places alone, on a logarithmic axis unless told otherwise, as a person reads them: 300, not 3·10²."""
    from matplotlib.ticker import NullFormatter, NullLocator

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log" if log else "linear")
    axis.set_ticks(
        list(ticks), [f"{tick:,g}" if 1e-4 <= tick < 1e6 else f"{tick:.0e}".replace("e-0", "e-") for tick in ticks]
    )
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def round_ticks(values: Iterable[float]) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten that span the values; no value, or only zeros, count as 1."""
    positive = [value for value in values if value > 0] or [1]
    low, high = min(positive), max(positive)
    ladder = [m * 10.0**e for e in range(-12, 13) for m in (1, 2, 5)]
    first = max(i for i, tick in enumerate(ladder) if tick <= low)
    last = min(i for i, tick in enumerate(ladder) if tick >= high)
    return ladder[first : last + 1]


def dots(axes: Any, counts: dict[str, Sequence[float]], *, log: bool = False, strong: Sequence[str] = ()) -> None:
    """Draw for each name a row with a dot for each count, a line at their mean and its number; `strong` rows dark."""
    for row, (name, values) in enumerate(counts.items()):
        colour = DARK if name in strong or not strong else "#7A858C"
        axes.plot(values, [row] * len(values), "o", color=colour, alpha=0.55, markersize=5)
        if values:
            mean = statistics.mean(values)
            axes.plot([mean] * 2, [row - 0.28, row + 0.28], "-", marker="", color=colour, linewidth=2.2)
        shown = f"{statistics.mean(values):,.0f}" if values else "diverged"
        axes.annotate(shown, (1.01, row), xycoords=("axes fraction", "data"), va="center", color=colour)
    axes.annotate("mean", (1.01, -0.75), xycoords=("axes fraction", "data"), annotation_clip=False, fontsize=8)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="test errors, a dot for each seed", ylim=(len(counts) - 0.5, -0.5))
    if log:
        plain(axes.xaxis, round_ticks(value for values in counts.values() for value in values))
    axes.figure.set_size_inches(7, 1.1 + 0.36 * len(counts))
