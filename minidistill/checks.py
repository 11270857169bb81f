"""Errors and checks: what an argument must be, said in one line that names it, shows it and tells the remedy.

The pure functions call these before they compute; the training loop checks its data once, at the door, and then
runs without them, because a check of values on a GPU has to wait for the GPU.
"""

import inspect
import math
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

Array = Any  # a numpy.ndarray, a cupy.ndarray, or one of the array module of a backend of your own
ARRAY_MODULES = {"numpy", "cupy"}  # a backend adds the name of its own
_CONVERTED_BY = {  # how an array of another library becomes NumPy's
    "torch": ".detach().cpu().numpy()",
    "tensorflow": ".numpy()",
    "pandas": ".to_numpy()",
    "scipy": ".toarray()",
}


class MinidistillError(Exception):
    """Tell a person in one line what to mend: the base of every error that minidistill raises on purpose."""


class ArgumentError(MinidistillError, ValueError):
    """Say that an argument was not what it must be."""


class DataError(MinidistillError, ValueError):
    """Say that a file or a folder of data is missing, truncated, corrupted or mislabelled."""


class BackendUnavailable(MinidistillError, RuntimeError):
    """Say that the backend that was asked for cannot run here."""


class Diverged(MinidistillError, ArithmeticError):
    """Say at which step and learning rate the loss left every useful range."""


_thread = threading.local()


@contextmanager
def trusting_values() -> Iterator[None]:
    """Let this thread's checks look at kinds and shapes alone: to read a value is to wait for a GPU."""
    before, _thread.trusting = _trusting(), True
    try:
        yield
    finally:
        _thread.trusting = before


def _trusting() -> bool:
    return getattr(_thread, "trusting", False)


def xp_of(array: Array) -> Any:
    """Return the module that made `array`, which is the one that computes on it: numpy, cupy, ..."""
    return sys.modules[_made_by(array)]


def as_array(name: str, value: Any, dtype: Any = np.float64) -> Array:
    """Return `value` if it is an array, else the NumPy array of a number, a list or a tuple.

    Raises ArgumentError for anything else: with the way to convert it, if it is an array of another library.
    """
    module, kind = _made_by(value), type(value).__name__
    if value is None:
        raise ArgumentError(f"{name} must be an array of numbers, got None")
    if isinstance(value, (np.ma.MaskedArray, np.matrix)):
        raise ArgumentError(f"{name} must be a plain array, got {kind}: convert it by np.asarray(...)")
    if module in ARRAY_MODULES and hasattr(value, "reshape"):
        return value
    if module in _CONVERTED_BY or hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        remedy = "{}" + _CONVERTED_BY[module] if module in _CONVERTED_BY else "np.asarray({})"
        raise ArgumentError(
            f"{name} must be an array of NumPy or of the backend, got {module}'s {kind}: "
            f"convert it by {remedy.format(name)}"
        )
    try:
        return np.asarray(value, dtype=dtype)
    except Exception:  # NumPy calls methods of the value's own
        raise ArgumentError(f"{name} must be an array of numbers, got {kind}") from None


def _made_by(array: Any) -> str:
    """Return the name of the library whose array this is, or derives from."""
    names = [base.__module__.partition(".")[0] for base in type(array).__mro__]
    return next((name for name in names if name in ARRAY_MODULES), names[0])


def check_logits(name: str, value: Any) -> Array:
    """Return finite floating-point (or, for a complex step, complex) logits (..., B, N)."""
    z = as_array(name, value, dtype=None)
    if z.dtype.kind not in "fc":
        remedy = f": np.asarray({name}, np.float32)" if z.dtype.kind in "iu" else ""
        raise ArgumentError(f"{name} must hold floating-point logits, got dtype {z.dtype}{remedy}")
    if z.ndim < 1 or 0 in z.shape:
        raise ArgumentError(f"{name} must have shape (..., batch, classes) with none of them empty, got {z.shape}")
    if not _trusting() and not bool(xp_of(z).isfinite(z).all()):
        raise ArgumentError(f"{name} must be finite, got NaN or infinity among its {z.size} values")
    return z


