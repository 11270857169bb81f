"""The NumPy backend, which is also the specification: whatever another backend overrides must equal these methods.

A backend holds an array module `xp`, moves arrays to and from it, and names the few operations that are worth fusing
into one kernel on a GPU. Each is written once, over `xp`, into buffers that the caller owns.
"""

import inspect
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import random
from ..checks import ARRAY_MODULES, ArgumentError, Array
from ..losses.distillation import objective_rows
from ..random import KeepMask

CHUNK = 65536  # parameters updated at a time: three vectors of this many float32 fit a core's second-level cache

# What minidistill asks of an array module beyond the methods and operators of its arrays, with NumPy's meaning.
XP_FUNCTIONS = (
    "add arange asarray ascontiguousarray bitwise_xor broadcast_to concatenate copyto divide einsum "
    "empty empty_like exp expm1 full greater isfinite less log log1p matmul maximum mean minimum multiply ones "
    "right_shift sort sqrt stack subtract take take_along_axis where zeros zeros_like uint8 uint32 uint64 int64"
)


class Backend:
    """Compute on NumPy arrays, and say what every backend must.

    A backend of your own derives from this class, sets `name` and `xp`, a module with XP_FUNCTIONS, and overrides
    whatever that module does otherwise or a kernel does faster, with the same arguments. An operation returns the array
    that it writes, and raises ValueError for operands that do not fit. Not specified: what becomes of NaN and infinity
    in a unit that is dropped or whose ReLU is closed (0 times them here, 0 in a kernel), and whether subnormal numbers
    are kept (CuPy's kernels take them for 0).
    """

    name = "numpy"
    xp: Any = np

    def __init_subclass__(cls) -> None:
        """Refuse an override that takes other arguments than the method that it overrides."""
        for name, method in vars(cls).items():
            specified = getattr(Backend, name, None)
            if name.startswith("__") or not inspect.isfunction(method) or not inspect.isfunction(specified):
                continue
            wanted, taken = ([*f.__code__.co_varnames[: f.__code__.co_argcount]] for f in (specified, method))
            if wanted != taken:
                raise ArgumentError(f"{cls.__name__}.{name} must take ({', '.join(wanted)}), as Backend.{name} does")

    def __init__(self) -> None:
        if missing := [function for function in XP_FUNCTIONS.split() if not hasattr(self.xp, function)]:
            raise ArgumentError(f"xp must compute as NumPy does, got {self.xp!r} without {', '.join(missing)}")
        ARRAY_MODULES.add(self.xp.__name__.partition(".")[0])
        self._thread = threading.local()  # its scratch belongs to one thread, as networks may train in several
        self._ones: dict[Any, Array] = {}

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()  # a copy, or what pickle makes elsewhere, is a backend of the same kind

    # --- moving arrays -------------------------------------------------------------------------------------------

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        """Return the array on this backend's device; not copied if it is there already and has the dtype."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        """Return the array as NumPy's. On a GPU this waits for all work in flight; the only place that does."""
        return np.asarray(array)

    def device(self) -> str:
        """Name the device, for results that are written down."""
        return "CPU"

    def versions(self) -> dict[str, str]:
        """Return the versions of what computes, for results that are written down."""
        return {"numpy": np.__version__}

    # --- batches -------------------------------------------------------------------------------------------------

    def take(self, array: Array, index: Array, out: Array) -> Array:
        """Gather rows, out (..., B, *row) = array[index]; they exist by contract: a check would wait for a GPU."""
        return self.xp.take(array, index, axis=0, out=out, mode="clip")

    def to_unit_interval(self, x: Array, out: Array) -> Array:
        """Write out = x / 255 for uint8 pixels, out = x for anything else."""
        self.xp.copyto(out, x)  # a converting copy, then a product in place: half the time of both in one
        return self.xp.multiply(out, 1 / 255, out=out) if x.dtype == np.uint8 else out

    def jitter_offsets(self, index: Array, seed: Any, key: int, reach: int) -> tuple[Array, Array]:
        """Draw dy and dx (..., B) uniform in -reach..reach for the images number index (..., B).

        They are the two halves of an image's random word.
        """
        words = random.words(seed, key, index.astype(np.uint32))
        span = 2 * reach + 1
        dy = ((words >> 16) * span >> 16).astype(np.int64) - reach
        dx = ((words & 0xFFFF) * span >> 16).astype(np.int64) - reach
        return dy, dx

    def translate(self, images: Array, dy: Array, dx: Array, reach: int, padded: Array, out: Array) -> Array:
        """Write out[i] = images[i] moved down by dy[i] and right by dx[i] pixels, zeros moving in; at most `reach`.

        images, out (M, H, W); dy, dx (M,) int64; padded (M, H + 2 reach, W + 2 reach), zero at its borders.
        """
        M, H, W = images.shape
        padded[:, reach : reach + H, reach : reach + W] = images
        windows = np.lib.stride_tricks.sliding_window_view(padded, (H, W), axis=(1, 2))  # (M, 2r+1, 2r+1, H, W)
        out[...] = windows[np.arange(M), reach - dy, reach - dx]
        return out

    # --- layers --------------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array) -> Array:
        """Write out (..., m, n) = a (..., m, k) b (..., k, n); the operands may be transposed views."""
        return self.xp.matmul(a, b, out=out)

    def affine(self, x: Array, W: Array, b: Array, out: Array) -> Array:
        """Write out (..., B, n_out) = x (..., B, n_in) W (..., n_in, n_out) + b (..., 1, n_out)."""
        self.matmul(x, W, out=out)
        return self.xp.add(out, b, out=out)

    def accumulate(self, a: Array, b: Array, out: Array, beta: float) -> Array:
        """Write out (..., m, n) = beta out + a (..., m, k) b (..., k, n); out is unread at beta = 0."""
        if beta == 0:
            return self.matmul(a, b, out=out)
        product = self.matmul(a, b, out=self._like(out))
        self.xp.multiply(out, beta, out=out)
        return self.xp.add(out, product, out=out)

    def accumulate_sum(self, x: Array, out: Array, beta: float) -> Array:
        """Write out (..., 1, n) = beta out + Σ_B x (..., B, n), as a product with a row of ones."""
        rows, dtype = x.shape[:-1], x.dtype  # (..., B)
        if (rows, dtype) not in self._ones:
            one_row = self.xp.ones((1, rows[-1]), dtype=dtype)
            self._ones[rows, dtype] = self.xp.broadcast_to(one_row, (*rows[:-1], 1, rows[-1]))
        ones = self._ones[rows, dtype]
        return self.accumulate(ones, x, out, beta)

    def affine_relu_dropout(
        self, x: Array, W: Array, b: Array, mask: KeepMask | None, seed: Any, key: int, threshold: int, out: Array
    ) -> Array:
        """Write out = dropout(max(x W + b, 0)), as `affine` and `dropout` do; without it at threshold 256."""
        self.affine(x, W, b, out=out)
        self.xp.maximum(out, 0, out=out)
        return out if mask is None or threshold == 256 else self.dropout(out, mask, seed, key, threshold, out)

    def dropout(self, x: Array, mask: KeepMask, seed: Any, key: int, threshold: int, out: Array) -> Array:
        """Write out = x times 256/threshold on the units that are kept, and 0 on the others; out may be x."""
        self.xp.multiply(x, mask.draw(seed, key, threshold), out=out)
        return self.xp.multiply(out, 256 / threshold, out=out)

    def relu_backward(self, dy: Array, y: Array, scale: float, positive: Array) -> Array:
        """Multiply dy by `scale` where y > 0 and by 0 elsewhere, in place; `positive` is a boolean buffer like y."""
        self.xp.greater(y, 0, out=positive)
        self.xp.multiply(dy, positive, out=dy)
        return dy if scale == 1 else self.xp.multiply(dy, scale, out=dy)

    # --- loss and update -----------------------------------------------------------------------------------------

    def objective(
        self, z: Array, v: Array | None, y: Array | None, T: Any, alpha: float, loss: Array, dz: Array
    ) -> None:
        """Write the balanced objective's mean over a batch, loss (...), and its gradient by z, dz (..., B, N).

        T is a number, or an array (R, 1, 1); v is unread at alpha = 0 and y at alpha = 1.
        """
        rows, gradient = objective_rows(z, v, y, T, alpha)
        self.xp.mean(rows, axis=-1, out=loss)
        self.xp.divide(gradient, z.shape[-2], out=dz)

    def add_scaled(self, y: Array, x: Array, factor: float) -> Array:
        """Add factor x to y, for flat vectors, in place."""
        if factor == -1:
            return self.xp.subtract(y, x, out=y)
        for y_piece, x_piece in self._pieces(y, x):
            self.xp.add(y_piece, self.xp.multiply(x_piece, factor, out=self._like(x_piece)), out=y_piece)
        return y

    def nesterov(self, w: Array, velocity: Array, g: Array, momentum: float) -> None:
        """Write velocity = μ (velocity + g), then w -= velocity + g, for flat vectors, in place.

        This velocity is μ (the momentum) times the usual one, which saves a pass.
        """
        xp = self.xp
        for w_piece, v_piece, g_piece in self._pieces(w, velocity, g):
            xp.add(v_piece, g_piece, out=v_piece)
            xp.multiply(v_piece, momentum, out=v_piece)
            xp.subtract(w_piece, v_piece, out=w_piece)
            xp.subtract(w_piece, g_piece, out=w_piece)

    def adamw(
        self, w: Array, first: Array, second: Array, g: Array, learning_rate: float, beta1: float, beta2: float,
        epsilon: float, weight_decay: float, step: int,
    ) -> None:  # fmt: skip
        """Take AdamW's step number `step` >= 1 (see optim.py), for flat vectors, in place.

        first = β1 first + (1 - β1) g, second = β2 second + (1 - β2) g², and with both divided by 1 - β^step,
        w -= η (first/(√second + ε) + λ w).
        """
        xp = self.xp
        correction1, correction2 = 1 - beta1**step, 1 - beta2**step
        for w_piece, m, v, g_piece in self._pieces(w, first, second, g):
            u = self._like(g_piece)
            xp.multiply(m, beta1, out=m)
            xp.add(m, xp.multiply(g_piece, 1 - beta1, out=u), out=m)
            xp.multiply(v, beta2, out=v)
            xp.multiply(g_piece, g_piece, out=u)
            xp.add(v, xp.multiply(u, 1 - beta2, out=u), out=v)
            xp.sqrt(xp.multiply(v, 1 / correction2, out=u), out=u)
            xp.divide(m, xp.add(u, epsilon, out=u), out=u)
            xp.multiply(w_piece, 1 - learning_rate * weight_decay, out=w_piece)
            xp.subtract(w_piece, xp.multiply(u, learning_rate / correction1, out=u), out=w_piece)

    def flush(self, *vectors: Array) -> None:
        """Set subnormal numbers to 0, in place: what has lost digits for its size, in float32 below 1.2e-38.

        Momentum μ decays to them where a gradient stays 0, as a dead unit's does, and sticks at the last of them, since
        μ times it rounds to itself. Many processors take several times as long for a product with them in it
        (docs/performance.md). In float16 they are left: NumPy computes with those in float32.
        """
        for vector in (vector for vector in vectors if vector.dtype != np.float16):
            for (piece,) in self._pieces(vector):
                self.xp.copyto(piece, 0, where=abs(piece) < np.finfo(vector.dtype).tiny)

    def max_norm(self, W: Array, limit: float) -> None:
        """Scale every column of W (..., n_in, n_out), a unit's incoming weights, back to norm <= limit, in place."""
        xp = self.xp
        squares = xp.einsum("...ij,...ij->...j", W, W)[..., None, :]  # (..., 1, n_out)
        xp.multiply(W, xp.minimum(limit / xp.sqrt(xp.maximum(squares, 1e-30)), 1.0).astype(W.dtype), out=W)

    # --- how it is done ------------------------------------------------------------------------------------------

    def _pieces(self, *vectors: Array) -> Iterator[list[Array]]:
        """Cut vectors into cache-sized pieces: whole ones would travel from main memory once for each pass."""
        for start in range(0, vectors[0].size, CHUNK):
            yield [vector[start : start + CHUNK] for vector in vectors]

    def _like(self, array: Array) -> Array:
        """Return a buffer of the array's shape and dtype, in one piece of memory that is kept and grows as needed."""
        scratch = getattr(self._thread, "scratch", None)
        if scratch is None or scratch.size < array.size or scratch.dtype != array.dtype:
            scratch = self._thread.scratch = self.xp.empty(array.size, dtype=array.dtype)
        return scratch[: array.size].reshape(array.shape)
