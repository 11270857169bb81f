"""A training step against its matrix products alone, and against the same step in other frameworks, on real MNIST.

plain: the paper's student, 784-800-800-10, and this project's teacher without regularisation, 784-1600-1600-10, on the
embedded teachers' logits at T = 20. teacher: 784-1600-1600-10 on hard labels with dropout on inputs and hidden units,
jitter, max-norm. Batch 128, momentum 0.9. Each is timed fresh, in its first steps, and again after five epochs of its
own training, when momentum has met what it meets in practice. `products` is the forward and backward matrix products
alone, by NumPy. "flushing" is torch.set_flush_denormal(True).
"""

import argparse
import json
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from contenders import BATCH, MKL, ON_CPU, ON_GPU, OURS, PEERS, PRODUCTS, RATES, make
from harness import compare, machine, options, save, serve

SHAPES = ([784, 800, 800, 10], [784, 1600, 1600, 10])
WARMUP, EPOCH = 500, 469  # steps over which the learning rate rises; steps of an epoch
STATES = ("fresh", "trained")


def make_step(name: str, sizes: list[int], kind: str, device: str) -> tuple[Callable[[], object], Callable[[], object]]:
    training = make(name, sizes, kind, lambda step: RATES[kind] * min(1.0, (step + 1) / WARMUP), device == "gpu")
    return training.step, training.wait


def measure(sizes: list[int], kind: str, names: tuple[str, ...], arguments: argparse.Namespace) -> dict[str, Any]:
    epochs, shape = arguments.epochs, json.dumps(sizes)
    commands = {name: [__file__, "--serve", name, shape, kind, arguments.device] for name in names}
    times, absent = compare(commands, arguments.rounds, arguments.repeats, between=epochs * EPOCH)
    result: dict[str, Any] = {"shape": sizes, "kind": kind, "batch_size": BATCH, "epochs": epochs, "absent": absent}
    for state, seconds in zip(STATES, times, strict=True):
        peers = [s for name, s in seconds.items() if name in PEERS]  # of one network in float32
        fastest = min(peers, default=None)
        ours = {name: seconds[name] for name in (OURS, MKL) if name in seconds}
        result[state] = {
            "seconds": seconds,
            "ratio_to_products": {name: s / seconds[PRODUCTS] for name, s in ours.items()},
            "ratio_to_best_peer": {name: fastest / s for name, s in ours.items()} if fastest is not None else {},
        }
    flops = 2 * BATCH * (3 * sum(n * m for n, m in pairwise(sizes)) - sizes[0] * sizes[1])
    return result | {"gflops_of_products": flops / times[-1][PRODUCTS] / 1e9}


def title(r: dict[str, Any]) -> str:
    return f"{'-'.join(map(str, r['shape']))}, {r['kind']}"


def describe(r: dict[str, Any]) -> str:
    lines = [f"{title(r)} step, batch {r['batch_size']}: fresh, and after {r['epochs']} epochs"]
    fresh, trained = (r[state]["seconds"] for state in STATES)
    lines += [f"  {name:28} {1e3 * s:7.2f} ms {1e3 * trained[name]:7.2f} ms" for name, s in fresh.items()]
    lines += [f"  {name:28}  absent: {why}" for name, why in r["absent"].items()]
    texts = {"ratio_to_products": "times its products' time", "ratio_to_best_peer": "times the best peer's speed"}
    for what, text in texts.items():
        lines += [f"  {name}: {x:.3f} {text}" for name, x in r["trained"][what].items()]
    return "\n".join(lines)


def report(record: dict[str, Any]) -> str:
    """Return two rows for each shape, fresh and trained, and then a line with the ratios in the trained state."""
    names, ratios = list(record["results"][0]["fresh"]["seconds"]), []
    rows = [f"| step, batch {BATCH} | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for r in record["results"]:
        for state in STATES:
            when = "fresh" if state == "fresh" else f"after {r['epochs']} epochs"
            times = " | ".join(f"{1e3 * s:.2f} ms" for s in r[state]["seconds"].values())
            rows.append(f"| {title(r)}, {when} | {times} |")
        ours = r["trained"]
        ratios.append(
            f"of {title(r)} takes {100 * ours['ratio_to_products'][OURS]:.0f}% of the time of its matrix products "
            f"by NumPy and is {ours['ratio_to_best_peer'][OURS]:.2f} times as fast as the fastest of PyTorch and JAX"
        )
    line = f"After {record['results'][0]['epochs']} epochs on MNIST, a training step {'; '.join(ratios)}."
    return "\n".join([*rows, "", f"{line} {machine(record)}"])


def main() -> None:
    parser = options(__doc__, rounds=10, repeats=20)
    parser.add_argument("--no-peers", action="store_true", help="the products alone for comparison")
    parser.add_argument("--epochs", type=int, default=5, help="trained between the two measurements")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="of all contenders")
    arguments = parser.parse_args()
    everybody = ON_GPU if arguments.device == "gpu" else ON_CPU
    names = (OURS, PRODUCTS) if arguments.no_peers else everybody
    results = []
    for sizes, kind in ((SHAPES[0], "plain"), (SHAPES[1], "plain"), (SHAPES[1], "teacher")):
        results.append(measure(sizes, kind, names, arguments))
        print(describe(results[-1]), flush=True)
        save(arguments.json, results, arguments.device)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        name, sizes, kind, device = sys.argv[2:]
        serve(make_step, name, json.loads(sizes), kind, device)
    else:
        main()
