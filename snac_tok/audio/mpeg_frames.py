"""Frames of MPEG audio by their headers, and the tags between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from snac_tok.audio.windows import Window

# ISO 11172-3 and 13818-3: kb/s by layer and index; index 0 is "free", 15 is forbidden.
_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {
    3: (44100, 48000, 32000),
    2: (22050, 24000, 16000),
    0: (11025, 12000, 8000),
}  # by the header's version bits
MPEG_1 = 3
MONO = 0xC0  # the channel mode in the header's last byte; no mode is larger
_ID3_HEADER_BYTES, _APE_HEADER_BYTES = 10, 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """The meaning of the two bytes after 0xFF.

    Attributes:
        num_bytes: size of the frame, header included.
        kind: version bits, layer and rate, which are the same within a file.
        is_protected: whether two bytes of checksum follow the header.
    """

    num_bytes: int
    kind: tuple[int, int, int]
    is_protected: bool


def _frame(word: int) -> Frame | None:
    """Return the meaning of a header's second and third byte; None if they do not give a frame's length."""
    version, layer = word >> 11 & 3, 4 - (word >> 9 & 3)
    index, rate_index, padding = word >> 4 & 15, word >> 2 & 3, word >> 1 & 1
    if word >> 13 != 7 or version == 1 or layer == 4 or index in (0, 15) or rate_index == 3:  # noqa: PLR2004
        return None
    rate = _RATES[version][rate_index]
    bits = 1000 * _KBPS[1 if version == MPEG_1 else 2, layer][index - 1]
    if layer == 1:
        num_bytes = (12 * bits // rate + padding) * 4
    else:
        num_bytes = (72 if layer == 3 and version != MPEG_1 else 144) * bits // rate + padding  # noqa: PLR2004
    return Frame(num_bytes=num_bytes, kind=(version, layer, rate), is_protected=not word >> 8 & 1)


FRAMES = {word: frame for word in range(7 << 13, 1 << 16) if (frame := _frame(word))}


def tag_end(file: BinaryIO, start: int, size: int) -> int:
    r"""Return the end of the ID3v2 tags at the beginning.

    >>> import io
    >>> tag_end(io.BytesIO(b"ID3\x04\0\0\0\0\0\x05title" + bytes(9)), 0, 24)
    15
    """
    at = start
    while True:
        file.seek(at)
        length = id3_length(file.read(_ID3_HEADER_BYTES))
        if length is None or at + length >= size:
            return at
        at += length


def whole_frame(content: Window, at: int) -> Frame | None:
    """Return the frame at an offset, if it is complete."""
    header = content.part(at, 4)
    if len(header) < 4 or header[0] != 0xFF:  # noqa: PLR2004
        return None
    frame = FRAMES.get(header[1] << 8 | header[2])
    return frame if frame is not None and at + frame.num_bytes <= content.size else None


def find_chain(content: Window, at: int, count: int, *, stop: int | None = None) -> int | None:
    """Return the offset of `count` consecutive frames of one kind, or of fewer that a tag or the end follows."""
    while (at := content.find(b"\xff", at)) >= 0 and (stop is None or at < stop):
        frame = whole_frame(content, at)
        if frame is not None and _is_chain(content, at, frame, count):
            return at
        at += 1
    return None


def _is_chain(content: Window, at: int, first: Frame, count: int) -> bool:
    for _ in range(count):
        frame = whole_frame(content, at)
        if frame is None or frame.kind != first.kind:
            return at == content.size or tag_length(content, at) is not None
        at += frame.num_bytes
    return True


def zeros_end(content: Window, at: int) -> int:
    """Return the end of the zeros from an offset on."""
    while at < content.size:
        block = content.part(at, 4096)
        rest = len(block.lstrip(b"\0"))
        at += len(block) - rest
        if rest:
            break
    return at


def id3_length(head: bytes) -> int | None:
    """Return an ID3v2 tag's size from its first ten bytes; None if it is not a tag."""
    if len(head) < _ID3_HEADER_BYTES or head[:3] != b"ID3" or max(head[6:10]) > 127:  # noqa: PLR2004 - 7 bits a byte
        return None
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return _ID3_HEADER_BYTES * (2 if head[5] & 0x10 else 1) + size


def tag_length(content: Window, at: int) -> int | None:
    """Return the size of a tag of any kind; None if there is no tag."""
    head = content.part(at, _APE_HEADER_BYTES)
    if head.startswith(b"ID3"):
        return id3_length(head)
    if head.startswith(b"TAG"):
        return 227 if head.startswith(b"TAG+") else 128
    if head.startswith(b"APETAGEX"):
        is_header = bool(int.from_bytes(head[20:24], "little") & 1 << 29)
        return _APE_HEADER_BYTES + (int.from_bytes(head[12:16], "little") if is_header else 0)
    if head.startswith(b"LYRICSBEGIN"):
        ends = [content.find(mark, at) for mark in (b"LYRICS200", b"LYRICSEND")]
        return min((end + 9 - at for end in ends if end >= 0), default=None)
    return None
