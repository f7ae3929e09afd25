"""MP3 and related formats: finds the chain of frames, the borders of joined files, and bytes that are not frames.

    ID3 | Xing frame, frames… | TAG | ID3 | Xing frame, frames… |       two files, joined byte by byte
                    └ each frame's header says where the next one begins

libsndfile stops at the end that the first Xing frame states, guesses the length of a file without one, and recognises
MPEG-2 only by the file's name. So a decoder gets each joined file separately: an empty ID3 tag, a Xing frame with the
true number of frames if the file has none, and the frames without gaps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from snac_tok.audio.mpeg_frames import (
    FRAMES,
    MONO,
    MPEG_1,
    Frame,
    find_chain,
    tag_length,
    whole_frame,
    zeros_end,
)
from snac_tok.audio.mpeg_info import (
    INFO_MARKS,
    info_offset,
    keep_the_end,
    new_info,
    promised_frames,
    silence_left,
)
from snac_tok.audio.probe_result import Piece, ProbeResult
from snac_tok.audio.windows import Window

# libsndfile does not recognise shorter tags, and libmpg123 takes them for damage.
_EMPTY_TAG = b"ID3\x03" + bytes(5) + b"\x20" + bytes(32)
# How much junk before the first frame is skipped if the file's name does not say that it is an MP3.
_SEARCH_BYTES = 1 << 16
_SURE_FRAMES = 3
# The largest possible frame.
_MAX_FRAME_BYTES = 1 << 13
_NO_FRAME = 1 << 62
_INFO_FIRST = frozenset(mark[0] for mark in INFO_MARKS)
_SIZES = {
    kind: {word: frame.num_bytes for word, frame in FRAMES.items() if frame.kind == kind}
    for kind in {frame.kind for frame in FRAMES.values()}
}


@dataclass(kw_only=True)
class _File:
    """One of the joined files, while its frames are being counted.

    Attributes:
        kind: its frames' kind.
        is_mono: whether they have one channel.
        first: the offset of its first frame.
        header: that frame's header.
        info: its Xing frame, which has no sound.
        promised: the number of frames in the Xing frame; None if it does not say.
        stretches: first byte and last byte + 1 of each run of other frames.
        num_frames: how many frames they have.
    """

    kind: tuple[int, int, int]
    is_mono: bool
    first: int
    header: bytes
    info: bytes = b""
    promised: int | None = None
    stretches: list[tuple[int, int]] = field(default_factory=list)
    num_frames: int = 0

    def add(self, start: int, end: int, num_frames: int) -> None:
        """Add a run of frames."""
        if self.stretches and self.stretches[-1][1] == start:
            start = self.stretches.pop()[0]
        self.stretches.append((start, end))
        self.num_frames += num_frames

    @property
    def is_complete(self) -> bool:
        """Whether it has all frames that its Xing frame counts."""
        return self.promised is not None and self.num_frames >= self.promised


def looks_like_mpeg(file: BinaryIO, start: int, size: int) -> bool:
    r"""Return whether a run of frames begins at `start` or soon after it.

    >>> import io
    >>> frame = b"\xff\xf3\x84\xc0" + bytes(188)  # 24 kHz, 64 kb/s, one channel
    >>> looks_like_mpeg(io.BytesIO(frame * 3), 0, 576), looks_like_mpeg(io.BytesIO(bytes(576)), 0, 576)
    (True, False)
    """
    window = Window(file, min(size, start + _SEARCH_BYTES))
    return find_chain(window, start, _SURE_FRAMES) is not None


def probe_mpeg(file: BinaryIO, start: int, size: int) -> ProbeResult:
    """Return the joined MPEG files, and a fault if frames are missing."""
    return _Walk(Window(file, size), start).probe()


class _Walk:
    """Walks from frame to frame."""

    def __init__(self, content: Window, start: int) -> None:
        self._content, self._start = content, start
        self._files: list[_File] = []
        self._fault: str | None = None

    def probe(self) -> ProbeResult:
        at = self._start
        while at < self._content.size:
            file = self._file_at(at)
            if file is None:
                at = self._behind_what_is_no_frame(at)
                continue
            begin = at + len(file.info) if at == file.first else at
            end, num_frames = self._run(begin, file)
            file.add(begin, end, num_frames)
            at = end if end > at else self._behind_what_is_no_frame(at)
        for file in self._files:
            # Some encoders count the Xing frame itself.
            if file.promised is not None and file.num_frames < file.promised - 1:
                self._blame(f"its header promises {file.promised} frames, {file.num_frames} are there")
        pieces = tuple(_piece(file) for file in self._files if file.num_frames)
        return ProbeResult(pieces=pieces, fault=self._fault, is_mpeg=True)

    def _file_at(self, at: int) -> _File | None:
        """Return the file of the frame at this offset, which may be a new one; None if there is no frame."""
        frame = self._frame_at(at)
        if frame is None:
            return None
        header = self._content.part(at, 4)
        is_mono, current = header[3] >= MONO, self._files[-1] if self._files else None
        info = self._info_at(at, frame, is_mono=is_mono)
        same = current is not None and (current.kind, current.is_mono) == (frame.kind, is_mono)
        if current is not None and same and info is None:
            if not current.is_complete or not self._begins_anew(at, frame):
                return current
        elif current is not None and not same and find_chain(self._content, at, 2, stop=at + 1) is None:
            return None
        file = _File(kind=frame.kind, is_mono=is_mono, first=at, header=header)
        if info is not None:
            file.info = self._content.part(at, frame.num_bytes)
            file.promised = promised_frames(file.info, info)
        self._files.append(file)
        return file

    def _run(self, at: int, file: _File) -> tuple[int, int]:
        """Return the end of a run of this file's frames, and their number."""
        # A promised count that was reached before the file's end is wrong, and is ignored from then on.
        most = self._content.size if file.promised is None or file.is_complete else file.promised
        num_frames = 0
        while num_frames < most - file.num_frames:
            block, start = self._content.block(at, _MAX_FRAME_BYTES)
            end, found = _run(block, at - start, file, most=most - file.num_frames - num_frames)
            at, num_frames = start + end, num_frames + found
            if not found:
                break
        return at, num_frames

    def _behind_what_is_no_frame(self, at: int) -> int:
        """Skip a tag or padding; note anything else as a fault."""
        content, size = self._content, self._content.size
        length = tag_length(content, at)
        if length is not None:
            return min(at + length, size)
        end = zeros_end(content, at)
        if end == size or (end > at and not self._files):
            return end
        header = content.part(at, 4)
        word = int.from_bytes(header[1:3], "big") if header[0] == 0xFF else 0  # noqa: PLR2004
        if self._files and word in FRAMES and at + FRAMES[word].num_bytes > size:
            self._blame("its last frame is cut off")
            return size
        found = find_chain(content, at + 1, 2)
        end = size if found is None else found
        self._blame(f"bytes {at} to {end} are not MP3 frames")
        return end

    def _frame_at(self, at: int) -> Frame | None:
        return whole_frame(self._content, at)

    def _info_at(self, at: int, frame: Frame, *, is_mono: bool) -> int | None:
        offset = info_offset(frame.kind, is_mono=is_mono)
        found = self._content.part(at + offset, 4) in INFO_MARKS and frame.kind[1] == 3  # noqa: PLR2004
        return offset if found else None

    def _begins_anew(self, at: int, frame: Frame) -> bool:
        """Return whether a frame is independent of the frames before it, as a file's first frame is."""
        start = at + (6 if frame.is_protected else 4)
        side = int.from_bytes(self._content.part(start, 2), "big")
        needed = side >> (7 if frame.kind[0] == MPEG_1 else 8)
        return frame.kind[1] != 3 or needed == 0  # noqa: PLR2004

    def _blame(self, fault: str) -> None:
        self._fault = self._fault or fault


