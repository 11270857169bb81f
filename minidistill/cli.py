"""The command line, `python -m minidistill`: info tells what it would run on, and with --bench how fast that is."""

import argparse
import platform
import sys
from collections.abc import Sequence

import numpy as np

from . import __version__
from .backend import get_backend, set_backend
from .checks import BackendUnavailable, MinidistillError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, or 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m minidistill", description="Knowledge distillation by hand.")
    parser.add_argument("--version", action="version", version=f"minidistill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="versions, backends, and with --bench the time of a prediction")
    info.add_argument("--backend", choices=("numpy", "cupy"), help="else $MINIDISTILL_BACKEND or numpy")
    info.add_argument("--bench", action="store_true", help="time predictions of teacher and student, some seconds")
    options = parser.parse_args(arguments)
    try:
        if options.backend:
            set_backend(options.backend)
        show_info()
        if options.bench:
            show_bench()
    except MinidistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def show_info() -> None:
    """Versions, the current backend, and whether CuPy could be one."""
    backend = get_backend()
    print(f"minidistill {__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"backend     {backend.name}: {type(backend).__name__} on {backend.device()}")
    if backend.name != "cupy":
        print(f"CuPy        {_cupy()}")


def _cupy() -> str:
    """Whether it could be used; it is not imported where it is not installed."""
    from .backend import CupyBackend

    try:
        return f"ready on {CupyBackend().device()}: --backend cupy, or MINIDISTILL_BACKEND=cupy"
    except BackendUnavailable as error:
        return f"not usable: {error}"


def show_bench() -> None:
    """Prediction with the paper's student and this project's teacher, freshly initialised."""
    from .measure import prediction_cost
    from .network import Network

    print(f"\n{'prediction':24}{'parameters':>12}{'one image':>12}{'images/s, batches of 1,000':>29}")
    for name, sizes in (("teacher", [784, 1600, 1600, 10]), ("student", [784, 800, 800, 10])):
        cost = prediction_cost(Network.mlp(sizes))
        label = f"{name} {'-'.join(map(str, sizes))}"
        print(f"{label:24}{cost.parameters:>12,}{cost.latency_us:>9,.0f} µs{cost.per_second:>29,.0f}")
