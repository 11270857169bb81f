"""One file of an installed distribution, loaded alone: packages that its loss does not use need not be there.

What such a file imports from its own package, or from others that are named, is stood in for by a class that may be
called, subclassed or used as a decorator, and does nothing. A loss that used one would return no number.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Library:
    """Hold a loss of a distribution: the function that calls it, and a sentence on it, with where its docs say so."""

    function: Callable[..., Any]
    distribution: str
    says: str
    framework: str = "torch"
    expect: str = ""


LIBRARIES: dict[str, Library] = {}


def library(distribution: str, says: str, framework: str = "torch", expect: str = "") -> Callable[..., Any]:
    """Enter a function (student_logits, teacher_logits, T[, labels, alpha]) among the losses of libraries."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        LIBRARIES[function.__name__] = Library(function, distribution, says, framework, expect)
        return function

    return enter


class _Nothing(type):
    """Make classes that stand for what was not imported: one hands what it decorates back, and else answers a class."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing()

    def __call__(cls, *given: Any, **named: Any) -> Any:
        if "nothing" not in cls.__dict__:  # a class of the library, of which this is a base
            return super().__call__(*given, **named)
        return given[0] if len(given) == 1 and callable(given[0]) else _nothing()

    def __getitem__(cls, key: Any) -> Any:
        return _nothing()

    def __iter__(cls) -> Any:
        return iter(())


def _nothing() -> type:
    return _Nothing("Nothing", (), {"nothing": True})


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing()


class _Finder:
    """Find the real files among the modules of some packages, and an empty module for each of the others."""

    def __init__(self, files: dict[str, Path], absent: set[str]) -> None:
        self.files, self.absent = files, absent

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if not _of(name, self.absent):
            return None
        if name in self.files:
            return spec_from_file_location(name, self.files[name])
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


def _of(name: str, packages: set[str]) -> bool:
    """Return whether a module is one of the packages, or in one."""
    return any(name == one or name.startswith(f"{one}.") for one in packages)


@cache
def alone(distribution: str, file: str, *absent: str, real: tuple[str, ...] = ()) -> Any:
    """Return a file of an installed distribution as a module, with stand-ins for its package and for those of `absent`.

    real: other files of the package, which the loss uses. Raises PackageNotFoundError if it is not installed.
    """
    root = metadata.distribution(distribution)
    files = {one.removesuffix(".py").replace("/", "."): Path(str(root.locate_file(one))) for one in (*real, file)}
    name = list(files)[-1]
    packages = {name.partition(".")[0], *absent}
    finder = _Finder(files, packages)
    before = {one: sys.modules.pop(one) for one in [*sys.modules] if _of(one, packages)}
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        spec = finder.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for one in [one for one in sys.modules if _of(one, packages)]:
            del sys.modules[one]
        sys.modules.update(before)
