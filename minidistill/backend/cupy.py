"""The CuPy backend: the reference's methods on a GPU, the hot ones as a fused kernel or one call of cuBLAS.

An operation takes the fast way where its arrays are laid out for it, and the reference's else. What a kernel computes
is in kernels.py; here is how it is launched.
"""

from functools import cache
from typing import Any

import numpy as np

from ..checks import Array, BackendUnavailable
from ..random import KeepMask
from .blas import plan_of
from .kernels import SOURCE
from .reference import Backend

THREADS = 256  # in a block, where each thread computes one element
_TYPES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double", np.dtype(np.uint8): "unsigned char"}
_GEMM = {np.dtype(np.float32): "sgemm", np.dtype(np.float64): "dgemm"}


def _import_cupy() -> Any:
    """Return CuPy with a GPU that answers, or raise the error that says which of the two is missing."""
    try:
        import cupy
    except ImportError as error:
        raise BackendUnavailable(
            f"backend 'cupy' needs the package CuPy, which cannot be imported ({error}): "
            "sh setup.sh cuda12x, or cuda13x, in the checkout"
        ) from None
    if not cupy.is_available():
        raise BackendUnavailable(
            f"backend 'cupy' needs an NVIDIA GPU: CuPy {cupy.__version__} is installed, "
            "but no GPU and driver that it can use were found"
        )
    return cupy


