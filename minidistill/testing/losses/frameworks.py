"""A loss of NumPy, PyTorch, JAX or Keras, called in one way: arrays in, its value and gradients out.

The loss is a function of (student_logits, teacher_logits, temperature), or of those and (labels, alpha). One in NumPy
returns its value or (value, gradient); for the others, the framework's autodiff gives the gradients.
"""

import importlib
import inspect
import warnings
from collections.abc import Callable
from copy import copy, deepcopy
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
    """Hold a loss's value, and its gradients (B, N) with respect to z and v; None where it gives none.

    size: what the value was made of, which is larger where terms cancel. changed: the inputs that it overwrote.
    """

    value: float
    gradient: np.ndarray | None
    teacher_gradient: np.ndarray | None = None
    size: float = 0.0
    changed: str = ""


class Loss:
    """Wrap a function of any framework as one of NumPy arrays.

    labels, alpha: the names of the parameters that take them, where they are not the fourth and the fifth. Raises
    ArgumentError for a function that is not callable, for a framework that is not in FRAMEWORKS and for a name that
    is no parameter, and BackendUnavailable for a framework that cannot be imported.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        framework: str = "numpy",
        labels: str | None = None,
        alpha: str | None = None,
    ) -> None:
        if not callable(function):
            raise ArgumentError(f"function must be callable, got {type(function).__name__}")
        if framework not in FRAMEWORKS:
            raise ArgumentError(f"framework must be one of {', '.join(FRAMEWORKS)}, got {framework!r}")
        if (labels is None) != (alpha is None):
            raise ArgumentError(f"labels and alpha must be named both or neither, got {labels!r} and {alpha!r}")
        self.function, self.framework = function, framework
        self.name = getattr(function, "__name__", type(function).__name__)
        parameters = _parameters(function)
        if labels is not None and alpha is not None:
            for name, given in (("labels", labels), ("alpha", alpha)):
                if given not in parameters:
                    raise ArgumentError(f"{name} must be one of {', '.join(parameters)}, got {given!r}")
            self.function = lambda z, v, T, y, a: function(z, v, T, **{labels: y, alpha: a})
        self.takes_labels = labels is not None or _takes_labels(parameters)
        self.not_given = [] if self.takes_labels else list(parameters)[3:]
        self._call = {"numpy": _call_numpy, "torch": _call_torch, "jax": _call_jax, "keras": _call_keras}[framework]
        if framework != "numpy":
            _import(framework)

    def __call__(
        self, z: np.ndarray, v: np.ndarray, T: float, y: np.ndarray | None = None, alpha: float = 1.0
    ) -> Outcome:
        """Return the value and the gradients at z and v (B, N), T and, if the function takes labels, y (B,) and alpha.

        Raises Unusable if the value is not one number, if a gradient has not z's shape, or if the function raises.
        """
        given = [None if array is None else array.copy() for array in (z, v, y)]
        value, *gradients = self._ask((given[0], given[1], T, given[2], alpha))
        names = ("student's logits", "teacher's logits", "labels")
        changed = [name for name, now, was in zip(names, given, (z, v, y), strict=True) if not _unchanged(now, was)]
        found = [None if g is None else np.array(g, dtype=np.float64) for g in gradients]  # copies
        number = float(np.ravel(value)[0])
        return Outcome(number, found[0], found[1], abs(number), " and ".join(changed))

    @property
    def slow(self) -> bool:
        """Return whether JAX cannot compile it, as it reads the values of T or alpha: a call then takes 10 ms."""
        return id(self.function) in _reads_numbers

    def kept(self, first: tuple[Any, ...], second: tuple[Any, ...]) -> bool:
        """Return whether what it gave for the arguments `first` is the same after a call with `second`."""
        found = self._ask(first)
        before = deepcopy(found)
        self._ask(second)
        return all(map(_unchanged, found, before))

    def in_a_sum(self) -> "Loss":
        """Return the loss 2 C + Σ z, whose gradient is twice that of C and 1; of a framework with autodiff."""
        inner, whole = self.function, copy(self)
        whole.function = lambda z, v, T, *rest: 2 * inner(z, v, T, *rest) + z.sum()
        return whole

    def _ask(self, given: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Return value and gradients as the function gave them for z, v, T, y and alpha. Raises Unusable."""
        z, v, T, y, alpha = given
        rest = (y, alpha) if self.takes_labels else ()
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value, gradient, teacher_gradient = self._call(self.function, z, v, T, rest)
        except Unusable:
            raise
        except (Exception, SystemExit) as error:
            lines = str(error).splitlines() or [""]
            raise Unusable(f"it raised {type(error).__name__}: {lines[0]}") from error
        if np.shape(value) not in ((), (1,)):
            raise Unusable(f"its value must be one number, got shape {np.shape(value)}")
        if gradient is not None and np.shape(gradient) != z.shape:
            raise Unusable(f"its gradient must have the logits' shape {z.shape}, got {np.shape(gradient)}")
        return value, gradient, teacher_gradient


