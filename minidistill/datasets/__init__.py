"""Data: the embedded MNIST, any other IDX folder, and transfer sets of a teacher's logits."""

import os

import numpy as np

from ..backend import Backend
from ..checks import DataError
from .dataset import Dataset, TransferSet
from .idx import read_idx

__all__ = ["Dataset", "TransferSet", "load_images", "mnist", "mnist_transfer", "read_idx"]

_MNIST_SHA256 = {  # taken of the uncompressed files
    "train-images": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def mnist(backend: Backend | str | None = None) -> tuple[Dataset, Dataset]:
    """Load the embedded MNIST (LeCun, Cortes, Burges; CC BY-SA 3.0): 60,000 and 10,000 test images of 28 x 28."""
    return load_images(os.path.join(os.path.dirname(__file__), "mnist"), backend, _MNIST_SHA256)


def mnist_transfer(backend: Backend | str | None = None) -> TransferSet:
    """Load the embedded MNIST training set with the logits of a teacher, which teacher.json beside them describes.

    So a student can be distilled without training a teacher first. The logits were kept as float16, good to 0.05%.
    """
    train, _ = mnist(backend)
    path = os.path.join(os.path.dirname(__file__), "mnist", "teacher-logits.npy")
    try:
        logits = np.load(path).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a readable array of logits, got: {error}") from None
    return TransferSet(train.inputs, logits, train.labels, train.backend)


def load_images(
    folder: str | os.PathLike[str], backend: Backend | str | None = None, sha256: dict[str, str] | None = None
) -> tuple[Dataset, Dataset]:
    """Load the training and test set of a folder with MNIST's four file names, such as Fashion-MNIST's; .gz or plain.

    Raises DataError, with the file's name, if one is missing, broken, or does not hold what its name says.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise DataError(f"data folder must exist, got {folder!r}")
    train, test = (_load_pair(folder, part, backend, sha256 or {}) for part in ("train", "t10k"))
    if train.inputs.shape[1:] != test.inputs.shape[1:]:
        raise DataError(
            f"{folder} must hold images of one size, got {train.n_in} pixels in train and {test.n_in} in t10k"
        )
    if test.classes > train.classes:
        raise DataError(f"{folder} must hold test labels below {train.classes}, as in training, got {test.classes - 1}")
    return train, test


def _load_pair(folder: str, part: str, backend: Backend | str | None, sha256: dict[str, str]) -> Dataset:
    images_path, labels_path = (_find(folder, f"{part}-{kind}") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    images = read_idx(images_path, sha256.get(f"{part}-images"))
    labels = read_idx(labels_path, sha256.get(f"{part}-labels"))
    if images.ndim != 3 or images.dtype.kind != "u":
        raise DataError(f"{images_path} must hold uint8 images (N, height, width), got {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1] or labels.dtype.kind != "u":
        raise DataError(f"{labels_path} must hold {len(images)} uint8 labels, got {labels.dtype} {labels.shape}")
    return Dataset(images, labels, backend)


def _find(folder: str, name: str) -> str:
    for candidate in (os.path.join(folder, f"{name}.gz"), os.path.join(folder, name)):
        if os.path.isfile(candidate):
            return candidate
    raise DataError(f"{folder} must contain {name} or {name}.gz, got neither")
