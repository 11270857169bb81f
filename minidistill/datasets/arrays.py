"""Arrays in files of the kinds that people have: .npy, .npz, CSV and IDX. Nothing is ever unpickled."""

import os
from typing import Any

import numpy as np

from ..checks import DataError
from .idx import read_idx


def read_array(option: str, path: str | os.PathLike[str]) -> np.ndarray:
    """Return the array of a file: .npy (mapped into memory), .npz with one array, IDX, or CSV under a header of names.

    Raises DataError, which names the option, for a file that is missing or broken, or would need pickle.
    """
    import warnings

    try:
        with warnings.catch_warnings():  # of sizes that no file has, and of files without a row, which are told below
            warnings.simplefilter("ignore")
            array = _read(path)
    except DataError:
        raise
    except Exception as error:  # whatever zipfile, zlib and NumPy's parsers raise for a broken file
        raise DataError(f"{option} must be a readable array, got {path}: {' '.join(str(error).split())}") from None
    if array is None:
        raise DataError(f"{option} must end in .npy, .npz or .csv, or be an IDX file, got {os.fspath(path)!r}")
    if isinstance(array, list):
        raise DataError(f"{option} must hold one array, got {path} with {', '.join(array) or 'none'}")
    return np.asanyarray(array)


def _read(path: str | os.PathLike[str]) -> Any:
    """Return the array, the names of an archive's where it has not exactly one, or None for a file of another kind."""
    import zipfile

    kind = os.path.splitext(path)[1]
    if kind == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if kind == ".npz":
        if os.path.isfile(path) and not zipfile.is_zipfile(path):  # which NumPy would take for a pickle
            raise ValueError("it is no archive")
        with np.load(path, allow_pickle=False) as arrays:
            return np.asarray(arrays[arrays.files[0]]) if len(arrays.files) == 1 else list(arrays.files)
    if kind == ".csv":
        return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2, dtype=np.float32, encoding="utf-8")
    return read_idx(path) if "idx" in os.path.basename(path) else None


def read_labels(path: str | os.PathLike[str]) -> np.ndarray:
    """Return labels (N,), int64, of a file; a CSV's are its one column."""
    labels = read_array("--labels", path)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.dtype.kind == "f" and (abs(labels) < 2**53).all() and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    return labels
