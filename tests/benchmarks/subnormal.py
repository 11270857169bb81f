"""Subnormal numbers in a training: how many momentum gathers, where else there are any, and what they cost.

The headline's student, 784-800-800-10 at T = 20, eight epochs of MNIST by `fit`, with `Backend.flush` and without it,
an epoch of each in turn. Counted at the end of every epoch in the velocity, the parameters, and the last batch's dz,
activations and their gradients.
"""

import statistics
import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from contenders import BATCH, MOMENTUM, RATES, T, mnist
from harness import machine, options, save

SIZES = [784, 800, 800, 10]
PLACES = ("velocity", "parameters", "dz", "activations", "their gradients")


def subnormal(arrays: Any) -> int:
    """Count them in these arrays, of which some may be None."""
    tiny = np.finfo(np.float32).tiny
    return sum(int(((x != 0) & (abs(x) < tiny)).sum()) for x in arrays if x is not None)


def training(flushed: bool, epochs: int) -> Iterator[dict[str, Any]]:
    """Yield seconds and counts of each epoch."""
    md, data, _ = mnist()

    class Watching(md.backend.BlasBackend):  # type: ignore[name-defined,misc]
        def flush(self, *vectors: Any) -> None:
            if flushed:
                super().flush(*vectors)

    class Seen(md.SGD):  # type: ignore[name-defined,misc]
        def step(self, network: Any, dz: Any, learning_rate: float) -> None:
            self.dz = dz
            super().step(network, dz, learning_rate)

    backend = Watching()
    network, data = md.Network.mlp(SIZES, backend=backend), md.mnist_transfer(backend)
    optimizer = Seen(md.linear_decay(RATES["plain"], warmup=0.1), MOMENTUM)
    for _ in range(epochs):
        start = time.perf_counter()
        md.fit(network, data, md.Objective(T, 1.0), optimizer, epochs=1, total_epochs=epochs, batch_size=BATCH,
               progress=False)  # fmt: skip
        seconds = time.perf_counter() - start
        places = (
            [network.gradients],
            [network.parameters],
            [optimizer.dz],
            network._activations,
            network._input_gradients,
        )
        yield {"seconds": seconds, **dict(zip(PLACES, map(subnormal, places), strict=True))}


def report(record: dict[str, Any]) -> str:
    """Return a row for each training: the count in the velocity after each epoch, and seconds early and late."""
    numbers = record["results"][0]["parameters"]
    rows = [
        f"| subnormal numbers among the velocity's {numbers:,} | after each epoch | elsewhere | epochs 1-2 | last 3 |",
        "|---|---|---:|---:|---:|",
    ]
    for r in record["results"]:
        counts = " ".join(f"{epoch['velocity']:,}" for epoch in r["epochs"])
        elsewhere = sum(epoch[place] for epoch in r["epochs"] for place in PLACES[1:])
        seconds = [epoch["seconds"] for epoch in r["epochs"]]
        early, late = statistics.fmean(seconds[:2]), statistics.fmean(seconds[-3:])
        rows.append(f"| {r['kind']} | {counts} | {elsewhere:,} | {early:.2f} s | {late:.2f} s |")
    return "\n".join([*rows, "", machine(record)])


def main() -> None:
    parser = options(__doc__, rounds=8, repeats=1)
    arguments = parser.parse_args()
    kinds = {
        "left alone": training(False, arguments.rounds),
        "set to 0 every 100 steps": training(True, arguments.rounds),
    }
    epochs: dict[str, list[Any]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind, one in kinds.items():
            epochs[kind].append(next(one))
            print(kind, epochs[kind][-1], flush=True)
    parameters = sum(n * m + m for n, m in pairwise(SIZES))
    save(arguments.json, [{"kind": kind, "parameters": parameters, "epochs": found} for kind, found in epochs.items()])


if __name__ == "__main__":
    main()
