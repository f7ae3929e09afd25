"""What tells on stderr how far a command is and how long the rest will take: a bar, or a line a minute."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

import click

from snac_tok.cli.messages import say
from snac_tok.wording import counted, lasting

if TYPE_CHECKING:
    from types import TracebackType

    from snac_tok.corpus import Progress

# A log file gets a line so often.
_LINE_SECONDS = 60.0

progress_option = click.option(
    "--progress/--no-progress",
    default=None,
    help="A bar on stderr; by default where that is a terminal and there is more than one thing to do.",
)


def is_wanted(progress: bool | None, *, things: int) -> bool:
    """Tell whether there is to be a bar, from what --progress says (None: nothing) and how much there is to do."""
    if sys.stderr is None:  # as after 2>&-
        return False
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


class LongProgress:
    """How far a run over a corpus is: a bar in a terminal, a line a minute elsewhere; to be used in a `with`.

    Args:
        what: is being done.
        bar: whether there is to be a bar.
        lines: whether lines are written if there is none.
        line_seconds: how often.
    """

    def __init__(
        self, what: str, *, bar: bool, lines: bool = True, line_seconds: float = _LINE_SECONDS
    ) -> None:
        self._what, self._bar = what, ProgressBar(what, unit="B", shown=bar)
        self._has_lines = lines and not bar
        self._line_seconds = line_seconds
        self._begun = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def show(self, state: Progress) -> None:
        """Show a state; bytes of source files tell the remaining time better than their number."""
        now = time.monotonic()
        if state.is_comparing:
            self._begun = now  # what follows takes another time
        shares = _shares(state, now - self._begun)
        self._bar.show(done=state.done_bytes, total=state.total_bytes, note=f"{_note(state)}{shares}")
        if self._has_lines and now - self._told >= self._line_seconds:
            self._told = now
            say(f"{self._what}: {_note(state)}{_pace(state, now - self._begun)}{shares}")


def _note(state: Progress) -> str:
    clips = f"{state.done_files}/{counted(state.total_files, 'clip')}"
    failed = f", {state.num_failures:,} failed" if state.num_failures else ""
    left_out = f", {state.num_left_out:,} left out" if state.num_left_out else ""
    if state.is_comparing:
        return f"{clips} compared"
    return f"{clips}{failed}{left_out}, {lasting(state.duration_seconds)} of sound"


def _pace(state: Progress, seconds: float) -> str:
    """How many times faster than real time, and how long the rest will take."""
    if state.is_comparing:
        return ""
    done = state.done_bytes - state.adopted_bytes
    rest = (state.total_bytes - state.done_bytes) * seconds / done if done else 0.0
    return f", {state.duration_seconds / seconds:.1f} times real time, {lasting(rest)} left"


def _shares(state: Progress, seconds: float) -> str:
    """What the encoding process does with its time."""
    if not (state.encoding_seconds and seconds):
        return ""
    encoding, reading = state.encoding_seconds / seconds, state.reading_seconds / seconds
    return f"; {encoding:.0%} encoding, {reading:.0%} waiting for files"


def decoding_bar(num_records: int, progress: bool | None) -> ProgressBar:
    """Return the bar of so many recordings to decode."""
    shown = is_wanted(progress, things=num_records)
    return ProgressBar("decoding", unit="record", shown=shown, total=num_records)
