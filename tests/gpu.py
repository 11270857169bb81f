"""Everything that a GPU can tell about this project, in one command: python tests/gpu.py [SECTION ...] --out DIR

Run it where a CUDA device and CuPy are, and send back DIR. It needs no network and installs nothing. Each section runs
in a process of its own, with its own limit of time, and its JSON is written when it ends: what was cut off keeps the
rest. A table ends it. --dry-run runs every section on the CPU, on a small scale: that tests the command without a GPU.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.harness import versions
from small_mnist import write_small_mnist

ROOT = Path(__file__).resolve().parents[1]
Result = dict[str, Any]

SANITIZED = """
import numpy as np
import minidistill as md
backend, rng = md.set_backend("cupy" if {cupy} else "numpy"), np.random.default_rng(0)
def device(*shape): return backend.asarray(rng.normal(size=shape), dtype=np.float32)
for B, N in ((1, 1), (3, 10), (128, 10), (5, 300)):
    loss, dz, y = device(2), device(2, B, N), backend.asarray(rng.integers(0, N, (2, B)))
    for alpha in (0.0, 0.5, 1.0):
        backend.objective(device(2, B, N), device(2, B, N), y, 4.0, alpha, loss, dz)
for shape in ((1, 1), (33, 9), (784, 800), (3, 20, 33)):
    backend.max_norm(device(*shape), 1.0)
backend.to_host(loss)
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}; default: all")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the JSON and the logs go")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, on a small scale")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # the process of one section
    arguments = parser.parse_args()
    for name in arguments.sections:
        if name not in SECTIONS:
            parser.error(f"SECTION must be one of {', '.join(SECTIONS)}, got {name!r}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.inside:
        (name,) = arguments.sections
        print(json.dumps(SECTIONS[name][0](arguments)))
        return 0
    results = []
    for name in arguments.sections or SECTIONS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        results.append(section(name, SECTIONS[name][1], arguments))
        (arguments.out / f"{name}.json").write_text(json.dumps(results[-1], indent=2) + "\n", encoding="utf-8")
    print(f"\n{'section':10} {'status':10} {'seconds':>8}  what")
    for result in results:
        print(f"{result['section']:10} {result['status']:10} {result['seconds']:8.1f}  {result['summary']}")
    return 0 if all(result["status"] in ("ok", "absent") for result in results) else 1


def section(name: str, limit: int, arguments: argparse.Namespace) -> Result:
    """Run a section in its own process and return its result, whatever becomes of it."""
    command = [sys.executable, __file__, name, "--inside", "--out", str(arguments.out)]
    command += ["--dry-run"] if arguments.dry_run else []
    start, log = time.perf_counter(), arguments.out / f"{name}.log"
    result: Result = {"section": name, "date": time.strftime("%Y-%m-%d"), "dry_run": arguments.dry_run}
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=file, text=True, start_new_session=True)
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            seconds = time.perf_counter() - start
            return result | {"status": "cut off", "seconds": seconds, "summary": f"at its limit of {limit} s: {log}"}
    seconds = time.perf_counter() - start
    if process.returncode:
        last = (log.read_text(encoding="utf-8").strip().splitlines() or ["no message"])[-1]
        return result | {"status": "failed", "seconds": seconds, "summary": last}
    return result | {"seconds": seconds} | json.loads(output.splitlines()[-1])


# --- sections: each returns status, summary and what it found ----------------------------------------------------


def probe(arguments: argparse.Namespace) -> Result:
    """The device, the versions, and what it can do at best: copies, and matrix products of our shapes."""
    xp, about = array_module(arguments.dry_run)
    wait = (lambda: None) if arguments.dry_run else xp.cuda.Device().synchronize
    n = 2**20 if arguments.dry_run else 2**28
    source = xp.ones(n, np.float32)
    target = xp.empty_like(source)
    repeats = 1 if arguments.dry_run else 20
    gigabytes = 2 * source.nbytes / seconds_of(lambda: xp.copyto(target, source), wait, repeats) / 1e9
    rates = {}
    for tf32 in (False, True):
        os.environ["CUPY_TF32"] = str(int(tf32))
        for m, k, units in ((128, 784, 800), (128, 800, 800), (128, 1600, 1600), (4096, 1600, 1600)):
            a, b, out = (xp.ones(shape, np.float32) for shape in ((m, k), (k, units), (m, units)))
            seconds = seconds_of(lambda a=a, b=b, out=out: xp.matmul(a, b, out=out), wait, repeats)
            rates[f"{m}x{k}x{units}, {'TF32' if tf32 else 'FP32'}"] = 2 * m * k * units / seconds / 1e12
    best = max(rate for name, rate in rates.items() if "FP32" in name)
    summary = f"{about['device']}, copies at {gigabytes:.0f} GB/s, products at {best:.1f} TFLOP/s in FP32"
    return {"status": "ok", "summary": summary, **about, "copy_GB_per_s": gigabytes, "matmul_TFLOP_per_s": rates}


