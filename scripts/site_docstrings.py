"""What the site's API reference needs to know of our docstrings.

Griffe knows a section "Examples:". Ours are called "Example:", and some examples stand in the text without a heading.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

# An example: its first line with the prompt, up to an empty line or a line that stands further left.
EXAMPLE = re.compile(r"^([ ]*)>>> .*(?:\n\1(?![ ]*$).*)*", re.MULTILINE)


class OurDocstrings(griffe.Extension):
    """Examples become blocks of code; a dataclass's fields are described once, as its arguments."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change one object's docstring before it is parsed."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(_fenced, obj.docstring.value).replace(
                "\nExample:\n", "\nExamples:\n"
            )

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Leave out the field of a class if nothing is said of it where it stands."""
        if attr.parent and attr.parent.is_class and not attr.docstring:
            attr.public = False


def _fenced(example: re.Match[str]) -> str:
    margin = example[1]
    return f"{margin}```pycon\n{example[0]}\n{margin}```"
