"""The annotated source: a page for each file of the README's first track, its prose on the left, its code on the right.

Both come from the shipped file when the site is built. An equation of equations.toml stands, typeset, beside its line.
"""

import inspect
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from reading import PAGES, ROOT, equations, hour, parts, write
from sphinx.util.docutils import SphinxDirective

INDEX = r"(?<![A-Za-z_])d?[A-Za-zΣδ∂]_[a-z]{1,2}(?![A-Za-z_])(?<!n_in)"  # z_i, but not n_in, which is a name


def prose(docstring: str) -> list[nodes.Node]:
    """Return a docstring's paragraphs as nodes: what is indented as it stands, `code` as code, z_i with an index."""
    made: list[nodes.Node] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(docstring)):
        if paragraph.startswith("  "):
            made.append(nodes.literal_block("", inspect.cleandoc(paragraph), language="text", classes=["formula"]))
            continue
        line = nodes.paragraph()
        for text in re.split(rf"(`[^`]+`|{INDEX})", " ".join(paragraph.split())):
            if text.startswith("`"):
                line += nodes.literal("", text[1:-1])
            elif re.fullmatch(INDEX, text):
                letter, index = text.split("_")
                line += [nodes.Text(letter), nodes.subscript("", index)]
            else:
                line += nodes.Text(text)
        made.append(line)
    return made


class Annotated(SphinxDirective):
    """The directive {annotated} PATH, with the path of a Python file from the root of the repository."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        path = ROOT / self.arguments[0]
        self.env.note_dependency(str(path))
        page = nodes.container(classes=["annotated"])
        for part in parts(path.read_text(encoding="utf-8")):
            row = nodes.container(classes=["row"], ids=[part.name] if part.name else [])
            left, right = nodes.container(classes=["prose"]), nodes.container(classes=["code"])
            if part.name:
                left += nodes.paragraph("", "", nodes.strong("", part.name), classes=["name"])
            left += prose(part.docstring) if part.docstring else []
            for one in equations():
                if one["source"] == self.arguments[0] and one["holder"] == part.name:
                    left += nodes.math_block("", one["latex"] + one["tag"])
            code = inspect.cleandoc("\n" + "\n".join(part.lines.values()))
            if code:
                right += nodes.literal_block("", code, language="python")
            row += [left, right]
            page += row
        return [page]


def write_pages(_app: Any) -> None:
    """Write a page for each file of the hour and each other one that holds an equation, and one that lists them."""
    files = hour()
    others = {one["source"] for one in equations()} - files.keys()
    for path in (*files, *others):
        write(PAGES / f"{Path(path).stem}.md", f"---\nhide-toc: true\n---\n# {path}\n\n```{{annotated}} {path}\n```\n")
    rows = [f"- [{path}]({Path(path).stem}.md): {what}" for path, what in files.items()]
    names = "\n".join(Path(path).stem for path in (*files, *others))
    about = "The files of the hour, in the order to read them: prose and equations beside the code."
    tree = f"```{{toctree}}\n:hidden:\n\n{names}\n```"
    write(PAGES / "index.md", "\n".join(["# The annotated source", "", about, "", *rows, "", tree, ""]))


def setup(app: Any) -> dict[str, bool]:
    app.add_directive("annotated", Annotated)
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
