r"""A server's answer, as its bytes or its text arrive, to lines: cut anywhere, or lines whose ends a client took away.

    cut anywhere        'data: {"a"'  ': 1}\n\nda'  'ta: {"a": 2}\n\n'
    lines without ends  'data: {"a": 1}'  ''  'data: {"a": 2}'  ''

A piece does not say which of the two it is. Two things hold in both: JSON that is whole ends its line, and as long as
no end of a line came, a field's name outside of JSON's strings begins one. An empty piece says nothing.
"""

from __future__ import annotations

import codecs
import io
import json
import re

from snac_tok.errors import TokenError

BYTE_ORDER_MARK = "\ufeff"
_DATA = "data:"
_STARTS = (_DATA, "{", "[")
_FIELDS = (_DATA, "error:", "event:", "id:", "retry:")
_IN_STRING = re.compile(r'["\\]')
_OUTSIDE = re.compile(r'["{}\[\]]')


class ResponseLines:
    r"""Takes pieces of an answer and returns the lines that they complete, without their ends.

    Behind a line that ended with its JSON comes an empty one, which ends an event.

    Example:
        >>> lines = ResponseLines()
        >>> lines.push(b'data: {"a"'), lines.push(b": 1}"), lines.push(b"data: [DONE]")
        ([], ['data: {"a": 1}', ''], ['data: [DONE]', ''])
        >>> lines.push("\n: still here\nda"), lines.flush()
        (['', ': still here'], ['da'])
    """

    def __init__(self) -> None:
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        # Lines may end with \r\n, \n or \r; a \r waits for the next piece, which may begin with its \n.
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)
        self._line = _Line()
        # Nobody reads it; what seems to begin a line behind it may be its words.
        self._comment: list[str] = []
        self._have_ends = False
        self._is_doubtful = False

    def push(self, data: bytes | str) -> list[str]:
        """Take the next bytes or characters."""
        text = self._newlines.decode(data if isinstance(data, str) else self._bytes.decode(data))
        first, *others = text.split("\n")
        if not others:
            return self._unended(first)
        *lines, last = "".join((*self._comment, self._line.text, first)), *others
        # Behind a line of data comes another one of the same event, or an empty line: brackets say nothing there.
        starts = () if lines[-1].startswith(_DATA) else (_DATA,)
        self._comment, self._line, self._have_ends = [], _Line(starts), True
        return lines + self._unended(last)

    def flush(self) -> list[str]:
        """End the answer and return what is left of it.

        Raises:
            TokenError: lines without their ends, of which one is cut: those behind it may belong to it.
        """
        lines = self.push(self._newlines.decode(self._bytes.decode(b"", final=True), final=True))
        rest, self._line = self._line, _Line()
        if rest.json.is_open and self._is_doubtful and not self._have_ends:
            raise TokenError(
                "these are lines without their ends, and one of them is no whole event, so that nothing says where it "
                "ends; hand over the server's bytes as they come, or lines with their ends."
            )
        return [*lines, rest.text] if rest.pieces else lines

    def _unended(self, piece: str) -> list[str]:
        """Take a piece without an end of a line in it."""
        lines = self._end_in_front() if self._begins_line(piece) else []
        while piece:
            end = self._line.push(piece)
            if end is None:
                break
            lines += self._end_line()
            piece = piece[end:]
        return lines

    def _begins_line(self, piece: str) -> bool:
        if self._have_ends or not self._line.pieces or not piece.startswith(_FIELDS):
            return False
        if self._line.json.in_string and not _is_event(piece):
            # A text may hold such a word, too.
            self._is_doubtful = True
            return False
        return True

    def _end_in_front(self) -> list[str]:
        text = self._line.text
        goes_on = bool(self._comment) and not (self._line.json.is_open or text.startswith("error:"))
        if not text.startswith(":") and not goes_on:
            return self._end_line()
        self._comment.append(text)
        self._line = _Line()
        return []

    def _end_line(self) -> list[str]:
        line, self._line = self._line, _Line((_DATA,) if self._have_ends else _STARTS)
        self._comment, self._is_doubtful = [], False
        if line.json.is_open and not line.json.in_string:
            # The next line of the same event.
            self._line.json = line.json
            return [line.text]
        return [line.text, ""]


class _Line:
    """A line whose end has not come.

    Args:
        starts: what a line begins with that may end with its JSON.
    """

    def __init__(self, starts: tuple[str, ...] = _STARTS) -> None:
        self.pieces: list[str] = []
        self.json = _JsonEnd()
        self._starts = starts
        self._is_searched: bool | None = None  # None: too short to say
        self._head = ""  # what there is of it then

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def push(self, piece: str) -> int | None:
        """Take a piece as far as the line goes: return where in it JSON has made the line whole, if so."""
        end = self.json.find(piece, self._start_in(piece)) if self._is_searched is not False else None
        self.pieces.append(piece[:end])
        return end

    def _start_in(self, piece: str) -> int:
        """Return where in a piece to search for the end of JSON: behind it where there is none to search for."""
        if self._is_searched:
            return 0
        line = (self._head + piece).lstrip(BYTE_ORDER_MARK).lstrip()
        if line.startswith(self._starts):
            self._is_searched = True
            name = len(_DATA) if line.startswith(_DATA) else 0
            return max(0, len(piece) - len(line) + name)
        self._head, self._is_searched = line, None if _DATA.startswith(line) else False
        return len(piece)


class _JsonEnd:
    """Looks for the end of an object or a list in JSON that comes in pieces: each character is looked at once."""

    def __init__(self) -> None:
        self.in_string = False
        self._depth = 0
        self._is_escaped = False

    @property
    def is_open(self) -> bool:
        """Whether JSON has begun and not ended."""
        return self._depth > 0

    def find(self, piece: str, start: int) -> int | None:
        """Return the place behind the last bracket, None where it is not in this piece."""
        place = start + self._is_escaped if start < len(piece) else start
        self._is_escaped &= start >= len(piece)
        while found := (_IN_STRING if self.in_string else _OUTSIDE).search(piece, place):
            place = found.end()
            if found[0] == "\\":
                self._is_escaped = place == len(piece)
                place += 1
            elif found[0] == '"':
                self.in_string = not self.in_string
            else:
                self._depth += 1 if found[0] in "{[" else -1
                if self._depth <= 0:
                    self._depth = 0
                    return place
        return None


def _is_event(piece: str) -> bool:
    """Say whether a piece is one event and whole: no part of a text in JSON, where a quote has a backslash."""
    data = piece.removeprefix(_DATA).strip()
    if data == piece.strip() or not data.startswith('{"'):
        return False
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
