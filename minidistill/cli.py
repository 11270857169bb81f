"""The command line, `python -m minidistill`: distil your own, predict with a student, judge a loss, see what runs."""

import argparse
import json
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .backend import BlasBackend, get_backend, set_backend
from .checks import ArgumentError, BackendUnavailable, Diverged
from .distil import Settings, distil, predict, report, save_student, transfer_set
from .measure import prediction_cost
from .parallel import Ranks
from .shell import check_outputs, run, whole_file

UNFINISHED = "unfinished-distillation"  # a folder in --out, of checkpoints


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 for a loss that breaks a law, 2 for what the user can mend.

    3 is a loss that cannot be judged, an interruption 128 plus the number of its signal. Raises SystemExit for
    arguments that cannot be parsed.
    """
    return run(lambda: command(arguments))


def command(arguments: Sequence[str] | None) -> int:
    """Parse the arguments and run their command. Raises MinidistillError and OSError for what the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m minidistill", description="Knowledge distillation by hand.")
    parser.add_argument("--version", action="version", version=f"minidistill {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    info = commands.add_parser("info", help="versions, backends, and with --bench the time of a prediction")
    info.add_argument("--backend", choices=("numpy", "cupy"), help="else $MINIDISTILL_BACKEND or numpy")
    info.add_argument("--bench", action="store_true", help="time predictions of teacher and student, some seconds")
    check = commands.add_parser("check", help="what a distillation loss computes, and which laws it breaks")
    check.add_argument(
        "target",
        nargs="?",
        metavar="FILE.py:function",
        help="or package.module:function; FILE.py or package alone: every (student, teacher, temperature, ...) of it",
    )
    check.add_argument(
        "--framework", choices=("numpy", "torch", "jax", "keras"), default="numpy", help="default: numpy"
    )
    check.add_argument(
        "--expect",
        nargs="+",
        default=[],
        metavar="WORD",
        help="what it is meant to be: kl or ce, batchmean or sum, t2 or t0, detached, rows for logits (B, L, N) as B L "
        "rows, or a later loss such as reverse-kl, with commas or spaces between",
    )
    check.add_argument("--labels", metavar="NAME", help="the parameter of the labels, if it is not the fourth")
    check.add_argument("--alpha", metavar="NAME", help="the parameter of the terms' weight, if it is not the fifth")
    check.add_argument("--examples", type=int, default=60, metavar="N", help="tried for each law; default: 60")
    check.add_argument("--seed", type=int, default=0, metavar="S", help="of the search for them; default: 0")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the report there, or a list of several")
    check.add_argument("--markdown", action="store_true", help="print the report as Markdown, to paste into an issue")
    check.epilog = (
        "The function is loss(student_logits, teacher_logits, temperature) or has (labels, alpha) behind; with numpy "
        "it returns a value or (value, gradient). Exit code 0: every law holds, 1: one is broken, 2: usage, 3: none is "
        "broken, but a function cannot be judged."
    )
    add_distil(commands)
    add_page(commands)
    options = parser.parse_args(arguments)
    work = {"distill": distil_files, "predict": predict_file, "export-html": export_page}
    if options.command in work:
        if options.backend:
            set_backend(options.backend)
        return work[options.command](options)
    if options.command == "check":
        if options.target is None and options.expect and ":" in options.expect[-1]:
            options.target = options.expect.pop()  # the words of --expect stood before it
        if options.target is None:
            check.error("FILE.py:function is required")
        return check_loss(options)
    if options.backend:
        set_backend(options.backend)
    show_info()
    if options.bench:
        show_bench()
    return 0


def add_distil(commands: Any) -> None:
    """Add the commands `distill` and `predict`."""
    distill = commands.add_parser(
        "distill", help="a small network out of files of inputs and of a teacher's logits",
        description="Train a student on inputs (N, ...) and a teacher's logits for them (N, classes); the best epoch "
        "by held-out rows is kept in a folder. Files: .npy, .npz with one array, .csv with a header, or IDX.",
    )  # fmt: skip
    distill.add_argument("--inputs", type=Path, required=True, metavar="FILE", help="floats, or uint8 pixels")
    distill.add_argument(
        "--teacher-logits", type=Path, required=True, nargs="+", metavar="FILE", help="several: an ensemble"
    )
    distill.add_argument("--teacher-probabilities", action="store_true", help="those files hold probabilities at T = 1")
    distill.add_argument("--labels", type=Path, metavar="FILE", help="integers from 0; default: soft targets alone")
    distill.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="a new folder for the student; what was cut off goes on"
    )
    distill.add_argument(
        "--hidden", default="800,800", metavar="N,N", help="units of the hidden layers (default: 800,800)"
    )
    distill.add_argument(
        "--temperature", default="4", metavar="T", help="or auto: the best of 1, 2, 4, 8, 16 (default: 4)"
    )
    distill.add_argument("--soft-weight", type=float, metavar="A", help="in [0, 1]; default: 0.9 with labels, else 1")
    distill.add_argument("--mean", choices=("geometric", "arithmetic"), default="geometric", help="of several teachers")
    defaults = Settings()
    for option, kind, text in (
        ("epochs", int, "trained"), ("batch-size", int, "rows"), ("learning-rate", float, "AdamW's, at its peak"),
        ("dropout", float, "on hidden units"), ("validation", float, "share of rows that choose"), ("seed", int, ""),
    ):  # fmt: skip
        default = getattr(defaults, option.replace("-", "_"))
        distill.add_argument(f"--{option}", type=kind, default=default, help=f"{text} (default: {default})".strip())
    distill.add_argument(
        "--mpi", action="store_true", help="train on all ranks of mpiexec -n N (the extra mpi); they need all files"
    )
    prediction = commands.add_parser("predict", help="the logits of a student for a file of inputs")
    prediction.add_argument("folder", type=Path, metavar="DIR", help="of a network that was saved")
    prediction.add_argument(
        "--inputs", type=Path, required=True, metavar="FILE", help="as of distill; one row or a million"
    )
    prediction.add_argument("--probabilities", action="store_true", help="at T = 1, instead of logits")
    prediction.add_argument("--out", type=Path, required=True, metavar="FILE.npy")
    for command in (distill, prediction):
        command.add_argument("--backend", choices=("numpy", "cupy"), help="else $MINIDISTILL_BACKEND or numpy")


