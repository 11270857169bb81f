"""What every example has in common: its options, its exit codes, its table, its JSON and its figure."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import plots

import minidistill as md
from minidistill import shell
from minidistill.checks import check_count

QUICK_ROWS = 6_000  # training images of the quick preset
QUICK = "\n--quick shows how this script works; its trainings are too short for the effect, so leave it out to see that"


def parser(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """Return the options of every example, where `seeds` is the default of --seeds."""
    options = argparse.ArgumentParser(description=description, allow_abbrev=False)
    options.set_defaults(preset="default")
    options.add_argument("--backend", choices=("numpy", "cupy"), help="arrays; else $MINIDISTILL_BACKEND or numpy")
    options.add_argument("--seeds", type=int, default=seeds, metavar="R", help="students (default: %(default)s)")
    length = options.add_mutually_exclusive_group()
    kind: dict[str, Any] = {"dest": "preset", "action": "store_const"}
    length.add_argument("--quick", **kind, const="quick", help="a look in seconds; its numbers mean little")
    length.add_argument("--full", **kind, const="full", help="train far longer, towards the quality of the paper")
    options.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="keep finished trainings there (default: %(default)s); one is found again by its recipe, seeds, data, "
        "backend and versions, and by what the same recipe and loss make of a tiny training",
    )
    options.add_argument("--data", type=Path, metavar="DIR", help="folder with four IDX files instead of MNIST")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options.add_argument("--figure", type=Path, metavar="FILE", help="draw the results there (.png, .svg, .pdf, ...)")
    return options


def start(
    arguments: argparse.Namespace, quick_rows: int | None = QUICK_ROWS, outputs: dict[str, Path] | None = None
) -> tuple[md.Dataset, md.Dataset]:
    """Check the options, switch the backend and return the preset's training set and the test set.

    quick_rows: how many training images --quick uses; None for all. outputs: the files that are written beside --json
    and --figure, by their options. What would otherwise fail after minutes of work fails here. Raises md.ArgumentError
    for an option, md.DataError for the data.
    """
    check_count("--seeds", arguments.seeds, at_most=1000)
    shell.check_outputs({"--json": arguments.json, "--figure": arguments.figure} | (outputs or {}))
    if arguments.figure:
        endings = plots.pyplot().FigureCanvasBase.get_supported_filetypes()
        if arguments.figure.suffix.lower().removeprefix(".") not in endings:
            raise md.ArgumentError(f"--figure must end in .png, .svg or .pdf, got {str(arguments.figure)!r}")
    try:
        arguments.runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise md.ArgumentError(
            f"--runs must be a folder that can be made, got {str(arguments.runs)!r}: {error}"
        ) from None
    if arguments.backend:
        md.set_backend(arguments.backend)
    if md.get_backend().name == "cupy":
        print("On its first use CuPy compiles its kernels, for some seconds.", file=sys.stderr)
    train, test = md.load_images(arguments.data) if arguments.data else md.mnist()
    return train.subset(slice(quick_rows)) if arguments.preset == "quick" else train, test


def record(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Return what results are worth little without. seconds: the time of all trainings, also of those found again."""
    backend = md.get_backend()
    return {
        "preset": arguments.preset,
        "seeds": arguments.seeds,
        "data": str(arguments.data) if arguments.data else "MNIST",
        "backend": backend.name,
        "device": backend.device(),
        "versions": {"minidistill": md.__version__, **backend.versions()},
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": seconds,
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> float | None:
    """Return the most memory that this process has held, or None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)


def commit() -> str | None:
    """Return the commit of this checkout, with "+" behind it if files were changed since; None outside of one."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def footer(results: dict[str, Any]) -> str:
    """Return the last line of every report."""
    where = f"{results['backend']} on {results['device']}"
    seeds = f"{results['seeds']} seed{'s' if results['seeds'] > 1 else ''}"
    return f"preset {results['preset']}, {seeds}, {where}, trainings of {results['seconds']:.0f} s"


def finish(
    arguments: argparse.Namespace,
    seconds: float,
    results: dict[str, Any],
    report: Callable[[dict[str, Any]], str],
    draw: plots.Draw,
) -> None:
    """Write the JSON and the figure that were asked for, and print the report of the results and their record."""
    results = record(arguments, seconds) | results
    if arguments.json:  # first: whoever reads standard output may close it
        write_json(arguments.json, results)
        print(f"results written to {arguments.json}", file=sys.stderr)
    if arguments.figure:
        plots.save(arguments.figure, results, draw)
    if arguments.preset == "quick":
        print(QUICK)
    print(report(results))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write the content as JSON, whole or not at all."""
    with shell.whole_file(path) as unfinished:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run(main: Callable[[], None]) -> None:
    """Call main as the whole of a script, and end the process with the exit code that shell.run gives it."""
    sys.exit(shell.run(main))


def mean_and_spread(values: Sequence[float]) -> str:
    """Return mean and sample standard deviation, "120.3 ± 4.2"; the number alone if there is only one."""
    if len(values) == 1:
        return f"{values[0]:g}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def table(rows: Sequence[Sequence[object]]) -> str:
    """Return rows of cells as aligned text: the first column to the left, others to the right, the head ruled off."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
