"""Write docs/lesson/lesson.ipynb from the chapters of the lesson; --check only tells if it is stale.

A snippet becomes a cell of code without its output, an included piece of the package a cell that shows it, and the
rest text. Measured tables and exercises stay in the chapters.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

LESSON = Path(__file__).resolve().parents[1] / "docs" / "lesson"
NOTEBOOK = LESSON / "lesson.ipynb"
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FIRST = """# The lesson as a notebook

The chapters; programs are cells. `tools/notebook.py` made it. It runs in a checkout, after `sh setup.sh docs test`."""
SHOW = """import importlib
import inspect


def show(module, name):
    of = importlib.import_module(module)
    for part in name.split("."):
        of = getattr(of, part)
    print(inspect.getsource(of))"""


def cells(chapter: str) -> list[tuple[str, str]]:
    """Return a chapter's cells, each ("markdown" or "code", its text)."""
    chapter = re.sub(r"<!-- (\w+) -->\n.*?<!-- /\1 -->\n", "", chapter, flags=re.DOTALL)
    chapter = re.sub(r"\{test\}(`\w+`)", r"\1", chapter.partition("\n## Exercise")[0])
    made: list[tuple[str, str]] = []
    place = 0
    for fenced in FENCED.finditer(chapter):
        kind, body = fenced[1], fenced[2].rstrip()
        package = re.fullmatch(r"\{literalinclude\} \.\./\.\./(minidistill/\S+)\.py", kind)
        if kind == "python":
            cell = ("code", body)
        elif package and (name := re.match(r":pyobject: (\S+)", body)):
            cell = ("code", f'show("{package[1].replace("/", ".")}", "{name[1]}")')
        elif kind.startswith("text"):
            cell = ("markdown", "")
        elif kind.startswith("{"):
            cell = ("markdown", f"See `{kind.partition('../../')[2]}`.")
        else:
            continue
        made += [("markdown", chapter[place : fenced.start()].strip()), cell]
        place = fenced.end()
    return [cell for cell in [*made, ("markdown", chapter[place:].strip())] if cell[1]]


def notebook() -> dict[str, Any]:
    """Return the notebook in its format, nbformat 4.5."""
    every = [("markdown", FIRST), ("code", SHOW)]
    for path in sorted(LESSON.glob("[0-9]_*.md")):
        every += cells(path.read_text(encoding="utf-8"))
    written = []
    for number, (kind, text) in enumerate(every):
        cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
        cell["source"] = text.splitlines(keepends=True)
        written.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": written, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if the notebook is stale")
    arguments = parser.parse_args()
    text = json.dumps(notebook(), indent=1, ensure_ascii=False) + "\n"
    if arguments.check and NOTEBOOK.read_text(encoding="utf-8") != text:
        print("stale: lesson.ipynb")
        sys.exit(1)
    if not arguments.check:
        NOTEBOOK.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
