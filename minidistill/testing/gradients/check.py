"""Gradients held against numerical derivatives, by complex steps or by differences.

Errors are relative to the gradient's own scale: at T = 1000 a soft gradient is 1e-8, and an absolute tolerance of 1e-6
would pass a gradient of zero. At a kink, such as ReLU's at 0, there is no derivative to compare with.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...checks import ArgumentError, Array, as_array, check_number, xp_of
from .derivative import derivative_along, is_analytic, to_host, value_of

MAX_COMPONENTS = 2000  # a larger x is tried along random directions only


class WrongGradient(AssertionError):
    """Say that a gradient is not the derivative: at which component, both values, and a reproducer to paste."""


@dataclass(frozen=True)
class GradientCheck:
    """Hold what a check of a right gradient found.

    error: the largest difference over the largest component of the truth. method: how the truth was found, "complex"
    or "difference". kinks: the indices at which the function has no derivative.
    """

    error: float
    method: str
    kinks: list[tuple[int, ...]] = field(default_factory=list)


def check_gradient(
    f: Callable[[Array], Any],
    x: Array,
    gradient: Array | Callable[[Array], Array] | None = None,
    *,
    reference: Callable[[Array], Any] | None = None,
    method: str = "auto",
    step: float = 1e-3,
    tolerance: float | None = None,
    directions: int = 4,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient of f, a function of an array x to one number, with its derivative at x.

    gradient: an array of x's shape, or a function of x to one. If it is None, f returns (value, gradient).
    reference: f on float64 NumPy arrays, whose derivative is then the truth. An x on a device (CuPy) needs it, and a
    gradient in float32 or float16 is better judged with it. method: "complex", "difference", or "auto", which takes
    complex steps if f is analytic. step: the largest difference step, relative to the component. tolerance: the
    largest relative error. The default follows from the digits there are: in float64 1e-9 by complex steps and 1e-6
    by differences; against a truth in float64 1e-4 in float32 and 3e-2 in float16, otherwise 3e-2 and 0.3.
    directions: how many random directions are tried. Raises WrongGradient; and ArgumentError if an argument does not
    fit, or if f has no derivative at x.
    """
    x = as_array("x", x)
    if x.dtype.kind != "f" or x.size == 0 or not bool(xp_of(x).isfinite(x).all()):
        raise ArgumentError(f"x must hold finite floating-point numbers, got {x.dtype} {x.shape}")
    if method not in ("auto", "complex", "difference"):
        raise ArgumentError(f"method must be auto, complex or difference, got {method!r}")
    if reference is None and not isinstance(x, np.ndarray):
        raise ArgumentError(f"reference must be given for an x on a device, got None and {type(x).__name__}")
    check_number("step", step, above=0)
    value, found = _gradient_of(f, x, gradient)
    coarsest = min([8, *(dtype.itemsize for dtype in (x.dtype, found.dtype) if dtype.kind == "f")])  # bytes
    if reference is not None:
        value, x = value_of(reference), to_host(x).astype(np.float64)
    at_x = value(x)
    if not np.isfinite(at_x):
        raise ArgumentError(f"f must be finite at x, got {at_x}")
    if value(x) != at_x:
        raise ArgumentError("f must give the same number for the same x, got two: freeze its dropout mask or its seed")
    if method == "auto":
        method = "complex" if is_analytic(value, x, step) else "difference"
    if tolerance is None:
        tolerance = _tolerance(method, coarsest, reference is not None)
    check_number("tolerance", tolerance, above=0)
    kinks: list[tuple[int, ...]] = []
    error = 0.0
    if x.size <= MAX_COMPONENTS:
        error, kinks = _try_components(value, x, found, step, method, tolerance)
    rng = np.random.default_rng(seed)
    for _ in range(directions):
        d = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)  # no component goes unseen
        for index in kinks:
            d[index] = 0.0
        error = max(error, _try_direction(value, x, found, d, step, method, tolerance, seed))
    return GradientCheck(error, method, kinks)


