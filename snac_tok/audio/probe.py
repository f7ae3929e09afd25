"""What a file's container says: how many sound files it holds, where they are, and whether they are complete.

libsndfile trusts placeholder lengths, stops after the first of several joined files, and reads a cut-off file as a
shorter one, without an error. Each container's module compares its sizes with the file's; no samples are read.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from snac_tok.audio.flac import probe_flac
from snac_tok.audio.foreign import foreign_kind
from snac_tok.audio.iff import probe_aiff, probe_asf, probe_au, probe_caf, probe_nist, probe_voc
from snac_tok.audio.mpeg import looks_like_mpeg, probe_mpeg
from snac_tok.audio.mpeg_frames import tag_end
from snac_tok.audio.ogg import probe_ogg
from snac_tok.audio.probe_result import Piece, ProbeResult
from snac_tok.audio.riff import probe_riff, probe_w64

if TYPE_CHECKING:
    from collections.abc import Callable

_Prober: TypeAlias = "Callable[[BinaryIO, int, int], ProbeResult]"

_BY_MAGIC: dict[bytes, _Prober] = {
    b"RIFF": probe_riff,
    b"RIFX": probe_riff,
    b"RF64": probe_riff,
    b"riff": probe_w64,
    b"FORM": probe_aiff,
    b".snd": probe_au,
    b"dns.": probe_au,
    b"caff": probe_caf,
    b"Crea": probe_voc,
    b"fLaC": probe_flac,
    b"\x30\x26\xb2\x75": probe_asf,
    b"NIST": probe_nist,
    b"OggS": probe_ogg,
}


def probe(file: BinaryIO) -> ProbeResult:
    """Probe a seekable file by its container; the file's position stays the same.

    >>> import io
    >>> probe(io.BytesIO(b"RIFF____WAVEdata" + (100).to_bytes(4, "little"))).fault
    'the header promises 100 bytes more than the file holds'
    """
    here = file.tell()
    try:
        return _probe_from(file, here)
    finally:
        file.seek(here)


def _probe_from(file: BinaryIO, start: int) -> ProbeResult:
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
        return probe_mpeg(file, at, size)
    return ProbeResult()


def _joined(file: BinaryIO, known: _Prober, start: int, size: int) -> ProbeResult:
    """Probe joined files of one kind."""
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
    return ProbeResult(pieces=tuple(pieces), fault=fault, note=note, is_mpeg=first.is_mpeg)
