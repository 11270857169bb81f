"""Independent trainings as jobs, on the processes of one machine or, by MPI, of many: students at several temperatures.

    .venv/bin/python examples/farm.py --workers 4
    OPENBLAS_NUM_THREADS=1 mpiexec -n 9 .venv/bin/python -m mpi4py.futures examples/farm.py --mpi

Nothing is exchanged but a job and its answer, so this scales where summing gradients no longer pays. By MPI one rank
hands the jobs out. Replicas of one network (02_temperature.py) do the same in one process.
"""

import argparse
import multiprocessing
import os
import statistics
import time
from concurrent.futures import Executor, ProcessPoolExecutor
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy: a process for each core, and no threads beside them

import minidistill as md


def job(T: float, seed: int, epochs: int, rows: int) -> int:
    """Train a student, and return its errors on the last sixth of the training images: the test set chooses nothing."""
    data = md.mnist_transfer("numpy")
    student = md.Network.mlp([784, 300, 300, 10], seeds=seed, backend="numpy")
    optimizer = md.SGD(md.linear_decay(0.03, warmup=0.1))
    md.fit(student, data.subset(slice(rows)), md.Objective(T, 1.0), optimizer, epochs=epochs, progress=False)
    errors: Any = md.errors(student, data.subset(slice(50_000, None)))
    return int(errors)


def workers(arguments: argparse.Namespace) -> Executor:
    if not arguments.mpi:
        return ProcessPoolExecutor(arguments.workers, multiprocessing.get_context("spawn"))
    from mpi4py.futures import MPIPoolExecutor  # the extra mpi

    return MPIPoolExecutor()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1, 2, 4, 8, 20], metavar="T")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000, help="training images, at most 50,000")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes; not used with --mpi")
    parser.add_argument("--mpi", action="store_true", help="on the ranks of mpiexec -n N python -m mpi4py.futures")
    arguments = parser.parse_args()
    start, what = time.perf_counter(), (arguments.epochs, arguments.rows)
    with workers(arguments) as pool:
        jobs = {T: [pool.submit(job, T, s, *what) for s in range(arguments.seeds)] for T in arguments.temperatures}
        for T, of_T in jobs.items():
            errors = [one.result() for one in of_T]
            print(f"T = {T:4g}: {statistics.fmean(errors):7.1f} errors of 10,000  {errors}", flush=True)
    print(f"{len(jobs) * arguments.seeds} trainings in {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
