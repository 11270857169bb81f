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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

SETTLE = 0.05  # seconds before each turn, in which the threads of the one before fall asleep


def serve(make: Callable[..., Callable[[], object]], *arguments: Any, warmups: int = 2) -> None:
    """A contender's side: make it and warm it up, say so, then time as many calls as each line that comes in says."""
    try:
        run = make(*arguments)
        for _ in range(warmups):
            run()
    except ImportError as error:
        print(json.dumps({"absent": str(error)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        print(json.dumps(times), flush=True)


class Contender:
    """The driver's side of a process that runs `command`."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name, self.times = name, list[float]()
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, *command], stdin=pipe, stdout=pipe, text=True)
        answer = self._read()
        self.absent: str | None = answer.get("absent")

    def turn(self, repeats: int) -> None:
        assert self.process.stdin is not None
        time.sleep(SETTLE)
        self.process.stdin.write(f"{repeats}\n")
        self.process.stdin.flush()
        self.times += self._read()

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


def compare(commands: dict[str, list[str]], rounds: int, repeats: int) -> tuple[dict[str, float], dict[str, str]]:
    """(median seconds of each contender here, reason for each that is not); `rounds` turns of `repeats` calls."""
    contenders = [Contender(name, command) for name, command in commands.items()]
    absent = {c.name: c.absent for c in contenders if c.absent is not None}
    present = [c for c in contenders if c.absent is None]
    for _ in range(rounds):
        for contender in present:
            contender.turn(repeats)
    for contender in contenders:
        contender.close()
    return {c.name: statistics.median(c.times) for c in present}, absent


def options(description: str | None, rounds: int, repeats: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    parser.add_argument("--repeats", type=int, default=repeats, help="calls in a turn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    return parser


def versions(packages: Iterable[str] = ("numpy", "torch", "jax", "onnxruntime", "minidistill")) -> dict[str, str]:
    """What is installed of these, and the processor: a time without them says nothing."""
    from importlib import metadata

    found = {"python": platform.python_version(), "cpu": _processor(), "cores": str(os.cpu_count())}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def save(path: Path | None, results: list[dict[str, Any]]) -> None:
    if path is not None:
        record = {"date": time.strftime("%Y-%m-%d"), "versions": versions(), "results": results}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        print(f"results written to {path}", file=sys.stderr)


def images(n: int) -> np.ndarray:
    """n random 28 x 28 images."""
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
