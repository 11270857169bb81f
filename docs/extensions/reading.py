"""What the site reads of the repository: the map of equations, the tests by name, and source files in parts."""

import ast
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "source"  # pages written anew for each site, and not committed


@dataclass
class Part:
    """Hold a part of a file: what it defines ("" for its head), its docstring, and its lines without the docstring."""

    name: str
    docstring: str
    lines: dict[int, str]  # by their numbers in the file, from 1


def parts(text: str) -> list[Part]:
    """Return the parts of a Python file, in order: its head, each function, each class up to its first method."""
    lines = text.splitlines()
    found: list[tuple[int, str, Any]] = [(1, "", ast.parse(text))]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                while lines[first - 2].strip().startswith("#"):
                    first -= 1
                found.append((first, prefix + node.name, node))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    visit(found[0][2].body, "")
    ends = [first for first, _, _ in found[1:]] + [len(lines) + 1]
    made = []
    for (first, name, node), end in zip(found, ends, strict=True):
        docstring = ast.get_docstring(node) or ""
        last = node.body[0].end_lineno if docstring else 0
        last += docstring != "" and lines[last : last + 1] == [""]  # the empty line below
        hidden = range(node.body[0].lineno, last + 1) if docstring else ()
        made.append(Part(name, docstring, {n: lines[n - 1] for n in range(first, end) if n not in hidden}))
    return made


def hour() -> dict[str, str]:
    """Return the files of the README's first track, in order, with what each is."""
    track = (ROOT / "README.md").read_text(encoding="utf-8").partition("**The hour.**")[2].partition("**The machine.**")
    return dict(re.findall(r"^\| `(\S+)` \| (.*) \|$", track[0], re.MULTILINE))


def equations(path: Path = ROOT / "docs" / "equations.toml") -> list[dict[str, Any]]:
    """Return the map of equations, each with its `tag`, the number, its `lineno`, `holder` and `test_file`.

    Raises ValueError for one whose line does not stand once in its file, or whose test, figure or chapter is missing.
    """
    found: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["equation"]
    for one in found:
        text = (ROOT / one["source"]).read_text(encoding="utf-8")
        linenos = [number for number, line in enumerate(text.splitlines(), start=1) if one["line"] in line]
        if len(linenos) != 1:
            raise ValueError(f"{one['name']}: {one['line']!r} must stand once in {one['source']}")
        one["lineno"], one["holder"] = linenos[0], holder(text, linenos[0])
        one["tag"] = rf"\tag{{{one['number']}}}" if one["number"] else ""
        one["test_file"] = tests().get(one["test"])
        if one["test_file"] is None:
            raise ValueError(f"{one['name']}: there is no test {one['test']}")
        for needed in (f"results/{one['figure']}.png", f"lesson/{one['chapter']}.md"):
            if not (ROOT / "docs" / needed).is_file():
                raise ValueError(f"{one['name']}: there is no docs/{needed}")
    return found


def holder(text: str, lineno: int) -> str:
    """Return the name of the function or method that holds a line of a Python file."""
    holders = [
        node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= lineno <= (node.end_lineno or 0)
    ]
    return ".".join(node.name for node in holders)


@cache
def tests() -> dict[str, str]:
    """Return the file of each test of the suite by the test's name."""
    return {
        node.name: path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def tests_named() -> list[str]:
    """Return the tests that the docs and the map name, in order. Raises ValueError for one that does not exist."""
    pages = sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent != PAGES)
    named = re.findall(r"\{test\}`(\w+)`", "".join(path.read_text(encoding="utf-8") for path in pages))
    every = list(dict.fromkeys([*named, *(one["test"] for one in equations())]))
    if unknown := [name for name in every if name not in tests()]:
        raise ValueError(f"the docs name tests that do not exist: {', '.join(unknown)}")
    return every


def write(path: Path, text: str) -> None:
    """Write a page, unless it stands there already: Sphinx reads again what is newer."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
