"""What every example has in common: its options, its exit codes, its table, its JSON and its figure's file."""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import minidistill as md


def parser(description: str | None, seeds: int) -> argparse.ArgumentParser:
    """--backend, --seeds, --quick, --full, --data, --json and --figure."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    options.add_argument("--backend", choices=("numpy", "cupy"), help="arrays; else $MINIDISTILL_BACKEND or numpy")
    options.add_argument("--seeds", type=int, default=seeds, metavar="R", help="students, which differ in their seed")
    length = options.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="a look in seconds; its numbers mean little")
    length.add_argument("--full", action="store_true", help="train far longer, towards the quality of the paper")
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
