"""The result of probing a file: the sound files in it, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One sound file inside a file, as a decoder should see it.

    Attributes:
        stretches: first byte and last byte + 1 of each of its parts.
        head: bytes put before the first stretch, such as a corrected header.
        skip: samples at the beginning that come only from the head.

    >>> Piece(stretches=((100, 200),)).start
    100
    """

    stretches: tuple[tuple[int, int], ...]
    head: bytes = b""
    skip: int = 0

    @property
    def start(self) -> int:
        """Its offset in the file."""
        return self.stretches[0][0] if self.stretches else 0


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a container says about itself.

    Attributes:
        pieces: the sound files to decode one after another; empty if the decoder can read the file as it is.
        fault: the sign that sound is missing, as a clause; None for a complete file.
        note: an oddity that loses no sound, as a clause.
        is_mpeg: whether libmpg123 will decode it.
        end: where the sound file ends according to its header, if something follows; joined files begin there.
    """

    pieces: tuple[Piece, ...] = ()
    fault: str | None = None
    note: str | None = None
    is_mpeg: bool = False
    end: int | None = None
