r"""Python-Markdown's tables as GitHub reads them: in code in a cell, `\|` is a pipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from markdown import Markdown


class PipesInCode(Treeprocessor):
    """Take away the backslash that keeps a pipe from ending its cell."""

    def run(self, root: Element) -> None:
        """Change all cells of a page."""
        for code in (code for cell in root.iter("td") for code in cell.iter("code")):
            code.text = AtomicString((code.text or "").replace("\\|", "|"))


class TablePipes(Extension):
    """The extension's face."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Python-Markdown's name
        """Run after code was found in the cells."""
        md.treeprocessors.register(PipesInCode(md), "pipes_in_code", 15)


def makeExtension() -> TablePipes:  # noqa: N802 - Python-Markdown's name
    """Return the extension, as Python-Markdown asks for it."""
    return TablePipes()