def add_page(commands: Any) -> None:
    """Add the command `export-html`."""
    page = commands.add_parser(
        "export-html", help="a page that runs a student beside its teacher, as one file",
        description="Write a page in which digits are drawn, a temperature is moved, and the probabilities of student "
        "and teacher and the gradient between them are seen. One file of less than 6 MB, which asks no other for "
        "anything. The networks take 28 x 28 pixels in [0, 1].",
    )  # fmt: skip
    page.add_argument("student", type=Path, metavar="DIR", help="of a network that was saved")
    page.add_argument("--teacher", type=Path, metavar="DIR", help="another, of the same classes; default: none")
    page.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.html")
    page.add_argument("--data", type=Path, metavar="DIR", help="four IDX files for its test images; else MNIST")
    page.add_argument("--bits", type=int, metavar="B", help="of a weight, 4 to 8; default: as many as fit")
    page.add_argument("--backend", choices=("numpy", "cupy"), help="else $MINIDISTILL_BACKEND or numpy")


def distil_files(options: argparse.Namespace) -> int:
    """Distil what the files hold into a new folder, and print what it reached; with --mpi in every rank of mpiexec.

    What was cut off goes on.
    """
    if not options.mpi:
        return _distil_files(options, None)
    ranks = Ranks()
    with ranks.together():
        return _distil_files(options, ranks)


def _distil_files(options: argparse.Namespace, ranks: Ranks | None) -> int:
    unfinished = options.out / UNFINISHED
    if options.out.exists() and not unfinished.is_dir() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise ArgumentError(f"--out must be a new or an empty folder, got {str(options.out)!r}")
    try:
        hidden = [int(units) for units in options.hidden.split(",")]
        temperature = options.temperature if options.temperature == "auto" else float(options.temperature)
    except ValueError as error:
        raise ArgumentError(f"--hidden must be whole numbers with commas, --temperature a number: {error}") from None
    names = ("soft_weight", "mean", "epochs", "batch_size", "learning_rate", "dropout", "validation", "seed")
    settings = Settings(hidden, temperature, **{name: getattr(options, name) for name in names})
    data = transfer_set(options.inputs, options.teacher_logits, options.labels, settings, options.teacher_probabilities)
    speaks = ranks is None or ranks.rank == 0
    try:
        student, summary = distil(data, settings, speaks, unfinished, ranks)  # which is written before the work
    except Diverged:  # it would do so again; with another learning rate it is another training
        if speaks:
            shutil.rmtree(unfinished)
        raise
    if not speaks:
        return 0
    summary |= asdict(prediction_cost(student, seconds=0.1))
    save_student(student, summary, options.out)
    shutil.rmtree(unfinished)  # last: until then the same command goes on
    print(f"{report(summary)}\nsaved        {options.out}")
    return 0


