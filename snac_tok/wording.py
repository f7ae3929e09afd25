"""Numbers, names and tables as people read them: for reports, messages and terminals; it decides nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS_PER_HOUR = 3600
# How much of a name from somebody's file a message shows.
_SHOWN = 80


def printable(text: str) -> str:
    r"""Return a text without signs that a terminal would obey: names come from files of other people.

    >>> printable("a\x1b[2J.wav")
    'a\\x1b[2J.wav'
    """
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def shortened(name: str) -> str:
    """Return a name in quotes, as much of it as one line takes.

    >>> shortened("a.wav"), len(shortened("a" * 1000))
    ("'a.wav'", 83)
    """
    return repr(name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…")


def what_came(value: Any) -> str:
    """Return how a message names an argument of a wrong kind: a short value itself, of anything else its kind.

    >>> what_came("tiny"), what_came(None), what_came(3), what_came([1, 2])
    ("'tiny'", 'None', '3', 'a list')
    """
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        return shortened(value)
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one.

    >>> counted(1, "clip"), counted(1200, "clip")
    ('1 clip', '1,200 clips')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """Return a length of time as people say it.

    >>> lasting(1.9), lasting(754), lasting(7200)
    ('1.90 s', '12 min 34 s', '2 h 00 min')
    """
    if seconds < 60:  # noqa: PLR2004
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def lasting_hours(hours: float) -> str:
    """Return hours of sound as a number and as people say it.

    >>> lasting_hours(0.5)
    '0.5000 h (30 min 00 s)'
    """
    return f"{hours:.4f} h ({lasting(hours * SECONDS_PER_HOUR)})"


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values as two aligned columns.

    >>> print(facts([("hop", "512 samples"), ("rate", "24000 Hz")]))
    hop   512 samples
    rate  24000 Hz
    """
    return aligned([(name, printable(value)) for name, value in rows], to_the_right=(False, False))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return numbers under their headings, aligned to the right.

    >>> print(table(["level", "used"], [[0, "9 %"], [1, "100 %"]]))
    level   used
        0    9 %
        1  100 %
    """
    return aligned([head, *([str(cell) for cell in row] for row in rows)], to_the_right=[True] * len(head))


def aligned(rows: Sequence[Sequence[str]], *, to_the_right: Sequence[bool]) -> str:
    """Return rows of cells as lines, every column as wide as its widest cell.

    >>> print(aligned([["name", "size"], ["a", "10"]], to_the_right=[False, True]))
    name  size
    a       10
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_the_right, strict=True)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