def tests(arguments: argparse.Namespace) -> Result:
    """The test suite, every array on the device."""
    what = ["tests/test_softmax.py::test_eq1_is_the_ratio_of_exponentials"] if arguments.dry_run else []
    environment = {} if arguments.dry_run else {"MINIDISTILL_BACKEND": "cupy"}
    # One process: two would share the device's memory, and its time.
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-rfE"]
    done = call("-m", "pytest", *options, *what, environment=environment)
    print(done.stdout, file=sys.stderr)
    counts = {word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", done.stdout)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    status = "ok" if done.returncode == 0 and counts.get("passed") else "failed"
    return {"status": status, "summary": ", ".join(f"{n} {word}" for word, n in counts.items()), "failed": failed}


def sanitize(arguments: argparse.Namespace) -> Result:
    """The two kernels whose threads share memory, under memcheck and racecheck."""
    tool = shutil.which("compute-sanitizer")
    code = SANITIZED.format(cupy=not arguments.dry_run)
    if tool is None and not arguments.dry_run:
        return {"status": "absent", "summary": "compute-sanitizer is not installed"}
    reports = {}
    for check in ("memcheck", "racecheck"):
        command = [] if arguments.dry_run else [str(tool), "--tool", check, "--error-exitcode", "9"]
        done = subprocess.run(
            [*command, sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
        )
        print(done.stdout, done.stderr, file=sys.stderr)
        reports[check] = done.returncode
    bad = [check for check, code in reports.items() if code]
    return {"status": "failed" if bad else "ok", "summary": f"found by {', '.join(bad)}" if bad else "nothing found"}


def bench(arguments: argparse.Namespace) -> Result:
    """A training step here and elsewhere, every contender on the device; then an epoch and prediction."""
    found: Result = {}
    on_device = {"step": "--device gpu --repeats 50", "epoch": "--device gpu", "prediction": ""}
    small = {
        "step": "--no-peers --rounds 1 --repeats 2 --epochs 0",
        "epoch": "--rounds 1 --steps 2",
        "prediction": "--rounds 1 --repeats 2",
    }
    for name, options in (small if arguments.dry_run else on_device).items():
        path = arguments.out / f"bench-{name}.json"
        environment = {} if arguments.dry_run else {"MINIDISTILL_BACKEND": "cupy"}
        done = call(f"tests/benchmarks/{name}.py", *options.split(), "--json", str(path), environment=environment)
        print(done.stdout, done.stderr, file=sys.stderr)
        found[name] = json.loads(path.read_text(encoding="utf-8"))["results"] if done.returncode == 0 else None
    missing = [name for name, results in found.items() if results is None]
    summary = f"without {', '.join(missing)}: bench.log" if missing else "step, epoch, prediction"
    return {"status": "failed" if missing else "ok", "summary": summary, **found}


def headline(arguments: argparse.Namespace) -> Result:
    return example("01_headline.py", arguments)


def further(arguments: argparse.Namespace) -> Result:
    return example("10_further.py", arguments)


def example(script: str, arguments: argparse.Namespace) -> Result:
    """The whole example on the device, or its quick preset."""
    path = arguments.out / f"{Path(script).stem}.json"
    preset = ["--full", "--backend", "cupy"]
    if arguments.dry_run:
        preset = ["--quick", "--seeds", "1", "--data", str(write_small_mnist(arguments.out / "small", 140, 50))]
    done = call(f"examples/{script}", *preset, "--runs", str(arguments.out / "runs"), "--json", str(path))
    print(done.stdout, done.stderr, file=sys.stderr)
    if done.returncode:
        return {"status": "failed", "summary": (done.stderr.strip().splitlines() or ["no message"])[-1]}
    rows = [line for line in done.stdout.splitlines() if "±" in line or "preset" in line]
    return {"status": "ok", "summary": rows[-1], "results": json.loads(path.read_text(encoding="utf-8"))}


# --- how it is done ----------------------------------------------------------------------------------------------


def call(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a script of this checkout with this Python."""
    env = os.environ | {"PYTHONPATH": str(ROOT)} | (environment or {})
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def array_module(dry_run: bool) -> tuple[Any, Result]:
    """CuPy, or NumPy for a dry run, and what is known of the device and the libraries."""
    describe = ["git", "describe", "--always", "--dirty"]
    commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or None
    about: Result = {"commit": commit, "versions": versions()}
    if dry_run:
        return np, about | {"device": "the CPU, in a dry run"}
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    about["versions"] |= {
        "cupy": cupy.__version__,
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cuda_driver": runtime.driverGetVersion(),
        "cublas": cupy.cuda.cublas.getVersion(cupy.cuda.device.get_cublas_handle()),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
    }
    return cupy, about | {"device": properties["name"].decode(), "memory_GB": properties["totalGlobalMem"] / 1e9}


def seconds_of(run: Callable[[], object], wait: Callable[[], object], repeats: int) -> float:
    """The seconds of a run: of the fastest of five blocks with one wait each, after one to warm up."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        wait()
        times.append((time.perf_counter() - start) / repeats)
    return min(times[1:])


SECTIONS: dict[str, tuple[Callable[[argparse.Namespace], Result], float]] = {  # with its limit in seconds
    "probe": (probe, 120),
    "tests": (tests, 600),
    "sanitize": (sanitize, 240),
    "bench": (bench, 600),
    "headline": (headline, 420),
    "further": (further, 420),
}

if __name__ == "__main__":
    sys.exit(main())
