"""How an epoch grows: with the images, with the replicas, and with a memory-mapped data set.

Time should be linear in images and in replicas, and memory flat beyond the data itself. Memory is the process's own
("RssAnon" of Linux): pages of a mapped file belong to the file and are given back under pressure.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import images, machine, options, save

import minidistill as md

SIZES, BATCH, CLASSES = [784, 800, 800, 10], 128, 10


def own_memory() -> float:
    """Megabytes; 0 where Linux does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon")), 0.0)


def epoch_seconds(inputs: np.ndarray, sizes: list[int], seeds: Any, repeats: int) -> float:
    """The fastest of some epochs, after a short one that makes the buffers."""
    data = md.Dataset(inputs, np.arange(len(inputs)) % CLASSES)
    network, times = md.Network.mlp(sizes, seeds=seeds), []
    md.fit(network, data.subset(slice(2 * BATCH)), md.Objective(alpha=0), md.SGD(1e-4), epochs=1, progress=False)
    for _ in range(repeats):
        start = time.perf_counter()
        md.fit(network, data, md.Objective(alpha=0), md.SGD(1e-4), epochs=1, batch_size=BATCH, progress=False)
        times.append(time.perf_counter() - start)
    return min(times)


def by_images(counts: list[int], repeats: int) -> list[dict[str, Any]]:
    """In memory, and the same images memory-mapped from a file."""
    results = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        for n in counts:
            np.save(path, images(n))
            for kind, inputs in (("in memory", np.load(path)), ("mapped", np.load(path, mmap_mode="r"))):
                before = own_memory()
                seconds = epoch_seconds(inputs, SIZES, 0, repeats)
                results.append({"images": n, "kind": kind, "seconds": seconds, "megabytes": own_memory() - before})
                print(f"{n:>8,} images {kind:>10}: {seconds:6.2f} s, {1e6 * seconds / n:5.1f} µs an image", flush=True)
    return results


def by_replicas(counts: list[int], n: int, repeats: int) -> list[dict[str, Any]]:
    results = []
    for replicas in counts:
        seconds = epoch_seconds(images(n), SIZES, range(replicas), repeats)
        results.append({"replicas": replicas, "images": n, "seconds": seconds})
        print(f"{replicas:>4} replicas: {seconds:6.2f} s, {1e6 * seconds / n / replicas:5.1f} µs an image and replica")
    return results


def report(record: dict[str, Any]) -> str:
    """Return a row for each number of images and of replicas."""
    rows = [
        "| images | replicas | data | an epoch | own memory | an image and replica |",
        "|---:|---:|---|---:|---:|---:|",
    ]
    for r in record["results"]:
        replicas, memory = r.get("replicas", 1), f"{r['megabytes']:.0f} MB" if "megabytes" in r else ""
        each = 1e6 * r["seconds"] / r["images"] / replicas
        kind = r.get("kind", "in memory")
        rows.append(f"| {r['images']:,} | {replicas} | {kind} | {r['seconds']:.2f} s | {memory} | {each:.1f} µs |")
    return "\n".join([*rows, "", machine(record)])


def draw(record: dict[str, Any], figure: Any, axes: Any) -> None:
    """Draw the seconds of an epoch against images and against replicas; tools/figures.py calls it."""
    axes.remove()
    left, right = figure.subplots(1, 2)
    by_images = [r for r in record["results"] if "kind" in r]
    for kind in dict.fromkeys(r["kind"] for r in by_images):
        rows = [r for r in by_images if r["kind"] == kind]
        left.plot([r["images"] for r in rows], [r["seconds"] for r in rows], label=kind)
    left.legend()
    sizes = sorted({r["images"] for r in by_images})
    left.set_xticks(sizes, [f"{size:,}" for size in sizes])
    rows = [r for r in record["results"] if "kind" not in r]
    right.plot([r["replicas"] for r in rows], [r["seconds"] for r in rows])
    left.set(xlabel="images", ylabel="seconds an epoch", xlim=(0, None), ylim=(0, None))
    right.set(xlabel="replicas", ylabel=f"seconds an epoch of {rows[0]['images']:,}", xlim=(0, None), ylim=(0, None))
    each = [1e6 * r["seconds"] / r["images"] / r.get("replicas", 1) for r in record["results"]]
    text = f"An image and replica take {min(each):.0f} to {max(each):.0f} µs, however many there are"
    figure.suptitle(text, x=0.01, ha="left", fontsize=11)
    figure.set_size_inches(8, 3.2)


def main() -> None:
    parser: argparse.ArgumentParser = options(__doc__, rounds=1, repeats=3)
    parser.add_argument("--small", action="store_true", help="a look in seconds")
    arguments = parser.parse_args()
    counts = [1_000, 2_000] if arguments.small else [15_000, 30_000, 60_000, 120_000]
    replicas, n = ([1, 2], 500) if arguments.small else ([1, 2, 4, 8, 16, 32], 6_000)
    results = by_images(counts, arguments.repeats) + by_replicas(replicas, n, arguments.repeats)
    save(arguments.json, results)


if __name__ == "__main__":
    main()
