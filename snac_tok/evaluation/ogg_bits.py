"""How many bytes of an Ogg file are packets of the codec, and how many only hold the file together."""

from __future__ import annotations

from snac_tok.errors import EvaluationError

_MAGIC = b"OggS"
_PAGE_HEADER = 27  # bytes before the table of segments, RFC 3533 section 6
_FULL_SEGMENT = 255
# OpusHead and OpusTags, RFC 7845 section 3.
_OPUS_HEADER_PACKETS = 2


def packet_sizes(content: bytes) -> list[int]:
    """Return the bytes of each packet in an Ogg file of one stream.

    Raises:
        EvaluationError: the file is not Ogg, or cut off.

    Example:
        >>> packet_sizes(b"OggS" + bytes(22) + bytes([2, 255, 45]) + bytes(300))
        [300]
    """
    sizes, at, open_bytes = [], 0, 0
    while at < len(content):
        if content[at : at + 4] != _MAGIC or at + _PAGE_HEADER > len(content):
            raise EvaluationError(f"there is no Ogg page at byte {at}; the file is damaged or no Ogg.")
        segments = content[at + _PAGE_HEADER : at + _PAGE_HEADER + content[at + _PAGE_HEADER - 1]]
        for segment in segments:
            open_bytes += segment
            if segment < _FULL_SEGMENT:  # a full segment goes on in the next one
                sizes.append(open_bytes)
                open_bytes = 0
        at += _PAGE_HEADER + len(segments) + sum(segments)
    return sizes


def opus_payload_bits(content: bytes) -> int:
    """Return the bits of sound in an Opus file, without headers, tags and pages.

    Raises:
        EvaluationError: as in `packet_sizes`.

    Example:
        >>> opus_payload_bits(b"OggS" + bytes(22) + bytes([4, 19, 16, 15, 15]) + bytes(65))
        240
    """
    return 8 * sum(packet_sizes(content)[_OPUS_HEADER_PACKETS:])
