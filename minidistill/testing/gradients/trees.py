"""An array, or lists, tuples and dicts of arrays, as one flat vector and back."""

import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np

from ...checks import ArgumentError, Array, as_array, xp_of

Place = tuple[Any, ...]
WHOLE, REAL = "iu", "fiu"  # the kinds of a dtype
SHOWN = 64  # numbers of an array that a reproducer writes out; a larger one goes into a file


class Tree:
    """The arrays of x in their order, and where each of their numbers stands in one flat vector.

    x: an array, or a list, tuple or dict of arrays or of such again. Integers become float64. Raises ArgumentError
    unless all are finite numbers.
    """

    def __init__(self, x: Any) -> None:
        self.converted = any(as_array(name, array).dtype.kind in WHOLE for name, _, array in leaves(x))
        self.x = mapped(_floating, x)
        self.arrays = list(leaves(self.x))
        self.stops = list(accumulate(array.size for _, _, array in self.arrays))
        if not self.stops or not self.stops[-1]:
            name, _, array = self.arrays[0] if self.arrays else ("x", (), np.empty(0))
            raise ArgumentError(f"{name} must hold finite floating-point numbers, got {array.dtype} {array.shape}")

    @property
    def on_device(self) -> str:
        """Return the name of an array's type that is not NumPy's, or an empty one."""
        return next((type(a).__name__ for _, _, a in self.arrays if not isinstance(a, np.ndarray)), "")

    @property
    def dtypes(self) -> list[np.dtype]:
        """Return the type of each array."""
        return [np.dtype(array.dtype) for _, _, array in self.arrays]

    def vector(self) -> np.ndarray:
        """Return all numbers of x as one float64 vector on the host."""
        return np.concatenate([to_host(array).ravel() for _, _, array in self.arrays], dtype=np.float64)

    def filled(self, u: np.ndarray, dtypes: list[np.dtype]) -> Any:
        """Return what x is, new, with the numbers of the vector u: complex ones if u is complex."""
        if u.dtype.kind == "c":
            dtypes = [u.dtype] * len(dtypes)
        if isinstance(self.x, np.ndarray):
            return u.reshape(self.x.shape).astype(dtypes[0])
        parts = zip(np.split(u, self.stops[:-1]), self.arrays, dtypes, strict=True)
        made = (part.reshape(array.shape).astype(dtype) for part, (_, _, array), dtype in parts)
        return mapped(lambda _name, _array: next(made), self.x)

    def copied(self) -> Any:
        """Return a copy of x, to be overwritten."""
        return mapped(lambda _name, array: array.copy(), self.x)

    def array_of(self, i: int) -> int:
        """Return which array the vector's number i stands in."""
        return bisect_right(self.stops, i)

    def place(self, i: int) -> Place:
        """Return where number i stands: the index in its array, after the keys that lead to the array."""
        _, keys, array = self.arrays[k := self.array_of(i)]
        within = np.unravel_index(i - (self.stops[k] - array.size), array.shape)
        return (*keys, *(int(j) for j in within))

    def name(self, what: str, i: int) -> str:
        """Return the name of number i in `what`, as in gradient['W'][2, 3]."""
        _, keys, _ = self.arrays[self.array_of(i)]
        return f"{what}{''.join(f'[{key!r}]' for key in keys)}{list(self.place(i)[len(keys) :])}"

    def matched(self, gradient: Any) -> list[np.ndarray]:
        """Return the arrays of a gradient, on the host and in x's order. Raises ArgumentError if a shape is not x's."""
        found = []
        for (name, _, array), given in zip(self.arrays, _like(self.x, gradient, "x", "gradient"), strict=True):
            what, host = "gradient" + name[1:], to_host(given)
            if host.dtype.kind not in REAL:
                raise ArgumentError(f"{what} must hold real numbers, got {host.dtype}")
            if host.shape != array.shape:
                raise ArgumentError(f"{what} must have the shape of {name}, {array.shape}, got {host.shape}")
            found.append(host.copy())
        return found

    def code(self) -> str:
        """Return an expression that makes x again: arrays written out, or those of more than 64 numbers loaded.

        Random numbers do not compress into a line, so a large array is saved to a file of the temporary folder.
        """
        return _code(self.x)


