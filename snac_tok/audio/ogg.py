"""Ogg: its pages, and the links, damage and missing ends that they show.

    BOS page … page … EOS page | BOS page … page … EOS page          a chain of two links, which is legal Ogg

libsndfile reads only the first link, skips damaged pages, and accepts a file whose end is missing. Pages have a
checksum, a number, and a flag at the end of each stream: these are checked here, and nothing is decoded.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from snac_tok.audio.probe_result import Piece, ProbeResult

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")  # magic, version, flags, position, serial, number, checksum, segments
_BEGINS, _ENDS = 2, 4
_SCAN_BYTES = 1 << 16
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True, kw_only=True)
class _Page:
    start: int
    end: int
    flags: int
    serial: int
    number: int


@dataclass(kw_only=True)
class _Link:
    """The streams that began together, with the number that each one's next page must have."""

    start: int
    expected: dict[int, int] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    has_begun: bool = False


def probe_ogg(file: BinaryIO, start: int, size: int) -> ProbeResult:
    r"""Return the links of an Ogg file, and the first thing that is wrong with it.

    >>> import io
    >>> probe_ogg(io.BytesIO(b"OggS\0\2"), 0, 6).fault
    'its last page is cut off'
    """
    links: list[_Link] = []
    fault: str | None = None
    for page in _pages(file, start, size):
        if isinstance(page, str):
            fault = fault or page
        else:
            shown = _add(links, page)
            fault = fault or shown
    if fault is None and any(link.unfinished for link in links):
        fault = "its last page lacks the end-of-stream mark"
    if len(links) < 2:  # noqa: PLR2004 - a file as any other
        return ProbeResult(fault=fault)
    ends = [*(link.start for link in links[1:]), size]
    pieces = tuple(
        Piece(stretches=((link.start, end),))
        for link, end in zip(links, ends, strict=True)
        if link.start < end
    )
    return ProbeResult(pieces=pieces, fault=fault)


def _add(links: list[_Link], page: _Page) -> str | None:
    """Count a page in its link; return a fault if pages before it are missing."""
    begins = bool(page.flags & _BEGINS)
    if begins and (not links or links[-1].has_begun):
        fault = _unfinished(links)
        links.append(_Link(start=page.start))
    else:
        fault = None
    if not links:
        return "its first page is missing"
    link = links[-1]
    link.has_begun = link.has_begun or not begins
    if begins:
        link.unfinished.add(page.serial)
    elif page.number != link.expected.get(page.serial, page.number):
        fault = fault or f"pages are missing before byte {page.start}"
    link.expected[page.serial] = page.number + 1
    if page.flags & _ENDS:
        link.unfinished.discard(page.serial)
    return fault


def _unfinished(links: list[_Link]) -> str | None:
    if links and links[-1].unfinished:
        return f"its stream from byte {links[-1].start} on lacks the end-of-stream mark"
    return None


def _pages(file: BinaryIO, start: int, size: int) -> Iterator[_Page | str]:
    """Yield the whole pages, and a clause for bytes that are not a page."""
    at = start
    while at < size:
        page = _page(file, at, size)
        if isinstance(page, _Page):
            yield page
            at = page.end
            continue
        following = _next_magic(file, at + 1, size)
        if following is not None or not _is_padding(file, at, size):
            yield page
        if following is None:
            return
        at = following


def _page(file: BinaryIO, at: int, size: int) -> _Page | str:
    file.seek(at)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:4] != _MAGIC:
        is_cut = header[:4] == _MAGIC[: len(header)] or header[:4] == _MAGIC
        return "its last page is cut off" if is_cut else f"bytes from {at} on are not an Ogg page"
    _, _, flags, _, serial, number, checksum, num_segments = _HEADER.unpack(header)
    lengths = file.read(num_segments)
    body = file.read(sum(lengths))
    end = at + _HEADER.size + num_segments + sum(lengths)
    if len(lengths) < num_segments or end > size:
        return "its last page is cut off"
    if _checksum(header[:22] + bytes(4) + header[26:] + lengths + body) != checksum:
        return f"the page at byte {at} is damaged"
    return _Page(start=at, end=end, flags=flags, serial=serial, number=number)


def _checksum(page: bytes) -> int:
    """Return Ogg's CRC: zlib's with the bits of each byte and of the result reversed, from 0 and not inverted."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def _next_magic(file: BinaryIO, at: int, size: int) -> int | None:
    while at < size:
        file.seek(at)
        found = file.read(_SCAN_BYTES + 3).find(_MAGIC)
        if found >= 0:
            return at + found
        at += _SCAN_BYTES
    return None


def _is_padding(file: BinaryIO, at: int, size: int) -> bool:
    """Return whether the bytes after the last page are harmless (zeros, or another format's tag), not lost sound."""
    file.seek(at)
    rest = file.read(min(size - at, _SCAN_BYTES))
    return rest.startswith((b"TAG", b"APETAGEX", b"ID3")) or not rest.strip(b"\0")
