"""What the program says to people: on stderr, one line each; and its results, which go to stdout."""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING

import click

from snac_tok.wording import printable

if TYPE_CHECKING:
    from collections.abc import Iterator


def say(message: str) -> None:
    """Print one line on stderr, with the program's name before it; a progress bar steps aside for it."""
    tqdm = sys.modules.get("tqdm")  # where there is a bar, it has been imported
    with tqdm.tqdm.external_write_mode(file=sys.stderr) if tqdm else nullcontext():
        click.echo(f"snac-tok: {printable(' '.join(message.split()))}", err=True)


def print_result(text: str, *, nl: bool = True) -> None:
    """Print what a command was asked for, or what it has done; a program without stdout says nothing of the latter.

    Raises:
        click.ClickException: stdout cannot be written.
    """
    with _naming_stdout():
        click.echo(text, nl=nl)


@contextmanager
def standard_output() -> Iterator[IO[bytes]]:
    """Yield stdout for writing bytes; what was printed before stands before them.

    Raises:
        click.ClickException: stdout is closed, or cannot be written.
    """
    refuse_closed_stdout()
    with _naming_stdout():
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.flush()  # here, because at the program's end nobody could say what failed


def refuse_closed_stdout() -> None:
    """Stop before any work whose result would be printed where nobody can read it.

    Raises:
        click.ClickException: the program was started without stdout.
    """
    if sys.stdout is None:
        raise click.ClickException(
            "stdout is closed, and the result is printed there; send it to a file, > FILE, or pipe it into a program"
        )


@contextmanager
def _naming_stdout() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.ClickException(unwritable_stdout(error)) from error


def unwritable_stdout(error: OSError) -> str:
    """Return what to tell where stdout refuses what is printed.

    >>> unwritable_stdout(OSError(5, "Input/output error"))
    'stdout cannot be written (Input/output error); send it to another place.'
    """
    room = "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"stdout cannot be written ({error.strerror or error}); {room}send it to another place."


def examples(*lines: str) -> str:
    """Return a command's epilog with these lines, which click leaves as they are."""
    # A backspace alone on its line is click's mark for a paragraph that is not wrapped.
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])
