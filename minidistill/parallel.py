"""Data-parallel training by MPI (the extra `mpi`): each rank computes its rows of a batch, and gradients are summed.

Shuffles, jitter and masks are functions of the seed and of a row's place, not of who computes it, so N ranks train the
network that one process would, to the order of summation. Left out: losses whose rows depend on each other (dist), and
random layers of one's own, whose masks nobody here can place.
"""

import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .checks import ArgumentError, Array, MinidistillError
from .network import Network

PATIENCE = 5.0  # seconds in which an error that all ranks meet has reached them all


class Ranks:
    """Know which rows of a batch are this rank's, and sum over all ranks. comm: mpi4py's; None: COMM_WORLD.

    Every process of `mpiexec -n N` is a rank, and makes this. Raises ArgumentError without the package mpi4py.
    """

    def __init__(self, comm: Any = None) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # the latter where the package finds no MPI
            needed = "mpi4py, of the extra 'mpi', and an MPI, such as PyPI's mpich"
            raise ArgumentError(f"training on several ranks needs {needed}: {error}") from None
        self.of_sums, self.of_errors = ((comm or MPI.COMM_WORLD).Dup() for _ in range(2))
        self.rank, self.size, self.in_place = self.of_sums.Get_rank(), self.of_sums.Get_size(), MPI.IN_PLACE
        kinds = self.of_sums.Get_info().Get("mpi_memory_alloc_kinds")  # MPI 4.1: the memory that it reads
        self.reads_devices = "cuda" in (kinds or "")

    def share(self, rows: int) -> tuple[slice, float]:
        """Return this rank's rows of a batch of so many, and their weight in its mean.

        Of fewer rows than ranks some get the first one, at weight 0: nobody computes with an empty batch.
        """
        start, stop = rows * self.rank // self.size, rows * (self.rank + 1) // self.size
        return (slice(start, stop), (stop - start) / rows) if stop > start else (slice(0, 1), 0.0)

    def sum(self, array: Array, backend: Any = None) -> None:
        """Write the sum over the ranks into the array, the same on each: one Allreduce.

        A device's array goes through the host, unless MPI says that it reads devices.
        """
        if isinstance(array, np.ndarray):
            self.of_sums.Allreduce(self.in_place, array)
        elif self.reads_devices:
            backend.xp.cuda.get_current_stream().synchronize()  # MPI knows nothing of streams
            self.of_sums.Allreduce(self.in_place, array)
        else:
            on_host = backend.to_host(array)
            self.of_sums.Allreduce(self.in_place, on_host)
            array[...] = backend.asarray(on_host)

    def mean_losses(self, losses: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Return the losses (steps, replicas) of whole batches of these sizes, of those of this rank's rows."""
        weighed: np.ndarray = losses * np.array([self.share(int(size))[1] for size in sizes])[:, None]
        self.sum(weighed)
        return weighed

    @contextmanager
    def together(self) -> Iterator[None]:
        """Stop all ranks when one of them fails, with one message.

        What all meet, as a divergence or a missing file, is raised on rank 0, and the others exit in silence. What one
        meets alone is told with its number, and MPI ends the others, who would wait for it for ever.
        """
        try:
            yield
        except (Exception, KeyboardInterrupt) as error:
            mendable = isinstance(error, (MinidistillError, OSError, MemoryError))
            all_here, deadline = self.of_errors.Ibarrier(), time.monotonic() + PATIENCE
            while not all_here.Test():
                if time.monotonic() > deadline:
                    print(f"error: rank {self.rank}: {error}" if mendable else traceback.format_exc(), file=sys.stderr)
                    sys.stderr.flush()
                    self.of_errors.Abort(2 if mendable else 1)
                time.sleep(0.01)
            if self.rank == 0:
                raise
            raise SystemExit(2 if mendable else 1) from None


class ParallelNetwork(Network):
    """Train as Network does, in a process of many: `fit` in each of them, with the same arguments, trains one network.

    ranks: None for a network like any other, such as a copy of this one. Each rank knows all of a training, so that a
    copy goes on with another number of them.
    """

    ranks: Ranks | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("ranks", "weight")}

    def share(self, rows: int) -> slice:
        """Return this rank's rows of the next batch, of so many, and place its masks there; `fit` asks for them."""
        if self.ranks is None:
            return slice(None)
        mine, self.weight = self.ranks.share(rows)
        width = self.n_in
        for layer in self.layers:
            # A mask's words are numbered along the rows (random.KeepMask), and s1 is added to the number: with the rows
            # before added to s1, in words, it is the mask from this row on, in every backend's kernels.
            width = layer.n_out or width
            s1, s2 = vars(layer).setdefault("_seed", layer.seed)
            moved = mine.start * -(-width // 4)
            layer.seed = ((s1 + moved) & 0xFFFFFFFF if isinstance(s1, int) else s1 + np.uint32(moved), s2)
        return mine

    def backward(self, dz: Array, momentum: float = 0.0) -> None:
        """Compute the gradients of the whole batch: the sum over the ranks of those of their rows, by their weights.

        With momentum μ the vector becomes μ times what it was plus the new ones. What it was is the same everywhere, so
        one rank brings it in.
        """
        if self.ranks is None:
            super().backward(dz, momentum)
            return
        self.xp.multiply(dz, self.weight, out=dz)
        super().backward(dz, momentum if self.ranks.rank == 0 else 0.0)
        self.ranks.sum(self.gradients, self.backend)
