"""WAV, RF64 and W64: compares the header's lengths with the file's.

    RIFF size WAVE | fmt | … | data size samples… | LIST … | RIFF size WAVE …
                                    └ never filled in, or with the header counted in: read whole
                                    └ more than there is: cut off                 └ another file, joined
                                    └ less than there is, and no chunk or tag behind it: damaged

libsndfile reads a cut-off WAV as a shorter one, trusts a length of 0 and refuses joined files. Here the chunk list is
read and no samples, except when the length was never filled in: then the data are searched for joined files' headers.
"""

from __future__ import annotations

import dataclasses
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal

from snac_tok.audio.mpeg import probe_mpeg
from snac_tok.audio.probe_result import Piece, ProbeResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNKNOWN = 0xFFFF_FFFF
# Placeholders of writers to a pipe, which cannot go back to fill in the length: ffmpeg, espeak-ng and sox, lame,
# arecord, others; some subtract the header or round down.
_PLACEHOLDERS = (_UNKNOWN, 0xFFFF_F000, 0x8000_0000, 0x7FFF_FFFF, 0x7FFF_F000, 2_000_000_000)
_PLACEHOLDER_SLACK = 256
# By how much the data's length is too large with recorders that count the header, or a part of it.
_HEADER_PARTS = (4, 8, 12, 28, 36, 44)
# What programs leave behind a WAV without a word in its lengths.
_MAX_JUNK_BYTES = 1 << 10
# What may follow a whole WAV: tags of MP3 players, and another file or a list of texts, which may be cut off.
_FOREIGN = (b"APETAGEX", b"LYRICSBE", b"ID3", b"TAG", b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM", b"LIST")
# Far more than real files have; a crafted one could hold millions of empty chunks.
_MAX_CHUNKS = 1_000
_MAX_FORMAT_BYTES = 1 << 16
_MP3_TAG = 0x55
# PCM, MS ADPCM, float, A-law, µ-law, IMA ADPCM, GSM, G.721 and related, MP3, and libsndfile's NMS ADPCM.
_DECODABLE_TAGS = (1, 2, 3, 6, 7, 0x11, 0x31, 0x38, 0x40, 0x45, _MP3_TAG)
_EXTENSIBLE = 0xFFFE
_SCAN_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class _Wav:
    """Header of one WAV: where it begins, its format chunk, and where its sound is."""

    start: int
    order: str
    riff_end: int
    form: bytes
    data_at: int
    claimed: int | None

    @property
    def tag(self) -> int:
        """The codec."""
        order: Literal["big", "little"] = "big" if self.order == ">" else "little"
        tag = int.from_bytes(self.form[:2], order)
        return int.from_bytes(self.form[24:26], order) if tag == _EXTENSIBLE else tag

    @property
    def is_mp3(self) -> bool:
        """Whether it is MP3."""
        return self.tag == _MP3_TAG


def probe_riff(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe the WAV that begins at `start`.

    >>> import io
    >>> cut = b"RIFF____WAVE" + b"data" + (100).to_bytes(4, "little") + bytes(90)
    >>> probe_riff(io.BytesIO(cut), 0, len(cut)).fault
    'the header promises 10 bytes more than the file holds'
    """
    wav = _read_header(file, start, size)
    if wav is None or (wav.claimed == 0 and _is_empty(file, wav, size)):
        return ProbeResult()
    if not wav.claimed or _is_placeholder(wav):
        following = _next_header(file, wav.data_at, size)
        end = size if following is None else following
        return _with_mp3(file, wav, ProbeResult(pieces=(_mended(wav, end),), end=following), end)
    missing = max(0, wav.claimed - (size - wav.data_at))
    clause = f"the header promises {missing} bytes more than the file holds"
    end = min(size, wav.data_at + wav.claimed)
    if missing and not _counts_header(wav, missing, size):
        return _with_mp3(file, wav, ProbeResult(fault=clause), end)
    if stray := _stray_bytes(file, wav, size):
        clause = f"the header promises {wav.claimed} bytes of sound, and the {stray} bytes behind them are no chunk"
        return _with_mp3(file, wav, ProbeResult(fault=clause), end)
    note = f"{clause}, as if it counted itself" if missing and wav.riff_end > size else None
    return _with_mp3(
        file, wav, ProbeResult(note=note, end=_behind(file, wav.data_at + wav.claimed, size)), end
    )


def _with_mp3(file: BinaryIO, wav: _Wav, found: ProbeResult, end: int) -> ProbeResult:
    """Probe MP3 data by its frames; libsndfile would guess the length from the bitrate."""
    if not wav.is_mp3:
        return found
    inner = probe_mpeg(file, wav.data_at, end)
    if not inner.pieces:
        return found
    return dataclasses.replace(inner, fault=found.fault or inner.fault, note=found.note, end=found.end)


def is_decodable_wav(file: BinaryIO, start: int, size: int) -> bool:
    """Return whether libsndfile knows the codec that a WAV names, whether damaged or not."""
    wav = _read_header(file, start, size)
    return wav is None or wav.tag in _DECODABLE_TAGS


def probe_w64(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Probe Sony's 64-bit WAV: chunks have names of 16 bytes, and sizes of 8 bytes that include these 24."""
    form, at = b"", start + 40
    for _ in range(_MAX_CHUNKS):
        if at > size:  # a file may refuse to seek there: the decoder raises its own error
            return ProbeResult()
        file.seek(at)
        header = file.read(24)
        if len(header) < 24:  # noqa: PLR2004 - no data chunk: the decoder says so itself
            return ProbeResult()
        name, claimed = header[:4], int.from_bytes(header[16:], "little") - 24
        if name == b"fmt ":
            form = file.read(min(max(claimed, 0), _MAX_FORMAT_BYTES))
        if name == b"data":
            wav = _Wav(start=start, order="<", riff_end=size, form=form, data_at=at + 24, claimed=claimed)
            return _of_w64(file, wav, size)
        if claimed < 0:
            return ProbeResult()
        at += (claimed + 24 + 7) // 8 * 8
    return ProbeResult()


def _of_w64(file: BinaryIO, wav: _Wav, size: int) -> ProbeResult:
    claimed, held = wav.claimed or 0, size - wav.data_at
    if held > 0 and (claimed <= 0 or claimed >= 1 << 62):
        return ProbeResult(pieces=(_mended(wav, size),))
    if claimed > held:
        return ProbeResult(fault=f"the header promises {claimed - held} bytes more than the file holds")
    end = wav.data_at + (claimed + 7) // 8 * 8
    file.seek(end)
    return ProbeResult(end=end if file.read(4) == b"riff" else None)


def _read_header(file: BinaryIO, start: int, size: int) -> _Wav | None:
    """Find the data chunk; None if there is none."""
    file.seek(start)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    riff_end = start + 8 + struct.unpack(f"{order}I", head[4:8])[0]
    form, long_size = b"", None
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004 - no data chunk at all: the decoder says so itself
            return None
        name, claimed = struct.unpack(f"{order}4sI", header)
        body_at = file.tell()
        if name == b"data":
            if head[:4] == b"RF64" and claimed == _UNKNOWN:
                claimed = long_size
                riff_end = size
            return _Wav(
                start=start, order=order, riff_end=riff_end, form=form, data_at=body_at, claimed=claimed
            )
        if name == b"ds64":
            body = file.read(16)
            long_size = int.from_bytes(body[8:], "little") if len(body) == 16 else None  # noqa: PLR2004
            long_size = None if long_size == (1 << 64) - 1 else long_size
        if name == b"fmt ":
            form = file.read(min(claimed, _MAX_FORMAT_BYTES))
        file.seek(body_at + claimed + claimed % 2)  # chunks start at even offsets
    return None


def _is_placeholder(wav: _Wav) -> bool:
    """Return whether a length means "unknown": a file with that much sound would be longer."""
    slack = max(_PLACEHOLDER_SLACK, wav.data_at - wav.start)
    return any(-slack <= (wav.claimed or 0) - value <= slack for value in _PLACEHOLDERS)


def _counts_header(wav: _Wav, missing: int, size: int) -> bool:
    """Return whether a length counts header bytes, so that the file is not cut off.

    If the RIFF size fits the file, nothing was cut off. If it is too large, too, only a difference of exactly a header,
    or a known part of one, is accepted; at most a millisecond could be lost.
    """
    header = wav.data_at - wav.start
    if wav.riff_end <= size:
        return missing <= header
    return missing in (*_HEADER_PARTS, header)


def _is_empty(file: BinaryIO, wav: _Wav, size: int) -> bool:
    """Return whether a recording has no samples: nothing follows, or only chunks up to the header's end."""
    if wav.data_at >= size:
        return True
    if wav.riff_end < wav.data_at or wav.riff_end > size:
        return False
    return all(name.isascii() and name.isalnum() for name, _, _ in _chunks(file, wav.data_at, size)) and (
        _chunks_end(file, wav.data_at, size) >= wav.riff_end
    )


def _chunks(file: BinaryIO, at: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield name, offset and end of the chunks from `at` on, as long as they are within the file."""
    for _ in range(_MAX_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004 - a chunk's header
            return
        name, claimed = header[:4], int.from_bytes(header[4:], "little")
        end = at + 8 + claimed + claimed % 2
        yield name.strip(), at, end
        if end > size:
            return
        at = end


def _chunks_end(file: BinaryIO, at: int, size: int) -> int:
    return max((min(end, size + 1) for _, _, end in _chunks(file, at, size)), default=at)


def _stray_bytes(file: BinaryIO, wav: _Wav, size: int) -> int:
    """Count the bytes behind a WAV's lengths, if they are more than junk and begin with no chunk, tag or padding."""
    end = wav.data_at + (wav.claimed or 0)
    file.seek(wav.start)
    # Of RF64 only the data's length is read.
    if file.read(4) == b"RF64" or wav.riff_end > size:
        return 0
    # With both lengths short of the file, as in a header that was not updated for a recording's last part. RIFF's may
    # be too large by parts of the header, and point into what follows.
    is_short = wav.riff_end < size
    ends = {end, max(end, wav.riff_end)} if is_short else {end}
    places = {each + pad for each in ends for pad in (0, each % 2)}
    junk = _MAX_JUNK_BYTES if is_short else max(_HEADER_PARTS)
    if size - max(ends) <= junk or any(_is_chunk(file, wav, place, size) for place in places):
        return 0
    return 0 if is_short and any(_is_foreign(file, place) for place in places) else size - max(ends)


def _is_foreign(file: BinaryIO, at: int) -> bool:
    file.seek(at)
    return file.read(len(_FOREIGN[0])).startswith(_FOREIGN)


def _is_chunk(file: BinaryIO, wav: _Wav, at: int, size: int) -> bool:
    """Return whether a chunk begins at `at`, or zeros; writers may count a chunk's header in, or leave out its pad."""
    file.seek(at)
    header = file.read(8)
    if not any(header):
        return not any(file.read(_SCAN_BYTES))
    name, claimed = struct.unpack(f"{wav.order}4sI", header)
    return name.isascii() and name.decode().isprintable() and bool(at + claimed <= size)


def _behind(file: BinaryIO, end: int, size: int) -> int | None:
    """Return the offset of another WAV after the data; None if there is none."""
    if end >= size:
        return None
    for place in (end + end % 2, end):
        for name, at, _ in _chunks(file, place, size):
            if name in (b"RIFF", b"RIFX", b"RF64"):
                file.seek(at + 8)
                return at if file.read(4) == b"WAVE" else None
            if not (name.isascii() and name.isalnum()):
                break
    return None


def _next_header(file: BinaryIO, at: int, size: int) -> int | None:
    """Search the data of a WAV of unknown length for the header of another one."""
    mark, overlap = b"WAVEfmt ", 16
    while at < size:
        file.seek(at)
        block = file.read(_SCAN_BYTES + overlap)
        found = block.find(mark, 8)
        while found >= 0:
            if block[found - 8 : found - 4] in (b"RIFF", b"RF64"):
                return at + found - 8
            found = block.find(mark, found + 1)
        at += _SCAN_BYTES
    return None


def _mended(wav: _Wav, end: int) -> Piece:
    """Return the file with a new header that has the actual length."""
    num_bytes = end - wav.data_at
    pad = b"\0" * (len(wav.form) % 2)
    form = struct.pack(f"{wav.order}4sI", b"fmt ", len(wav.form)) + wav.form + pad
    if num_bytes < _UNKNOWN - (1 << 17):
        data = struct.pack(f"{wav.order}4sI", b"data", num_bytes)
        size = struct.pack(f"{wav.order}I", 4 + len(form) + len(data) + num_bytes)
        name = b"RIFX" if wav.order == ">" else b"RIFF"
        head = name + size + b"WAVE" + form + data
    else:
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, 4 + 36 + len(form) + 8 + num_bytes, num_bytes, 0, 0)
        head = b"RF64\xff\xff\xff\xffWAVE" + sizes + form + b"data\xff\xff\xff\xff"
    return Piece(stretches=((wav.data_at, end),), head=head)
