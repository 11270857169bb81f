"""The map of equations as a page, and a page of the tests that the lesson and the map name."""

import ast
from pathlib import Path
from typing import Any

from docutils import nodes
from reading import PAGES, ROOT, equations, tests, tests_named, write
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective, SphinxRole


class Map(SphinxDirective):
    """The directive {equations}: each equation with its formula, its line of source, its test and its figure."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(ROOT / "docs" / "equations.toml"))
        return [self.section(one) for one in equations()]

    def section(self, one: dict[str, Any]) -> nodes.Node:
        self.env.note_dependency(str(ROOT / one["source"]))
        section = nodes.section(ids=[nodes.make_id(one["name"])])
        section += nodes.title("", f"({one['number']}) {one['name']}" if one["number"] else one["name"])
        section += nodes.math_block("", one["latex"] + one["tag"])
        target = f"source/{Path(one['source']).stem}.html#{one['holder']}"
        link = nodes.reference("", "", nodes.literal("", one["holder"]), internal=True, refuri=target)
        section += nodes.paragraph("", f"{one['source']}, line {one['lineno']}, in ", link, nodes.Text(":"))
        line = (ROOT / one["source"]).read_text(encoding="utf-8").splitlines()[one["lineno"] - 1]
        section += nodes.literal_block("", line.strip(), language=language(line.strip()))
        section += nodes.paragraph("", "Its test: ", test_link(self.env, one["test"]))
        chapter = {"refdomain": "std", "reftype": "doc", "refexplicit": False, "reftarget": f"/lesson/{one['chapter']}"}
        section += nodes.paragraph("", "Derived in ", addnodes.pending_xref("", nodes.inline(), **chapter))
        section += nodes.image(uri=f"results/{one['figure']}.png", alt=f"The figure {one['figure']}")
        for reference in section.findall(addnodes.pending_xref):
            reference["refdoc"] = self.env.docname
        return section


def language(line: str) -> str:
    """Return "python" for a line of code, "text" for one of a docstring."""
    try:
        ast.parse(line)
    except SyntaxError:
        return "text"
    return "python"


def test_link(env: Any, name: str) -> nodes.Node:
    """Return a link to a test on the page of tests."""
    about = {"refdomain": "std", "reftype": "ref", "refexplicit": True, "reftarget": name.lower()}
    return addnodes.pending_xref("", nodes.literal("", name), refdoc=env.docname, **about)


class Test(SphinxRole):
    """The role {test}`name`, which links to the test of this name."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        return [test_link(self.env, self.text)], []


def write_tests(_app: Any) -> None:
    """Write the page of tests, each as it stands in the suite."""
    about = "Each as it stands in the suite, and the command that runs it alone."
    sections = ["# The tests that the lesson names", "", about, ""]
    for name in tests_named():
        command = f"`.venv/bin/python -m pytest {tests()[name]} -k {name}`"
        code = f"```{{literalinclude}} ../../{tests()[name]}\n:pyobject: {name}\n```"
        sections += [f"({name.lower()})=", f"## `{name}`", "", command, "", code, ""]
    write(PAGES / "tests.md", "\n".join(sections))


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("equations", Map)
    app.add_role("test", Test())
    app.connect("builder-inited", write_tests)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
