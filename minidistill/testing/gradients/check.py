"""Gradients held against numerical derivatives, by complex steps or by differences.

At T = 1000 a soft gradient is 1e-8, and an absolute tolerance would pass a gradient of zero: components.py judges each
component by itself.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ...checks import ArgumentError, check_count, check_number
from .components import Components, GradientCheck, WrongGradient, known_to, of_one_size
from .derivative import Near, random_direction
from .trees import Tree, to_host

MAX_COMPONENTS = 2000  # of a larger x random directions are tried, and only where one is off each of its components


def check_gradient(
    f: Callable[[Any], Any],
    x: Any,
    gradient: Any = None,
    *,
    reference: Callable[[Any], Any] | None = None,
    method: str = "auto",
    step: float = 1e-3,
    tolerance: float | None = None,
    directions: int = 4,
    seed: int = 0,
) -> GradientCheck:
    """Compare the gradient of f, a function of an array x to one number, with its derivative at x.

    x: an array, or a list, tuple or dict of arrays, of which f is then a function; integers become float64. gradient:
    what x is, or a function of x to it. If it is None, f returns (value, gradient). reference: f on float64 NumPy
    arrays, whose derivative is then the truth; an x on a device (CuPy) needs it. Without it f itself is called on x in
    float64 where it takes it. method: "complex", "difference", or "auto", which takes complex steps if f is analytic.
    step: the first difference step, relative to the component. tolerance: the largest error of a component relative to
    it, beyond what cannot be told; by default 1e-9 by complex steps and 1e-6 by differences, 1e-4 if x or its gradient
    is in float32 and 3e-2 in float16. directions: how many random directions are tried of an x of more than 2,000
    components. Raises WrongGradient; ArgumentError if an argument does not fit or f is not deterministic; and
    CannotJudge, which is one, if f has no derivative at x or rounding hides all of it.
    """
    with np.errstate(all="ignore"):  # a difference may leave f's domain
        return _checked(f, x, gradient, reference, method, step, tolerance, directions, seed)


def _checked(
    f: Any, x: Any, gradient: Any, reference: Any, method: str, step: float, tolerance: float | None, directions: int,
    seed: int,
) -> GradientCheck:  # fmt: skip
    tree = Tree(x)
    if method not in ("auto", "complex", "difference"):
        raise ArgumentError(f"method must be auto, complex or difference, got {method!r}")
    if reference is None and tree.on_device:
        raise ArgumentError(f"reference must be given for an x on a device, got None and {tree.on_device}")
    check_number("step", step, above=0)
    size = tree.stops[-1]
    check_count("directions", directions, at_least=1 if size > MAX_COMPONENTS else 0)
    claimed, eps = _gradient_of(f, tree, gradient)
    near = _near(f, tree, reference, seed)
    coarse = float(eps.max())
    if method == "auto":
        method = "complex" if _is_analytic(near, claimed, step, seed) else "difference"
    if tolerance is None:
        tolerance = _tolerance(method, coarse)
    check_number("tolerance", tolerance, above=0)
    check = Components(near, tree, claimed, eps, method, step, tolerance)
    if size <= MAX_COMPONENTS:
        check.try_components(np.arange(size))
    else:
        check.try_directions(directions, seed)
    near.require_same(near.x, near.at)
    return check.result()


def _tolerance(method: str, eps: float) -> float:
    """Return the largest relative error allowed, where the coarser of x and its gradient rounds to eps."""
    if eps < 1e-10:
        return 1e-9 if method == "complex" else 1e-6
    return 1e-4 if eps < 1e-4 else 3e-2


def _near(f: Any, tree: Tree, reference: Any, seed: int) -> Near:
    """Return f near x: the reference, or f itself, in float64 if it takes that and rounds less there."""
    exact: list[np.dtype] = [np.dtype(np.float64)] * len(tree.dtypes)

    def near(function: Any, dtypes: list[np.dtype]) -> Near:
        def cast(u: np.ndarray) -> np.ndarray:
            parts = enumerate(np.split(u, tree.stops[:-1]))
            return np.concatenate([part.astype(dtypes[k]) for k, part in parts], dtype=np.float64)

        made = Near(_value_of(function, tree, dtypes), tree.vector(), cast, lambda i: dtypes[tree.array_of(i)])
        made.measure_noise(seed)
        return made

    if reference is not None and tree.on_device:  # whose sums may differ in the last digit from call to call
        return near(reference, exact)
    own = near(f, tree.dtypes)
    if reference is not None:
        return near(reference, exact)
    if tree.dtypes == exact:
        return own
    try:
        better = near(f, exact)
    except Exception:  # f takes its own types alone
        return own
    close = abs(better.at - own.at) <= 1e-2 * (abs(better.at) + abs(own.at)) + 50 * own.noise
    return better if close and better.noise <= 0.03 * own.noise else own


def _value_of(f: Any, tree: Tree, dtypes: list[np.dtype]) -> Callable[[np.ndarray], Any]:
    """Return f as a function of a vector to its value alone, also if f returns (value, gradient)."""

    def value(u: np.ndarray) -> Any:
        result = f(tree.filled(u, dtypes))
        return to_host(result[0] if isinstance(result, tuple) else result).ravel()[0]

    return value


def _is_analytic(near: Near, claimed: np.ndarray, step: float, seed: int) -> bool:
    """Return whether f takes complex numbers, and its complex steps agree with differences up to rounding.

    Components of about one size are tried together, so that a large one does not hide that a small one is not analytic.
    """
    size, truth, rng = len(claimed), claimed, np.random.default_rng(seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            if size <= MAX_COMPONENTS:
                truth = np.array([near.complex_component(i) for i in range(size)])
            for group in of_one_size(truth):
                d = random_direction(rng, group, size)
                by_complex = near.complex_step(d)
                largest = float(np.abs(truth * d).max())
                slope = near.direction(d, truth, step).found(partial(known_to, 1e-7 * largest))
                if not np.isfinite(slope.value) or slope.kink:
                    return False
                if abs(slope.value + float(truth @ d) - by_complex) > slope.unknown + 1e-7 * largest:
                    return False
    except Exception:  # whatever it raises on complex numbers, it does not accept them
        return False
    return True


def _gradient_of(f: Any, tree: Tree, gradient: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient at x as one vector, and of each component the rounding of its type, or of x's if coarser."""
    try:
        first = f(tree.copied())
    except Exception as error:
        if tree.converted:
            raise ArgumentError(f"x must hold floats, as f must take them, got integers: {error}") from error
        raise
    if gradient is None:
        if not isinstance(first, tuple) or len(first) != 2:
            raise ArgumentError(
                f"f must return (value, gradient) where no gradient is given, got {type(first).__name__}"
            )
        first, gradient = first
    elif isinstance(first, tuple) and len(first) == 2:
        first = first[0]
    if first is None:
        raise ArgumentError("f must return a number, got None: does it lack a return?")
    if callable(gradient):
        gradient = gradient(tree.copied())
    if gradient is None:
        raise ArgumentError("gradient must return an array, got None: does it lack a return?")
    if np.shape(to_host(first)) not in ((), (1,)):
        raise ArgumentError(f"f must return one number, got shape {np.shape(first)}: contract it with a cotangent")
    found, eps = tree.matched(gradient), list[np.ndarray]()
    claimed = np.concatenate([array.ravel() for array in found], dtype=np.float64)
    for bad in np.flatnonzero(~np.isfinite(claimed)).tolist():
        at = float(tree.vector()[bad])
        raise WrongGradient(f"{tree.name('gradient', bad)} is {claimed[bad]}, {tree.name('x', bad)} = {at!r}")
    for k, array in enumerate(found):
        kinds = [t for t in (tree.dtypes[k], array.dtype) if t.kind == "f"]
        eps.append(np.full(array.size, max(float(np.finfo(t).eps) for t in kinds)))
    return claimed, np.concatenate(eps)
