"""IDX, the file format of MNIST: a magic number that names the type and the dimensions, their sizes, then the data.

    0 0 type ndim | size_0 ... size_{ndim-1} (uint32) | data, row by row        all big-endian, gzip around it or not

ndim is 1 to 8 here.
A plain file is memory-mapped, so that it may be larger than memory; a compressed one is read whole.
"""

import math
import os

import numpy as np

from ..checks import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str], sha256: str | None = None) -> np.ndarray:
    """Read the array in an IDX file. sha256: of the uncompressed content, verified if given.

    Raises DataError if the file is missing, is no IDX file, is truncated, too long or corrupted.
    """
    path = os.fspath(path)
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == _GZIP
        content = _inflate(path) if compressed else np.memmap(path, dtype=np.uint8, mode="r")
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise DataError(f"{path} must be a readable IDX file, got: {error}") from None
    dtype, shape, offset = _header(path, content)
    expected = offset + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise DataError(f"{path} must hold {expected} bytes by its header, dimensions {shape}, got {len(content)}")
    if sha256 is not None:
        _verify(path, content, sha256)
    array = content[offset:].view(dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("=")) if dtype.itemsize > 1 else array


def _inflate(path: str) -> np.ndarray:
    import gzip  # here and below: with hashlib, a tenth of the time that importing minidistill would take
    import zlib

    try:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), dtype=np.uint8)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} must be a whole gzip file, got: {error}") from None


def _verify(path: str, content: np.ndarray, sha256: str) -> None:
    import hashlib

    found = hashlib.sha256(content.data).hexdigest()
    if found != sha256:
        raise DataError(f"{path} must have SHA-256 {sha256}, got {found}")


def _header(path: str, content: np.ndarray) -> tuple[np.dtype, tuple[int, ...], int]:
    """Return dtype, shape, and where the data begins."""
    magic = bytes(content[:4])
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 8:
        raise DataError(
            f"{path} must begin with an IDX magic number, 00 00 TYPE NDIM, got {magic.hex(' ') or 'nothing'}"
        )
    offset = 4 + 4 * magic[3]
    if len(content) < offset:
        raise DataError(f"{path} must hold {offset} bytes of header, got {len(content)} bytes in all")
    shape = tuple(int(n) for n in content[4:offset].view(">u4"))
    return np.dtype(_TYPES[magic[2]]), shape, offset
