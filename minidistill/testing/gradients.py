"""Is this gradient the derivative of this function? By complex steps where it is analytic, else by central differences.

Errors are relative to the gradient's own scale, with no absolute floor: at T = 1000 a soft gradient is 1e-8, and any
test with an absolute tolerance of 1e-6 passes for a gradient of zero. Where the function has a kink (ReLU at 0, the
boundary of a max-norm) there is no derivative to compare with, and the component is reported as such.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checks import ArgumentError, Array, as_array, check_number, xp_of

COMPLEX_STEP = 1e-30  # its square vanishes beside 1: no truncation error (Squire and Trapp 1998)
ALL_COMPONENTS = 2000  # up to so many are tried one by one; beyond, only random directions


class WrongGradient(AssertionError):
    """The text names the worst component, both values, and a reproducer to paste."""


@dataclass(frozen=True)
class GradientCheck:
    """error: the largest difference over the largest component of the truth; method: how the truth was found.

    kinks: the indices at which the function has no derivative.
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
    """Hold the gradient of f, a function of an array x to one number, against its derivative at x.

    gradient: an array of x's shape, or a function of x to one; None: f returns (value, gradient). reference: f on
    float64 NumPy arrays, whose derivative is then the truth: for a gradient in float32 or float16, whose differences
    show few digits, and needed for an x on a device, such as CuPy's. method: "complex", "difference", or "auto":
    complex where f takes complex numbers and is analytic, as both methods then agree. step: of the differences,
    relative to the size of x. tolerance: of the relative error; in float64 1e-9 for complex steps and 1e-6 for
    differences; 1e-4 for a gradient in float32 and 3e-2 in float16 against a truth in float64 (complex steps, or a
    reference), else 3e-2 and 0.3. directions: random ones, of which no component is small. Raises WrongGradient, or
    ArgumentError if the parts do not fit.
    """
    x = as_array("x", x)
    if x.dtype.kind != "f" or x.size == 0 or not bool(xp_of(x).isfinite(x).all()):
        raise ArgumentError(f"x must hold finite floating-point numbers, got {x.dtype} {x.shape}")
    if method not in ("auto", "complex", "difference"):
        raise ArgumentError(f"method must be auto, complex or difference, got {method!r}")
    if reference is None and not isinstance(x, np.ndarray):
        raise ArgumentError(f"reference must be given for an x on a device, got None and {type(x).__name__}")
    value, found = _gradient_of(f, x, gradient)
    precision = x.dtype
    if reference is not None:
        value, x = _value_of(reference), _host(x).astype(np.float64)
    if float(np.ravel(value(x.copy()))[0]) != float(np.ravel(value(x.copy()))[0]):
        raise ArgumentError("f must give the same number for the same x, got two: freeze its dropout mask or its seed")
    if method == "auto":
        method = "complex" if _is_analytic(value, x, step) else "difference"
    if tolerance is None:
        coarse = [dtype for dtype in (precision, found.dtype) if dtype.kind == "f" and dtype.itemsize < 8]
        tolerance = _tolerance(method, min([8, *(dtype.itemsize for dtype in coarse)]), reference is not None)
    check_number("tolerance", tolerance, above=0)
    rng, kinks = np.random.default_rng(seed), list[tuple[int, ...]]()
    unit = list(_unit_directions(x.shape)) if x.size <= ALL_COMPONENTS else []
    truth = np.array([_slope(value, x, d, step, method) for _, d in unit])
    smooth = np.ones(len(unit), dtype=bool)
    if method == "difference":
        scale = np.abs(truth).max(initial=0)
        for k, (index, d) in enumerate(unit):
            if _has_kink(value, x, d, step, max(scale, 1e-300), tolerance):
                kinks.append(index)
                smooth[k] = False
    ours = np.array([float(found[index]) for index, _ in unit])
    error = _relative(ours, truth, smooth)
    if error > tolerance:
        worst = int(np.argmax(np.where(smooth, np.abs(ours - truth), -1)))
        raise WrongGradient(_report(unit[worst][0], ours[worst], truth[worst], error, tolerance, method, x, None))
    for _ in range(0 if kinks else directions):
        d = rng.choice([-1.0, 1.0], x.shape) * rng.uniform(0.5, 1.0, x.shape)  # no component goes unseen
        slope, claimed = _slope(value, x, d, step, method), float((found.astype(np.float64) * d).sum())
        scale = max(abs(slope), float(np.abs(found * d).max()))
        off = abs(slope - claimed) / scale if scale else 0.0
        if off > tolerance * np.sqrt(x.size):
            raise WrongGradient(_report(None, claimed, slope, off, tolerance, method, x, seed))
        error = max(error, off)
    return GradientCheck(error, method, kinks)


def _tolerance(method: str, bytes_each: int, has_reference: bool) -> float:
    """Of a relative error, for the coarser of x and its gradient."""
    if bytes_each == 8:
        return 1e-9 if method == "complex" else 1e-6
    if has_reference or method == "complex":  # the truth has float64's digits
        return 1e-4 if bytes_each == 4 else 3e-2
    return 3e-2 if bytes_each == 4 else 0.3


