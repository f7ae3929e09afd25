"""AIFF, AU, CAF, NIST, VOC and WMA: compares the header's lengths with the file's.

libsndfile reads cut-off files as shorter ones, without an error. Only headers are read here, no samples.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from snac_tok.audio.probe_result import Piece, ProbeResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_CHUNKS = 1_000
_MAX_HEADER_BYTES = 1 << 16
_UNKNOWN = 0xFFFF_FFFF
_PLACEHOLDERS = (0, _UNKNOWN, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_F000, 0x7F00_0000)
_PLACEHOLDER_SLACK = 256
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SOUND_CHUNKS = (b"SSND", b"BODY")  # AIFF's and 8SVX's


def probe_aiff(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe an AIFF, AIFC, 8SVX or 16SV; its lengths are big-endian and it may lack the last chunks."""
    common = b""
    form_end = start + 8 + _big(_at(file, start + 4, 4))
    kind = _at(file, start + 8, 4)
    for name, body_at, claimed in _chunks(file, start + 12):
        if name == b"COMM":
            common = _at(file, body_at, min(claimed, _MAX_HEADER_BYTES))
        if name not in _SOUND_CHUNKS:
            continue
        held = size - body_at
        if _is_placeholder(claimed) and held > claimed and form_end not in range(body_at, size + 1):
            return _aiff_of_unknown_length(kind, common, body_at, size) if name == b"SSND" else ProbeResult()
        if claimed > held:
            return _cut(claimed - held)
        return _joined(file, (form_end, body_at + claimed + claimed % 2), b"FORM")
    # Some writers put the sound before COMM, which libsndfile reads, too; without sound libsndfile raises an error.
    return ProbeResult() if form_end <= size else _cut(form_end - size)


