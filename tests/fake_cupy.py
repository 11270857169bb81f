"""A strict stand-in for CuPy where there is no GPU: NumPy computes, CuPy's refusals are kept, its costs are counted.

It runs no GPU code: a device's rounding and speed are out of its sight; kernels and cuBLAS are fake_cuda's. As in CuPy,
its arrays never become NumPy arrays unasked, never mix with them, and give 0-d arrays where NumPy gives scalars. It is
stricter where a caller should not lean on CuPy: NumPy's own functions refuse its arrays, and `out` must have the exact
shape everywhere.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import fake_cuda
import numpy as np
import pytest

__version__ = "0 (a stand-in that runs no GPU code)"


@dataclass
class Counters:
    """launches: computations (views are free); uploads: from the host; synchronisations: the host waits.

    As many as CuPy 14.2 makes: a reduction by CUB is one launch, but a mean three (the sum, a copy, a division).
    """

    launches: int = 0
    uploads: int = 0
    synchronisations: int = 0

    def reset(self) -> None:
        self.launches = self.uploads = self.synchronisations = 0


counters = Counters()  # since import
_counting = [counters]


@contextmanager
def counting() -> Iterator[Counters]:
    """Counters of what happens inside the `with`."""
    own = Counters()
    _counting.append(own)
    try:
        yield own
    finally:
        _counting[:] = [c for c in _counting if c is not own]


def _count(what: str, times: int = 1) -> None:
    for c in _counting:
        setattr(c, what, getattr(c, what) + times)


_LAUNCHES = {"mean": 3, "sort": 2, "einsum": 3}  # of CuPy's functions that take more than one


class ndarray:  # noqa: N801  # CuPy's name
    """An array on the pretended device. Its memory is `_host`, which nobody else may touch."""

    __array_ufunc__ = None  # NumPy's operators hand over to the reflected ones below, which refuse
    __hash__ = None

    def __init__(self, host: Any) -> None:
        self._host = np.asarray(host)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    # --- what costs nothing --------------------------------------------------------------------------------------

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    data = property(lambda self: SimpleNamespace(ptr=self._host.__array_interface__["data"][0]))
    T = property(lambda self: ndarray(self._host.T))
    real = property(lambda self: ndarray(self._host.real))
    imag = property(lambda self: _derived(self._host.imag, self))

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Iterator["ndarray"]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    # --- what waits for the device -------------------------------------------------------------------------------

    def get(self) -> np.ndarray:
        _count("synchronisations")
        return self._host.copy()

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError("The truth value of an array with more than one element is ambiguous.")
        return bool(self.get())

    # --- indexing ------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> "ndarray":
        index = _index(index)
        if any(isinstance(i, np.ndarray) and i.dtype == bool for i in index):
            _count("synchronisations")  # the size of the result is known on the device alone
            _count("launches", 2)  # a scan of the mask and a gather, beside what every copy costs
        return _derived(self._host[index], self)

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(value, ndarray) and np.asarray(value).shape != ():
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        _count("launches")
        self._host[_index(index)] = value._host if isinstance(value, ndarray) else value

    # --- what computes -------------------------------------------------------------------------------------------

    def astype(self, dtype: Any, copy: bool = True) -> "ndarray":
        if not copy and self.dtype == dtype:
            return self
        _count("launches")
        return ndarray(self._host.astype(dtype))

    def fill(self, value: Any) -> None:
        self[...] = value

    def sort(self, axis: int = -1, kind: None = None) -> None:
        self[...] = sort(self, axis, kind)

    def take(self, indices: Any, axis: int | None = None, out: Any = None) -> "ndarray":
        return take(self, indices, axis, out)


def asarray(a: Any, dtype: Any = None) -> ndarray:
    """`a` itself if it is on the device and has the dtype; anything on the host is copied to the device."""
    if isinstance(a, ndarray):
        return a if dtype is None else a.astype(dtype, copy=False)
    _count("uploads")
    return ndarray(np.array(a, dtype=dtype))


def array(a: Any, dtype: Any = None) -> ndarray:
    """A copy on the device."""
    return a.astype(a.dtype if dtype is None else dtype) if isinstance(a, ndarray) else asarray(a, dtype)


def empty(shape: Any, dtype: Any = float) -> ndarray:
    return ndarray(np.empty(shape, dtype))


def empty_like(a: ndarray, dtype: Any = None) -> ndarray:
    return ndarray(np.empty_like(a._host, dtype))


def take(a: ndarray, indices: Any, axis: int | None = None, out: Any = None) -> ndarray:
    """No `mode`, as in CuPy: indices out of range wrap."""
    indices = indices if np.isscalar(indices) else asarray(indices)._host
    if out is not None and out.dtype != a.dtype:
        raise TypeError("Output dtype mismatch")
    return _launch(np.take, a._host, indices, axis, mode="wrap", out=out)


def sort(a: ndarray, axis: int = -1, kind: None = None) -> ndarray:
    """Stable; no other `kind`, as in CuPy."""
    if kind is not None:
        raise ValueError("kind can only be None or 'stable'")
    return _launch(np.sort, a._host, axis, kind="stable")


def copyto(dst: ndarray, src: Any) -> None:
    source = _unwrap(src)
    _check_cast(np.result_type(source) if isinstance(src, ndarray) else dst.dtype, dst.dtype)
    _count("launches")
    np.copyto(dst._host, source)


class RawKernel:
    """A kernel, run by fake_cuda; without a C++ compiler the test that needs it is skipped."""

    def __init__(self, code: str, name: str, options: tuple[str, ...] = ()) -> None:
        if fake_cuda.COMPILER is None:
            pytest.skip("no C++ compiler to run CUDA kernels on the host with")
        self.kernel = fake_cuda.RawKernel(code, name, options)

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        if any(isinstance(a, (np.ndarray, int, float)) and not isinstance(a, np.generic) for a in arguments):
            raise TypeError(f"{self.kernel.name} wants device arrays, and scalars with a type of their own")
        (x, *yz), threads = grid, int(np.prod(block))
        if not (0 < x < 2**31 and all(0 < n < 2**16 for n in yz) and 0 < threads <= 1024):
            raise ValueError(f"CUDA_ERROR_INVALID_VALUE: a grid of {grid}, a block of {block}")
        _count("launches")
        self.kernel.run(grid, block, [_unwrap(a) for a in arguments])


cuda = SimpleNamespace(
    cublas=fake_cuda.Cublas(_count),
    get_cublas_handle=lambda: 0,
    Device=lambda: SimpleNamespace(id=0),
    get_current_stream=lambda: SimpleNamespace(synchronize=lambda: _count("synchronisations")),
    runtime=SimpleNamespace(
        getDeviceProperties=lambda device: {"name": b"a pretended device"},
        runtimeGetVersion=lambda: 0,
        driverGetVersion=lambda: 0,
    ),
)


def is_available() -> bool:
    return True


def shares_memory(a: ndarray, b: ndarray) -> bool:
    return np.shares_memory(a._host, b._host)


def __getattr__(name: str) -> Any:
    """The functions of CuPy that are listed below, and nothing else of NumPy's."""
    if name in _HOST:
        return getattr(np, name)
    if name in _COMPUTE:
        return _computing(getattr(np, name))
    if name in _VIEW:
        return lambda a, *args, **options: _derived(getattr(np, name)(a._host, *args, **options), a)
    raise AttributeError(f"module 'cupy' (a stand-in for it) has no attribute {name!r}")


