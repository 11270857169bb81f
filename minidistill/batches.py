"""Batches: shuffled, scaled to floats, jittered, in buffers that are reused from batch to batch.

Replicas with different seeds see different shuffles and jitter, the same that each would see alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import random
from .checks import ArgumentError, Array, check_count
from .datasets import Dataset, TransferSet
from .network import Network


@dataclass
class Batch:
    """x (..., B, n_in) floats; y (..., B) labels or None; v (..., B, classes) teacher logits or None."""

    x: Array
    y: Array | None
    v: Array | None


class Batches:
    """The batches of `data` for `network`: its seeds, dtype and device. jitter: pixels, 0 for none.

    An epoch holds every row once; its last batch may be smaller. Refilling the buffers ends a batch's life.
    """

    def __init__(self, network: Network, data: Dataset, batch_size: int, jitter: int = 0) -> None:
        if data.backend.xp is not network.backend.xp:
            raise ArgumentError(f"data must be on the network's backend, {network.backend}, got {data.backend}")
        if data.n_in != network.n_in:
            raise ArgumentError(f"data must have the network's {network.n_in} inputs, got {data.n_in}")
        self.network, self.data, self.backend = network, data, network.backend
        self.batch_size = min(check_count("batch_size", batch_size), len(data))
        self.jitter = check_count("jitter", jitter, at_least=0)
        if self.jitter and data.inputs.ndim != 3:
            raise ArgumentError(f"jitter needs images (N, height, width), got inputs of shape {data.inputs.shape}")
        s1, s2 = random.seed_key(network.seeds, self.backend.asarray)
        self.seed = (s1[:, 0], s2[:, 0]) if network.lead else (s1, s2)  # each (R, 1), or an int
        self.counters = self.backend.xp.arange(len(data), dtype=np.uint32)
        self.logits = self.backend.asarray(data.logits, dtype=network.dtype) if isinstance(data, TransferSet) else None
        self._batch_size = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        return -(-len(self.data) // self.batch_size)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        order = random.permutation(self.seed, random.stream_key(random.SHUFFLE, epoch), self.counters)  # (..., N)
        for start in range(0, len(self.data), self.batch_size):
            yield self.gather(order[..., start : start + self.batch_size], epoch)

    def gather(self, index: Array, epoch: int) -> Batch:
        """The rows index (..., B) as they are in this epoch."""
        if index.shape[-1] != self._batch_size:
            self._allocate(index.shape)
        data, backend = self.data, self.backend
        raw = backend.take(data.inputs, index, out=self.raw)
        if self.jitter:
            raw = self._shift(index, epoch)
        backend.to_unit_interval(raw.reshape(self.x.shape), out=self.x)
        y = None if data.labels is None else backend.take(data.labels, index, out=self.y)
        return Batch(self.x, y, self._teacher_logits(index))

    def _shift(self, index: Array, epoch: int) -> Array:
        """Each image moved by up to `jitter` pixels in both directions, keyed by its own number and the epoch."""
        stream = random.stream_key(random.JITTER, epoch)
        words = random.words(self.seed, stream, index.astype(np.uint32)).ravel()  # (M,), M = R B
        reach, span = self.jitter, 2 * self.jitter + 1
        dy = ((words >> 16) * span >> 16).astype(np.int64) - reach
        dx = ((words & 0xFFFF) * span >> 16).astype(np.int64) - reach
        shape = (words.size, *self.raw.shape[-2:])
        return self.backend.shift(self.raw.reshape(shape), dy, dx, reach, self.padded, self.shifted)

    def _teacher_logits(self, index: Array) -> Array | None:
        data = self.data
        if not isinstance(data, TransferSet):
            return None
        if not self.jitter:
            return self.backend.take(self.logits, index, out=self.v)
        if data.teacher is None:
            raise ArgumentError(
                "jitter needs a transfer set with its teacher: stored logits belong to unjittered inputs"
            )
        return data.teacher.forward(self.x.reshape(-1, self.network.n_in)).reshape(self.v.shape)

    def _allocate(self, shape: tuple[int, ...]) -> None:
        xp, data = self.backend.xp, self.data
        self._batch_size = shape[-1]
        self.raw = xp.empty((*shape, *data.inputs.shape[1:]), dtype=data.inputs.dtype)
        self.x = xp.empty((*shape, self.network.n_in), dtype=self.network.dtype)
        self.y = xp.empty(shape, dtype=np.int64)
        self.v = xp.empty((*shape, data.classes), dtype=self.network.dtype)
        if self.jitter:
            M, (H, W) = int(np.prod(shape)), data.inputs.shape[1:]
            self.padded = xp.zeros((M, H + 2 * self.jitter, W + 2 * self.jitter), dtype=data.inputs.dtype)
            self.shifted = xp.empty((M, H, W), dtype=data.inputs.dtype)
