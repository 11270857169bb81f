"""What summing the gradients costs a step, on paper: an Allreduce of the parameters' bytes, and when it stops paying.

The best of two ways (Thakur, Rabenseifner, Gropp 2005): halving and doubling, 2 log2(P) messages and 2 (P - 1)/P of the
bytes in and out; a whole vector in each of log2(P) messages. Latency and bandwidth are those that vendors give, rounded
to what programs reach. The compute time of a step is the committed one, of docs/results/step.json, on two cores of a
CPU; and what a GPU would need for the step's products at half of an H100's 67 TFLOPS in float32.
"""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness import options, save

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = {"student": [784, 800, 800, 10], "teacher": [784, 1600, 1600, 10]}
LINKS = {  # seconds of latency, bytes a second in each direction
    "25 GbE": (20e-6, 25e9 / 8),
    "200 Gb InfiniBand": (2e-6, 200e9 / 8),
    "NVLink (H100)": (5e-6, 450e9),
}
WORKERS, BATCH, GPU_FLOPS = (1, 8, 64), 128, 67e12 / 2


def parameters(sizes: list[int]) -> int:
    return sum(n * m + m for n, m in pairwise(sizes))


def allreduce_seconds(size: int, workers: int, latency: float, bandwidth: float) -> float:
    """The time for so many bytes on so many workers."""
    steps = math.ceil(math.log2(workers))
    halving = 2 * steps * latency + 2 * (workers - 1) / workers * size / bandwidth
    return min(halving, steps * (latency + size / bandwidth))


def cpu_seconds(units: int) -> float:
    """The committed time of a plain step of the two hidden layers' units, in a training that has run."""
    record = json.loads((ROOT / "docs" / "results" / "step.json").read_text(encoding="utf-8"))
    (step,) = (r["trained"] for r in record["results"] if r["shape"][1] == units and r["kind"] == "plain")
    return float(step["seconds"]["minidistill"])


def compute() -> list[dict[str, Any]]:
    results = []
    for name, sizes in NETWORKS.items():
        size = parameters(sizes)
        steps = {"CPU": cpu_seconds(sizes[1]), "GPU": 6 * size * BATCH / GPU_FLOPS}
        for link, (latency, bandwidth) in LINKS.items():
            sums = {str(P): allreduce_seconds(4 * size, P, latency, bandwidth) for P in WORKERS}
            results.append({"network": name, "bytes": 4 * size, "link": link, "step": steps, "allreduce": sums})
    return results


def report(record: dict[str, Any]) -> str:
    """Return a row for each network, link and device: the Allreduce, and what many workers bring by it, at best."""
    several = WORKERS[1:]
    heads = [f"{what}, {P}" for what in ("Allreduce", "one batch dealt out", "a batch each") for P in several]
    rows = [f"| network | link | a step alone | {' | '.join(heads)} |", f"|---|---|{'---:|' * (1 + len(heads))}"]
    for r in record["results"]:
        times = {P: r["allreduce"][str(P)] for P in several}
        for device, step in r["step"].items():
            cells = [f"{1e3 * t:.2f} ms" for t in times.values()]
            cells += [f"{step / (step / P + t):.1f} x" for P, t in times.items()]  # as many rows a step as before
            cells += [f"{P * step / (step + t):.1f} x" for P, t in times.items()]  # P times as many rows a step
            name = f"{r['network']}, {r['bytes'] / 1e6:.1f} MB"
            rows.append(f"| {name} | {r['link']} | {1e3 * step:.2f} ms, {device} | {' | '.join(cells)} |")
    told = (
        f"Rows a second, in times those of one worker, after an Allreduce a step among {several[0]} and {several[1]}."
    )
    return "\n".join([*rows, "", f"{told} A batch is {BATCH} rows; the update, which is not dealt out, is left out."])


def main() -> None:
    arguments = options(__doc__, rounds=0, repeats=0).parse_args()
    results = compute()
    print(report({"results": results}))
    save(arguments.json, results)


if __name__ == "__main__":
    main()
