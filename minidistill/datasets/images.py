"""Folders of images in MNIST's four IDX files, under the names that they have in practice, and Keras's mnist.npz."""

import os
import re
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ..backend import Backend, as_backend
from ..checks import ArgumentError, DataError
from .dataset import Dataset
from .idx import check_path, read_idx

_FILES = {  # MNIST's names
    "train-images": "train-images-idx3-ubyte",
    "train-labels": "train-labels-idx1-ubyte",
    "t10k-images": "t10k-images-idx3-ubyte",
    "t10k-labels": "t10k-labels-idx1-ubyte",
}
_NAME = re.compile(r"(?:(.+)-)?(train|t10k|test)-(images|labels)[-.]idx\d-(?:ubyte|int)(?:\.gz)?")
_NPZ = dict(zip(_FILES, ("x_train", "y_train", "x_test", "y_test"), strict=True))
_QMNIST_COLUMNS = 8  # in its files of labels; the first column is the class

Read = Callable[[str], tuple[str, np.ndarray]]  # a key of _FILES to the name of a file, for errors, and its array


def load_images(
    folder: str | os.PathLike[str], backend: Backend | str | None = None, sha256: dict[str, str] | None = None
) -> tuple[Dataset, Dataset]:
    """Load the training and test set of a folder with MNIST's four file names, such as Fashion-MNIST's; .gz or plain.

    Names may have a prefix, as EMNIST's and QMNIST's, `test` for `t10k`, and `.idx` for `-idx`; a file may lie in a
    folder of its own name. "DIR/emnist-letters" chooses one of several prefixes in DIR. Keras's mnist.npz is read, too,
    by its path or as all that the folder holds. sha256: of uncompressed IDX files, by "train-images" and so on.
    Raises DataError, with the file's name, if one is missing, broken, or does not hold what its name says.
    """
    path, backend = check_path("folder", folder), as_backend(backend)
    read = _npz_reader(path) if os.path.isfile(path) else _folder_reader(path, sha256 or {})
    train = _dataset(read, "train", backend)
    test = _dataset(read, "t10k", backend, train.classes)
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        sizes = f"{train.inputs.shape[1:]} for training and {test.inputs.shape[1:]} for testing"
        raise DataError(f"{path} must hold images of one size, got {sizes}")
    return train, test


def _dataset(read: Read, part: str, backend: Backend, classes: int | None = None) -> Dataset:
    (images_path, images), (labels_path, labels) = read(f"{part}-images"), read(f"{part}-labels")
    if images.ndim != 3 or images.dtype != np.uint8 or images.size == 0:
        raise DataError(f"{images_path} must hold uint8 images (N, height, width), got {images.dtype} {images.shape}")
    if labels.shape == (len(images), _QMNIST_COLUMNS):
        labels = labels[:, 0]
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise DataError(f"{labels_path} must hold {len(images)} integer labels, got {labels.dtype} {labels.shape}")
    try:
        return Dataset(images, labels, backend, classes)
    except ArgumentError as error:  # the values of the labels
        raise DataError(f"{labels_path}: {error}") from None


def _folder_reader(path: str, sha256: dict[str, str]) -> Read:
    """Return what reads the IDX files of the folder, or those with the prefix in FOLDER/PREFIX."""
    folder, prefix = (path, "") if os.path.isdir(path) else os.path.split(path)
    folder = folder or os.curdir
    if not os.path.isdir(folder):
        raise DataError(f"data folder must exist, got {path!r}")
    names = _names(folder)
    sets: dict[str, dict[str, list[str]]] = {}  # by prefix and by key of _FILES: a file may be there plain and as .gz
    for name in names:
        if match := _NAME.fullmatch(os.path.basename(name)):
            key = f"{match[2].replace('test', 't10k')}-{match[3]}"
            sets.setdefault(match[1] or "", {}).setdefault(key, []).append(os.path.join(folder, name))
    archives = [name for name in names if name.endswith(".npz")]
    if not sets and not prefix and len(archives) == 1:
        return _npz_reader(os.path.join(folder, archives[0]))
    if prefix and prefix not in sets:
        others = f", and {folder} has no files with this prefix, but with {_listed(list(sets))}" if sets else ""
        raise DataError(f"data folder must exist, got {path!r}{others}")
    if not prefix and "" not in sets and sets:
        prefix = next(iter(sets))
        if len(sets) > 1:
            example = os.path.join(folder, prefix)
            raise DataError(f"{path} must hold one data set, got {_listed(list(sets))}: load_images({example!r})")
    files = sets.get(prefix, {})

    def read(key: str) -> tuple[str, np.ndarray]:
        if key not in files:
            wanted = f"{prefix}-{_FILES[key]}" if prefix else _FILES[key]
            raise DataError(f"{folder} must contain {wanted}, plain or .gz, got {_listed(names)}")
        *others, last = files[key]
        for file in others:
            with suppress(DataError):  # a broken file may lie beside a good one
                return file, read_idx(file, sha256.get(key))
        return last, read_idx(last, sha256.get(key))

    return read


def _names(folder: str) -> list[str]:
    """Return the files of a folder, and those in the folders that are named as a file of data."""
    names = []
    try:
        for name in sorted(os.listdir(folder)):
            if not os.path.isdir(os.path.join(folder, name)):
                names.append(name)
            elif _NAME.fullmatch(name):
                names += [os.path.join(name, inner) for inner in sorted(os.listdir(os.path.join(folder, name)))]
    except OSError as error:
        raise DataError(f"data folder must be readable, got: {error}") from None
    return names


def _listed(names: list[str], most: int = 6) -> str:
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest or "nothing"


def _npz_reader(path: str) -> Read:
    """Return what reads the arrays of an archive with Keras's names."""
    import zipfile  # here: a file that few need

    if not zipfile.is_zipfile(path):
        raise DataError(f"data folder must be a folder, FOLDER/PREFIX or an .npz archive, got the file {path!r}")

    def read(key: str) -> tuple[str, np.ndarray]:
        name = _NPZ[key]
        try:
            with np.load(path) as archive:
                if name in archive.files and isinstance(array := archive[name], np.ndarray):
                    return f"{path}[{name}]", array
                found = _listed(archive.files)
        except Exception as error:  # whatever zipfile and NumPy's parser raise for a broken archive
            found = " ".join(str(error).split())
        raise DataError(f"{path} must hold an array {name}, got {found}")

    return read
