"""A training step by one process, and by MPI's ranks that share its batch: needs mpi4py and mpiexec on the path.

Each number of ranks in turn, round after round; BLAS has one thread in each rank. The median over rounds of the mean of
`--repeats` steps of 784-800-800-10 and 784-1600-1600-10 on MNIST, batches of 128, after an epoch's first steps.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from harness import machine, options, save

SIZES = {"student": [784, 800, 800, 10], "teacher": [784, 1600, 1600, 10]}
BATCH = 128


def rank(sizes: list[int], repeats: int) -> None:
    """A rank's side: train, and let rank 0 print the seconds of a step."""
    import minidistill as md
    from minidistill.parallel import ParallelNetwork, Ranks

    ranks = Ranks()
    with ranks.together():
        network: Any = ParallelNetwork.mlp(sizes, backend="numpy")
        network.ranks = ranks
        data, optimizer = md.mnist_transfer("numpy").subset(slice(BATCH * repeats)), md.SGD(1e-3)
        times = []
        for _ in range(3):  # the first warms
            start = time.perf_counter()
            md.fit(network, data, md.Objective(20.0, 1.0), optimizer, epochs=1, batch_size=BATCH, progress=False)
            times.append((time.perf_counter() - start) / repeats)
        if ranks.rank == 0:
            print(json.dumps(min(times[1:])), flush=True)


def report(record: dict[str, Any]) -> str:
    """Return a row for each network: the time of a step by each number of ranks, and how many times as fast."""
    numbers = list(record["results"][0]["seconds"])
    heads = [f"{n} rank{'s' * (n != '1')}" for n in numbers]
    rows = [f"| a step of {BATCH} rows | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for r in record["results"]:
        alone, cells = r["seconds"][numbers[0]], r["seconds"].values()
        rows.append(f"| {r['network']} | {' | '.join(f'{1e3 * s:.2f} ms ({alone / s:.2f} x)' for s in cells)} |")
    return "\n".join([*rows, "", machine(record)])


def main() -> None:
    parser = options(__doc__, rounds=5, repeats=200)
    parser.description = "A training step by one process, and by MPI's ranks that share its batch"
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rank-of", choices=SIZES, help="what each rank is called with")
    arguments = parser.parse_args()
    if arguments.rank_of:
        rank(SIZES[arguments.rank_of], arguments.repeats)
        return
    mpiexec = shutil.which("mpiexec", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        raise SystemExit("error: mpiexec must be on the path, as of PyPI's mpich")
    times: dict[str, dict[str, list[float]]] = {name: {str(n): [] for n in arguments.ranks} for name in SIZES}
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for _ in range(arguments.rounds):
        for name, of_network in times.items():
            for n, seconds in of_network.items():
                words = [mpiexec, "-n", n, sys.executable, __file__, "--rank-of", name]
                words += ["--repeats", str(arguments.repeats)]
                done = subprocess.run(words, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                seconds.append(json.loads(done.stdout))
                print(f"{name}, {n} ranks: {1e3 * seconds[-1]:.2f} ms a step", flush=True)
    medians = [{"network": k, "seconds": {n: statistics.median(s) for n, s in t.items()}} for k, t in times.items()]
    save(arguments.json, medians)


if __name__ == "__main__":
    main()