def check_inputs(name: str, value: Any) -> Array:
    """Return rows of inputs (N, ...): uint8, or finite floats. Values on a GPU are not read: that would wait for it."""
    x = as_array(name, value, dtype=None)
    if x.dtype != np.uint8 and x.dtype.kind not in "fc":
        found = f"dtype {x.dtype}" if x.ndim else type(value).__name__
        remedy = f": np.asarray({name}, np.uint8) for pixels in 0..255, np.asarray({name}, np.float32) for others"
        raise ArgumentError(f"{name} must hold uint8 or floating-point numbers, got {found}{remedy if x.ndim else ''}")
    if x.ndim < 2 or 0 in x.shape:
        raise ArgumentError(f"{name} must have shape (rows, ...) with none of it empty, got {x.shape}")
    rows = max(1, 2**20 * len(x) // x.size)  # at a time: x may lie in a file, larger than memory
    blocks = range(0, len(x), rows) if isinstance(x, np.ndarray) and x.dtype != np.uint8 else ()
    if not all(np.isfinite(x[start : start + rows]).all() for start in blocks):
        raise ArgumentError(f"{name} must be finite, got NaN or infinity among its {x.size} values")
    return x


def check_same_shape(name_a: str, a: Array, name_b: str, b: Array) -> None:
    """Raise ArgumentError unless b has the shape of a."""
    if a.shape != b.shape:
        raise ArgumentError(f"{name_b} must have the shape of {name_a}, {a.shape}, got {b.shape}")


def check_batch(name: str, value: Any) -> Array:
    """Return logits with a batch axis, (..., B, N), in float32 at least."""
    z = check_logits(name, value)
    if z.ndim < 2:
        raise ArgumentError(f"{name} must have shape (..., batch, classes), got {z.shape}")
    z = z.astype(np.float32) if z.dtype == np.float16 else z  # whose range a loss leaves too easily
    check_temperature(1.0, z.dtype, (z,))
    return z


def check_rows(name: str, value: Any, network: Any) -> None:
    """Raise ArgumentError unless x can go forward through the network, or dz back from the logits it gave last.

    Only the dtype and the shape are looked at, so that no step waits for the device.
    """
    if not hasattr(network, "awaits_backward") or isinstance(network, type):
        raise ArgumentError(f"network must be a Network, got {type(network).__name__} {shown(network)}")
    if not isinstance(value, type(network.parameters)):
        raise ArgumentError(f"{name} must be an array of {network.xp.__name__}, got {type(value).__name__}")
    if value.dtype.kind not in ("f", network.dtype.kind):
        remedy = " pixels, which predict scales to [0, 1]" if value.dtype == np.uint8 else ""
        raise ArgumentError(f"{name} must hold floats, got {value.dtype}{remedy}")
    if name == "x":
        expected = f"(batch, {network.n_in}), or with an axis of replicas before these"
        fits = value.ndim > 1 and value.shape[:-2] in ((), network.replica_shape) and value.shape[-1] == network.n_in
    elif not network.batch_size:
        raise ArgumentError("network must have seen a batch in forward before dz can go back")
    else:
        expected = f"{(*network.replica_shape, network.batch_size, network.n_out)}, that of the logits given last"
        fits = value.shape == (*network.replica_shape, network.batch_size, network.n_out)
    if not fits or value.size == 0:
        raise ArgumentError(f"{name} must have shape {expected}, got {value.shape}")


def check_pair(z: Any, v: Any, T: Any) -> tuple[Array, Array, Any]:
    """Return student logits z and teacher logits v of one shape (..., B, N), and a temperature."""
    z, v = check_batch("z", z), check_batch("v", v)
    check_same_shape("z", z, "v", v)
    coarser = min(z.dtype, v.dtype, key=lambda dtype: dtype.itemsize)
    T = check_temperature(T, coarser, (z, v))
    if np.ndim(T) and T.shape[:-2] != z.shape[:-2]:
        raise ArgumentError(f"T must have shape {(*z.shape[:-2], 1, 1)}, one for each replica of z, got {T.shape}")
    return z, v, T


def check_labels(name: str, value: Any, classes: int | None, shape: tuple[int, ...] | None = None) -> Array:
    """Return integer labels of the given shape in [0, classes), or in [0, 2**31) if the classes are not known."""
    y = as_array(name, value, dtype=None)
    if y.dtype.kind not in "iu":
        found = f"dtype {y.dtype}" if y.ndim else type(value).__name__
        whole = y.dtype.kind == "f" and bool(xp_of(y).isfinite(y).all()) and bool((y == y.round()).all())
        remedy = f": {name}.astype(int)" if whole and y.ndim else ""
        raise ArgumentError(f"{name} must hold integer class labels, got {found}{remedy}")
    if y.size == 0:
        raise ArgumentError(f"{name} must hold at least one label, got an empty array of shape {y.shape}")
    if shape is not None and y.shape != shape:
        raise ArgumentError(f"{name} must have shape {shape}, one label for each row, got {y.shape}")
    low, high = (0, 0) if _trusting() else (int(y.min()), int(y.max()))
    if low < 0 or high >= (classes or 2**31):
        wanted = f"0..{classes - 1}" if classes else "0..classes-1"
        raise ArgumentError(
            f"{name} must lie in {wanted}, got values from {low} to {high}: "
            f"np.unique({name}, return_inverse=True)[1] numbers the classes from 0"
        )
    return y


def check_temperature(T: Any, dtype: Any, logits: tuple[Array, ...] = ()) -> Any:
    """Return a number > 0, or an array of them (..., 1, 1), one for each replica.

    T² must be a number of the dtype, and so must the logits' differences over T.
    """
    of_dtype = np.finfo(dtype)
    low, high = float(np.sqrt(of_dtype.tiny)), float(np.sqrt(of_dtype.max))
    if _made_by(T) in ARRAY_MODULES and hasattr(T, "reshape") and T.ndim:
        if T.dtype.kind not in "fiu" or T.shape[-2:] != (1, 1) or not T.size:
            raise ArgumentError(
                f"T must be a number, or an array (..., 1, 1) of one for each replica, got {T.dtype} {T.shape}"
            )
        each = [] if _trusting() else T.ravel().tolist()
    else:
        T = check_number("T", T, above=0.0)
        each = [T]
    for one in each:
        if not low <= one <= high:
            raise ArgumentError(f"T must be > 0, and in {low:.3g}..{high:.3g} for logits in {dtype}, got {one}")
    for z in () if _trusting() else logits:
        spread = float(z.real.max()) - float(z.real.min())
        if spread / min(1.0, *each) > float(of_dtype.max) / 4:
            raise ArgumentError(
                f"logits must differ by less, over T, than {dtype} holds, got {spread:.3g}: mask by -1e4"
            )
    return T


def check_number(
    name: str, value: Any, *, above: float | None = None, at_least: float | None = None, at_most: float | None = None
) -> float:
    """Return a finite real number in the given range, as a Python float (which keeps float32 arrays float32)."""
    bounds = ((">", above), (">=", at_least), ("<=", at_most))
    wanted = [f"{sign} {bound!r}".removesuffix(".0") for sign, bound in bounds if bound is not None]
    must = f"{name} must be a finite number" + (" " + " and ".join(wanted) if wanted else "")
    try:
        number = float("text" if isinstance(value, (str, bytes, bool, np.bool_)) else value)
    except Exception:  # float() calls methods of the value's own
        raise ArgumentError(f"{must}, got {shown(value)}") from None
    low = (above is not None and not number > above) or (at_least is not None and not number >= at_least)
    if low or not math.isfinite(number) or (at_most is not None and number > at_most):
        raise ArgumentError(f"{must}, got {shown(value)}")
    return number


def check_kind(name: str, value: Any, kind: type, remedy: str = "", has: str = "") -> None:
    """Raise ArgumentError unless the value is of this kind, and has the attribute that its __init__ gives it."""
    if not isinstance(value, kind):
        found = f"the class {value.__name__}" if isinstance(value, type) else f"{type(value).__name__} {shown(value)}"
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ArgumentError(f"{name} must be {article} {kind.__name__}{remedy}, got {found}")
    if has and not hasattr(value, has):
        raise ArgumentError(f"{name} must be made by {kind.__name__}.__init__: {type(value).__name__} does not call it")


MOST_LAYERS = 60  # a layer's number is a part of its random key


def check_layers(layers: Any, kind: type) -> list[Any]:
    """Return the layers of a new network, which keep to the contract and belong to no other network."""
    items = check_items("layers", layers, kind)
    if len(items) > MOST_LAYERS:
        raise ArgumentError(f"layers must be at most {MOST_LAYERS}, got {len(items)}")
    for i, layer in enumerate(items):
        if "backend" in vars(layer) or any(layer is other for other in items[:i]):
            raise ArgumentError(f"layers must belong to no other network and stand once, got {layer} again")
        check_contract(layer)
    return items


def check_widths(layers: list[Any]) -> tuple[int, int]:
    """Return (n_in, n_out) of a stack whose layers take what the one before them gives, or raise ArgumentError."""
    widths = [(layer.n_in, layer.n_out) for layer in layers if layer.n_in is not None]
    if not widths:
        raise ArgumentError(f"layers must contain one with a size, such as Dense, got {layers}")
    for (_, n_out), (n_in, _) in pairwise(widths):
        if n_out != n_in:
            raise ArgumentError(f"layers must fit: one gives {n_out} units and the next takes {n_in}")
    return widths[0][0], widths[-1][1]


def check_function(name: str, value: Any, arguments: tuple[str, ...], remedy: str) -> None:
    """Raise ArgumentError for what cannot be called with so many arguments, as far as its signature tells."""
    called = f"{name} must be called with ({', '.join(arguments)}), {remedy}"
    if not callable(value) or isinstance(value, type):
        found = f"the class {value.__name__}" if isinstance(value, type) else shown(value)
        raise ArgumentError(f"{called}, got {found}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # a function without a signature, of which nothing is known
        return
    try:
        signature.bind(*arguments)
    except TypeError:
        raise ArgumentError(f"{called}, got a function of ({', '.join(signature.parameters)})") from None


def check_contract(layer: Any) -> None:
    """Raise ArgumentError for a layer whose declarations a network cannot work with."""
    name, parameters = type(layer).__name__, layer.parameters()
    if (layer.n_in is None) != (layer.n_out is None):
        raise ArgumentError(f"{name} must have both n_in and n_out or neither, got {layer.n_in} and {layer.n_out}")
    if not isinstance(parameters, dict):
        raise ArgumentError(f"{name}.parameters() must be a dict of Parameters by name, got {shown(parameters)}")
    taken = {*dir(layer), "backend", "xp", "dtype", "index", "seed", "scratch"}
    for key, parameter in parameters.items():
        shape = getattr(parameter, "shape", None)
        if not (isinstance(shape, tuple) and len(shape) == 2 and all(isinstance(n, int) and n > 0 for n in shape)):
            raise ArgumentError(f"{name}.{key} must be a Parameter of shape (rows, columns), got {shown(parameter)}")
        for array in (key, f"d{key}"):
            if array in taken:
                raise ArgumentError(f"a parameter of {name} must have a name of its own, got {key!r}: {array} is taken")
            taken.add(array)


def check_items(name: str, values: Any, kind: type, at_least: int = 1) -> list[Any]:
    """Return a list of at least so many values, all of this kind."""
    if isinstance(values, (str, bytes, dict, set)) or not hasattr(values, "__iter__"):
        raise ArgumentError(f"{name} must be a list of {kind.__name__}s, got {type(values).__name__} {shown(values)}")
    try:
        items = list(values)
    except Exception:  # it says that it can be iterated over, and cannot
        raise ArgumentError(f"{name} must be a list of {kind.__name__}s, got {type(values).__name__}") from None
    for item in items:
        if not isinstance(item, (int, np.integer) if kind is int else kind) or isinstance(item, bool):
            found = f"the class {item.__name__}" if isinstance(item, type) else f"{type(item).__name__} {shown(item)}"
            raise ArgumentError(f"{name} must be a list of {kind.__name__}s, got one with {found}")
    if len(items) < at_least:
        raise ArgumentError(f"{name} must hold at least {at_least} {kind.__name__}s, got {items}")
    return items


def check_dtype(name: str, value: Any) -> np.dtype:
    """Return a floating-point (or, for a complex step, complex) NumPy dtype."""
    try:
        dtype: np.dtype = np.dtype("O" if value is None else value)  # NumPy takes None for float64
    except Exception:  # NumPy asks the value for its attributes
        dtype = np.dtype("O")
    if dtype.kind not in "fc":
        raise ArgumentError(f"{name} must be a floating-point type, got {shown(value)}")
    return dtype


def shown(value: Any) -> str:
    """Return a repr of at most 60 characters in one line, of a NumPy number as Python's."""
    try:
        text = repr(value.item() if isinstance(value, np.generic) else value)
    except Exception:  # whatever somebody's repr raises, it must not hide the error that is being told
        text = "..."
    return " ".join(text.split()) if len(text) <= 60 else f"{' '.join(text[:57].split())}..."


def check_seeds(seeds: Any) -> int | list[int]:
    """Return a seed in [0, 2**32), or a list of at least one of them."""
    if not isinstance(seeds, (list, tuple, range, np.ndarray)) or (isinstance(seeds, np.ndarray) and not seeds.ndim):
        return check_count("seeds", seeds, at_least=0, at_most=2**32 - 1)
    return [check_count("seeds", seed, at_least=0, at_most=2**32 - 1) for seed in check_items("seeds", seeds, int)]


def check_classes(classes: int, outputs: int) -> None:
    """Raise ArgumentError for labels of classes that a network with so many outputs does not have."""
    if classes > outputs:
        raise ArgumentError(f"labels must lie in 0..{outputs - 1}, the network's classes, got {classes - 1}")


def check_count(name: str, value: Any, *, at_least: int = 1, at_most: int | None = None) -> int:
    """Return a whole number >= at_least (and <= at_most)."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < at_least or (at_most is not None and value > at_most):
        bound = "" if at_most is None else f" and <= {at_most}"
        raise ArgumentError(f"{name} must be a whole number >= {at_least}{bound}, got {shown(value)}")
    return int(value)