def predict_file(options: argparse.Namespace) -> int:
    """Write a student's predictions."""
    check_outputs({"--out": options.out})
    rows = predict(options.folder, options.inputs, options.out, options.probabilities)
    print(f"{rows:,} rows written to {options.out}")
    return 0


def export_page(options: argparse.Namespace) -> int:
    """Write the page of a student and its teacher, and print what fewer bits did to them."""
    check_outputs({"--out": options.out})
    from .datasets import load_images
    from .network import Network
    from .page import export_html

    student, teacher = (folder and Network.load(folder) for folder in (options.student, options.teacher))
    test = load_images(options.data)[1] if options.data else None
    made = export_html(student, options.out, teacher, test, options.bits)
    for role in ("student", "teacher"):
        if one := made.get(role):
            wrong = "" if one["errors"] is None else f"{one['errors']:,} are errors, {one['errors_in_page']:,} here; "
            moved = f"{one['changed']:,} change class, logits move by {one['largest_change']:g} at most"
            print(f"{role}      {one['name']}: of {one['images']:,} test images {wrong}{moved}")
    print(f"written      {options.out}, {made['bytes']:,} bytes, weights in {made['bits']} bits")
    return 0


def check_loss(options: argparse.Namespace) -> int:
    """Print the report on a loss, or a line for each of a file and then the reports on those that break a law.

    What cannot be judged is printed to standard error, as is what is being tried, and how long it took.
    """
    check_outputs({"--json": options.json})
    from .testing.losses import check_distillation_loss, find_losses, hypothesis_keeps_nothing

    functions, expect, reports = find_losses(options.target), " ".join(options.expect), []
    with hypothesis_keeps_nothing():
        for function in functions.values():
            began = time.perf_counter()
            report = check_distillation_loss(
                function, options.framework, expect, options.examples, options.seed,
                labels=options.labels, alpha=options.alpha, progress=_showing_progress(function),
            )  # fmt: skip
            reports.append(report)
            if len(functions) > 1 or sys.stderr.isatty():
                print(f"{report.name}: {time.perf_counter() - began:.1f} s", file=sys.stderr)
    if options.json:  # first: whoever reads standard output may close it
        found = [report.as_dict() for report in reports]
        with whole_file(options.json) as file:
            file.write_text(json.dumps(found if len(found) > 1 else found[0], indent=2) + "\n", encoding="utf-8")
    several, shown = len(reports) > 1, reports
    if several:
        shown = [report for report in reports if not report.passed]
        for report in reports:
            word = "cannot" if report.unusable else "holds" if report.passed else "BROKEN"
            print(f"- **{word}** `{report.name}`: {report.sentence}" if options.markdown
                  else f"{word:7} {report.name}: {report.sentence}")  # fmt: skip
    for report in shown:
        text = report.markdown() if options.markdown else str(report)
        print(f"\n{text}" if several else text, file=sys.stderr if report.unusable and not several else None)
    if any(report.broken for report in reports):
        return 1
    return 3 if any(report.unusable is not None for report in reports) else 0


def _showing_progress(function: Callable[..., Any]) -> Callable[[str], None]:
    """Return what shows on a terminal's standard error what is being tried, in one line that is overwritten."""
    name = getattr(function, "__name__", type(function).__name__)

    def show(what: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{name}: {what}\r", end="", file=sys.stderr, flush=True)

    return show


def show_info() -> None:
    """Print versions, the current backend, and whether CuPy could be one."""
    backend = get_backend()
    print(f"minidistill {__version__}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"backend     {backend.name}: {type(backend).__name__} on {backend.device()}")
    if isinstance(backend, BlasBackend):
        print(f"BLAS        {backend.library}")
    if backend.name != "cupy":
        print(f"CuPy        {_cupy()}")


def _cupy() -> str:
    """Tell whether CuPy could be used."""
    from .backend import CupyBackend

    try:
        return f"ready on {CupyBackend().device()}: --backend cupy, or MINIDISTILL_BACKEND=cupy"
    except BackendUnavailable as error:
        return f"not usable: {error}"


def show_bench() -> None:
    """Time predictions of the paper's student and this project's teacher, freshly initialised."""
    from .network import Network

    print(f"\n{'prediction':24}{'parameters':>12}{'one image':>12}{'images/s, batches of 1,000':>29}")
    for name, sizes in (("teacher", [784, 1600, 1600, 10]), ("student", [784, 800, 800, 10])):
        cost = prediction_cost(Network.mlp(sizes))
        label = f"{name} {'-'.join(map(str, sizes))}"
        print(f"{label:24}{cost.parameters:>12,}{cost.latency_us:>9,.0f} µs{cost.per_second:>29,.0f}")
