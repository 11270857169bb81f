"""The NumPy backend by BLAS, where BLAS can do what NumPy cannot.

BLAS accumulates, C = beta C + A B, in the time of the product alone, and adds vectors on all cores; NumPy exposes
neither, and spends a fifth of a training step on them (docs/performance.md). So they are called where they are, in the
OpenBLAS that NumPy's own wheel has loaded. Where there is none, or an array is not laid out for it, the reference
computes.
"""

import ctypes
import os
from typing import Any

import numpy as np

from ..checks import Array
from .reference import Backend

_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # the constants of cblas.h
_NAMES = (("scipy_cblas_{}64_", ctypes.c_int64), ("cblas_{}64_", ctypes.c_int64), ("scipy_cblas_{}", ctypes.c_int))
_TYPES = {np.dtype(np.float32): ("s", ctypes.c_float), np.dtype(np.float64): ("d", ctypes.c_double)}


def matrix_layout(x: Array) -> tuple[bool, int] | None:
    """Return (turned, step) of the matrices x (..., m, n) as BLAS sees them, or None if they lie in another way.

    turned: columns, not rows, are contiguous; step: numbers from one row (or column) to the next.
    """
    if x.ndim < 2 or x.size == 0:
        return None
    (rows, columns), (down, right) = x.shape[-2:], (stride // x.itemsize for stride in x.strides[-2:])
    if right == 1 and (down >= columns or rows == 1):
        return False, max(down, columns)
    if down == 1 and (right >= rows or columns == 1):
        return True, max(right, rows)
    return None


class BlasBackend(Backend):
    """Compute `affine`, `accumulate` and `add_scaled` by BLAS; `max_norm` looks at values before it writes."""

    def __init__(self, routines: dict[Any, tuple[Any, Any]] | None = None) -> None:
        super().__init__()
        self.routines = find_routines() if routines is None else routines

    def affine(self, x: Array, W: Array, b: Array, out: Array) -> Array:
        """Accumulate the product onto the bias; but a single row is faster by NumPy's own product."""
        if x.shape[-2] == 1:
            return super().affine(x, W, b, out)
        np.copyto(out, b)
        return self.accumulate(x, W, out, 1.0)

    def accumulate(self, a: Array, b: Array, out: Array, beta: float) -> Array:
        if a.ndim == b.ndim == out.ndim > 2 and len(a) == len(b) == len(out):
            for a_r, b_r, out_r in zip(a, b, out, strict=True):
                self.accumulate(a_r, b_r, out_r, beta)
            return out
        same_type = a.dtype == b.dtype == out.dtype and out.dtype in self.routines
        matrices: list[Any] = [_matrix(x) for x in (a, b, out)]
        if beta == 0 or not same_type or not all(matrices):
            return super().accumulate(a, b, out, beta)
        (a_order, *a_memory), (b_order, *b_memory), (out_order, *out_memory) = matrices
        fits = (a.shape[0], a.shape[1], b.shape[1]) == (out.shape[0], b.shape[0], out.shape[1])
        if out_order != _PLAIN or not fits or not out.flags.writeable:
            return super().accumulate(a, b, out, beta)
        gemm, _ = self.routines[out.dtype]
        sizes = (*out.shape, a.shape[1])  # m, n, k
        gemm(_ROW_MAJOR, a_order, b_order, *sizes, 1.0, *a_memory, *b_memory, beta, *out_memory)
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


def find_routines() -> dict[Any, tuple[Any, Any]]:
    """Return {dtype: (gemm, axpy)} of the OpenBLAS that came with NumPy's wheel; empty if there is none."""
    package = os.path.dirname(np.__file__)  # pathlib would cost a twentieth of the time that importing NumPy takes
    for folder in (package + ".libs", os.path.join(package, ".dylibs")):
        names = os.listdir(folder) if os.path.isdir(folder) else []
        for file in (name for name in names if "openblas" in name):
            if found := _routines(ctypes.CDLL(os.path.join(folder, file))):
                return found
    return {}


def _routines(library: Any) -> dict[Any, tuple[Any, Any]]:
    for name, integer in _NAMES:
        if hasattr(library, name.format("sgemm")):
            return {dtype: _declare(library, name, integer, *kind) for dtype, kind in _TYPES.items()}
    return {}


def _declare(library: Any, name: str, integer: Any, letter: str, real: Any) -> tuple[Any, Any]:
    flag, pointer = ctypes.c_int, ctypes.c_void_p
    gemm, axpy = (getattr(library, name.format(letter + routine)) for routine in ("gemm", "axpy"))
    matrix = [pointer, integer]
    gemm.argtypes = [flag, flag, flag, integer, integer, integer, real, *matrix, *matrix, real, *matrix]
    axpy.argtypes = [integer, real, *matrix, *matrix]
    gemm.restype = axpy.restype = None
    return gemm, axpy


def _matrix(x: Array) -> tuple[int, int, int] | None:
    """Return (order, address, step) of a matrix, or None if BLAS cannot read it as it lies."""
    layout = matrix_layout(x) if x.ndim == 2 else None
    return layout and (_TRANSPOSED if layout[0] else _PLAIN, _address(x), layout[1])


def _address(x: Array) -> int:
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]  # Array is Any
