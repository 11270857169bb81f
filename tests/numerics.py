"""Derivatives by two methods that know nothing of calculus, to hold ours against.

Errors are relative to the scale of the gradient, with no absolute floor: at T = 1000 a soft gradient is 1e-8, and a
test with an absolute tolerance of 1e-6 would pass for a gradient of zero.
"""

from collections.abc import Callable

import numpy as np

COMPLEX_STEP = 1e-30  # its square vanishes beside 1, so that the derivative has no truncation error


def complex_step(f: Callable[[np.ndarray], complex], x: np.ndarray) -> np.ndarray:
    """df/dx of an analytic f at real x: Im f(x + ih)/h, exact to rounding (Squire and Trapp 1998)."""
    gradient = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        step = x.astype(complex)
        step[i] += 1j * COMPLEX_STEP
        gradient[i] = np.imag(f(step)) / COMPLEX_STEP
    return gradient


def central_difference(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-3) -> np.ndarray:
    """df/dx by two central differences and Richardson's extrapolation, with a truncation error of order h^4."""
    gradient = np.empty(x.shape)
    for i in np.ndindex(x.shape):

        def slope(step: float, i: tuple[int, ...] = i) -> float:
            up, down = x.copy(), x.copy()
            up[i] += step
            down[i] -= step
            return (f(up) - f(down)) / (up[i] - down[i])

        gradient[i] = (4 * slope(h / 2) - slope(h)) / 3
    return gradient


def relative_error(gradient: np.ndarray, truth: np.ndarray) -> float:
    """Largest component of the difference over the largest component of the truth; inf against a truth of zero."""
    scale = np.abs(truth).max()
    difference = np.abs(np.asarray(gradient) - truth).max()
    return float(difference / scale) if scale else (0.0 if difference == 0 else np.inf)