def _computing(function: Any) -> Callable[..., ndarray]:
    def compute(*args: Any, out: Any = None, **options: Any) -> ndarray:
        scalar_or_array = isinstance(function, np.ufunc)
        args = tuple(_unwrap(a, scalar_or_array) for a in args)
        return _launch(function, *args, out=out, **{k: _unwrap(v) for k, v in options.items()})

    return compute


def _launch(function: Any, *args: Any, out: Any = None, **options: Any) -> ndarray:
    if out is not None and not isinstance(out, ndarray):
        raise TypeError("Output arguments type must be cupy.ndarray")
    whole = function.__name__ in ("argmax", "argmin") and len(args) == 1 and options.get("axis") is None
    _count("launches", 2 if whole else _LAUNCHES.get(function.__name__, 1))
    result = np.asarray(function(*args, **options))
    if out is None:
        return ndarray(result)
    if out.shape != result.shape:
        raise ValueError("Out shape is mismatched")
    _check_cast(result.dtype, out.dtype)
    out._host[...] = result
    return out


def _check_cast(source: np.dtype, target: np.dtype) -> None:
    if not np.can_cast(source, target, "same_kind"):
        raise TypeError(f"Cannot cast output operand from {source!r} to {target!r} with casting rule 'same_kind'")


def _unwrap(x: Any, scalar_or_array: bool = False) -> Any:
    """The memory of a device array; scalars as they are; no host array, at any depth."""
    if isinstance(x, ndarray):
        return x._host
    if isinstance(x, np.ndarray) or (scalar_or_array and not isinstance(x, (bool, int, float, complex, np.generic))):
        raise TypeError(f"Unsupported type {type(x)}")
    return type(x)(map(_unwrap, x)) if isinstance(x, (list, tuple)) else x


