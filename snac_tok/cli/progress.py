"""The bar on stderr that tells how far a command is and how long the rest will take."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

import click

if TYPE_CHECKING:
    from types import TracebackType

progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="A bar on stderr; by default where that is a terminal and there is more than one thing to do.",
)


def is_wanted(progress: bool | None, *, things: int) -> bool:
    """Tell whether there is to be a bar, from what --progress says (None: nothing) and how much there is to do."""
    return sys.stderr.isatty() and things > 1 if progress is None else progress


class ProgressBar:
    """A bar with the remaining time, to be used in a `with`; `messages.say` does not run into it.

    Args:
        what: is being done.
        unit: of the work; "B" is shown as kB, MB, ….
        shown: whether there is to be a bar.
        total: of the work, in `unit`; None where `show` will tell.
        done: how much of it was done before; the remaining time is reckoned without it.
    """

    def __init__(self, what: str, *, unit: str, shown: bool, total: int | None = None, done: int = 0) -> None:
        from tqdm import tqdm

        self._bar = tqdm(
            desc=what,
            total=total,
            initial=done,
            unit=unit,
            unit_scale=unit == "B",
            disable=not shown,
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def advance(self, amount: int) -> None:
        """Go on by so much."""
        self._bar.update(amount)

    def show(self, *, done: int, total: int, note: str) -> None:
        """Go to a place of a total, with a note beside the bar."""
        self._bar.total = total
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)
