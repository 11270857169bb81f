"""IDX, the file format of MNIST: a magic number that names the type and the dimensions, their sizes, then the data.

    0 0 type ndim | size_0 ... size_{ndim-1} (uint32) | data, row by row        all big-endian, gzip around it or not

ndim is 1 to 8 here, and no size may be 0.
A plain file is memory-mapped, so that it may be larger than memory; a compressed one is read whole.
"""

import math
import os
from typing import Any, BinaryIO

import numpy as np

from ..checks import ArgumentError, DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
MOST_INFLATED = 1032  # the most that deflate expands: a code of 2 bits stands for at most 258 bytes
_CHUNK = 1 << 20  # bytes inflated at a time
_KNOWN = {  # how files begin that are taken for IDX files, in lower case
    _GZIP: "a file compressed twice: decompress it once",
    b"pk\x03\x04": "a zip archive: unpack it",
    b"\x93numpy": "a NumPy file, which numpy.load reads",
    b"version https://git-lfs": "a Git LFS pointer: fetch the file by git lfs pull",
    b"<!doctype": "an HTML page: the download went wrong",
    b"<html": "an HTML page: the download went wrong",
}


def read_idx(path: str | os.PathLike[str], sha256: str | None = None) -> np.ndarray:
    """Read the array in an IDX file. sha256: of the uncompressed content, verified if given.

    A plain file must not be shortened while its array is in use. Raises DataError if the file is missing, is no IDX
    file, is truncated, too long or corrupted.
    """
    import gzip  # here and below: with hashlib, a tenth of the time that importing minidistill would take
    import zlib

    path = check_path("path", path)
    try:
        with open(path, "rb") as raw:
            compressed = raw.read(2) == _GZIP
            raw.seek(0)
            file: Any = gzip.GzipFile(fileobj=raw) if compressed else raw
            dtype, shape, head = _read_header(path, file)
            size, expected = os.fstat(raw.fileno()).st_size, len(head) + math.prod(shape) * dtype.itemsize
            must = f"{path} must hold {expected} bytes by its header, dimensions {shape}"
            if compressed and expected > MOST_INFLATED * size:
                raise DataError(f"{must}, got {size} compressed ones, too few for that")
            content = _inflate(file, head, expected) if compressed else np.memmap(raw, np.uint8, mode="r")
    except DataError:
        raise
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} must be a whole gzip file, got: {error}") from None
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a path that no system allows
        raise DataError(f"{path} must be a readable IDX file, got: {error}") from None
    if len(content) != expected:
        found = "more" if compressed and len(content) > expected else len(content)
        raise DataError(f"{must}, got {found}")
    if sha256 is not None:
        _verify(path, content, sha256)
    array = content[len(head) :].view(dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("=")) if dtype.itemsize > 1 else array


def check_path(name: str, value: Any) -> str:
    """Return a path as text. Raises ArgumentError if it is none."""
    try:
        return os.fsdecode(value)
    except TypeError:
        raise ArgumentError(f"{name} must be a path, text or os.PathLike, got {type(value).__name__}") from None


def _read_header(path: str, file: BinaryIO) -> tuple[np.dtype, tuple[int, ...], bytes]:
    """Return dtype, shape, and the header's bytes."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not 1 <= magic[3] <= 8:
        start = (magic + file.read(60)).lstrip().lower()
        kind = next((kind for known, kind in _KNOWN.items() if start.startswith(known)), None)
        found = kind or magic.hex(" ") or "nothing"
        raise DataError(f"{path} must begin with an IDX magic number, 00 00 TYPE NDIM, got {found}")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataError(f"{path} must hold {4 + 4 * magic[3]} bytes of header, got {4 + len(sizes)} bytes in all")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    if 0 in shape:
        raise DataError(f"{path} must have dimensions of at least 1, got {shape}")
    return np.dtype(_TYPES[magic[2]]), shape, magic + sizes


def _inflate(file: BinaryIO, head: bytes, expected: int) -> np.ndarray:
    """Return the header and what follows it, up to one byte more than expected: enough to tell that it is too long."""
    content = np.empty(expected + 1, np.uint8)
    content[: len(head)] = np.frombuffer(head, np.uint8)
    filled = len(head)
    while block := file.read(min(_CHUNK, len(content) - filled)):
        content[filled : filled + len(block)] = np.frombuffer(block, np.uint8)
        filled += len(block)
    return content[:filled]


def _verify(path: str, content: np.ndarray, sha256: str) -> None:
    import hashlib

    found = hashlib.sha256(content.data).hexdigest()
    if found != sha256:
        raise DataError(f"{path} must have SHA-256 {sha256}, got {found}")
