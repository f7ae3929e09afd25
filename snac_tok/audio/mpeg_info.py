"""The Xing frame: no sound, but how many frames follow and what the encoder added at both ends."""

from __future__ import annotations

from snac_tok.audio.mpeg_frames import FRAMES, MPEG_1

# Samples that decoding itself adds in front.
DECODER_DELAY = 529
INFO_MARKS = (b"Xing", b"Info")


def info_offset(kind: tuple[int, int, int], *, is_mono: bool) -> int:
    """Return where "Xing" stands in a frame: behind the header and room for side information.

    >>> info_offset((2, 3, 24000), is_mono=True)
    13
    """
    return 4 + ((17 if is_mono else 32) if kind[0] == MPEG_1 else (9 if is_mono else 17))


def promised_frames(info: bytes, at: int) -> int | None:
    """Return what a Xing frame says; writers to a pipe leave 0."""
    flags = int.from_bytes(info[at + 4 : at + 8], "big")
    return (int.from_bytes(info[at + 8 : at + 12], "big") or None) if flags & 1 else None


def new_info(header: bytes, at: int, *, num_frames: int) -> bytes:
    """Return a Xing frame that tells of frames alone, and a frame of silence.

    libmpg123 takes its own delay off the beginning of a file with a Xing frame; of the frame of silence, so,
    `silence_left` samples stay.

    Args:
        header: of the file's first frame.
        at: `info_offset`.
        num_frames: in the file.
    """
    # The largest bitrate, so that there is room, and no checksum.
    start = bytes([0xFF, header[1] | 1, 14 << 4 | header[2] & 0x0C, header[3]])
    silence = start.ljust(FRAMES[start[1] << 8 | start[2]].num_bytes, b"\0")
    content = b"Xing\0\0\0\1" + (num_frames + 1).to_bytes(4, "big")
    return silence[:at] + content + silence[at + len(content) :] + silence


def silence_left(kind: tuple[int, int, int]) -> int:
    """Return how much of that silence is decoded, in samples."""
    return (1152 if kind[0] == MPEG_1 else 576) - DECODER_DELAY


def _fields_end(at: int, flags: int) -> int:
    """Return where the fields of a Xing frame end: frames, bytes, index, quality."""
    return at + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 2) + 100 * bool(flags & 4) + 4 * bool(flags & 8)


def keep_the_end(info: bytearray, at: int) -> None:
    """Have nothing taken off the end of a file that does not end where its encoder's padding was."""
    delay = _fields_end(at, info[at + 7]) + 21
    if delay + 3 <= len(info):
        # 12 bits of delay, 12 of padding, which the decoder's own delay is taken off.
        info[delay + 1] = info[delay + 1] & 0xF0 | DECODER_DELAY >> 8
        info[delay + 2] = DECODER_DELAY & 0xFF
