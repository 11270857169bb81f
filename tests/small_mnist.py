"""A folder with the first images of MNIST in its four files, for what need not take long."""

import struct
from pathlib import Path

import numpy as np

import minidistill as md


def write_small_mnist(folder: Path, train: int, test: int) -> Path:
    """Write so many images and their labels, in MNIST's format, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data, rows in zip(("train", "t10k"), md.mnist("numpy"), (train, test), strict=True):
        for kind, array in (("images-idx3", data.inputs), ("labels-idx1", data.labels)):
            pixels = np.ascontiguousarray(array[:rows], np.uint8)
            head = struct.pack(f">BBBB{pixels.ndim}I", 0, 0, 8, pixels.ndim, *pixels.shape)
            (folder / f"{name}-{kind}-ubyte").write_bytes(head + pixels.tobytes())
    return folder
