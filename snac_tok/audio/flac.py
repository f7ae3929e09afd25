"""FLAC files joined byte by byte; libsndfile reads only the first."""

from __future__ import annotations

from typing import BinaryIO

from snac_tok.audio.probe_result import Piece, ProbeResult

# The magic, and the header of the block that is always first: STREAMINFO, 34 bytes.
_MARK = b"fLaC\0\0\0\x22"
_LAST_MARK = b"fLaC\x80\0\0\x22"  # if no other block follows
_SCAN_BYTES = 1 << 20


def probe_flac(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Return the pieces of a FLAC whose header has no length: only a search finds its end.

    If the header has the length, the decoder notices that something follows: see `FlacReader`.
    """
    file.seek(start + 18)
    if int.from_bytes(file.read(8), "big") & (1 << 36) - 1:
        return ProbeResult()
    pieces = flac_pieces(file, start, size)
    return ProbeResult(pieces=pieces if len(pieces) > 1 else ())


def flac_pieces(file: BinaryIO, start: int, size: int) -> tuple[Piece, ...]:
    """Return every FLAC file that begins at `start` or later.

    >>> import io
    >>> [piece.start for piece in flac_pieces(io.BytesIO(_MARK + bytes(92) + _MARK), 0, 108)]
    [0, 100]
    """
    starts: set[int] = set()
    at = start
    while at < size:
        file.seek(at)
        block = file.read(_SCAN_BYTES + len(_MARK) - 1)
        for mark in (_MARK, _LAST_MARK):
            found = block.find(mark)
            while found >= 0:
                starts.add(at + found)
                found = block.find(mark, found + 1)
        at += _SCAN_BYTES
    ordered = sorted(starts)
    return tuple(
        Piece(stretches=((begin, end),)) for begin, end in zip(ordered, [*ordered[1:], size], strict=False)
    )
