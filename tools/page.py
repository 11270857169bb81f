"""Renew docs/page.html after a change of the page's code: its networks and images stay as they are in it."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from minidistill.page import blocks_of, render  # noqa: E402
from minidistill.shell import whole_file  # noqa: E402

path = ROOT / "docs" / "page.html"
page = render(blocks_of(path.read_text(encoding="utf-8")))
with whole_file(path) as unfinished:
    unfinished.write_text(page, encoding="utf-8")
