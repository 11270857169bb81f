"""Numerical derivatives of a function to one number, along a direction: by a complex step or by differences.

A complex step is exact to rounding, but needs an analytic function. Differences work for any, and reveal a kink.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checks import ArgumentError, Array

COMPLEX_STEP = 1e-30  # its square vanishes beside 1: no truncation error (Squire and Trapp 1998)


@dataclass(frozen=True)
class Slope:
    """Hold a derivative along a direction, and how far the slopes on the two sides of x differ.

    jumps: that difference at the smallest step, and at one 16 times as large. rounding: the part of the first that
    rounding alone can explain.
    """

    value: float
    jumps: tuple[float, float] = (0.0, 0.0)
    rounding: float = 0.0

    def is_kink(self, scale: float, tolerance: float) -> bool:
        """Return whether the two slopes differ even at the smallest step; where f is smooth they meet."""
        near, far = self.jumps
        return near > 0.5 * far and near > min(10 * tolerance, 0.1) * scale and near > self.rounding


def derivative_along(
    value: Callable[[np.ndarray], Any], x: np.ndarray, d: np.ndarray, step: float, method: str
) -> Slope:
    """Return the derivative of `value` at x along d, an array of x's shape.

    method: "complex" or "difference". The differences are central and Richardson-extrapolated, at ever smaller steps.
    The estimate that changes least from one step to the next is taken (Ridders 1982), so that a kink near x, or the
    border of the function's domain, does no harm. step: the largest step, relative to the smallest component that
    moves. Raises ArgumentError if the function is not finite near x, and TypeError if it drops the imaginary part.
    """
    if method == "complex":
        found = np.asarray(value(x.astype(np.complex128) + 1j * COMPLEX_STEP * d))
        if found.dtype.kind != "c":
            raise TypeError("f drops the imaginary part")
        if not np.isfinite(found):
            raise ArgumentError(f"f must be finite for a complex step from x, got {found}")
        return Slope(float(np.imag(found)) / COMPLEX_STEP)
    h, at = step * max(1.0, float(np.abs(x[d != 0]).min())), float(value(x))
    levels = 7 if x.dtype == np.float64 else 3  # a step is a quarter of the one before

    def sides(h: float) -> tuple[float, float]:
        up, down = (x + (sign * h * d).astype(x.dtype) for sign in (1, -1))
        return (float(value(up)) - at) / h, (at - float(value(down))) / h

    estimates, jumps = list[float](), list[float]()
    for k in range(levels):
        (up, down), (near_up, near_down) = sides(h / 4**k), sides(h / 4**k / 2)
        estimates.append((4 * (near_up + near_down) - (up + down)) / 6)
        jumps.append(abs(near_up - near_down))
    changes, nearest = np.abs(np.diff(estimates)), h / 4 ** (levels - 1) / 2
    if not np.isfinite(changes).any():
        raise ArgumentError(f"f must be finite near x, got {estimates[-1]} within {nearest:.3g} of it")
    rounding = 8 * float(np.finfo(x.dtype).eps) * max(abs(at), 1e-300) / nearest
    return Slope(estimates[int(np.nanargmin(changes)) + 1], (jumps[-1], jumps[-3]), rounding)


def is_analytic(value: Callable[[np.ndarray], Any], x: np.ndarray, step: float) -> bool:
    """Return whether `value` accepts complex numbers, and its complex step agrees with differences up to rounding."""
    d = np.random.default_rng(1).uniform(0.5, 1.0, x.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            by_complex = derivative_along(value, x, d, step, "complex").value
        by_difference = derivative_along(value, x, d, step, "difference").value
    except Exception:  # whatever it raises on complex numbers, it does not accept them
        return False
    rounding = 100 * np.finfo(x.dtype).eps * abs(float(value(x))) / step
    return bool(abs(by_complex - by_difference) <= 1e-6 * max(abs(by_difference), abs(by_complex)) + rounding)


def value_of(f: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """Return f as a function to its value alone, also if f returns (value, gradient); f gets a copy to overwrite."""

    def value(u: Array) -> Any:
        with np.errstate(all="ignore"):  # a difference may leave f's domain
            result = f(u.copy())
        number = result[0] if isinstance(result, tuple) else result
        return to_host(number).ravel()[0]

    return value


def to_host(array: Any) -> np.ndarray:
    """Return an array of any device as a NumPy array."""
    return np.asarray(array.get() if hasattr(array, "get") else array)