def probe_au(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe an AU (.snd); 0xFFFFFFFF means an unknown length.

    >>> import io
    >>> header = struct.pack(">4s5I", b".snd", 24, 1000, 3, 24000, 1)
    >>> probe_au(io.BytesIO(header + bytes(990)), 0, 1014).fault
    'the header promises 10 bytes more than the file holds'
    """
    header = _at(file, start, 24)
    if len(header) < 24:  # noqa: PLR2004 - the decoder says so itself
        return ProbeResult()
    order = ">" if header[:4] == b".snd" else "<"
    offset, claimed = struct.unpack(f"{order}2I", header[4:12])
    held = size - start - offset
    if claimed == _UNKNOWN:
        return ProbeResult()
    if _is_placeholder(claimed) and held > 0 and (claimed == 0 or claimed > held):
        head = header[:8] + b"\xff" * 4 + header[12:]
        rest = (start + len(head), size)
        return ProbeResult(pieces=(Piece(head=head, stretches=(rest,)),))
    if claimed > held:
        return _cut(claimed - held)
    return _joined(file, (start + offset + claimed,), header[:4])


def probe_caf(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe a CAF; a length of -1 means sound up to the end of the file."""
    end = start + 8
    for name, body_at, claimed in _chunks(file, end, long=True):
        held = size - body_at
        if name == b"data" and (claimed == -1 or claimed > held):
            # libsndfile refuses it as malformed, but reads it with a header that has the actual length.
            head = _at(file, start, body_at - 8 - start) + struct.pack(">q", max(held, 0))
            fault = None if claimed == -1 else _cut(claimed - held).fault
            return ProbeResult(pieces=(Piece(head=head, stretches=((body_at, size),)),), fault=fault)
        if claimed < 0 or claimed > held:
            return ProbeResult(fault=None if claimed < 0 else _cut(claimed - held).fault)
        end = body_at + claimed
        if _at(file, end, 4) == b"caff":
            return _joined(file, (end,), b"caff")
    return ProbeResult()


def probe_nist(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe a NIST SPHERE file: text fields, such as `sample_count -i 24000`."""
    first = _at(file, start, 16).split()
    if len(first) < 2 or not first[1].isdigit():  # noqa: PLR2004 - name and header length
        return ProbeResult()
    length = int(first[1])
    lines = _at(file, start, min(length, _MAX_HEADER_BYTES)).splitlines()
    fields = {parts[0]: parts[2] for line in lines if len(parts := line.split(maxsplit=2)) == 3}  # noqa: PLR2004
    if fields.get(b"sample_coding", b"pcm") not in (b"pcm", b"ulaw", b"mu-law", b"alaw"):
        return ProbeResult()
    counts = [fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes")]
    if not all(count.isdigit() for count in counts):
        return ProbeResult()
    num_samples, num_channels, num_bytes = map(int, counts)
    missing = length + num_samples * num_channels * num_bytes - (size - start)
    return _cut(missing) if missing > 0 else ProbeResult()


def probe_voc(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe a Creative Voice file: blocks with a kind and 24 bits of length, and a 0 after the last."""
    at = start + int.from_bytes(_at(file, start + 20, 2), "little")
    for _ in range(_MAX_CHUNKS):
        header = _at(file, at, 4)
        if len(header) < 4 or header[0] == 0:  # noqa: PLR2004 - kind and length
            return ProbeResult()
        at += 4 + int.from_bytes(header[1:], "little")
        if at > size:
            return _cut(at - size)
    return ProbeResult()


def probe_asf(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe a WMA: its file properties hold the size of the file, 0 if unknown."""
    header = _at(file, start, _MAX_HEADER_BYTES)
    place = header.find(_ASF_FILE_PROPERTIES)
    claimed = int.from_bytes(header[place + 40 : place + 48], "little") if place >= 0 else 0
    return _cut(start + claimed - size) if start + claimed > size else ProbeResult()


def _cut(missing: int) -> ProbeResult:
    return ProbeResult(fault=f"the header promises {missing} bytes more than the file holds")


def _joined(file: BinaryIO, ends: tuple[int, ...], magic: bytes) -> ProbeResult:
    """Return whether another file of the same kind begins where this one ends."""
    return ProbeResult(end=next((end for end in ends if _at(file, end, 4) == magic), None))


def _is_placeholder(claimed: int) -> bool:
    return any(value - _PLACEHOLDER_SLACK <= claimed <= value + _PLACEHOLDER_SLACK for value in _PLACEHOLDERS)


def _aiff_of_unknown_length(kind: bytes, common: bytes, body_at: int, size: int) -> ProbeResult:
    """Fill in the lengths of an AIFF that was written to a pipe."""
    if len(common) < 18:  # noqa: PLR2004 - COMM: channels, frames, bits, an 80-bit rate
        return ProbeResult()
    channels, _, bits = struct.unpack(">HIH", common[:8])
    num_bytes = size - body_at
    frames = (num_bytes - 8) // max(1, channels * ((bits + 7) // 8))
    mended = common[:2] + struct.pack(">I", frames) + common[6:]
    chunks = struct.pack(">4sI", b"COMM", len(mended)) + mended + b"\0" * (len(mended) % 2)
    head = struct.pack(">4sI4s", b"FORM", 4 + len(chunks) + 8 + num_bytes, kind) + chunks
    return ProbeResult(
        pieces=(Piece(head=head + struct.pack(">4sI", b"SSND", num_bytes), stretches=((body_at, size),)),)
    )


def _chunks(file: BinaryIO, at: int, *, long: bool = False) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and length of each chunk; `long` means lengths of 64 bits and no padding."""
    for _ in range(_MAX_CHUNKS):
        header = _at(file, at, 12 if long else 8)
        if len(header) < (12 if long else 8):
            return
        name, claimed = struct.unpack(">4sq" if long else ">4sI", header)
        at += len(header)
        yield name, at, claimed
        if claimed < 0:
            return
        at += claimed + (0 if long else claimed % 2)


def _at(file: BinaryIO, place: int, count: int) -> bytes:
    # A file on disk may refuse to seek far beyond its end; bytes in memory do not.
    if place > file.seek(0, os.SEEK_END):
        return b""
    file.seek(max(place, 0))
    return file.read(count)


def _big(number: bytes) -> int:
    return int.from_bytes(number, "big")
