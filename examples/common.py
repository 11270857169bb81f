"""What every example has in common: its options, its exit codes, its table, its JSON and its figure's file."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minidistill as md


def parser(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """--backend, --seeds, --quick, --full, --runs, --data, --json and --figure."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--backend", choices=("numpy", "cupy"), help="arrays; else $MINIDISTILL_BACKEND or numpy")
    options.add_argument("--seeds", type=int, default=seeds, metavar="R", help="students, which differ in their seed")
    length = options.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a look in seconds; its numbers mean little")
    length.add_argument("--full", action="store_true", help="train far longer, towards the quality of the paper")
    options.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="finished trainings are kept and found there; use another after changing the code",
    )
    options.add_argument("--data", type=Path, metavar="DIR", help="folder with four IDX files instead of MNIST")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    options.add_argument("--figure", type=Path, metavar="FILE", help="draw the results there (.png, .svg, .pdf)")
    return options


def start(arguments: argparse.Namespace) -> tuple[md.Dataset, md.Dataset]:
    """Check what would otherwise fail after minutes of work, switch the backend, and load the data."""
    if not 1 <= arguments.seeds <= 1000:
        raise md.ArgumentError(f"--seeds must be >= 1 and <= 1000, got {arguments.seeds}")
    for option in ("json", "figure"):
        path = getattr(arguments, option)
        if path is None:
            continue
        if path.is_dir() or not path.absolute().parent.is_dir():
            raise md.ArgumentError(f"--{option} must be a file in a folder that exists, got {str(path)!r}")
        if not os.access(path if path.exists() else path.absolute().parent, os.W_OK):
            raise md.ArgumentError(f"--{option} must be writable, got {str(path)!r}")
    if arguments.figure:
        endings = pyplot().figure().canvas.get_supported_filetypes()
        if arguments.figure.suffix.removeprefix(".") not in endings:
            raise md.ArgumentError(f"--figure must end in .png, .svg or .pdf, got {str(arguments.figure)!r}")
    try:
        arguments.runs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise md.ArgumentError(
            f"--runs must be a folder that can be made, got {str(arguments.runs)!r}: {error}"
        ) from None
    if arguments.backend:
        md.set_backend(arguments.backend)
    return md.load_images(arguments.data) if arguments.data else md.mnist()


def pyplot() -> Any:
    """matplotlib.pyplot, drawing to files only."""
    try:
        import matplotlib
    except ImportError:
        raise md.ArgumentError("--figure needs matplotlib, which the extra 'plots' installs") from None
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    return plt


def preset(arguments: argparse.Namespace) -> str:
    return "quick" if arguments.quick else "full" if arguments.full else "default"


def record(arguments: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """What results are worth little without. seconds: of all trainings, those found in --runs among them."""
    backend = md.get_backend()
    return {
        "preset": preset(arguments),
        "seeds": arguments.seeds,
        "data": str(arguments.data) if arguments.data else "MNIST",
        "backend": backend.name,
        "device": backend.device(),
        "versions": {"minidistill": md.__version__, "numpy": np.__version__},
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": seconds,
    }


def commit() -> str | None:
    """The commit of this checkout, "+" behind it if files were changed since; None outside of one."""
    here = Path(__file__).parent
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(command, cwd=here, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def footer(results: dict[str, Any]) -> str:
    """The last line of every report."""
    where = f"{results['backend']} on {results['device']}"
    seeds = f"{results['seeds']} seed{'s' if results['seeds'] > 1 else ''}"
    return f"preset {results['preset']}, {seeds}, {where}, trainings of {results['seconds']:.0f} s"


def finish(arguments: argparse.Namespace, results: dict[str, Any], report: str, draw: Callable[..., None]) -> None:
    """Print the report, and write what was asked for."""
    print(report)
    save(arguments.json, results)
    if arguments.figure:
        figure, axes = pyplot().subplots(figsize=(7, 4), layout="constrained")
        draw(results, figure, axes)
        figure.savefig(arguments.figure, dpi=150)


def run(main: Callable[[], None]) -> None:
    """Call main; an error that a user can mend is one line and exit code 2, an interruption is exit code 130."""
    try:
        main()
    except (md.MinidistillError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation, "120.3 ± 4.2"; the number alone if there is only one."""
    if len(values) == 1:
        return f"{values[0]:g}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows of cells as aligned text: the first column to the left, the others to the right, a rule below the head."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def save(path: Path | None, results: dict[str, Any]) -> None:
    """The results as JSON, if a path was asked for."""
    if path is not None:
        path.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        print(f"results written to {path}", file=sys.stderr)
