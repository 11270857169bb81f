"""Batches: shuffled, scaled to floats, jittered, in buffers that are reused from batch to batch.

Replicas with different seeds see different shuffles and jitter, the same that each would see alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import random
from .checks import ArgumentError, Array, check_count
from .copies import kept
from .datasets import Dataset, TransferSet
from .network import Network


@dataclass
class Batch:
    """Hold x (..., B, n_in) floats; y (..., B) labels or None; v (..., B, classes) teacher logits or None."""

    x: Array
    y: Array | None
    v: Array | None


class Batches:
    """Gather the batches of `data` for `network`, with its seeds, dtype and device. jitter: in pixels, 0 for none.

    soft: whether teacher logits are wanted. An epoch holds every row once; its last batch may be smaller. A batch lives
    until the next one of its size is gathered.
    """

    def __init__(self, network: Network, data: Dataset, batch_size: int, jitter: int = 0, soft: bool = True) -> None:
        if data.backend.xp is not network.backend.xp:
            raise ArgumentError(f"data must be on the network's backend, {network.backend}, got {data.backend}")
        if data.n_in != network.n_in:
            raise ArgumentError(f"data must have the network's {network.n_in} inputs, got {data.n_in}")
        self.network, self.data, self.backend = network, data, network.backend
        self.batch_size = min(check_count("batch_size", batch_size), len(data))
        self.jitter = check_count("jitter", jitter, at_least=0)
        if self.jitter and data.inputs.ndim != 3:
            raise ArgumentError(f"jitter needs images (N, height, width), got inputs of shape {data.inputs.shape}")
        if self.jitter and self.jitter >= min(data.inputs.shape[1:]):
            raise ArgumentError(f"jitter must be less than the images' size, {data.inputs.shape[1:]}, got {jitter}")
        self.transfer = data if isinstance(data, TransferSet) and soft else None
        if self.jitter and self.transfer is not None and self.transfer.jitter != self.jitter:
            raise ArgumentError(
                f"jitter must be the transfer set's, {self.transfer.jitter}, whose logits belong to images moved so "
                f"far, got {self.jitter}: TransferSet.from_teacher(..., jitter={self.jitter})"
            )
        s1, s2 = random.seed_key(network.seeds, self.backend.asarray)
        self.seed = (s1[:, 0], s2[:, 0]) if network.replica_shape else (s1, s2)  # each (R, 1), or an int
        self.counters = self.backend.xp.arange(len(data), dtype=np.uint32)
        self.logits: Array | None = None  # (shifts N, classes): shift s of input i is row s N + i
        if self.transfer is not None:
            logits = self.transfer.logits if self.jitter else self.transfer.unmoved
            with np.errstate(over="ignore"):
                self.logits = self.backend.asarray(logits.reshape(-1, data.classes), dtype=network.dtype)
            if not bool(self.backend.xp.isfinite(self.logits).all()):
                raise ArgumentError(f"logits must be finite in the network's {network.dtype}, got larger ones")
        self.share = getattr(network, "share", None)  # of each batch that is gathered in this process: parallel.py
        self._buffers: dict[Any, Any] = {}  # by the shape of the index

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return -(-len(self.data) // self.batch_size)

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of this epoch, in its random order, from number `first` on."""
        order = random.permutation(self.seed, random.purpose_key(random.SHUFFLE, epoch), self.counters)  # (..., N)
        for start in range(first * self.batch_size, len(self.data), self.batch_size):
            index = order[..., start : start + self.batch_size]
            yield self.gather(index if self.share is None else index[..., self.share(index.shape[-1])], epoch)

    def gather(self, index: Array, epoch: int) -> Batch:
        """Return the rows index (..., B) as they are in this epoch."""
        raw, x, y, v, padded, translated = kept(self._buffers, index.shape, self._make_buffers)
        data, backend = self.data, self.backend
        backend.take(data.inputs, index, out=raw)
        row = index  # that of the logits, too, unless they are of moved images
        if self.jitter:
            key = random.purpose_key(random.JITTER, epoch)  # each image has its own offset in each epoch
            dy, dx = backend.jitter_offsets(index, self.seed, key, self.jitter)
            images = raw.reshape(dy.size, *raw.shape[-2:])
            raw = backend.translate(images, dy.ravel(), dx.ravel(), self.jitter, padded, translated)
            if self.logits is not None:
                row = ((dy + self.jitter) * (2 * self.jitter + 1) + dx + self.jitter) * len(data) + index
        backend.to_unit_interval(raw.reshape(x.shape), out=x)
        labels = None if data.labels is None else backend.take(data.labels, index, out=y)
        return Batch(x, labels, None if self.logits is None else backend.take(self.logits, row, out=v))

    def _make_buffers(self, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """Make raw, x, y and v, and for jitter the padded and the translated images."""
        xp, data = self.backend.xp, self.data
        raw = xp.empty((*shape, *data.inputs.shape[1:]), dtype=data.inputs.dtype)
        x = xp.empty((*shape, self.network.n_in), dtype=self.network.dtype)
        y, v = xp.empty(shape, dtype=np.int64), xp.empty((*shape, data.classes), dtype=self.network.dtype)
        if not self.jitter:
            return raw, x, y, v, None, None
        M, (H, W) = int(np.prod(shape)), data.inputs.shape[1:]
        padded = xp.zeros((M, H + 2 * self.jitter, W + 2 * self.jitter), dtype=data.inputs.dtype)
        return raw, x, y, v, padded, xp.empty((M, H, W), dtype=data.inputs.dtype)
