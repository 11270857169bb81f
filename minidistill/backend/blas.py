"""The NumPy backend by BLAS, where BLAS can do what NumPy cannot.

BLAS accumulates, C = beta C + A B, in the time of the product alone, and adds vectors on all cores; NumPy exposes
neither, and spends a fifth of a training step on them (docs/performance.md). So they are called where they are: in the
OpenBLAS that NumPy's own wheel has loaded, or in Intel's MKL. Where there is none, or an array is not laid out for it,
the reference computes.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from ..checks import ArgumentError, Array, BackendUnavailable, shown
from .reference import Backend

LIBRARIES = ("openblas", "mkl", "numpy")  # what MINIDISTILL_BLAS may say; numpy: what NumPy itself offers, no more

_ROW_MAJOR, _ORDERS = 101, (111, 112)  # the constants of cblas.h; a matrix as it lies, and transposed
_NAMES = (
    ("scipy_cblas_{}64_", ctypes.c_int64), ("cblas_{}64_", ctypes.c_int64), ("cblas_{}_64", ctypes.c_int64),
    ("scipy_cblas_{}", ctypes.c_int), ("cblas_{}", ctypes.c_int),
)  # fmt: skip
_TYPES = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}

Layout = tuple[tuple[int, ...], tuple[int, ...]]  # shape and strides


@lru_cache(maxsize=1024)  # a training has some twenty, and asks for each in every step
def product_plan(a: Layout, b: Layout, out: Layout, itemsize: int) -> Any:
    """Return how BLAS computes out (..., m, n) = a (..., m, k) b (..., k, n), or None if they lie in another way.

    The plan is ((m, n, k), replicas, a's, b's and out's part), a part (turned, step, apart). turned: columns, not rows,
    are contiguous; step: numbers from one row (or column) to the next; apart: bytes from one replica to the next, 0
    where one matrix serves all.
    """
    (*_, m, k), (*_, k_of_b, n), shape = a[0], b[0], out[0]
    replicas = shape[0] if len(shape) == 3 else 1
    if (k_of_b, shape[-2:]) != (k, (m, n)) or not m * n * k * replicas:
        return None
    parts = []
    for sizes, strides in (a, b, out):
        (rows, columns), (down, right) = sizes[-2:], (stride // itemsize for stride in strides[-2:])
        if (right == 1 or columns == 1) and (down >= columns or rows == 1):
            turned, step = False, max(down, columns)
        elif (down == 1 or rows == 1) and right >= rows:
            turned, step = True, max(right, rows)
        else:
            return None
        if len(sizes) > len(shape) or (len(sizes) == 3 and sizes[0] not in (1, replicas)):
            return None
        parts.append((turned, step, strides[0] if len(sizes) == 3 and sizes[0] > 1 else 0))
    return None if len(shape) > 3 or parts[2][0] else ((m, n, k), replicas, *parts)


def plan_of(a: Array, b: Array, out: Array) -> Any:
    """Return the product_plan of these arrays, or None."""
    if not a.dtype == b.dtype == out.dtype or min(a.ndim, b.ndim, out.ndim) < 2:
        return None
    return product_plan((a.shape, a.strides), (b.shape, b.strides), (out.shape, out.strides), out.itemsize)


class BlasBackend(Backend):
    """Compute products and sums by a BLAS; `max_norm` looks at values before it writes."""

    def __init__(self, library: "Library | None" = None) -> None:
        super().__init__()
        self.library = library or find_library()
        self.routines = self.library.routines if self.library else {}  # without one, as the reference

    def matmul(self, a: Array, b: Array, out: Array) -> Array:
        """Leave it to NumPy, if the library is its own; and rows alone, for which NumPy has a faster routine."""
        if self.library is None or self.library.is_numpys or a.shape[-2] == 1 or not self._gemm(a, b, out, 0.0):
            return super().matmul(a, b, out)
        return out

    def affine(self, x: Array, W: Array, b: Array, out: Array) -> Array:
        """Accumulate the product onto the bias; but a single row is faster by NumPy's own product."""
        if x.shape[-2] == 1:
            return super().affine(x, W, b, out)
        np.copyto(out, b)
        return self.accumulate(x, W, out, 1.0)

    def accumulate(self, a: Array, b: Array, out: Array, beta: float) -> Array:
        if beta == 0 or not self._gemm(a, b, out, beta):
            return super().accumulate(a, b, out, beta)
        return out

    def add_scaled(self, y: Array, x: Array, factor: float) -> Array:
        same_type = x.dtype == y.dtype and y.dtype in self.routines
        if same_type and x.shape == y.shape and y.flags.carray and x.flags.c_contiguous:
            _, axpy = self.routines[y.dtype]
            axpy(y.size, factor, _address(x), 1, _address(y), 1)
            return y
        return super().add_scaled(y, x, factor)

    def max_norm(self, W: Array, limit: float) -> None:
        """Write only the columns that are too long, if they are few: on the host, asking which costs nothing."""
        if W.ndim > 2:
            for W_r in W:
                self.max_norm(W_r, limit)
            return
        norms = np.sqrt(np.einsum("ij,ij->j", W, W))  # (n_out,)
        long = np.flatnonzero(norms > limit)
        if long.size > W.shape[1] // 8:
            super().max_norm(W, limit)
        elif long.size:
            W[:, long] *= limit / norms[long]

    def _gemm(self, a: Array, b: Array, out: Array, beta: float) -> bool:
        """Write out = beta out + a b, or return False: not laid out for BLAS."""
        plan = plan_of(a, b, out) if out.dtype in self.routines and out.flags.writeable else None
        if plan is None:
            return False
        sizes, replicas, (a_turned, a_step, a_apart), (b_turned, b_step, b_apart), (_, out_step, out_apart) = plan
        gemm, _ = self.routines[out.dtype]
        orders, at_a, at_b, at_out = (_ORDERS[a_turned], _ORDERS[b_turned]), _address(a), _address(b), _address(out)
        for _ in range(replicas):
            gemm(_ROW_MAJOR, *orders, *sizes, 1.0, at_a, a_step, at_b, b_step, beta, at_out, out_step)
            at_a, at_b, at_out = at_a + a_apart, at_b + b_apart, at_out + out_apart
        return True


class Library:
    """Load a BLAS and declare its routines: {dtype: (gemm, axpy)}, empty if it has not the names of a BLAS in C.

    is_numpys: whether NumPy computes by the same one.
    """

    def __init__(self, path: str, *, is_numpys: bool) -> None:
        self.path, self.is_numpys = path, is_numpys
        self.handle = ctypes.CDLL(path)
        known = (name for name in _NAMES if hasattr(self.handle, name[0].format("sgemm")))
        self.routines: dict[Any, tuple[Any, Any]] = {}
        for name, integer in (*known,)[:1]:
            self.routines = {dtype: _declare(self.handle, name, integer, *kind) for dtype, kind in _TYPES.items()}

    def __str__(self) -> str:
        """Name it, with its version, its threads and the kernels that it has chosen for this processor."""
        call = self._call
        if self.is_numpys:
            text = call("get_config", ctypes.c_char_p) or b"OpenBLAS"
            kernels, threads = call("get_corename", ctypes.c_char_p), call("get_num_threads", ctypes.c_int)
            name = " ".join(text.decode().split()[:2])
            kernels = kernels.decode() if kernels else "unknown"
        else:
            version = _Version()
            self.handle.MKL_Get_Version(ctypes.byref(version))
            name = f"MKL {version.major}.{version.minor}.{version.update}"
            kernels, threads = version.processor.decode(), self.handle.MKL_Get_Max_Threads()
        return f"{name}, {threads} thread{'s' if threads != 1 else ''}, kernels for {kernels}, {self.path}"

    def _call(self, function: str, kind: Any) -> Any:
        """Call a function of OpenBLAS without arguments, under whatever name this build gives it."""
        for name in (f"{start}openblas_{function}{end}" for start in ("scipy_", "") for end in ("64_", "")):
            if hasattr(self.handle, name):
                routine = getattr(self.handle, name)
                routine.restype = kind
                return routine()
        return None


class _Version(ctypes.Structure):
    """MKLVersion, of mkl_types.h."""

    _fields_ = [
        *((name, ctypes.c_int) for name in ("major", "minor", "update")),
        *((name, ctypes.c_char_p) for name in ("status", "build", "processor", "platform")),
    ]


def find_library(wanted: str | None = None) -> Library | None:
    """Return the BLAS of this name, of LIBRARIES; for "" MKL on Intel's processors if installed, else NumPy's own.

    wanted: None for what MINIDISTILL_BLAS says. Returns None if there is none, or for "numpy". Raises ArgumentError for
    an unknown name, BackendUnavailable for a library that is not there. On AMD's processors MKL is slower than OpenBLAS
    (docs/performance.md), and so must be asked for.
    """
    if wanted is None:
        wanted = os.environ.get("MINIDISTILL_BLAS") or ""
    if wanted not in ("", *LIBRARIES):
        raise ArgumentError(f"MINIDISTILL_BLAS must be one of {', '.join(LIBRARIES)}, got {shown(wanted)}")
    if wanted == "numpy":
        return None
    for path, is_numpys in _candidates(wanted):
        if (library := Library(path, is_numpys=is_numpys)).routines:
            return library
    if wanted:
        remedy = "sh setup.sh mkl, in the checkout" if wanted == "mkl" else "NumPy from PyPI brings it, on most systems"
        raise BackendUnavailable(f"MINIDISTILL_BLAS must name a library that is installed, got {wanted!r}: {remedy}")
    return None


def _candidates(wanted: str) -> Iterator[tuple[str, bool]]:
    """Yield (path, is_numpys) of the libraries that may serve, the preferred ones first."""
    package = os.path.dirname(np.__file__)  # pathlib would cost a twentieth of the time that importing NumPy takes
    if wanted == "mkl" or (not wanted and _is_intel()):
        places = [os.path.join(sys.prefix, "lib"), os.path.join(sys.prefix, "Library", "bin")]
        yield from ((path, False) for path in _files(places, "mkl_rt"))
    if wanted != "mkl":
        yield from ((path, True) for path in _files([package + ".libs", os.path.join(package, ".dylibs")], "openblas"))


def _files(folders: list[str], part: str) -> Iterator[str]:
    for folder in folders:
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        yield from (os.path.join(folder, name) for name in names if part in name)


def _is_intel() -> bool:
    """Tell whether the processor is Intel's, where the system says so at once: on Linux and Windows."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return "GenuineIntel" in file.read(4096)
    except OSError:
        return "GenuineIntel" in os.environ.get("PROCESSOR_IDENTIFIER", "")


def _declare(library: Any, name: str, integer: Any, letter: str, real: Any) -> tuple[Any, Any]:
    flag, pointer = ctypes.c_int, ctypes.c_void_p
    gemm, axpy = (getattr(library, name.format(letter + routine)) for routine in ("gemm", "axpy"))
    matrix = [pointer, integer]
    gemm.argtypes = [flag, flag, flag, integer, integer, integer, real, *matrix, *matrix, real, *matrix]
    axpy.argtypes = [integer, real, *matrix, *matrix]
    gemm.restype = axpy.restype = None
    return gemm, axpy


def _address(x: Array) -> int:
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]  # Array is Any
