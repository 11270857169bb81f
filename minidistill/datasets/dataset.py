"""Data sets: inputs with labels, and transfer sets: inputs with a teacher's logits. Both stay as they are stored
(images as uint8) on the device, and become floats a batch at a time.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import Backend, as_backend
from ..checks import ArgumentError, Array, check_count, check_inputs, check_labels, check_logits
from ..network import Network


class Dataset:
    """Hold inputs (N, ...), uint8 images or finite floats, and labels (N,) in 0..classes-1, on the backend's device.

    Batches scale uint8 images to [0, 1]. classes: how many there are, if not one more than the largest label.
    Everything is checked here, once.
    """

    def __init__(
        self, inputs: Any, labels: Any, backend: Backend | str | None = None, classes: int | None = None
    ) -> None:
        self.backend = as_backend(backend)
        inputs = check_inputs("inputs", inputs)
        labels = check_labels("labels", labels, classes or 2**31, (len(inputs),))
        self.classes = classes or int(labels.max()) + 1
        self.inputs = self.backend.asarray(inputs)
        self.labels: Array | None = self.backend.asarray(labels, dtype=np.int64)  # (N,)

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def n_in(self) -> int:
        """Count the numbers in one input."""
        return int(np.prod(self.inputs.shape[1:]))

    def translations(self, reach: int) -> Iterator[Array]:
        """Yield the images (N, height, width) moved by (-reach, -reach), (-reach, -reach + 1), ... (reach, reach)."""
        if self.inputs.ndim != 3 or reach >= min(self.inputs.shape[1:]):
            raise ArgumentError(f"jitter needs images (N, height, width) larger than it, got {self.inputs.shape}")
        N, H, W = self.inputs.shape
        padded = self.backend.xp.zeros((N, H + 2 * reach, W + 2 * reach), dtype=self.inputs.dtype)
        padded[:, reach : reach + H, reach : reach + W] = self.inputs
        for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
            yield padded[:, 2 * reach - dy :, 2 * reach - dx :][:, :H, :W]

    def subset(self, rows: Any) -> "Dataset":
        """Return the rows that a slice or an array of indices names, of as many classes."""
        assert self.labels is not None  # only a transfer set may lack them
        return Dataset(self.inputs[rows], self.labels[rows], self.backend, self.classes)


class TransferSet(Dataset):
    """Hold inputs (N, ...) with a teacher's logits (N, classes), and labels (N,) where they are known.

    Logits ((2r + 1)², N, classes) are those of images moved by (dy, dx) pixels, |dy|, |dx| <= r, row by row from
    (-r, -r) to (r, r): with them a student trains under a jitter of r at the cost of a lookup.
    """

    def __init__(self, inputs: Any, logits: Any, labels: Any = None, backend: Backend | str | None = None) -> None:
        self.backend = as_backend(backend)
        inputs, logits = check_inputs("inputs", inputs), check_logits("logits", logits)
        self.jitter = (math.isqrt(len(logits)) - 1) // 2 if logits.ndim == 3 else 0
        one_for_all = logits.ndim == 2 or (logits.ndim == 3 and len(logits) == (2 * self.jitter + 1) ** 2)
        if not one_for_all or logits.shape[-2] != len(inputs):
            raise ArgumentError(
                f"logits must have shape ({len(inputs)}, classes), a row for each input, or (shifts, {len(inputs)}, "
                f"classes) with 1, 9, 25, ... shifts, got {logits.shape}"
            )
        self.classes = logits.shape[-1]
        self.inputs = self.backend.asarray(inputs)
        self.logits = self.backend.asarray(logits)
        self.labels = None
        if labels is not None:
            labels = check_labels("labels", labels, self.classes, (len(inputs),))
            self.labels = self.backend.asarray(labels, dtype=np.int64)

    @property
    def unmoved(self) -> Array:
        """Return the logits (N, classes) of the inputs as they are."""
        return self.logits if self.logits.ndim == 2 else self.logits[len(self.logits) // 2]

    def subset(self, rows: Any) -> "TransferSet":
        """Return the rows that a slice or an array of indices names, with their logits."""
        labels = None if self.labels is None else self.labels[rows]
        return TransferSet(self.inputs[rows], self.logits[..., rows, :], labels, self.backend)

    @classmethod
    def from_teacher(cls, teacher: Network | Callable[[Array], Array], data: Dataset, jitter: int = 0) -> "TransferSet":
        """Return the data set with the logits that the teacher gives on it, and on it moved by up to `jitter` pixels.

        teacher: one network, or any function of inputs (N, ...) to logits (N, classes), such as an ensemble.
        """
        if isinstance(teacher, Network) and teacher.replica_shape:
            raise ArgumentError(
                f"teacher must be one network, got {teacher.replicas} replicas: combine their logits, "
                "as geometric_mean does"
            )
        predict = teacher.predict if isinstance(teacher, Network) else teacher
        if not check_count("jitter", jitter, at_least=0):
            return cls(data.inputs, predict(data.inputs), data.labels, data.backend)
        moved = [predict(images) for images in data.translations(jitter)]
        return cls(data.inputs, data.backend.xp.stack(moved), data.labels, data.backend)
