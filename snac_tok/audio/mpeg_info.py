"""The Xing frame: without sound, it has the number of frames and the encoder's padding at both ends."""

from __future__ import annotations

from snac_tok.audio.mpeg_frames import FRAMES, MPEG_1

# The decoder's own delay in samples.
DECODER_DELAY = 529
INFO_MARKS = (b"Xing", b"Info")


def info_offset(kind: tuple[int, int, int], *, is_mono: bool) -> int:
    """Return the offset of "Xing" in a frame: after the header and the side information.

    >>> info_offset((2, 3, 24000), is_mono=True)
    13
    """
    return 4 + ((17 if is_mono else 32) if kind[0] == MPEG_1 else (9 if is_mono else 17))


def promised_frames(info: bytes, at: int) -> int | None:
    """Return a Xing frame's number of frames; writers to a pipe leave 0."""
    flags = int.from_bytes(info[at + 4 : at + 8], "big")
    return (int.from_bytes(info[at + 8 : at + 12], "big") or None) if flags & 1 else None


def new_info(header: bytes, at: int, *, num_frames: int) -> bytes:
    """Return a Xing frame with only the number of frames, and a frame of silence.

    libmpg123 removes its own delay from the beginning of a file with a Xing frame, so `silence_left` samples of
    the frame of silence remain.

    Args:
        header: the header of the file's first frame.
        at: the result of `info_offset`.
        num_frames: the file's.
    """
    # The largest bitrate, so that there is room; no checksum.
    start = bytes([0xFF, header[1] | 1, 14 << 4 | header[2] & 0x0C, header[3]])
    silence = start.ljust(FRAMES[start[1] << 8 | start[2]].num_bytes, b"\0")
    content = b"Xing\0\0\0\1" + (num_frames + 1).to_bytes(4, "big")
    return silence[:at] + content + silence[at + len(content) :] + silence


def silence_left(kind: tuple[int, int, int]) -> int:
    """Return how many samples of that silence are decoded."""
    return (1152 if kind[0] == MPEG_1 else 576) - DECODER_DELAY


def _fields_end(at: int, flags: int) -> int:
    """Return the end of a Xing frame's fields: frames, bytes, index, quality."""
    return at + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)


def keep_the_end(info: bytearray, at: int) -> None:
    """Set the end padding to 0, for a file that does not end at its encoder's padding."""
    delay = _fields_end(at, info[at + 7]) + 21
    if delay + 3 <= len(info):
        # 12 bits of delay, 12 of padding, from which the decoder subtracts its own delay.
        info[delay + 1] = info[delay + 1] & 0xF0 | DECODER_DELAY >> 8
        info[delay + 2] = DECODER_DELAY & 0xFF
