"""Contenders side by side: each in a process of its own, in turn, round after round; medians, and ratios of medians.

One process for each, because the waiting threads of one library slow the matrix products of another. While one runs,
the others are blocked reading their standard input. Machines are noisy: quote ratios from one run, not times from two.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SETTLE = 0.05  # seconds before each turn, in which the threads of the one before fall asleep


def serve(make: Callable[..., tuple[Callable[[], object], Callable[[], object]]], *arguments: Any) -> None:
    """A contender's side: make (run, wait), say so, then time as many runs, and a wait, as each line says.

    A contender that cannot be made is absent, with the reason.
    """
    try:
        run, wait = make(*arguments)
    except Exception as error:
        print(json.dumps({"absent": f"{type(error).__name__}: {error}"}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        runs, start = int(line), time.perf_counter()
        for _ in range(runs):
            run()
        wait()
        print(json.dumps((time.perf_counter() - start) / runs), flush=True)


class Contender:
    """The driver's side of a process that runs `command`."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True)
        answer = self._read()
        self.absent: str | None = answer.get("absent")

    def turn(self, repeats: int) -> float:
        """Seconds of a run, the mean of this many."""
        assert self.process.stdin is not None
        time.sleep(SETTLE)
        self.process.stdin.write(f"{repeats}\n")
        self.process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"error: the contender {self.name} ended without an answer")
        return json.loads(line)


Commands = dict[str, list[str]]
Times = dict[str, list[float]]


@contextmanager
def contenders(commands: Commands) -> Iterator[tuple[list[Contender], dict[str, str]]]:
    """Those that are here, and the reason for each that is not."""
    all_of_them = [Contender(name, command) for name, command in commands.items()]
    yield [c for c in all_of_them if c.absent is None], {c.name: c.absent for c in all_of_them if c.absent is not None}
    for contender in all_of_them:
        contender.close()


def rounds_of(present: list[Contender], rounds: int, repeats: int, once: Iterable[str] = ()) -> Times:
    """The seconds of each contender's turns, of `repeats` runs each; those named in `once` have a single turn."""
    times: Times = {contender.name: [] for contender in present}
    for number in range(rounds):
        for contender in (c for c in present if number == 0 or c.name not in once):
            times[contender.name].append(contender.turn(repeats))
    return times


def turns(commands: Commands, rounds: int, repeats: int, once: Iterable[str] = ()) -> tuple[Times, dict[str, str]]:
    """The seconds of each contender's turns, and the reasons of those that are absent."""
    with contenders(commands) as (present, absent):
        return rounds_of(present, rounds, repeats, once), absent


def compare(
    commands: Commands, rounds: int, repeats: int, between: int | None = None
) -> tuple[list[dict[str, float]], dict[str, str]]:
    """Medians of each contender's turns: at first, and with `between` again, after so many runs of each."""
    with contenders(commands) as (present, absent):
        for contender in present:
            contender.turn(3)  # warm
        measured = [rounds_of(present, rounds, repeats)]
        if between is not None:
            for contender in present if between else []:
                contender.turn(between)
            measured.append(rounds_of(present, rounds, repeats))
    return [{name: statistics.median(times) for name, times in one.items()} for one in measured], absent


def options(description: str | None, rounds: int, repeats: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    parser.add_argument("--repeats", type=int, default=repeats, help="calls in a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return parser


PACKAGES = (
    "numpy",
    "mkl",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "torch",
    "jax",
    "onnxruntime",
    "scikit-learn",
    "minidistill",
)


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """What is installed of these, and the processor: a time without them says nothing."""
    from importlib import metadata

    found = {"python": platform.python_version(), "cpu": _processor(), "cores": str(os.cpu_count())}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine(record: dict[str, Any]) -> str:
    """When and where a record was made, for the table of it."""
    versions = record["versions"]
    names = ("numpy", "torch", "jax", "onnxruntime", "scikit-learn", "mkl")
    found = ", ".join(f"{name} {versions[name]}" for name in names if name in versions)
    return f"{record['date']}, {versions['cpu']}, {versions['cores']} cores, {found}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def save(path: Path | None, results: list[dict[str, Any]], device: str = "cpu") -> None:
    if path is not None:
        record = {"date": time.strftime("%Y-%m-%d"), "versions": versions(), "results": results}
        if device == "gpu":
            from minidistill.backend import CupyBackend

            backend = CupyBackend()
            record |= {"device": backend.device(), "versions": versions() | backend.versions()}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"results written to {path}", file=sys.stderr)


def images(n: int) -> np.ndarray:
    """n random 28 x 28 images."""
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
