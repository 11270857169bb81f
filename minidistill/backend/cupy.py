"""The CuPy backend: the reference's methods on a GPU, with those overridden that CuPy spells or does differently."""

from typing import Any

import numpy as np

from ..checks import Array, BackendUnavailable
from .reference import Backend


def _import_cupy() -> Any:
    """CuPy with a GPU that answers, or the error that says which of the two is missing."""
    try:
        import cupy
    except ImportError as error:
        raise BackendUnavailable(
            f"backend 'cupy' needs the package CuPy, which cannot be imported ({error}): "
            "pip install 'minidistill[cuda12x]' or 'minidistill[cuda13x]'"
        ) from None
    if not cupy.is_available():
        raise BackendUnavailable(
            f"backend 'cupy' needs an NVIDIA GPU: CuPy {cupy.__version__} is installed, "
            "but no GPU and driver that it can use were found"
        )
    return cupy


class CupyBackend(Backend):
    """Arrays and fused operations on the current CUDA device. `xp` is CuPy, or a stand-in for it in tests."""

    name = "cupy"

    def __init__(self, xp: Any = None) -> None:
        super().__init__()
        self.xp = _import_cupy() if xp is None else xp

    def to_host(self, array: Array) -> np.ndarray:
        return array.get() if hasattr(array, "get") else np.asarray(array)

    def device(self) -> str:
        cuda = self.xp.cuda
        return str(cuda.runtime.getDeviceProperties(cuda.Device().id)["name"].decode())

    def take(self, array: Array, index: Array, out: Array) -> Array:
        return self.xp.take(array, index, axis=0, out=out)  # CuPy's take has no mode; it wraps

    def shift(self, images: Array, dy: Array, dx: Array, reach: int, padded: Array, out: Array) -> Array:
        """By flat index: CuPy would first copy the overlapping windows that NumPy only looks at."""
        xp = self.xp
        M, H, W = images.shape
        height, width = padded.shape[1:]
        padded[:, reach : reach + H, reach : reach + W] = images
        first = (xp.arange(M) * height + reach - dy) * width + reach - dx  # (M,)
        pixel = xp.arange(H)[:, None] * width + xp.arange(W)  # (H, W)
        return xp.take(padded, first[:, None, None] + pixel, out=out)
