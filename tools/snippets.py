"""Run the Python snippets of README.md and docs/, and renew what stands below each as its output; --check only tells.

A snippet is a ```python block, its output the ```text block after it; in "```text about" numbers may differ by a
quarter, as a training's do between machines. docs/verdicts.md is left to tests/test_libraries.py, for it needs
libraries, and so are blocks "```python without ..." to the tests that name them.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SNIPPET = re.compile(r"```python\n((?:(?!```).)*)```\n+```text( about)?\n(.*?)```", re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*\.?\d*")


def pages() -> list[Path]:
    """Return the pages that hold snippets to run."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(path for path in docs if path.name != "verdicts.md" and path.parent.name != "source")]


def snippets(path: Path) -> list[tuple[str, bool, str]]:
    """Return each snippet of a page: its code, whether numbers may differ, and the output that the page shows."""
    found = SNIPPET.findall(path.read_text(encoding="utf-8"))
    return [(code, bool(about), output) for code, about, output in found]


def printed(code: str) -> str:
    """Return what a program prints, run in the root. Raises RuntimeError with its error if it fails."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def alike(output: str, shown: str, about: bool) -> bool:
    """Return whether an output is the one that is shown; about: but for numbers that differ by a quarter at most."""
    if not about:
        return output == shown
    pairs = zip(NUMBER.findall(output), NUMBER.findall(shown), strict=False)
    values = [[float(number.replace(",", "")) for number in pair] for pair in pairs]
    near = all(abs(one - other) <= 0.25 * abs(other) for one, other in values)
    return near and NUMBER.sub("0", output) == NUMBER.sub("0", shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 if an output is another one")
    arguments = parser.parse_args()
    stale = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for code, about, shown in snippets(path):
            output = printed(code)
            if not alike(output, shown, about):
                stale.append(path.name)
                text = text.replace(f"{code}```\n\n```text{' about' * about}\n{shown}```",
                                    f"{code}```\n\n```text{' about' * about}\n{output}```")  # fmt: skip
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    if stale:
        print(("stale: " if arguments.check else "written: ") + ", ".join(dict.fromkeys(stale)))
        sys.exit(1 if arguments.check else 0)


if __name__ == "__main__":
    main()
