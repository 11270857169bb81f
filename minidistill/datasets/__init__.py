"""Data: the embedded MNIST, other folders of images, and transfer sets of a teacher's logits."""

import os

import numpy as np

from ..backend import Backend
from ..checks import DataError
from .arrays import read_array, read_labels
from .dataset import Dataset
from .idx import read_idx
from .images import load_images
from .transfer import TransferSet

__all__ = [
    "Dataset", "TransferSet", "load_images", "mnist", "mnist_transfer", "read_array", "read_idx", "read_labels",
]  # fmt: skip

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
    """Load the embedded MNIST training set with the mean logits of teachers, which teacher.json beside them describes.

    So a student can be distilled without training a teacher first. The logits were kept as float16, good to 0.05%.
    """
    train, _ = mnist(backend)
    path = os.path.join(os.path.dirname(__file__), "mnist", "teacher-logits.npy")
    try:
        logits = np.load(path).astype(np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a readable array of logits, got: {error}") from None
    return TransferSet(train.inputs, logits, train.labels, train.backend)