def check_layer(
    forward: Callable[[Array], Array], backward: Callable[[Array], Array], x: Array, **options: Any
) -> GradientCheck:
    """Hold a layer's backward(dy) -> dx, which follows a forward(x) -> y, against the derivative of Σ dy y by x.

    A parameter's gradient is checked in the same way, with the parameter for x. Dropout must have a frozen mask.
    options: those of check_gradient; its reference is a forward on float64 NumPy arrays. Raises as it does.
    """
    y = forward(x)
    xp, rng = xp_of(y), np.random.default_rng(options.get("seed", 0))
    on_host = rng.choice([-1.0, 1.0], y.shape) * rng.uniform(0.5, 1.0, y.shape)  # no output goes unseen
    dy = xp.asarray(on_host.astype(y.dtype))
    gradient = backward(dy.copy())
    reference = options.pop("reference", None)
    if reference is not None:
        options["reference"] = lambda u: (reference(u) * _host(dy)).sum()
    return check_gradient(lambda u: (forward(u) * dy).sum(), x, gradient, **options)


def _gradient_of(f: Any, x: Array, gradient: Any) -> tuple[Callable[[Array], Any], np.ndarray]:
    """f as a function to its value alone, and the gradient at x, on the host."""
    first = f(x.copy())
    if gradient is None:
        if not isinstance(first, tuple) or len(first) != 2:
            raise ArgumentError("f must return (value, gradient) where no gradient is given")
        first, gradient = first
    value, found = _value_of(f), _host(gradient(x.copy()) if callable(gradient) else gradient)
    if np.shape(first) not in ((), (1,)):
        raise ArgumentError(f"f must return one number, got shape {np.shape(first)}: contract it with a cotangent")
    if found.shape != x.shape:
        raise ArgumentError(f"gradient must have the shape of x, {x.shape}, got {found.shape}")
    if not np.isfinite(found).all():
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(found))[0])
        raise WrongGradient(f"gradient{list(bad)} is {found[bad]}, x{list(bad)} = {float(x[bad])!r}")
    return value, found


def _value_of(f: Callable[[Array], Any]) -> Callable[[Array], Any]:
    """f, or of an f to (value, gradient) the value alone."""

    def value(u: Array) -> Any:
        result = f(u)
        return result[0] if isinstance(result, tuple) else result

    return value


def _host(array: Any) -> np.ndarray:
    return np.asarray(array.get() if hasattr(array, "get") else array)


def _is_analytic(value: Callable[[np.ndarray], Any], x: np.ndarray, step: float) -> bool:
    """Whether f takes complex numbers and its complex step agrees with a difference, as far as rounding shows."""
    d = np.random.default_rng(1).uniform(0.5, 1.0, x.shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            by_complex = _slope(value, x, d, step, "complex")
    except (TypeError, ValueError, AttributeError, ArithmeticError, np.exceptions.ComplexWarning):
        return False
    by_difference = _slope(value, x, d, step, "difference")
    rounding = 100 * np.finfo(x.dtype).eps * abs(float(np.ravel(value(x.copy()))[0])) / step
    return bool(abs(by_complex - by_difference) <= 1e-3 * max(abs(by_difference), abs(by_complex)) + rounding)


def _slope(value: Callable[[np.ndarray], Any], x: np.ndarray, d: np.ndarray, step: float, method: str) -> float:
    """The derivative of f at x along d."""
    if method == "complex":
        found = np.asarray(value(x.astype(np.complex128) + 1j * COMPLEX_STEP * d))
        if found.dtype.kind != "c":
            raise TypeError("f drops the imaginary part")
        return float(np.imag(found).ravel()[0]) / COMPLEX_STEP
    h = step * max(1.0, float(np.abs(x).max()))

    def central(h: float) -> float:
        up, down = x + (h * d).astype(x.dtype), x - (h * d).astype(x.dtype)
        return float(np.ravel(value(up))[0] - np.ravel(value(down))[0]) / (2 * h)

    return (4 * central(h / 2) - central(h)) / 3


def _has_kink(
    value: Callable[[np.ndarray], Any], x: np.ndarray, d: np.ndarray, step: float, scale: float, tolerance: float
) -> bool:
    """Whether the slopes to the two sides differ however near one looks; of a smooth f they meet, as h does."""
    h, at = step * max(1.0, float(np.abs(x).max())), float(np.ravel(value(x.copy()))[0])

    def jump(h: float) -> float:
        up, down = (float(np.ravel(value(x + (s * h * d).astype(x.dtype)))[0]) for s in (1, -1))
        return abs((up - at) - (at - down)) / h

    near, far = jump(h / 8), jump(h)
    return near > 100 * tolerance * scale and near > 0.5 * far


def _unit_directions(shape: tuple[int, ...]) -> Any:
    for index in np.ndindex(shape):
        d = np.zeros(shape)
        d[index] = 1.0
        yield index, d


def _relative(ours: np.ndarray, truth: np.ndarray, smooth: np.ndarray) -> float:
    if not smooth.any():
        return 0.0
    scale, off = np.abs(truth[smooth]).max(), np.abs(ours - truth)[smooth].max()
    return float(off / scale) if scale else (0.0 if off == 0 else np.inf)


def _report(
    index: Any, ours: float, truth: float, error: float, tolerance: float, method: str, x: Any, seed: Any
) -> str:
    where = f"gradient{list(index)}" if index is not None else f"along a random direction of seed {seed}, the gradient"
    return (
        f"{where} is {ours:.10g} and must be {truth:.10g}, by {method} steps: relative error {error:.3g}, tolerated "
        f"{tolerance:.3g}\nreproduce with x = np.array({x.tolist() if x.size <= 64 else '...'}, dtype=np.{x.dtype})"
    )
