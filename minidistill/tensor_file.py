"""A file of named arrays and texts, written and read by hand: safetensors, with a checksum over all of it.

The format (github.com/huggingface/safetensors): the length of a header in 8 bytes, the header in JSON, the bytes of the
arrays. Among the header's texts is a SHA-256 of the whole file, which other programs pass over. A file is there whole
or not at all. Nothing in it is code: no pickle.
"""

import json
import math
import os
import re
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .checks import ArgumentError, DataError
from .shell import whole_file

_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "<i1",
          "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "|b1"}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in _TYPES.items()}
_MOST_HEADER = 100_000_000  # bytes, as in the official reader
_HEX = re.compile("[0-9a-f]{64}")
_NO_DIGEST = "0" * 64  # stands for the checksum where it is computed


def write_tensors(path: Path, tensors: dict[str, np.ndarray], texts: dict[str, str]) -> None:
    """Write arrays and texts, names other than "sha256" and "__metadata__". Raises ArgumentError, OSError.

    After a crash or on a full disk the file is what it was before.
    """
    entries: dict[str, Any] = {}
    arrays, end = [], 0
    for name, array in tensors.items():
        little = np.asarray(array).astype(np.asarray(array).dtype.newbyteorder("<"), order="C", copy=False)
        if little.dtype not in _NAMES:
            raise ArgumentError(f"{name} must be of a dtype that safetensors has, got {little.dtype}")
        start, end = end, end + little.nbytes
        entries[name] = {"dtype": _NAMES[little.dtype], "shape": list(little.shape), "data_offsets": [start, end]}
        arrays.append(little)
    digest = _digest(_header(entries, texts, _NO_DIGEST), arrays)
    try:
        with whole_file(path) as unfinished, unfinished.open("wb") as file:
            file.write(_header(entries, texts, digest))
            for array in arrays:
                file.write(array.data)
            file.flush()
            os.fsync(file.fileno())  # the new name must not reach the disk before what it stands for
        _sync_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or os.fspath(path)  # a full disk does not name the file
        raise


def _sync_folder(folder: Path) -> None:
    """Let the new name reach the disk, too, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and texts of a file. Raises DataError unless it is whole, unchanged and has a checksum.

    No more memory is taken than the file is long, whatever its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
            if not 2 <= length <= min(size - 8, _MOST_HEADER):
                raise DataError(f"{path} must be a safetensors file, got {size} bytes with a header of {length}")
            header, data = file.read(length), bytearray(file.read())
    except OSError as error:
        raise DataError(f"{path} must be a file that can be read, got: {error.strerror or error}") from None
    try:
        entries = json.loads(header)
        texts = entries.pop("__metadata__")
        digest = texts.pop("sha256")
        if not all(isinstance(text, str) for text in (*texts.values(), digest)) or not _HEX.fullmatch(digest):
            raise ValueError("texts that are none")
        places = {name: _place(entry) for name, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise DataError(f"{path} must have a header with a checksum, got {type(error).__name__}: {error}") from None
    end = 0
    for name, (dtype, shape, start, stop) in places.items():
        if start != end or stop - start != math.prod(shape) * dtype.itemsize:
            raise DataError(f"{path} must hold {name} {shape} at byte {end} of its data, got bytes {start} to {stop}")
        end = stop
    if end != len(data):
        raise DataError(f"{path} must hold {end} bytes of arrays, got {len(data)}")
    if digest != _digest(head + header.replace(digest.encode(), _NO_DIGEST.encode(), 1), [data]):
        raise DataError(f"{path} must be as it was written, got another checksum: it is damaged")
    return {
        name: np.frombuffer(data, dtype, math.prod(shape), start).reshape(shape).astype(dtype.newbyteorder("="))
        for name, (dtype, shape, start, _) in places.items()
    }, texts


def _header(entries: dict[str, Any], texts: dict[str, str], digest: str) -> bytes:
    raw = json.dumps({"__metadata__": {**texts, "sha256": digest}, **entries}, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)  # so that the arrays begin at a multiple of 8
    return struct.pack("<Q", len(raw)) + raw


def _digest(header: bytes, arrays: Any) -> str:
    import hashlib  # here: a tenth of the time that importing minidistill would take

    digest = hashlib.sha256(header)
    for array in arrays:
        digest.update(array)
    return digest.hexdigest()


def _place(entry: Any) -> tuple[np.dtype, tuple[int, ...], int, int]:
    """Return dtype, shape, and where the bytes begin and end."""
    numbers = [*entry["shape"], *entry["data_offsets"]]
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"a shape or a place of {numbers}")
    *shape, start, stop = numbers
    if len(entry["data_offsets"]) != 2 or len(shape) > 32:
        raise ValueError(f"a place of {entry['data_offsets']}")
    return np.dtype(_TYPES[entry["dtype"]]), tuple(shape), start, stop
