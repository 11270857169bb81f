"""Data sets: inputs with labels, and transfer sets: inputs with a teacher's logits. Both stay as they are stored
(images as uint8) on the device, and become floats a batch at a time.
"""

from typing import Any

import numpy as np

from ..backend import Backend, as_backend
from ..checks import ArgumentError, Array, check_inputs, check_labels, check_logits
from ..network import Network


class Dataset:
    """inputs (N, ...): uint8 images, which batches scale to [0, 1], or finite floats; labels (N,): 0..classes-1.

    classes: how many there are, if not one more than the largest label.

    Everything is checked here, once. The arrays move to the backend's device.
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
        """Numbers in one input."""
        return int(np.prod(self.inputs.shape[1:]))

    def subset(self, rows: Any) -> "Dataset":
        """The rows that a slice or an array of indices names, of as many classes."""
        assert self.labels is not None  # only a transfer set may lack them
        return Dataset(self.inputs[rows], self.labels[rows], self.backend, self.classes)


class TransferSet(Dataset):
    """inputs (N, ...) with a teacher's logits (N, classes), and labels (N,) where they are known.

    `from_teacher` computes the logits once. With jitter, a batch is not one of the stored inputs, and the training
    loop asks `teacher` for its logits as it goes; without a teacher, jitter is refused.
    """

    def __init__(
        self,
        inputs: Any,
        logits: Any,
        labels: Any = None,
        teacher: Network | None = None,
        backend: Backend | str | None = None,
    ) -> None:
        self.backend = as_backend(backend)
        inputs, logits = check_inputs("inputs", inputs), check_logits("logits", logits)
        if logits.ndim != 2 or len(logits) != len(inputs):
            raise ArgumentError(
                f"logits must have shape ({len(inputs)}, classes), a row for each input, got {logits.shape}"
            )
        self.classes = logits.shape[1]
        self.inputs = self.backend.asarray(inputs)
        self.logits = self.backend.asarray(logits)
        self.labels = None
        if labels is not None:
            labels = check_labels("labels", labels, self.classes, (len(inputs),))
            self.labels = self.backend.asarray(labels, dtype=np.int64)
        self.teacher = teacher

    def subset(self, rows: Any) -> "TransferSet":
        """The rows that a slice or an array of indices names, with their logits."""
        labels = None if self.labels is None else self.labels[rows]
        return TransferSet(self.inputs[rows], self.logits[rows], labels, self.teacher, self.backend)

    @classmethod
    def from_teacher(cls, teacher: Network, data: Dataset) -> "TransferSet":
        """The data set with the logits that the teacher (one network, not replicas) gives on it."""
        if teacher.lead:
            raise ArgumentError(f"teacher must be one network, got {teacher.replicas} replicas")
        return cls(data.inputs, teacher.predict(data.inputs), data.labels, teacher, data.backend)
