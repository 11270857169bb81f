"""Data sets: inputs with labels, which stay as they are stored (images as uint8) on the device, and become floats a
batch at a time.
"""

import reprlib
import warnings
from collections.abc import Iterator
from copy import copy
from typing import Any, Self

import numpy as np

from ..backend import Backend, as_backend
from ..checks import ArgumentError, Array, as_array, check_count, check_inputs, check_labels, check_number
from ..standardise import Standardise
from .mapped import MappedRows, rows_of


class Dataset:
    """Hold inputs (N, ...), uint8 images or finite floats, and labels (N,) in 0..classes-1, on the backend's device.

    Batches scale uint8 images to [0, 1]. classes: how many there are, if not one more than the largest label.
    Everything is checked here, once: raises ArgumentError, and warns if the labels leave class 0 empty.
    """

    def __init__(
        self, inputs: Any, labels: Any, backend: Backend | str | None = None, classes: int | None = None
    ) -> None:
        self.backend = as_backend(backend)
        inputs = check_real_inputs(inputs)
        if classes is not None:
            classes = check_count("classes", classes)
        labels = check_labels("labels", labels, classes, (len(inputs),))
        self.classes = int(labels.max()) + 1 if classes is None else classes
        if classes is None and (low := int(labels.min())):
            warnings.warn(
                f"labels from {low} to {self.classes - 1} leave class 0 empty: subtract {low}, or if it is meant, "
                f"give classes={self.classes}",
                stacklevel=2,
            )
        self.inputs: Array | MappedRows = self.backend.asarray(inputs)
        self.labels: Array | None = self.backend.asarray(labels, dtype=np.int64)  # (N,)

    def __len__(self) -> int:
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"<{self._about()}, {self.classes} classes, on {self.backend.name}>"

    def _about(self) -> str:
        return f"{type(self).__name__} of {len(self):,} {self.inputs.dtype} inputs {self.inputs.shape[1:]}"

    @property
    def n_in(self) -> int:
        """Count the numbers in one input."""
        return int(np.prod(self.inputs.shape[1:]))

    def mean(self) -> Array:
        """Return the mean input (n_in,), of uint8 pixels in [0, 1], on the host: what `Network.mlp` takes as `mean`."""
        if isinstance(self.inputs, MappedRows):  # too many to be in memory, perhaps
            return Standardise.of(self.inputs).mean
        unit = 255.0 if self.inputs.dtype == np.uint8 else 1.0
        return self.backend.to_host(self.inputs.reshape(len(self), -1).mean(axis=0, dtype=np.float64)) / unit

    def translations(self, reach: int) -> Iterator[Array]:
        """Yield the images (N, height, width) moved by (-reach, -reach), (-reach, -reach + 1), ... (reach, reach).

        Here and in batches, jitter moves in zeros, whatever the images' background.
        """
        if self.inputs.ndim != 3 or reach >= min(self.inputs.shape[1:]):
            raise ArgumentError(f"jitter needs images (N, height, width) larger than it, got {self.inputs.shape}")
        N, H, W = self.inputs.shape
        padded = self.backend.xp.zeros((N, H + 2 * reach, W + 2 * reach), dtype=self.inputs.dtype)
        padded[:, reach : reach + H, reach : reach + W] = self.inputs[:]
        for dy, dx in np.ndindex(2 * reach + 1, 2 * reach + 1):
            yield padded[:, 2 * reach - dy :, 2 * reach - dx :][:, :H, :W]

    def subset(self, rows: Any) -> Self:
        """Return the rows that a slice, an array of indices or a mask (N,) names, of as many classes.

        Inputs in a file stay there: they are read batch by batch. Raises ArgumentError if rows names none, or one that
        does not exist.
        """
        rows, part = self._check_rows(rows), copy(self)
        part.inputs = rows_of(self.inputs, rows)
        part.labels = None if self.labels is None else self.labels[rows]
        return part

    def split(self, share: float, seed: int = 0) -> tuple[Self, Self]:
        """Return (the rest, a random share of the rows in (0, 0.9]), each in the order of the rows, and not empty."""
        rows = len(self)
        part = max(1, round(check_number("share", share, above=0, at_most=0.9) * rows))
        if part == rows:
            raise ArgumentError(f"data must have at least 2 rows to be split, got {rows}")
        order = np.random.default_rng(seed).permutation(rows)
        return self.subset(np.sort(order[part:])), self.subset(np.sort(order[:part]))

    def _check_rows(self, rows: Any) -> Any:
        """Return a slice as it is, so that the subset is a view, and anything else as indices (n,) on the device.

        They are looked up on the host: a GPU would wrap an index that is out of range.
        """
        numbers, whole = np.arange(len(self)), isinstance(rows, slice)
        try:
            chosen = numbers[rows if whole else self.backend.to_host(as_array("rows", rows, dtype=None))]
        except (IndexError, TypeError, ValueError) as error:
            if isinstance(error, ArgumentError):  # an array of another library
                raise
            chosen = numbers[:0]
        if chosen.ndim != 1 or not chosen.size:
            raise ArgumentError(
                f"rows must be a slice, indices or a mask of the {len(self):,} rows, and name at least one, "
                f"got {' '.join(reprlib.repr(rows).split())}"
            )
        return rows if whole else self.backend.asarray(chosen)


def check_real_inputs(inputs: Any) -> Array:
    """Return inputs (N, ...), uint8 or finite floats. Raises ArgumentError for any other."""
    x = check_inputs("inputs", inputs)
    if x.dtype.kind == "c":  # which a network takes for a complex step, but nobody trains on
        raise ArgumentError(f"inputs must hold uint8 or real floating-point numbers, got dtype {x.dtype}")
    return x
