"""What the site's API reference needs to know of our docstrings.

Griffe knows a section "Examples:". Ours are called "Example:", and some examples stand in the text without a heading.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import griffe

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Leave out what classes hold without a word about it: fields, and methods with Python's own names.

        Here and not sooner, for Griffe has to find the fields before it knows a dataclass's arguments.
        """
        for cls in _classes(pkg):
            for name, member in list(cls.members.items()):
                if not member.docstring and name != "__init__":
                    cls.del_member(name)


def _classes(place: griffe.Module | griffe.Class) -> Iterator[griffe.Class]:
    for member in place.members.values():
        if isinstance(member, griffe.Class):
            yield member
        if isinstance(member, griffe.Module | griffe.Class):
            yield from _classes(member)


def _fenced(example: re.Match[str]) -> str:
    margin = example[1]
    return f"{margin}```pycon\n{example[0]}\n{margin}```"