def _unchanged(now: Any, was: Any) -> bool:
    """Return whether an array has the bits of its copy: nan equals nan, and no comparison is quicker."""
    return now is was or np.asarray(now).tobytes() == was.tobytes()


def _parameters(function: Callable[..., Any]) -> dict[str, bool]:
    """Return the names of the parameters of a function or a torch.nn.Module, and whether each has a default."""
    try:
        signature = inspect.signature(getattr(function, "forward", function))
    except (TypeError, ValueError):
        return {}
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {p.name: p.default is not p.empty for p in signature.parameters.values() if p.kind in kinds}


def _takes_labels(parameters: dict[str, bool]) -> bool:
    """Return whether five arguments have no default, or the fourth and the fifth are named like labels and alpha."""
    names = list(parameters)[3:5]
    named = names[1:] == ["alpha"] and names[0] in ("labels", "label", "targets", "target", "y")
    return named or sum(not default for default in parameters.values()) >= 5


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
    if isinstance(result, (tuple, list)):
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
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for arrays this small, several wait for each other, ten times as long on a busy machine
    try:
        return _torch_gradient(torch, function, z, v, T, rest)
    finally:
        torch.set_num_threads(threads)


def _torch_gradient(
    torch: Any, function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]
) -> tuple[Any, Any, Any]:
    """Return value and gradients with respect to z and v, and leave in z and v what the function made of them."""
    leaves = [torch.from_numpy(a).requires_grad_() for a in (z, v)]
    student, teacher = (leaf.clone() for leaf in leaves)  # not leaves, so that the function may change them in place
    if rest:
        rest = (torch.from_numpy(rest[0]), rest[1])
    value = function(student, teacher, T, *rest)
    for given, now in ((z, student), (v, teacher)):
        given[...] = now.detach().numpy() if now.shape == given.shape else np.nan  # what it made of its inputs
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
        numbers = (float(T), *map(float, rest[1:]))  # 0 and 0.5 then share what is compiled
        value, gradients = _jax_gradient(function, z, v, rest[:1], numbers)
        return np.asarray(value), np.asarray(gradients[0]), np.asarray(gradients[1])


_compiled: dict[int, tuple[Any, Any, Any]] = {}  # the function is kept too, so that no other can get its id
_reads_numbers: set[int] = set()  # the ids of functions that cannot be traced without the values of T and alpha


def _jax_gradient(
    function: Any, z: np.ndarray, v: np.ndarray, labels: tuple[Any, ...], numbers: tuple[Any, ...]
) -> Any:
    """Return the value and the gradients with respect to z and v, compiled once for each shape of them.

    numbers: T, or T and alpha. A function that cannot be traced without their values, such as one with `if T > 1`, is
    run as it stands.
    """
    jax = importlib.import_module("jax")
    if id(function) not in _compiled:

        def call(z: Any, v: Any, labels: Any, numbers: Any) -> Any:
            return function(z, v, numbers[0], *labels, *numbers[1:])

        gradient = jax.value_and_grad(call, argnums=(0, 1))
        _compiled[id(function)] = function, _jitted(gradient), gradient
    _, compiled, plain = _compiled[id(function)]
    if id(function) not in _reads_numbers:
        try:
            return compiled(z, v, labels, numbers)
        except Exception:  # also the function's own mistake, which it makes again below
            pass
    found = plain(jax.numpy.asarray(z), jax.numpy.asarray(v), labels, numbers)
    _reads_numbers.add(id(function))
    return found


def _jitted(function: Any) -> Any:
    """Return the function as JAX compiles it without optimising: each shape is run a few times, and compiled once."""
    jax = importlib.import_module("jax")
    try:
        return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0})
    except TypeError:  # an older JAX has no such argument
        return jax.jit(function)


def _call_keras(function: Any, z: np.ndarray, v: np.ndarray, T: float, rest: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    backend = importlib.import_module("keras").backend.backend()
    if backend == "jax":
        return _call_jax(function, z, v, T, rest)
    if backend == "torch":
        return _call_torch(function, z, v, T, rest)
    raise Unusable(f"keras must run on jax or torch here, got {backend}: set KERAS_BACKEND")
