"""Maths as MathML, made when the site is built: no script, and no other host is asked for one."""

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert

SPACE = '<mspace width="0.17em" />'


def mathml(latex: str, display: str = "inline") -> str:
    """Return a formula as MathML, with the space about log that a reader expects and the converter leaves out."""
    return convert(latex, display=display).replace("<mi>log</mi>", f"{SPACE}<mi>log</mi>{SPACE}")


def inline(self: Any, node: Any) -> None:
    """Write a formula in a line of text, and leave out what Sphinx would write."""
    self.body.append(mathml(node.astext()))
    raise nodes.SkipNode


def block(self: Any, node: Any) -> None:
    """Write a formula of its own. The number of an equation is in its text: \\tag{2}."""
    latex, _, tag = node.astext().strip().partition(r"\tag{")
    number = f'<span class="number">({tag.partition("}")[0]})</span>' if tag else ""
    self.body.append(f'<div class="formula">{mathml(latex, "block")}{number}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
