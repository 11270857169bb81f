"""The map of equations, and the tests that prove them: equations.toml, its lines and tests looked up at build time."""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "source"  # written anew for each site, and not committed


def load() -> list[dict[str, Any]]:
    """Return the equations, each with its `tag` (its number, where the paper has one), `lineno` and `test_file`.

    Raises ValueError for one whose line does not stand once in its file, or whose test or figure is missing.
    """
    equations = tomllib.loads((ROOT / "docs" / "equations.toml").read_text(encoding="utf-8"))["equation"]
    for equation in equations:
        lines = (ROOT / equation["source"]).read_text(encoding="utf-8").splitlines()
        found = [number for number, line in enumerate(lines, start=1) if equation["line"] in line]
        if len(found) != 1:
            raise ValueError(f"{equation['name']}: {equation['line']!r} must stand once in {equation['source']}")
        equation["lineno"], equation["tag"] = found[0], rf"\tag{{{equation['number']}}}" if equation["number"] else ""
        equation["test_file"] = tests().get(equation["test"])
        if equation["test_file"] is None:
            raise ValueError(f"{equation['name']}: there is no test {equation['test']}")
        if not (ROOT / "docs" / "results" / f"{equation['figure']}.png").is_file():
            raise ValueError(f"{equation['name']}: there is no figure docs/results/{equation['figure']}.png")
    return equations


@cache
def tests() -> dict[str, str]:
    """Return the file of each test, by its name, a path from the root."""
    return {
        node.name: path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def around(path: str, lineno: int) -> str:
    """Return the name of the function or method that holds a line of a file."""
    holders = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.lineno <= lineno <= (node.end_lineno or 0)
    ]
    return ".".join(node.name for node in holders)


class Map(SphinxDirective):
    """The directive {equations}: each equation with its formula, its line of source, its test and its figure."""

    def run(self) -> list[nodes.Node]:
        made: list[nodes.Node] = []
        for equation in load():
            for path in (equation["source"], equation["test_file"], "docs/equations.toml"):
                self.env.note_dependency(str(ROOT / path))
            title = f"({equation['number']}) " if equation["number"] else ""
            section = nodes.section(ids=[nodes.make_id(f"equation {equation['name']}")])
            section += nodes.title("", title + equation["name"])
            section += nodes.math_block("", equation["latex"] + equation["tag"])
            holder = around(equation["source"], equation["lineno"])
            where = f"{equation['source']}, line {equation['lineno']}, in "
            page = Path(equation["source"]).stem
            link = nodes.reference("", "", nodes.literal("", holder), internal=True, refuri=f"source/{page}.html#{holder}")
            section += nodes.paragraph("", "", nodes.Text(where), link, nodes.Text(":"))
            line = (ROOT / equation["source"]).read_text(encoding="utf-8").splitlines()[equation["lineno"] - 1]
            section += nodes.literal_block("", line.strip(), language="python")
            section += nodes.paragraph("", "", nodes.Text("Its test: "), test_link(self.env, equation["test"]))
            section += nodes.image(uri=f"results/{equation['figure']}.png", alt=f"Figure: {equation['figure']}")
            chapter = addnodes.pending_xref(
                "", nodes.inline("", equation["chapter"]), refdomain="std", reftype="doc", refexplicit=False,
                reftarget=f"lesson/{equation['chapter']}", refdoc=self.env.docname,
            )  # fmt: skip
            section += nodes.paragraph("", "", nodes.Text("Derived in: "), chapter)
            made.append(section)
        return made


def test_link(env: Any, name: str) -> nodes.Node:
    """Return a link to a test on the page of tests."""
    about = {"refdomain": "std", "reftype": "ref", "refexplicit": True, "reftarget": name.lower()}
    return addnodes.pending_xref("", nodes.literal("", name), refdoc=env.docname, **about)


class Test(SphinxRole):
    """The role {test}`name`, which links to the test of this name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [test_link(self.env, self.text)], []


def write_tests(_app: Any) -> None:
    """Write the page of the tests that the lesson and the map name: each as it stands in the suite."""
    pages = (ROOT / "docs").rglob("*.md")
    named = re.findall(r"\{test\}`(\w+)`", "".join(p.read_text(encoding="utf-8") for p in pages if p.parent != PAGES))
    sections = ["# The tests that the lesson names", ""]
    for name in dict.fromkeys([*named, *(equation["test"] for equation in load())]):
        if name not in tests():
            raise ValueError(f"the docs name a test that does not exist: {name}")
        command = f"`.venv/bin/python -m pytest {tests()[name]} -k {name}`"
        code = f"```{{literalinclude}} ../../{tests()[name]}\n:pyobject: {name}\n```"
        sections += [f"({name.lower()})=", f"## `{name}`", "", command, "", code, ""]
    write(PAGES / "tests.md", "\n".join(sections))


def write(path: Path, text: str) -> None:
    """Write a page, unless it stands there already: Sphinx reads again what is newer."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("equations", Map)
    app.add_role("test", Test())
    app.connect("builder-inited", write_tests)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