def _tolerance(method: str, bytes_each: int, has_reference: bool) -> float:
    """Return the largest relative error allowed, where the coarser of x and its gradient has `bytes_each` bytes."""
    if bytes_each == 8:
        return 1e-9 if method == "complex" else 1e-6
    if has_reference or method == "complex":  # the truth has float64's digits
        return 1e-4 if bytes_each == 4 else 3e-2
    return 3e-2 if bytes_each == 4 else 0.3


def _try_components(
    value: Callable[[np.ndarray], Any], x: np.ndarray, found: np.ndarray, step: float, method: str, tolerance: float
) -> tuple[float, list[tuple[int, ...]]]:
    """Return the relative error of the worst component, and the components that are kinks."""
    slopes = {index: derivative_along(value, x, d, step, method) for index, d in _unit_directions(x.shape)}
    scale = max(abs(slope.value) for slope in slopes.values())
    kinks = [index for index, slope in slopes.items() if slope.is_kink(scale, tolerance)]
    for index in kinks:
        del slopes[index]
    if not slopes:
        raise ArgumentError("x must lie where f has a derivative, got a kink in every component")
    scale = max(abs(slope.value) for slope in slopes.values())
    off = {index: abs(float(found[index]) - slope.value) for index, slope in slopes.items()}
    worst = max(off, key=lambda index: off[index])
    error = off[worst] / scale if scale else np.inf if off[worst] else 0.0
    if not error <= tolerance:
        text = _report(worst, float(found[worst]), slopes[worst].value, error, tolerance, method, x, None)
        raise WrongGradient(text)
    return error, kinks


def _try_direction(
    value: Callable[[np.ndarray], Any], x: np.ndarray, found: np.ndarray, d: np.ndarray, step: float, method: str,
    tolerance: float, seed: int,
) -> float:  # fmt: skip
    """Return the error along d, relative to the larger of the slope and the largest term in its sum."""
    slope, claimed = derivative_along(value, x, d, step, method), float((found.astype(np.float64) * d).sum())
    scale = max(abs(slope.value), float(np.abs(found * d).max()))
    if slope.is_kink(scale, tolerance):
        raise ArgumentError("x must not lie on a kink of f where it is too large to try each component by itself")
    error = abs(slope.value - claimed) / scale if scale else 0.0
    if not error <= tolerance * np.sqrt(x.size):
        raise WrongGradient(_report(None, claimed, slope.value, error, tolerance, method, x, seed))
    return error


def _gradient_of(f: Any, x: Array, gradient: Any) -> tuple[Callable[[Array], Any], np.ndarray]:
    """Return f as a function to its value alone, and the gradient at x as a NumPy array."""
    first = f(x.copy())
    if gradient is None:
        if not isinstance(first, tuple) or len(first) != 2:
            raise ArgumentError("f must return (value, gradient) where no gradient is given")
        first, gradient = first
    value, found = value_of(f), to_host(gradient(x.copy()) if callable(gradient) else gradient).copy()
    if np.shape(first) not in ((), (1,)):
        raise ArgumentError(f"f must return one number, got shape {np.shape(first)}: contract it with a cotangent")
    if found.shape != x.shape:
        raise ArgumentError(f"gradient must have the shape of x, {x.shape}, got {found.shape}")
    if not np.isfinite(found).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise WrongGradient(f"gradient{list(bad)} is {found[bad]}, x{list(bad)} = {float(x[bad])!r}")
    return value, found


def _unit_directions(shape: tuple[int, ...]) -> Any:
    """Yield each index of an array of this shape, and the array that is 1 there and 0 elsewhere."""
    for index in np.ndindex(shape):
        d = np.zeros(shape)
        d[index] = 1.0
        yield index, d


def _report(
    index: Any, ours: float, truth: float, error: float, tolerance: float, method: str, x: Any, seed: Any
) -> str:
    where = f"gradient{list(index)}" if index is not None else f"along a random direction of seed {seed}, the gradient"
    return (
        f"{where} is {ours:.10g} and must be {truth:.10g}, by {method} steps: relative error {error:.3g}, tolerated "
        f"{tolerance:.3g}\nreproduce with x = np.array({x.tolist() if x.size <= 64 else '...'}, dtype=np.{x.dtype})"
    )
