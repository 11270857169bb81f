"""The exercises of the lesson: unsolved they fail, solved they pass, and their tests refuse the likely mistakes."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings

import minidistill as md

ROOT = Path(__file__).parents[1]
EXERCISES = sorted((ROOT / "docs" / "exercises").glob("[0-9]_*.py"))
every_exercise = pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def answer(path: Path) -> tuple[str, Any, dict[str, Any]]:
    """The name of the function to write, its solution, and wrong answers."""
    solution, exercise = load(path.parent / "solutions" / path.name), load(path)
    (name,) = {name for name, of in vars(exercise).items() if callable(of) and of.__module__ == exercise.__name__} & {
        *vars(solution)
    }
    return name, vars(solution)[name], solution.WRONG


def failures(path: Path, name: str, written: Any) -> list[Exception]:
    """What the tests of an exercise raise when the function is written so; None leaves it as it is."""
    exercise = load(path)
    if written is not None:
        setattr(exercise, name, written)
    return list(raised_by([of for test, of in vars(exercise).items() if test.startswith("test_")]))


def raised_by(tests: list[Any]) -> Iterator[Exception]:
    assert tests
    for test in tests:
        if hasattr(test, "hypothesis"):
            test = settings(max_examples=25, phases=[Phase.generate], report_multiple_bugs=False)(test)
        try:
            test(*[data()] * ("data" in inspect.signature(test).parameters))
        except Exception as error:
            yield error


@cache
def data() -> tuple[md.TransferSet, md.Dataset]:
    """As the fixture of exercise 7."""
    return md.mnist_transfer("numpy").subset(slice(1000)), md.mnist("numpy")[1]


def test_there_is_an_exercise_for_each_chapter_and_a_solution_for_each_exercise() -> None:
    names = [path.stem for path in EXERCISES]
    assert names == sorted(path.stem for path in (ROOT / "docs" / "lesson").glob("[0-9]_*.md"))
    assert names == sorted(path.stem for path in (ROOT / "docs" / "exercises" / "solutions").glob("*.py"))


@every_exercise
def test_every_test_of_an_unsolved_exercise_fails_and_says_whose_turn_it_is(path: Path) -> None:
    name, _, _ = answer(path)
    raised = failures(path, name, None)
    assert len(raised) == sum(test.startswith("test_") for test in vars(load(path)))
    assert all(isinstance(error, NotImplementedError) and "your turn" in str(error) for error in raised)


@every_exercise
def test_the_solution_passes(path: Path) -> None:
    name, solution, _ = answer(path)
    assert failures(path, name, solution) == []


@every_exercise
def test_a_wrong_answer_does_not_pass(path: Path) -> None:
    name, _, wrong = answer(path)
    assert len(wrong) >= 2
    for mistake, written in wrong.items():
        assert failures(path, name, written), mistake
