"""The NumPy backend, which is also the specification: whatever another backend overrides must equal these methods.

A backend holds an array module `xp`, moves arrays to and from it, and names the few operations that are worth fusing
into one kernel on a GPU. Each is written once, over `xp`, into buffers that the caller owns.
"""

from typing import Any

import numpy as np

from .. import random
from ..checks import Array
from ..losses.distillation import objective_rows
from ..random import KeepMask

CHUNK = 65536  # parameters updated at a time: three vectors of this many float32 fit a core's second-level cache


def matrix_layout(x: Array) -> tuple[bool, int] | None:
    """(turned, step) of the matrices x (..., m, n) as BLAS sees them, or None if they are laid out in another way.

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


class Backend:
    """Arrays and fused operations of NumPy."""

    name = "numpy"
    xp: Any = np

    def __init__(self) -> None:
        self._scratch: Array | None = None

    def __repr__(self) -> str:
        return f"<backend {self.name}>"

    # --- moving arrays -------------------------------------------------------------------------------------------

    def asarray(self, array: Any, dtype: Any = None) -> Array:
        """The array on this backend's device; not copied if it is there already and has the dtype."""
        return self.xp.asarray(array, dtype=dtype)

    def to_host(self, array: Array) -> np.ndarray:
        """The array as NumPy's. On a GPU this waits for all work in flight; the only place that does."""
        return np.asarray(array)

    def device(self) -> str:
        """The device in words, for results that are written down."""
        return "CPU"

    # --- batches -------------------------------------------------------------------------------------------------

    def take(self, array: Array, index: Array, out: Array) -> Array:
        """out (..., B, *row) = array[index]; rows in range by contract (checking them would wait for a GPU)."""
        return self.xp.take(array, index, axis=0, out=out, mode="clip")

    def to_unit_interval(self, x: Array, out: Array) -> Array:
        """out = x / 255 for uint8 pixels, out = x for anything else."""
        self.xp.copyto(out, x)  # a converting copy, then a product in place: half the time of both in one
        return self.xp.multiply(out, 1 / 255, out=out) if x.dtype == np.uint8 else out

    def moves(self, index: Array, seed: Any, stream: int, reach: int) -> tuple[Array, Array]:
        """Uniform dy and dx (..., B) in -reach..reach for the images number index (..., B): the halves of a word."""
        words = random.words(seed, stream, index.astype(np.uint32))
        span = 2 * reach + 1
        dy = ((words >> 16) * span >> 16).astype(np.int64) - reach
        dx = ((words & 0xFFFF) * span >> 16).astype(np.int64) - reach
        return dy, dx

    def shift(self, images: Array, dy: Array, dx: Array, reach: int, padded: Array, out: Array) -> Array:
        """out[i] = images[i] moved down by dy[i] and right by dx[i] pixels, zeros moving in; |dy|, |dx| <= reach.

        images, out (M, H, W); dy, dx (M,) int64; padded (M, H + 2 reach, W + 2 reach), zero at its borders.
        """
        M, H, W = images.shape
        padded[:, reach : reach + H, reach : reach + W] = images
        windows = np.lib.stride_tricks.sliding_window_view(padded, (H, W), axis=(1, 2))  # (M, 2r+1, 2r+1, H, W)
        out[...] = windows[np.arange(M), reach - dy, reach - dx]
        return out

    # --- layers --------------------------------------------------------------------------------------------------

    def matmul(self, a: Array, b: Array, out: Array) -> Array:
        """out (..., m, n) = a (..., m, k) b (..., k, n); the operands may be transposed views."""
        return self.xp.matmul(a, b, out=out)

    def affine(self, x: Array, W: Array, b: Array, out: Array) -> Array:
        """out (..., B, n_out) = x (..., B, n_in) W (..., n_in, n_out) + b (..., 1, n_out)."""
        self.matmul(x, W, out=out)
        return self.xp.add(out, b, out=out)

    def accumulate(self, a: Array, b: Array, out: Array, carry: float) -> Array:
        """out (..., m, n) = carry out + a (..., m, k) b (..., k, n); out is unread at carry = 0."""
        if carry == 0:
            return self.matmul(a, b, out=out)
        product = self.matmul(a, b, out=self._like(out))
        self.xp.multiply(out, carry, out=out)
        return self.xp.add(out, product, out=out)

    def subtract(self, x: Array, y: Array) -> Array:
        """x -= y, for flat vectors."""
        return self.xp.subtract(x, y, out=x)

    def _like(self, array: Array) -> Array:
        """A buffer of the array's shape and dtype, in one piece of memory that is kept and grows as needed."""
        if self._scratch is None or self._scratch.size < array.size or self._scratch.dtype != array.dtype:
            self._scratch = self.xp.empty(array.size, dtype=array.dtype)
        return self._scratch[: array.size].reshape(array.shape)

    def hidden(
        self, x: Array, W: Array, b: Array, mask: KeepMask | None, seed: Any, stream: int, threshold: int, out: Array
    ) -> Array:
        """out = dropout(max(x W + b, 0)), as in `affine` and `dropout`; at threshold 256 without it, `mask` unread."""
        self.affine(x, W, b, out=out)
        self.xp.maximum(out, 0, out=out)
        return out if mask is None or threshold == 256 else self.dropout(out, mask, seed, stream, threshold, out)

    def dropout(self, x: Array, mask: KeepMask, seed: Any, stream: int, threshold: int, out: Array) -> Array:
        """out = x on the units that are kept, scaled by 256/threshold, and 0 on the others; out may be x."""
        self.xp.multiply(x, mask.draw(seed, stream, threshold), out=out)
        return self.xp.multiply(out, 256 / threshold, out=out)

    def relu_backward(self, dh: Array, h: Array, scale: float, positive: Array) -> Array:
        """dh *= scale where h > 0, and 0 elsewhere, in place; `positive` is a boolean buffer of h's shape."""
        self.xp.greater(h, 0, out=positive)
        self.xp.multiply(dh, positive, out=dh)
        return dh if scale == 1 else self.xp.multiply(dh, scale, out=dh)

    # --- loss and update -----------------------------------------------------------------------------------------

    def objective(
        self, z: Array, v: Array | None, y: Array | None, T: Any, alpha: float, scale: float, loss: Array, dz: Array
    ) -> None:
        """Eq. 7 on a batch z (..., B, N): loss (...) = its mean, dz (..., B, N) = scale times its gradient."""
        rows, gradient = objective_rows(z, v, y, T, alpha)
        self.xp.mean(rows, axis=-1, out=loss)
        self.xp.multiply(gradient, scale / z.shape[-2], out=dz)

    def nesterov(self, w: Array, v: Array, g: Array, momentum: float) -> None:
        """v = m (v + g), w -= v + g, for flat vectors, in place (this v is m times the usual one, which saves a pass).

        Cache-sized pieces, because whole vectors would travel from main memory once for each of the four passes.
        """
        xp = self.xp
        for start in range(0, w.size, CHUNK):
            w_piece, v_piece, g_piece = (x[start : start + CHUNK] for x in (w, v, g))
            xp.add(v_piece, g_piece, out=v_piece)
            xp.multiply(v_piece, momentum, out=v_piece)
            xp.subtract(w_piece, v_piece, out=w_piece)
            xp.subtract(w_piece, g_piece, out=w_piece)

    def max_norm(self, W: Array, limit: float) -> None:
        """Scale every column of W (..., n_in, n_out), a unit's incoming weights, back to norm <= limit, in place."""
        xp = self.xp
        squares = xp.einsum("...ij,...ij->...j", W, W)[..., None, :]  # (..., 1, n_out)
        xp.multiply(W, xp.minimum(limit / xp.sqrt(xp.maximum(squares, 1e-30)), 1.0).astype(W.dtype), out=W)
