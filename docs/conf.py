"""The site's settings. `python -m sphinx -W docs build/site` builds it; its pages ask nothing of any other host."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions")]  # this checkout's minidistill, whatever is installed

project = "minidistill"
extensions = ["myst_parser", "sphinx.ext.autodoc", "mathml", "annotated", "equations", "reference"]
myst_enable_extensions = ["dollarmath"]
exclude_patterns = ["exercises"]
highlight_language = "python"
html_theme = "furo"
html_title = "minidistill"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["page.html"]
html_copy_source = html_show_sourcelink = html_show_sphinx = html_show_copyright = False
pygments_style, pygments_dark_style = "friendly", "github-dark"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
