"""What a WAV header promises, against what the file holds.

libsndfile silently shortens a WAV that was cut off; only the header still tells. This reads the chunk
list and nothing else: no samples, no other formats.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

# A header whose length was never filled in, because the writer could not seek back (a pipe).
_LENGTH_UNKNOWN = 0xFFFF_FFFF
# No real file comes near; a crafted one could hold millions of empty chunks.
_MAX_CHUNKS = 1_000


def count_missing_bytes(file: BinaryIO) -> int:
    """Return how many bytes of sound a RIFF or RF64 WAV promises and does not hold.

    0 for a whole file, for one of unknown length (written to a pipe) and for what is no WAV. The file
    stays where it was.

    >>> import io
    >>> count_missing_bytes(io.BytesIO(b"RIFF____WAVE" + b"data" + (100).to_bytes(4, "little") + bytes(90)))
    10
    """
    start = file.tell()
    try:
        return _count_from_here(file)
    finally:
        file.seek(start)


def _count_from_here(file: BinaryIO) -> int:
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return 0
    long_size: int | None = None
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:  # noqa: PLR2004 - no data chunk at all: the decoder says so itself
            return 0
        name, size = struct.unpack("<4sI", header)
        if name == b"data":
            return _missing(file, size if size != _LENGTH_UNKNOWN else long_size)
        if name == b"ds64":
            body = file.read(16)
            long_size = struct.unpack("<8xQ", body)[0] if len(body) == 16 else None  # noqa: PLR2004
            size -= len(body)
        file.seek(max(size, 0) + size % 2, os.SEEK_CUR)  # chunks start at even offsets
    return 0


def _missing(file: BinaryIO, promised: int | None) -> int:
    if promised is None:
        return 0
    here = file.tell()
    return max(0, promised - (file.seek(0, os.SEEK_END) - here))
