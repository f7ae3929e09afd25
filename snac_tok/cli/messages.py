"""What the program says to people: on stderr, one line each; stdout belongs to results."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

# How much of a name from somebody's file a message shows.
_SHOWN = 80


def say(message: str) -> None:
    """Print one line on stderr, with the program's name before it; a progress bar steps aside for it."""
    tqdm = sys.modules.get("tqdm")  # where there is a bar, it has been imported
    with tqdm.tqdm.external_write_mode(file=sys.stderr) if tqdm else nullcontext():
        click.echo(f"snac-tok: {printable(' '.join(message.split()))}", err=True)


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


def examples(*lines: str) -> str:
    """Return a command's epilog with these lines, which click leaves as they are."""
    # A backspace alone on its line is click's mark for a paragraph that is not wrapped.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values as two aligned columns.

    >>> print(facts([("hop", "512 samples"), ("rate", "24000 Hz")]))
    hop   512 samples
    rate  24000 Hz
    """
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name.ljust(width)}  {printable(value)}".rstrip() for name, value in rows)


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return numbers under their headings, aligned to the right.

    >>> print(table(["level", "used"], [[0, "9 %"], [1, "100 %"]]))
    level   used
        0    9 %
        1  100 %
    """
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


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
