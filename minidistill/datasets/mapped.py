"""Rows of an array in a file, read when they are asked for: what is larger than memory is never there whole."""

import mmap
from typing import Any

import numpy as np

from ..checks import Array


class MappedRows:
    """Stand for array[rows] of a memory-mapped array without reading it; as an array it has a shape, [] and take."""

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape, self.dtype, self.ndim = (len(rows), *array.shape[1:]), array.dtype, array.ndim

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, some: Any) -> np.ndarray:
        """Read the rows that a slice or indices name."""
        return np.asarray(self.array[self.rows[some]])

    def take(self, indices: np.ndarray, axis: int, out: np.ndarray, mode: Any) -> np.ndarray:
        """Read rows into `out`, as numpy.take asks an array to."""
        return self.array.take(self.rows[indices], axis, out, mode)


def rows_of(array: Array | MappedRows, rows: Any) -> Array | MappedRows:
    """Return array[rows], unread if the array lies in a file; rows: a slice or indices (n,)."""
    if isinstance(array, MappedRows):
        return MappedRows(array.array, array.rows[rows])
    return array[rows] if isinstance(rows, slice) or not _is_mapped(array) else MappedRows(array, rows)


def _is_mapped(array: Any) -> bool:
    """Tell whether the array, or what it is a view of, lies in a file."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None
