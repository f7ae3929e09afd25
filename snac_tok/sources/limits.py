"""Which recordings are wanted, by the size of their files and the length of their sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.errors import AudioError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snac_tok.audio import Waveform

# What a decoding process may take where nobody says otherwise.
DECODE_TIMEOUT_SECONDS = 60.0
DECODE_MEMORY_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is left out. A recording outside is an `AudioError` with a code, like any that gives no record.

    Attributes:
        min_seconds: the shortest recording that is taken.
        max_seconds: the longest one; None takes any.
        max_bytes: the largest file; None takes any.

    Raises:
        SourceError: limits that nothing can meet.

    >>> Limits(min_seconds=0.5).check_seconds(0.25)
    Traceback (most recent call last):
    snac_tok.errors.AudioError: it lasts 0.25 s, which is shorter than 0.5 s.
    """

    min_seconds: float = 0.0
    max_seconds: float | None = None
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        # 1 and 1.0 ask for the same and are to be stored alike.
        object.__setattr__(self, "min_seconds", float(self.min_seconds))
        object.__setattr__(self, "max_seconds", None if self.max_seconds is None else float(self.max_seconds))
        most = float("inf") if self.max_seconds is None else self.max_seconds
        if not 0 <= self.min_seconds <= most or not most > 0:
            raise SourceError(
                f"recordings of {self.min_seconds:g} s to {most:g} s were asked for; the first number must be at least "
                "0, and the second larger."
            )
        if self.max_bytes is not None and self.max_bytes < 1:
            raise SourceError(
                f"files of at most {self.max_bytes} bytes were asked for; at least 1 is needed."
            )

    def check_bytes(self, num_bytes: int | None) -> None:
        """Refuse a file that is too large, before it is opened."""
        if self.max_bytes is not None and num_bytes is not None and num_bytes > self.max_bytes:
            raise AudioError(
                f"it has {num_bytes} bytes, which is more than {self.max_bytes}.", code="too-large"
            )

    def check_seconds(self, seconds: float) -> None:
        """Refuse sound that is too short or too long."""
        if seconds < self.min_seconds:
            raise AudioError(
                f"it lasts {seconds:.3g} s, which is shorter than {self.min_seconds:g} s.", code="too-short"
            )
        if self.max_seconds is not None and seconds > self.max_seconds:
            raise AudioError(f"it is longer than {self.max_seconds:g} s.", code="too-long")

    def checked(self, blocks: Iterable[Waveform]) -> Iterator[Waveform]:
        """Yield the blocks of one recording; refuse it as soon as it is too long, or at its end if it is too short."""
        seconds = 0.0
        for block in blocks:
            seconds += block.duration_seconds
            if self.max_seconds is not None:
                self.check_seconds(max(seconds, self.min_seconds))
            yield block
        self.check_seconds(seconds)