def _run(block: bytes, at: int, file: _File, *, most: int) -> tuple[int, int]:
    """Return the end of a file's whole frames in a block, and their number; this loop takes most of the time."""
    sizes, is_mono, info_at = _SIZES[file.kind], file.is_mono, info_offset(file.kind, is_mono=file.is_mono)
    first_letters = _INFO_FIRST if file.kind[1] == 3 else frozenset()  # noqa: PLR2004
    size, num_frames = len(block), 0
    last = size - 4
    while at <= last and num_frames < most and block[at] == 0xFF:  # noqa: PLR2004
        end = at + sizes.get(block[at + 1] << 8 | block[at + 2], _NO_FRAME)
        if end > size or (block[at + 3] >= MONO) != is_mono:
            break
        if block[at + info_at] in first_letters and block[at + info_at : at + info_at + 4] in INFO_MARKS:
            break
        at = end
        num_frames += 1
    return at, num_frames


def _piece(file: _File) -> Piece:
    if file.kind[1] != 3:  # noqa: PLR2004 - Xing is of Layer III
        return Piece(head=_EMPTY_TAG, stretches=tuple(file.stretches))
    at, skip = info_offset(file.kind, is_mono=file.is_mono), 0
    if len(file.info) >= at + 12 and file.info[at + 7] & 1:
        info = bytearray(file.info)
        info[at + 8 : at + 12] = file.num_frames.to_bytes(4, "big")
        if file.num_frames != file.promised:
            keep_the_end(info, at)
    else:
        info = bytearray(new_info(file.header, at, num_frames=file.num_frames))
        skip = silence_left(file.kind)
    return Piece(head=_EMPTY_TAG + bytes(info), stretches=tuple(file.stretches), skip=skip)
