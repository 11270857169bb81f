"""Trainings that are killed at random instants and called again: do they end, bit for bit, as one that nobody disturbs?

python tests/benchmarks/kills.py --json docs/results/kills.json

Each kind of training runs in a process of its own, on MNIST images, with dropout, the first two with jitter, and gets
SIGKILL at an instant drawn anew each time. That is repeated until it ends by itself.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import numpy as np

import minidistill as md

KINDS: dict[str, Any] = {
    "SGD": lambda: md.SGD(md.linear_decay(0.05, warmup=0.2), 0.9, max_norm=2.0),
    "Nesterov": lambda: md.SGD(0.02, 0.9, nesterov=True),
    "AdamW": lambda: md.AdamW(md.cosine_decay(0.003)),
    "AdamW, replicas": lambda: md.AdamW(0.003),
    "AdamW, best epoch": lambda: md.AdamW(0.01),
}


def train(kind: str, folder: Path | None, epochs: int) -> str:
    """Train, and return a digest of all that the training leaves behind, but for the times on its clock."""
    jitter, best = int("SGD" in kind), "best" in kind
    images, objective = (
        (md.mnist()[0], md.Objective(alpha=0)) if jitter else (md.mnist_transfer(), md.Objective(4, 0.7))
    )
    network = md.Network.mlp([784, 32, 10], dropout=0.2, seeds=[1, 2] if "replicas" in kind else 1)
    optimizer = KINDS[kind]()
    print(time.perf_counter(), flush=True)  # now it may be killed
    history = md.fit(
        network, images.subset(slice(600)), objective, optimizer, epochs=epochs, batch_size=50, jitter=jitter,
        validation=images.subset(slice(600, 700)), keep_best=best, patience=epochs if best else None, progress=False,
        checkpoint=folder, checkpoint_seconds=0.01,
    )  # fmt: skip
    print(time.perf_counter())
    digest = hashlib.sha256(json.dumps([history.loss, history.errors, history.learning_rate]).encode())
    for array in (network.parameters, network.gradients, *optimizer.state.values()):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def killed(kind: str, epochs: int, most: int, rng: random.Random) -> dict[str, Any]:
    """Kill this training up to so many times, and say how it ended."""
    command = [sys.executable, __file__, "--train", kind, "--epochs", str(epochs)]
    undisturbed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    begun, ended = map(float, undisturbed[:2])
    kills = unfinished = 0
    with tempfile.TemporaryDirectory() as folder:
        while True:
            process = subprocess.Popen([*command, "--folder", folder], stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            process.stdout.readline()
            try:
                process.wait(rng.uniform(0, (ended - begun) / 3) if kills < most else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
            out, _ = process.communicate()
            if process.returncode == 0:
                break
            if process.returncode != -signal.SIGKILL:
                raise SystemExit(f"error: {kind} ended with exit code {process.returncode} after {kills} kills")
            kills += 1
            unfinished += any(name.endswith(".tmp") for name in os.listdir(folder))
        tidy = set(os.listdir(folder)) == {"checkpoint-0.safetensors", "checkpoint-1.safetensors"}
    equal = out.split()[-1] == undisturbed[-1]
    return {"training": kind, "kills": kills, "while_writing": unfinished, "equal": equal, "tidy": tidy}


def report(record: dict[str, Any]) -> str:
    """Return a row for each kind of training."""
    rows = ["| training | kills | of them while a checkpoint was being written | ends bit for bit as if undisturbed |",
            "|---|---|---|---|"]  # fmt: skip
    for r in record["results"]:
        rows.append(f"| {r['training']} | {r['kills']} | {r['while_writing']} | {'yes' if r['equal'] else 'NO'} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="in all (default: 50)")
    parser.add_argument("--epochs", type=int, default=60, help="of a training (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--train", choices=KINDS, help=argparse.SUPPRESS)  # the process that is killed
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(train(options.train, options.folder, options.epochs))
        return
    rng, results, left = random.Random(options.seed), [], options.kills
    while left > 0:
        for kind in KINDS:
            if left > 0:
                results.append(killed(kind, options.epochs, min(left, -(-options.kills // len(KINDS))), rng))
                left -= results[-1]["kills"]
                print(results[-1], file=sys.stderr)
    found: list[dict[str, Any]] = []
    for kind in KINDS:
        if these := [r for r in results if r["training"] == kind]:
            sums = {name: sum(r[name] for r in these) for name in ("kills", "while_writing")}
            found.append(
                {"training": kind, **sums, **{name: all(r[name] for r in these) for name in ("equal", "tidy")}}
            )
    harness.save(options.json, found)
    print(report({"results": found}))
    sys.exit(0 if all(r["equal"] and r["tidy"] for r in found) else 1)


if __name__ == "__main__":
    main()
