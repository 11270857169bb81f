"""Maths as MathML, made when the site is built: no script, and no other host is asked for one."""

from typing import Any

from latex2mathml.converter import convert


def inline(self: Any, node: Any) -> None:
    """Write a formula in a line of text, and leave out what Sphinx would write."""
    from docutils.nodes import SkipNode

    self.body.append(convert(node.astext()))
    raise SkipNode


def block(self: Any, node: Any) -> None:
    """Write a formula of its own. The number of an equation is in its text: \\tag{2}."""
    from docutils.nodes import SkipNode

    latex, _, tag = node.astext().strip().partition(r"\tag{")
    number = f'<span class="number">({tag.partition("}")[0]})</span>' if tag else ""
    self.body.append(f'<div class="formula">{convert(latex, display="block")}{number}</div>')
    raise SkipNode


def setup(app: Any) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.config.html_math_renderer = "mathml"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
