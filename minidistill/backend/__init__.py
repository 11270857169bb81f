"""Backends, and the one public switch between them: set_backend, or the environment variable MINIDISTILL_BACKEND.

A network, a data set and an optimiser keep the backend that was current when they were made; a switch is never
retroactive.
"""

import os
from collections.abc import Callable

from ..checks import ArgumentError, shown
from .blas import BlasBackend, find_library
from .cupy import CupyBackend
from .reference import Backend

__all__ = ["Backend", "BlasBackend", "CupyBackend", "get_backend", "set_backend"]


def _numpy() -> Backend:
    library = find_library()
    return BlasBackend(library) if library else Backend()


_BACKENDS: dict[str, Callable[[], Backend]] = {"numpy": _numpy, "cupy": CupyBackend}
_current: Backend | None = None


def set_backend(backend: str | Backend) -> Backend:
    """Make "numpy" or "cupy" (or a Backend of your own) current and return it.

    Raises ArgumentError for an unknown name, and BackendUnavailable if CuPy or a GPU is missing.
    """
    global _current
    _current = _make(backend, "backend")
    return _current


def get_backend() -> Backend:
    """Return the current backend; at first the one that MINIDISTILL_BACKEND names, else NumPy."""
    if _current is None:
        set_backend(_make(os.environ.get("MINIDISTILL_BACKEND") or "numpy", "MINIDISTILL_BACKEND"))
    assert _current is not None
    return _current


def as_backend(backend: str | Backend | None) -> Backend:
    """Return the backend of this name, the backend itself, or for None the current one."""
    return get_backend() if backend is None else _make(backend, "backend")


def _make(backend: str | Backend, argument: str) -> Backend:
    if isinstance(backend, Backend):
        return backend
    if not isinstance(backend, str) or backend not in _BACKENDS:
        raise ArgumentError(f"{argument} must be one of {', '.join(map(repr, _BACKENDS))}, got {shown(backend)}")
    return _BACKENDS[backend]()
