"""The annotated source: a page for each file of the README's first track, its prose on the left, its code on the right.

Both come from the shipped file when the site is built. An equation of equations.toml stands, typeset, beside its line.
"""

import ast
import inspect
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docutils import nodes
from equations import PAGES, load, write
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]


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
                while lines[first - 2].strip().startswith(("#", "@")):
                    first -= 1
                found.append((first, prefix + node.name, node))
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")

    visit(found[0][2].body, "")
    ends = [first for first, _, _ in found[1:]] + [len(lines) + 1]
    made = []
    for (first, name, node), end in zip(found, ends, strict=True):
        docstring = ast.get_docstring(node) or ""
        hidden = range(node.body[0].lineno, node.body[0].end_lineno + 1) if docstring else ()
        made.append(Part(name, docstring, {n: lines[n - 1] for n in range(first, end) if n not in hidden}))
    return made


def prose(docstring: str) -> list[nodes.Node]:
    """Return a docstring's paragraphs as nodes: what is indented as it stands, `code` as code, Eq. N as a link."""
    made: list[nodes.Node] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if paragraph.startswith("  "):
            made.append(nodes.literal_block("", inspect.cleandoc(paragraph), language="text", classes=["formula"]))
            continue
        line = nodes.paragraph()
        for text in re.split(r"(`[^`]+`)", " ".join(paragraph.split())):
            line += nodes.literal("", text[1:-1]) if text.startswith("`") else nodes.Text(text)
        made.append(line)
    return made


class Annotated(SphinxDirective):
    """The directive {annotated} PATH, with the path of a Python file from the root of the repository."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = ROOT / self.arguments[0]
        self.env.note_dependency(str(path))
        page = nodes.container(classes=["annotated"])
        equations = [equation for equation in load() if equation["source"] == self.arguments[0]]
        for part in parts(path.read_text(encoding="utf-8")):
            left, right = nodes.container(classes=["prose"]), nodes.container(classes=["code"])
            if part.name:
                left += nodes.paragraph("", "", nodes.strong("", part.name), classes=["name"])
            left += prose(part.docstring) if part.docstring else []
            for equation in equations:
                if any(equation["line"] in line for line in part.lines.values()):
                    left += nodes.math_block("", equation["latex"] + equation["tag"])
            code = "\n".join(part.lines.values()).strip("\n")
            if code.strip():
                right += nodes.literal_block("", inspect.cleandoc("\n" + code), language="python")
            elif not part.docstring:
                continue
            row = nodes.container(classes=["row"])
            if part.name:
                row["ids"].append(part.name)
            row += [left, right]
            page += row
        return [page]


def hour() -> dict[str, str]:
    """Return the files of the README's first track, in order, with what each is."""
    track = (ROOT / "README.md").read_text(encoding="utf-8").partition("**The hour.**")[2].partition("**The machine.**")
    return dict(re.findall(r"^\| `(\S+)` \| (.*) \|$", track[0], re.MULTILINE))


def write_pages(_app: Any) -> None:
    """Write a page for each file of the hour and each other one that holds an equation, and one that lists them."""
    files = hour()
    others = {equation["source"] for equation in load()} - files.keys()
    for path in (*files, *others):
        write(PAGES / f"{Path(path).stem}.md", f"---\nhide-toc: true\n---\n# {path}\n\n```{{annotated}} {path}\n```\n")
    rows = [f"- [{path}]({Path(path).stem}.md): {what}" for path, what in files.items()]
    names = "\n".join(Path(path).stem for path in (*files, *others))
    about = "The files of the hour, in the order to read them. Prose and equations on the left, the code on the right."
    tree = f"```{{toctree}}\n:hidden:\n\n{names}\n```"
    write(PAGES / "index.md", "\n".join(["# The annotated source", "", about, "", *rows, "", tree, ""]))


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("annotated", Annotated)
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
