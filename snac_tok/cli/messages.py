"""What the program says to people: on stderr, one line each; stdout belongs to results."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import click

from snac_tok.wording import printable


def say(message: str) -> None:
    """Print one line on stderr, with the program's name before it; a progress bar steps aside for it."""
    tqdm = sys.modules.get("tqdm")  # where there is a bar, it has been imported
    with tqdm.tqdm.external_write_mode(file=sys.stderr) if tqdm else nullcontext():
        click.echo(f"snac-tok: {printable(' '.join(message.split()))}", err=True)


def examples(*lines: str) -> str:
    """Return a command's epilog with these lines, which click leaves as they are."""
    # A backspace alone on its line is click's mark for a paragraph that is not wrapped.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
