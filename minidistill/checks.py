"""Errors and checks: what an argument must be, said in one line that names it, shows it and tells the remedy.

The pure functions call these before they compute; the training loop checks its data once, at the door, and then
runs without them, because a check of values on a GPU has to wait for the GPU.
"""

import math
import sys
from typing import Any

import numpy as np

Array = Any  # a numpy.ndarray, a cupy.ndarray, or anything else whose module computes like NumPy


class MinidistillError(Exception):
    """Base of every error that minidistill raises on purpose; its text is one line for a person."""


class ArgumentError(MinidistillError, ValueError):
    """An argument was not what it must be."""


class DataError(MinidistillError, ValueError):
    """A file or a folder of data is missing, truncated, corrupted or mislabelled."""


class BackendUnavailable(MinidistillError, RuntimeError):
    """The backend that was asked for cannot run here."""


class Diverged(MinidistillError, ArithmeticError):
    """The loss left every useful range; the text names the step and the learning rate."""


def xp_of(array: Array) -> Any:
    """The module that made `array`, which is the one that computes on it: numpy, cupy, ..."""
    return sys.modules[type(array).__module__.partition(".")[0]]


def as_array(name: str, value: Any) -> Array:
    """`value` if some array library made it, else the NumPy array of a number, a list or a tuple."""
    if hasattr(value, "dtype") and hasattr(value, "reshape"):
        return value
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name} must be an array of numbers, got {type(value).__name__}") from None


def check_logits(name: str, value: Any) -> Array:
    """An array of finite floating-point (or, for a complex step, complex) logits (..., B, N)."""
    z = as_array(name, value)
    if z.dtype.kind not in "fc":
        raise ArgumentError(f"{name} must hold floating-point logits, got dtype {z.dtype}")
    if z.ndim < 1 or 0 in z.shape:
        raise ArgumentError(f"{name} must have shape (..., batch, classes) with none of them empty, got {z.shape}")
    if not bool(xp_of(z).isfinite(z).all()):
        raise ArgumentError(f"{name} must be finite, got NaN or infinity among its {z.size} values")
    return z


def check_inputs(name: str, value: Any) -> Array:
    """Rows of inputs (N, ...): uint8, or finite floats. Values on a GPU are not read, since that would wait for it."""
    x = as_array(name, value)
    if x.ndim < 2 or 0 in x.shape:
        raise ArgumentError(f"{name} must have shape (rows, ...) with none of it empty, got {x.shape}")
    if x.dtype != np.uint8 and x.dtype.kind not in "fc":
        raise ArgumentError(f"{name} must hold uint8 or floating-point numbers, got dtype {x.dtype}")
    if isinstance(x, np.ndarray) and x.dtype != np.uint8 and not np.isfinite(x).all():
        raise ArgumentError(f"{name} must be finite, got NaN or infinity among its {x.size} values")
    return x


def check_same_shape(name_a: str, a: Array, name_b: str, b: Array) -> None:
    if a.shape != b.shape:
        raise ArgumentError(f"{name_b} must have the shape of {name_a}, {a.shape}, got {b.shape}")


def check_batch(name: str, value: Any) -> Array:
    """Logits with a batch axis, (..., B, N)."""
    z = check_logits(name, value)
    if z.ndim < 2:
        raise ArgumentError(f"{name} must have shape (..., batch, classes), got {z.shape}")
    return z


def check_pair(z: Any, v: Any, T: Any) -> tuple[Array, Array, Any]:
    """Student logits z and teacher logits v of one shape (..., B, N), and a temperature."""
    z, v = check_batch("z", z), check_batch("v", v)
    check_same_shape("z", z, "v", v)
    return z, v, check_temperature(T)


def check_labels(name: str, value: Any, classes: int, shape: tuple[int, ...] | None = None) -> Array:
    """Integer labels in [0, classes), of the given shape."""
    try:
        y = value if hasattr(value, "dtype") else np.asarray(value)
    except ValueError:
        raise ArgumentError(f"{name} must be an array of integers, got rows of different lengths") from None
    if y.dtype.kind not in "iu":
        raise ArgumentError(f"{name} must hold integer class labels, got dtype {y.dtype}")
    if y.size == 0:
        raise ArgumentError(f"{name} must hold at least one label, got an empty array of shape {y.shape}")
    if shape is not None and y.shape != shape:
        raise ArgumentError(f"{name} must have shape {shape}, one label for each row, got {y.shape}")
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        raise ArgumentError(f"{name} must lie in 0..{classes - 1}, got values from {low} to {high}")
    return y


def check_temperature(T: Any) -> Any:
    """A finite number > 0, or an array of them (one for each replica, shaped to broadcast against the logits)."""
    if hasattr(T, "dtype") and T.ndim:
        xp = xp_of(T)
        if T.dtype.kind not in "fiu" or T.shape[-2:] != (1, 1):
            raise ArgumentError(
                f"T must be a number, or an array (..., 1, 1) of one for each replica, got {T.dtype} {T.shape}"
            )
        if not bool((xp.isfinite(T) & (T > 0)).all()):
            raise ArgumentError(f"T must be > 0 and finite for every replica, got {T}")
        return T
    return check_number("T", T, above=0.0)


def check_number(
    name: str, value: Any, *, above: float | None = None, at_least: float | None = None, at_most: float | None = None
) -> float:
    """A finite real number in the given range, as a Python float (which keeps float32 arrays float32)."""
    wanted = [f"> {above:g}"] if above is not None else []
    wanted += [f">= {at_least:g}"] if at_least is not None else []
    wanted += [f"<= {at_most:g}"] if at_most is not None else []
    must = f"{name} must be a finite number" + (" " + " and ".join(wanted) if wanted else "")
    try:
        number = float("text" if isinstance(value, (str, bytes, bool)) else value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{must}, got {value!r}") from None
    low = (above is not None and not number > above) or (at_least is not None and not number >= at_least)
    if low or not math.isfinite(number) or (at_most is not None and number > at_most):
        raise ArgumentError(f"{must}, got {value!r}")
    return number


def check_count(name: str, value: Any, *, at_least: int = 1) -> int:
    """A whole number >= at_least."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise ArgumentError(f"{name} must be a whole number >= {at_least}, got {value!r}")
    return int(value)
