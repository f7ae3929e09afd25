"""What a file holds, by its container's own account: how many sound files, whether whole, and where.

libsndfile believes lengths that no writer meant, stops after the first of several joined files, and shortens a file
that was cut off without a word. Each container's module compares its sizes with the file; no samples are read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from snac_tok.audio.flac import survey_flac
from snac_tok.audio.foreign import foreign_kind
from snac_tok.audio.iff import survey_aiff, survey_asf, survey_au, survey_caf, survey_nist, survey_voc
from snac_tok.audio.mpeg import looks_like_mpeg, survey_mpeg
from snac_tok.audio.mpeg_frames import tag_end
from snac_tok.audio.ogg import survey_ogg
from snac_tok.audio.pieces import Piece, Survey
from snac_tok.audio.riff import survey_riff, survey_w64

if TYPE_CHECKING:
    from collections.abc import Callable

_Surveyor: TypeAlias = "Callable[[BinaryIO, int, int], Survey]"

_BY_MAGIC: dict[bytes, _Surveyor] = {
    b"RIFF": survey_riff,
    b"RIFX": survey_riff,
    b"RF64": survey_riff,
    b"riff": survey_w64,
    b"FORM": survey_aiff,
    b".snd": survey_au,
    b"dns.": survey_au,
    b"caff": survey_caf,
    b"Crea": survey_voc,
    b"fLaC": survey_flac,
    b"\x30\x26\xb2\x75": survey_asf,
    b"NIST": survey_nist,
    b"OggS": survey_ogg,
}


def survey(file: BinaryIO) -> Survey:
    """Return what the container tells of a file that can seek; it stays where it was.

    >>> import io
    >>> survey(io.BytesIO(b"RIFF____WAVEdata" + (100).to_bytes(4, "little"))).fault
    'the header promises 100 bytes more than the file holds'
    """
    here = file.tell()
    try:
        return _survey_from(file, here)
    finally:
        file.seek(here)


def _survey_from(file: BinaryIO, start: int) -> Survey:
    size, at = file.seek(0, os.SEEK_END), start
    file.seek(at)
    beginning = file.read(16)
    if beginning.startswith(b"ID3"):
        at = tag_end(file, start, size)
        file.seek(at)
        beginning = file.read(16)
    known = _BY_MAGIC.get(beginning[:4])
    if known is not None:
        return _joined(file, known, at, size)
    if foreign_kind(beginning) is None and looks_like_mpeg(file, at, size):
        return survey_mpeg(file, at, size)
    return Survey()


def _joined(file: BinaryIO, known: _Surveyor, start: int, size: int) -> Survey:
    """Survey the files of a kind that follow one another."""
    first = found = known(file, start, size)
    if first.end is None:
        return first
    pieces: list[Piece] = []
    fault, note = first.fault, first.note
    at: int | None = start
    while at is not None:
        pieces += found.pieces or [Piece(stretches=((at, size if found.end is None else found.end),))]
        at = found.end
        if at is not None:
            found = known(file, at, size)
            fault, note = fault or found.fault, note or found.note
    return Survey(pieces=tuple(pieces), fault=fault, note=note, is_mpeg=first.is_mpeg)
