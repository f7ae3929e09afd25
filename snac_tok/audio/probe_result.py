"""What a probe of a file finds: the sound files in it, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One sound file inside a file, as a decoder is to see it.

    Attributes:
        stretches: first byte and last byte + 1 of each part that belongs to it.
        head: bytes before the first stretch, such as a header in place of one that is wrong.
        skip: samples at the beginning that come of the head alone.

    >>> Piece(stretches=((100, 200),)).start
    100
    """

    stretches: tuple[tuple[int, int], ...]
    head: bytes = b""
    skip: int = 0

    @property
    def start(self) -> int:
        """Where it begins in the file."""
        return self.stretches[0][0] if self.stretches else 0


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a container tells of itself.

    Attributes:
        pieces: the sound files to decode one after another; none where the decoder can have the file as it is.
        fault: what shows that sound is missing, as a clause; None for a whole file.
        note: what is odd and costs no sound, as a clause.
        is_mpeg: whether libmpg123 will decode it.
        end: where the sound file ends by its own account, if something follows; joined files begin there.
    """

    pieces: tuple[Piece, ...] = ()
    fault: str | None = None
    note: str | None = None
    is_mpeg: bool = False
    end: int | None = None