def _derived(result: Any, base: ndarray) -> ndarray:
    """A view is free; a copy, which is what a result without common memory must be, is a launch."""
    if not np.may_share_memory(result, base._host):
        _count("launches")
    return ndarray(result)


def _index(index: Any) -> tuple[Any, ...]:
    """Device indices unwrapped, host ones uploaded; the Ellipsis makes NumPy give 0-d views instead of scalars."""
    index = index if isinstance(index, tuple) else (index,)
    parts = [asarray(i) if isinstance(i, (list, np.ndarray)) else i for i in index]
    parts += [] if any(i is Ellipsis for i in parts) else [Ellipsis]
    return tuple(i._host if isinstance(i, ndarray) else i for i in parts)


def _names(text: str) -> list[str]:
    return text.split()


_HOST = _names(  # dtypes, constants, and functions of dtypes and shapes alone: CuPy's are NumPy's
    "bool_ uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 float32 float64 complex64 complex128 dtype pi e "
    "inf nan newaxis iinfo finfo result_type promote_types can_cast broadcast_shapes ndim shape size"
)
_VIEW = _names("reshape ravel swapaxes transpose moveaxis squeeze expand_dims broadcast_to")
_METHODS = _names("sum prod mean std var max min argmax argmin all any cumsum clip round dot argsort copy")
_COMPUTE = _METHODS + _names(
    "zeros ones full zeros_like ones_like full_like arange linspace eye concatenate stack where einsum isfinite isnan "
    "take_along_axis isinf abs absolute negative positive sign square sqrt exp expm1 log log1p tanh floor ceil rint "
    "ascontiguousarray "
    "add subtract multiply divide true_divide floor_divide remainder power matmul maximum minimum equal not_equal less "
    "less_equal greater greater_equal logical_and logical_or logical_not invert bitwise_and bitwise_or bitwise_xor "
    "left_shift right_shift"
)
_UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
_COMPARISONS = {"lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal"}
_COMPARISONS |= {"gt": "greater", "ge": "greater_equal"}
_BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide"}
_BINARY |= {"mod": "remainder", "pow": "power", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or"}
_BINARY |= {"xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift"}


def _give_methods() -> None:
    compute = {name: __getattr__(name) for name in _COMPUTE}
    for symbol, name in (_UNARY | _COMPARISONS | _BINARY).items():
        setattr(ndarray, f"__{symbol}__", lambda self, *other, f=compute[name]: f(self, *other))
    for symbol, name in _BINARY.items():
        setattr(ndarray, f"__r{symbol}__", lambda self, other, f=compute[name]: f(other, self))
        setattr(ndarray, f"__i{symbol}__", lambda self, other, f=compute[name]: f(self, other, out=self))
    for name in _METHODS:
        setattr(ndarray, name, lambda self, *args, f=compute[name], **options: f(self, *args, **options))
    for name in ("reshape", "ravel", "swapaxes", "transpose", "squeeze", "view", "flatten"):
        setattr(ndarray, name, lambda self, *args, n=name: _derived(getattr(self._host, n)(*args), self))
    for name in ("__float__", "__int__", "__complex__", "__repr__", "item", "tolist"):
        setattr(ndarray, name, lambda self, *args, n=name: getattr(self.get(), n)(*args))


_give_methods()
