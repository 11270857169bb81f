"""Arrays in files of the kinds that people have: .npy, .npz, CSV and IDX. Nothing is ever unpickled."""

import math
import os
from typing import Any

import numpy as np

from ..checks import DataError
from .idx import MOST_INFLATED, read_idx


def read_array(option: str, path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array of a file: .npy (mapped into memory), .npz with one array, IDX, or CSV under a header of names.

    Raises DataError, which names the option, for a file that is missing or broken, or would need pickle.
    """
    kind = os.path.splitext(path)[1]
    try:
        if kind == ".npy":
            with open(path, "rb") as file:
                _check_promise(file, os.path.getsize(path))
            return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
        if kind == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if len(arrays.files) != 1:
                    raise DataError(
                        f"{option} must hold one array, got {path} with {', '.join(arrays.files) or 'none'}"
                    )
                (entry,) = arrays.zip.infolist()
                with arrays.zip.open(entry) as file:
                    _check_promise(file, min(entry.file_size, MOST_INFLATED * entry.compress_size))
                return np.asarray(arrays[arrays.files[0]])
        if kind == ".csv":
            return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, dtype=np.float32, encoding="utf-8")
        if "idx" in os.path.basename(path):
            return read_idx(path)
    except DataError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy's parsers raise for a broken file
        raise DataError(f"{option} must be a readable array, got {path}: {' '.join(str(error).split())}") from None
    raise DataError(f"{option} must end in .npy, .npz or .csv, or be an IDX file, got {os.fspath(path)!r}")


def _check_promise(file: Any, size: int) -> None:
    """Raise ValueError if a .npy header promises more than `size` bytes: NumPy takes the memory before it looks."""
    start = file.read(12)
    file.seek(0)
    first = start[6:8] == b"\1\0"  # of the versions; later ones have a longer length
    length = int.from_bytes(start[8:10] if first else start[8:12], "little")
    if length > size:
        raise ValueError(f"a header of {length} bytes in {size}")
    np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if math.prod(shape) * dtype.itemsize > size:
        raise ValueError(f"{dtype} {shape} in {size} bytes")


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Return labels (N,), int64, of a file; a CSV's are its one column."""
    labels = read_array("--labels", path)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    return labels