def leaves(x: Any, name: str = "x", keys: Place = ()) -> Iterator[tuple[str, Place, Any]]:
    """Yield the name, the keys and the array of each array in x."""
    if not holds_arrays(x):
        yield name, keys, x
        return
    for key, item in x.items() if isinstance(x, dict) else enumerate(x):
        yield from leaves(item, f"{name}[{key!r}]", (*keys, key))


def holds_arrays(x: Any) -> bool:
    """Return whether x is a dict, or a list or tuple in which there is any array; one of numbers alone is an array."""
    if isinstance(x, dict):
        return True
    return isinstance(x, (list, tuple)) and any(_is_array(item) or holds_arrays(item) for item in x)


def mapped(function: Callable[[str, Any], Any], x: Any, name: str = "x") -> Any:
    """Return what x is, with function(name, array) for each of its arrays."""
    if not holds_arrays(x):
        return function(name, x)
    if isinstance(x, dict):
        return {key: mapped(function, item, f"{name}[{key!r}]") for key, item in x.items()}
    items = [mapped(function, item, f"{name}[{k}]") for k, item in enumerate(x)]
    if isinstance(x, tuple):
        return type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    return items


def to_host(array: Any) -> np.ndarray:
    """Return an array of any device as a NumPy array."""
    return np.asarray(array.get() if hasattr(array, "get") and not isinstance(array, dict) else array)


def _is_array(item: Any) -> bool:
    return hasattr(item, "reshape") and hasattr(item, "dtype") and not isinstance(item, np.generic)


def _floating(name: str, value: Any) -> Array:
    """Return an array of floats. Raises ArgumentError for what is none or is not finite."""
    x = as_array(name, value)
    x = x.astype(np.float64) if x.dtype.kind in WHOLE else x
    if x.dtype.kind != "f" or not bool(xp_of(x).isfinite(x).all()):
        raise ArgumentError(f"{name} must hold finite floating-point numbers, got {x.dtype} {x.shape}")
    return x


def _like(x: Any, gradient: Any, name: str, what: str) -> Iterator[Any]:
    """Yield the arrays of a gradient that is to x what it must be: as many, under the same keys."""
    if not holds_arrays(x):
        if gradient is None or holds_arrays(gradient):
            raise ArgumentError(f"{what} must be an array of the shape of {name}, got {type(gradient).__name__}")
        yield gradient
        return
    if isinstance(x, dict):
        keys = set(gradient) if isinstance(gradient, dict) else None
        if keys != set(x):
            found = type(gradient).__name__ if keys is None else f"one of {sorted(map(str, keys))}"
            raise ArgumentError(f"{what} must be a dict of {sorted(map(str, x))}, as {name} is, got {found}")
    elif not isinstance(gradient, (list, tuple)) or len(gradient) != len(x):
        found = f"{len(gradient)}" if isinstance(gradient, (list, tuple)) else type(gradient).__name__
        raise ArgumentError(f"{what} must be a list of {len(x)} arrays, as {name} is, got {found}")
    for key, item in x.items() if isinstance(x, dict) else enumerate(x):
        yield from _like(item, gradient[key], f"{name}[{key!r}]", f"{what}[{key!r}]")


def _code(x: Any) -> str:
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {_code(item)}" for key, item in x.items()) + "}"
    if holds_arrays(x):
        return f"[{', '.join(_code(item) for item in x)}]" if isinstance(x, list) else (
            f"({''.join(f'{_code(item)}, ' for item in x)})"
        )  # fmt: skip
    array = to_host(x)
    if array.size <= SHOWN:
        return f"np.array({array.tolist()}, dtype=np.{array.dtype})"
    file = Path(gettempdir()) / f"minidistill-x-{zlib.crc32(array.tobytes()):08x}.npy"
    try:
        np.save(file, array)
    except OSError as error:
        return f"...  # {array.size:,} numbers, which could not be saved: {error}"
    return f"np.load({str(file)!r})"
