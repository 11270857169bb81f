"""Functions found by name: one of a file or a module, or all that look like a loss in a file, a module or a package."""

import importlib
import importlib.util
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ...checks import ArgumentError

STUDENT, TEACHER, TEMPERATURE = (
    "^(z|s|zs|x|logits?|preds?|input)$|stud|_s$|^s_",
    "^(v|t|zt|targets?)$|teach|_t$|^t_",
    "^(T|t|tau)$|temp",
)


def load_function(target: str) -> Callable[..., Any]:
    """Import the function that FILE.py:name or package.module:name names. Raises ArgumentError if there is none."""
    place, separator, name = target.rpartition(":")
    if not separator or not name:
        raise ArgumentError(f"target must be FILE.py:function or package.module:function, got {target!r}")
    function = getattr(_module(place), name, None)
    if not callable(function):
        raise ArgumentError(f"target must name a function of {place}, got {name!r}")
    return function  # type: ignore[no-any-return]  # callable() was asked


def find_losses(target: str) -> dict[str, Callable[..., Any]]:
    """Return the function that a target names, or all functions of FILE.py, of a module or of a package that look like
    a loss: (student, teacher, temperature, ...) by their names. Raises ArgumentError if there are none.
    """
    if re.search(r":\w+$", target):
        return {target: load_function(target)}
    found: dict[str, Callable[..., Any]] = {}
    for place, module in _modules(target):
        for name, value in vars(module).items():
            if inspect.isfunction(value) and value.__module__ == module.__name__ and _looks_like_a_loss(value):
                found[f"{place}:{name}"] = value
    if not found:
        raise ArgumentError(f"target must hold a function (student, teacher, temperature, ...), got {target!r}: "
                            "name one of it, as in FILE.py:function")  # fmt: skip
    return found


def name_of(function: Callable[..., Any]) -> str:
    """Return the target that load_function finds a function by; "" for one that stands in no module."""
    module, name = inspect.getmodule(function), getattr(function, "__name__", "")
    if module is None or getattr(module, name, None) is not function:
        return ""
    in_package = "." in module.__name__
    return f"{module.__name__ if in_package else getattr(module, '__file__', None) or module.__name__}:{name}"


def _looks_like_a_loss(function: Callable[..., Any]) -> bool:
    """Return whether the first three parameters are named like student, teacher and temperature."""
    names = list(inspect.signature(function).parameters)[:3]
    return len(names) == 3 and all(map(re.search, (STUDENT, TEACHER, TEMPERATURE), names))


def _modules(target: str) -> Iterator[tuple[str, ModuleType]]:
    """Yield a module, and those below it if it is a package, each with its place; those that fail are left out."""
    module = _module(target)
    yield target, module
    for info in pkgutil.walk_packages(getattr(module, "__path__", []), f"{module.__name__}."):
        try:
            yield info.name, importlib.import_module(info.name)
        except (Exception, SystemExit) as error:
            print(f"{info.name} left out: {type(error).__name__}: {error}", file=sys.stderr)


def _module(place: str) -> ModuleType:
    """Import FILE.py or package.module. Raises ArgumentError if it cannot be."""
    try:
        if not place.endswith(".py"):
            sys.path.insert(0, "")
            return importlib.import_module(place)
        if not Path(place).is_file():
            raise ArgumentError(f"target must name a file that exists, got {place!r}")
        spec = importlib.util.spec_from_file_location(f"checked_{Path(place).stem}", place)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # a dataclass looks for its own module there
        sys.path.insert(0, str(Path(place).resolve().parent))
        spec.loader.exec_module(module)
    except ArgumentError:
        raise
    except (Exception, SystemExit) as error:
        raise ArgumentError(f"target {place} cannot be imported: {type(error).__name__}: {error}") from None
    return module