class CupyBackend(Backend):
    """Compute on a CUDA device, the one that is current: make a backend for each device.

    `xp` is CuPy, or a stand-in for it in tests.
    """

    name = "cupy"

    def __init__(self, xp: Any = None) -> None:
        self.xp = _import_cupy() if xp is None else xp
        super().__init__()
        self._kernel = cache(self._compile)
        self._constant = cache(lambda value, dtype: self.xp.full(1, value, dtype=dtype))
        self._share = cache(lambda B, dtype: self.xp.full((B, 1), 1 / B, dtype=dtype))
        self._scalar = cache(lambda value, dtype: np.array(value, dtype))  # on the host, where cuBLAS reads it

    def to_host(self, array: Array) -> np.ndarray:
        return array.get() if hasattr(array, "get") else np.asarray(array)

    def device(self) -> str:
        cuda = self.xp.cuda
        return str(cuda.runtime.getDeviceProperties(cuda.Device().id)["name"].decode())

    def versions(self) -> dict[str, str]:
        runtime = self.xp.cuda.runtime
        cuda = {"cuda": runtime.runtimeGetVersion(), "cuda driver": runtime.driverGetVersion()}
        return {
            **super().versions(),
            "cupy": str(self.xp.__version__),
            **{name: str(v) for name, v in cuda.items()},
        }

    # --- batches -------------------------------------------------------------------------------------------------

    def take(self, array: Array, index: Array, out: Array) -> Array:
        return self.xp.take(array, index, axis=0, out=out)  # CuPy's take has no mode; it wraps

    def jitter_offsets(self, index: Array, seed: Any, key: int, reach: int) -> tuple[Array, Array]:
        dy, dx = self.xp.empty(index.shape, dtype=np.int64), self.xp.empty(index.shape, dtype=np.int64)
        index = self.xp.ascontiguousarray(index)
        B, size = np.int32(index.shape[-1]), np.int64(index.size)
        arguments = (index, *self._keys(seed), np.uint32(key), np.int32(reach), dy, dx, B, size)
        self._launch("jitter_offsets", np.float32, index.size, arguments)
        return dy, dx

    def translate(self, images: Array, dy: Array, dx: Array, reach: int, padded: Array, out: Array) -> Array:
        if not (self._fast(images, out) and dy.dtype == dx.dtype == np.int64):
            return self._translate_by_index(images, dy, dx, reach, padded, out)
        H, W = (np.int32(n) for n in images.shape[1:])
        self._launch("translate", out.dtype, out.size, (images, dy, dx, out, H, W, np.int64(out.size)))
        return out

    # --- layers --------------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array) -> Array:
        return out if self._gemm(a, b, out, 0.0) else super().matmul(a, b, out)

    def accumulate(self, a: Array, b: Array, out: Array, beta: float) -> Array:
        return out if self._gemm(a, b, out, beta) else super().accumulate(a, b, out, beta)

    def affine_relu_dropout(
        self, x: Array, W: Array, b: Array, mask: KeepMask | None, seed: Any, key: int, threshold: int, out: Array
    ) -> Array:
        if not self._fast(out, b):
            return super().affine_relu_dropout(x, W, b, mask, seed, key, threshold, out)
        self.matmul(x, W, out)
        sizes = (np.int32(out.shape[-2]), np.int32(out.shape[-1]), np.int64(out.size))
        scale = out.dtype.type(256 / threshold)
        arguments = (out, b, *self._keys(seed), np.uint32(key), np.int32(threshold), scale, *sizes)
        self._launch("bias_relu_dropout", out.dtype, out.size, arguments)
        return out

    def dropout(self, x: Array, mask: KeepMask, seed: Any, key: int, threshold: int, out: Array) -> Array:
        if not self._fast(x, out):
            return super().dropout(x, mask, seed, key, threshold, out)
        sizes = (np.int32(out.shape[-2]), np.int32(out.shape[-1]), np.int64(out.size))
        scale = out.dtype.type(256 / threshold)
        arguments = (x, out, mask.keep, *self._keys(seed), np.uint32(key), np.int32(threshold), scale, *sizes)
        self._launch("dropout", out.dtype, out.size, arguments)
        return out

    def relu_backward(self, dy: Array, y: Array, scale: float, positive: Array) -> Array:
        if not self._fast(dy, y):
            return super().relu_backward(dy, y, scale, positive)
        self._launch("relu_backward", dy.dtype, dy.size, (dy, y, dy.dtype.type(scale), np.int64(dy.size)))
        return dy

    # --- loss and update -----------------------------------------------------------------------------------------

    def objective(
        self, z: Array, v: Array | None, y: Array | None, T: Any, alpha: float, loss: Array, dz: Array
    ) -> None:
        rows = self._like(z[..., 0])  # (..., B)
        B, N = z.shape[-2:]
        T_step = int(np.ndim(T) > 0)
        temperatures = T if T_step else self._constant(T, z.dtype)
        v, y = z if v is None else v, self._constant(0, np.int64) if y is None else y  # unread by contract
        if not self._fast(z, v, dz, temperatures) or y.dtype != np.int64 or not y.flags.c_contiguous:
            super().objective(z, v, y, T, alpha, loss, dz)
            return
        arguments = (z, v, y, temperatures, np.int32(T_step), z.dtype.type(alpha), rows, dz, np.int32(B))
        threads = min(THREADS, max(32, 1 << (N - 1).bit_length()))
        self._kernel("objective", z.dtype)((rows.size,), (threads,), (*arguments, np.int32(N)))
        # The mean is a product with a column of 1/B: one launch, where CuPy's `mean` takes three.
        self.matmul(rows[..., None, :], self._share(B, z.dtype), loss[..., None, None])

    def add_scaled(self, y: Array, x: Array, factor: float) -> Array:
        if factor == -1 or not self._fast(y, x) or y.shape != x.shape:
            return super().add_scaled(y, x, factor)
        self._launch("add_scaled", y.dtype, y.size, (y, x, y.dtype.type(factor), np.int64(y.size)))
        return y

    def nesterov(self, w: Array, velocity: Array, g: Array, momentum: float) -> None:
        if not self._fast(w, velocity, g):
            super().nesterov(w, velocity, g, momentum)
            return
        self._launch("nesterov", w.dtype, w.size, (w, velocity, g, w.dtype.type(momentum), np.int64(w.size)))

    def adamw(
        self, w: Array, first: Array, second: Array, g: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, weight_decay: float, step: int,
    ) -> None:  # fmt: skip
        if not self._fast(w, first, second, g):
            super().adamw(w, first, second, g, learning_rate, beta1, beta2, epsilon, weight_decay, step)
            return
        rate, kept = learning_rate / (1 - beta1**step), 1 - learning_rate * weight_decay
        numbers = (rate, beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 - beta2**step), epsilon, kept)
        arguments = (w, first, second, g, *map(w.dtype.type, numbers), np.int64(w.size))
        self._launch("adamw", w.dtype, w.size, arguments)

    def flush(self, *vectors: Array) -> None:
        """Leave them: a GPU computes with subnormal numbers as fast as with others."""

    def max_norm(self, W: Array, limit: float) -> None:
        if not self._fast(W):
            super().max_norm(W, limit)
            return
        n_in, n_out = W.shape[-2:]
        blocks = (W.size // (n_in * n_out), -(-n_out // 8))
        self._kernel("max_norm", W.dtype)(blocks, (8, 32), (W, W.dtype.type(limit), np.int32(n_in), np.int32(n_out)))

    # --- how it is done ------------------------------------------------------------------------------------------

    def _compile(self, name: str, dtype: Any) -> Any:
        real = "double" if dtype == np.float64 else "float"
        return self.xp.RawKernel(SOURCE, name, options=(f"-Dreal={real}", f"-Dpixel={_TYPES[dtype]}"))

    def _launch(self, name: str, dtype: Any, size: int, arguments: tuple[Any, ...]) -> None:
        self._kernel(name, np.dtype(dtype))((-(-size // THREADS),), (THREADS,), arguments)

    def _fast(self, *arrays: Array) -> bool:
        """Tell whether a kernel can run on them: one dtype that it knows, contiguous, not empty."""
        first = arrays[0].dtype
        return first in _TYPES and all(x.dtype == first and x.flags.c_contiguous and x.size for x in arrays)

    def _keys(self, seed: tuple[Any, Any]) -> tuple[Array, Array]:
        """Return s1 and s2 on the device, one for each replica."""
        s1, s2 = seed
        if np.ndim(s1) == 0:
            return self._constant(s1, np.uint32), self._constant(s2, np.uint32)
        return s1, s2

    def _gemm(self, a: Array, b: Array, out: Array, beta: float) -> bool:
        """Write out = beta out + a b by cuBLAS, all replicas in one call, or return False: not laid out for it.

        cuBLAS thinks in columns, where our rows of out = a b are the columns of outᵀ = bᵀ aᵀ.
        """
        plan = plan_of(a, b, out) if out.dtype in _GEMM else None
        if plan is None:
            return False
        (m, n, k), R, (a_turned, *a_steps), (b_turned, *b_steps), (_, *out_steps) = plan
        cublas, handle = self.xp.cuda.cublas, self.xp.cuda.get_cublas_handle()
        operations = [cublas.CUBLAS_OP_T if turned else cublas.CUBLAS_OP_N for turned in (b_turned, a_turned)]
        one, beta_ = self._scalar(1.0, out.dtype), self._scalar(beta, out.dtype)
        matrices = [
            (x.data.ptr, step) if R == 1 else (x.data.ptr, step, apart // x.itemsize)
            for x, (step, apart) in ((b, b_steps), (a, a_steps), (out, out_steps))
        ]
        left, right, result = matrices
        gemm = getattr(cublas, _GEMM[out.dtype] + ("" if R == 1 else "StridedBatched"))
        count = () if R == 1 else (R,)
        gemm(handle, *operations, n, m, k, one.ctypes.data, *left, *right, beta_.ctypes.data, *result, *count)
        return True

    def _translate_by_index(self, images: Array, dy: Array, dx: Array, reach: int, padded: Array, out: Array) -> Array:
        """Translate by flat index: CuPy would first copy the overlapping windows that NumPy only looks at."""
        xp = self.xp
        M, H, W = images.shape
        height, width = padded.shape[1:]
        padded[:, reach : reach + H, reach : reach + W] = images
        first = (xp.arange(M) * height + reach - dy) * width + reach - dx  # (M,)
        pixel = xp.arange(H)[:, None] * width + xp.arange(W)  # (H, W)
        return xp.take(padded, first[:, None, None] + pixel, out=out)
