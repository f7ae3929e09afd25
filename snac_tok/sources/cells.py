"""A cell of a row → text: what is said in a recording, and the columns that are kept of it. Reads no files."""

from __future__ import annotations

import json
import math
import reprlib
from numbers import Number
from typing import TYPE_CHECKING, Any, NamedTuple

from snac_tok.errors import SourceError
from snac_tok.sources.tables import SpelledNumber

if TYPE_CHECKING:
    from pathlib import Path


class Place(NamedTuple):
    """Where a row stands, for messages: in which table, at which line, or under which name of a recording."""

    table: Path
    line: int | None
    name: str | None

    def __str__(self) -> str:
        if self.line is not None:
            return f"{self.table}, line {self.line}"
        return str(self.table) if self.name is None else f"{self.table}, recording {self.name}"


def text_of(value: Any, *, place: object) -> str | None:
    """Return the text that a cell holds, None if it holds none; numbers are spelled, bytes are UTF-8.

    Args:
        value: the cell's.
        place: where it stands, for the message.

    Raises:
        SourceError: it is no text: a list, a truth value, bytes that are not UTF-8.

    >>> text_of(7, place="line 1"), text_of(b"Good day.", place="line 2"), text_of(" ", place="line 3")
    ('7', 'Good day.', None)
    """
    # Columns of numbers say "missing" by NaN.
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, str | bytes | Number):
        raise SourceError(
            f"{place}: {reprlib.repr(value)} is not a text; a string is needed: mend the row, or rename the column."
        )
    text = _decoded(value, place) if isinstance(value, bytes) else str(value)
    return text if text.strip() else None


def kept_text(value: Any, *, place: object) -> str:
    """Return what is kept of a cell: strings and numbers as they are spelled; lists, objects, true and false as JSON.

    Raises:
        SourceError: bytes that are not UTF-8, lists that are too deep, or a number too long for Python in one.

    >>> kept_text({"mood": "calm"}, place="line 1"), kept_text(True, place="line 1"), kept_text(1.5, place="line 1")
    ('{"mood": "calm"}', 'true', '1.5')
    """
    if isinstance(value, bool | list | dict):
        try:
            return json.dumps(_with_numbers(value), ensure_ascii=False, default=str)
        except (ValueError, RecursionError) as error:
            raise SourceError(
                f"{place}: {reprlib.repr(value)} cannot be kept as JSON ({error}); mend it, or leave the column out."
            ) from error
    return _decoded(value, place) if isinstance(value, bytes) else str(value)


def _with_numbers(value: Any) -> Any:
    """Return lists and objects with numbers in the place of spelled ones."""
    if isinstance(value, dict):
        return {name: _with_numbers(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return list(map(_with_numbers, value))
    return json.loads(value) if isinstance(value, SpelledNumber) else value


def _decoded(value: bytes, place: object) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{place}: {reprlib.repr(value)} is not UTF-8 text ({error.reason}); mend the row, or leave the column out."
        ) from error
