"""The reference: in the repository reference.md is a table of names; on the site each table becomes the docstrings."""

import inspect
import re
from typing import Any


def whole_docstrings(_app: Any, docname: str, source: list[str]) -> None:
    """Put a module's documented names where its table of names stands."""
    if docname == "reference":
        table = re.compile(r"<!-- names_of_([\w.]+) -->\n.*?<!-- /names_of_\1 -->", re.DOTALL)
        automodule = "```{eval-rst}\n.. automodule:: \\1\n   :members:\n   :imported-members:\n   :no-index:\n```"
        source[0] = table.sub(automodule, source[0])


def as_text(_app: Any, what: str, _name: str, _of: Any, _options: Any, lines: list[str]) -> None:
    """Keep the signs of a docstring, which is plain text with `code` in it, from being read as markup."""
    if what == "module":
        lines.clear()  # the page says it
    for i, line in enumerate(lines):
        pieces = re.split(r"(`[^`]+`)", line)
        escaped = [f"`{p}`" if p.startswith("`") else re.sub(r"([\\*|_`])", r"\\\1", p) for p in pieces]
        lines[i] = "".join(escaped)


def is_no_module(_app: Any, _what: str, _name: str, of: Any, skip: bool, _options: Any) -> bool:
    """Leave out an attribute that is a module, such as a backend's xp, which would name a folder of this machine."""
    return skip or inspect.ismodule(of)


def setup(app: Any) -> dict[str, bool]:
    app.connect("source-read", whole_docstrings)
    app.connect("autodoc-process-docstring", as_text)
    app.connect("autodoc-skip-member", is_no_module)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
