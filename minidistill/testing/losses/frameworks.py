"""A loss of NumPy, PyTorch, JAX or Keras, called in one way: arrays in, its value and gradients out.

The loss is a function of (student_logits, teacher_logits, temperature), or of those and (labels, alpha). One in NumPy
returns its value or (value, gradient); for the others, the framework's autodiff gives the gradients.
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checks import ArgumentError, BackendUnavailable

FRAMEWORKS = ("numpy", "torch", "jax", "keras")
_INSTALL = {"torch": "torch", "jax": "jax", "keras": "keras and torch or jax"}


class Unusable(Exception):
    """Say that the function cannot be judged on these inputs, and what it did."""


@dataclass(frozen=True)
class Outcome:
    """Hold a loss's value, and its gradients (B, N) with respect to z and v; None where it gives none."""

    value: float
    gradient: np.ndarray | None
    teacher_gradient: np.ndarray | None = None


class Loss:
    """Wrap a function of any framework as one of NumPy arrays.

    Raises ArgumentError for a function that is not callable or a framework that is not in FRAMEWORKS, and
    BackendUnavailable for a framework that cannot be imported.
    """

    def __init__(self, function: Callable[..., Any], framework: str = "numpy") -> None:
        if not callable(function):
            raise ArgumentError(f"function must be callable, got {type(function).__name__}")
        if framework not in FRAMEWORKS:
            raise ArgumentError(f"framework must be one of {', '.join(FRAMEWORKS)}, got {framework!r}")
        self.function, self.framework = function, framework
        self.name = getattr(function, "__name__", type(function).__name__)
        self.takes_labels = _takes_labels(function)
        self._call = {"numpy": _call_numpy, "torch": _call_torch, "jax": _call_jax, "keras": _call_keras}[framework]
        if framework != "numpy":
            _import(framework)

    def __call__(
        self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None, alpha: float = 1.0
    ) -> Outcome:
        """Return the value and the gradients at z and v (B, N), T and, if the function takes labels, y (B,) and alpha.

        Raises Unusable if the value is not one number, if a gradient has not z's shape, or if the function raises.
        """
        rest = (y, alpha) if self.takes_labels else ()
        try:
            with np.errstate(all="ignore"):
                value, gradient, teacher_gradient = self._call(self.function, z.copy(), v.copy(), T, rest)
        except Unusable:
            raise
        except (Exception, SystemExit) as error:
            raise Unusable(
                f"it raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            ) from error
        if np.shape(value) not in ((), (1,)):
            raise Unusable(f"its value must be one number, got shape {np.shape(value)}")
        if gradient is not None and np.shape(gradient) != z.shape:
            raise Unusable(f"its gradient must have the logits' shape {z.shape}, got {np.shape(gradient)}")
        found = [None if g is None else np.array(g, dtype=np.float64) for g in (gradient, teacher_gradient)]  # copies
        return Outcome(float(np.ravel(value)[0]), *found)


def _takes_labels(function: Callable[..., Any]) -> bool:
    """Return whether five arguments have no default, or the fourth and the fifth are named like labels and alpha."""
    try:
        signature = inspect.signature(getattr(function, "forward", function))  # for a torch.nn.Module
    except (TypeError, ValueError):
        return False
    parameters = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = [p.name for p in parameters[3:5]]
    named = names[1:] == ["alpha"] and names[0] in ("labels", "label", "targets", "target", "y")
    return named or sum(p.default is p.empty for p in parameters) >= 5


def _import(framework: str) -> Any:
    """Import a framework. Raises BackendUnavailable, which says what to install."""
    try:
        return importlib.import_module(framework)
    except ImportError as error:
        if framework == "keras" and error.name != "keras":
            raise BackendUnavailable(f"keras cannot be imported ({error}): set KERAS_BACKEND to torch or jax") from None
        raise BackendUnavailable(
            f"--framework {framework} needs the package {framework}, which cannot be imported ({error}): "
            f"pip install {_INSTALL[framework]}"
        ) from None


def _call_numpy(function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    result = function(z, v, T, *rest)
    if isinstance(result, tuple):
        if len(result) != 2:
            raise Unusable(f"it must return a value or (value, gradient), got {len(result)} things")
        return _number(result[0]), np.asarray(result[1]), None
    return _number(result), None, None


def _number(value: Any) -> np.ndarray:
    """Return a value as an array of numbers. Raises Unusable if it holds anything else."""
    array = np.asarray(value)
    if array.dtype.kind not in "fiu":
        raise Unusable(f"its value must be a number, got {type(value).__name__}")
    return array


def _call_torch(function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    torch = importlib.import_module("torch")
    leaves = [torch.from_numpy(a).requires_grad_() for a in (z, v)]
    student, teacher = (leaf.clone() for leaf in leaves)  # not leaves, so that the function may change them in place
    if rest:
        rest = (torch.from_numpy(np.asarray(rest[0], dtype=np.int64)), rest[1])
    value = function(student, teacher, T, *rest)
    if not isinstance(value, torch.Tensor):
        raise Unusable(f"its value must be a tensor, got {type(value).__name__}")
    if value.numel() != 1:
        return value.detach().numpy(), None, None
    if not value.requires_grad:
        raise Unusable("its value does not depend on the logits by differentiable operations")
    value.backward()
    none_is_zero = [np.zeros(z.shape) if t.grad is None else t.grad.numpy() for t in leaves]
    return value.detach().double().numpy(), *none_is_zero


def _call_jax(function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    jax = importlib.import_module("jax")  # before 0.8 its switch to float64 was in jax.experimental
    home = jax if hasattr(jax, "enable_x64") else importlib.import_module("jax.experimental")
    with home.enable_x64(True):
        value, gradients = _jax_gradient(function, z, v, rest[:1], (T, *rest[1:]))
        return np.asarray(value), np.asarray(gradients[0]), np.asarray(gradients[1])


_compiled: dict[Any, Any] = {}  # the function is kept too, so that no other can get its id
_reads_numbers: set[int] = set()  # the ids of functions that cannot be traced without the values of T and alpha


def _jax_gradient(
    function: Any, z: np.ndarray, v: np.ndarray, labels: tuple[Any, ...], numbers: tuple[Any, ...]
) -> Any:
    """Return the value and the gradients with respect to z and v, compiled once for each shape of them.

    numbers: T, or T and alpha. They are compiled in only for a function that cannot be traced without their values,
    such as one with `if T > 1`.
    """
    jax = importlib.import_module("jax")
    for known in (numbers,) if id(function) in _reads_numbers else ((), numbers):
        key = id(function), known
        if key not in _compiled:

            def call(z: Any, v: Any, labels: Any, given: Any, known: tuple[Any, ...] = known) -> Any:
                T, *alpha = known or given
                return function(z, v, T, *labels, *alpha)

            _compiled[key] = function, jax.jit(jax.value_and_grad(call, argnums=(0, 1)))
        try:
            found = _compiled[key][1](z, v, labels, () if known else numbers)
        except Exception:
            if known:  # it is the function's own mistake
                raise
        else:
            break
    if known:
        _reads_numbers.add(id(function))
    return found


def _call_keras(function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    backend = importlib.import_module("keras").backend.backend()
    if backend == "jax":
        return _call_jax(function, z, v, T, rest)
    if backend == "torch":
        return _call_torch(function, z, v, T, rest)
    raise Unusable(f"keras must run on jax or torch here, got {backend}: set KERAS_BACKEND")
