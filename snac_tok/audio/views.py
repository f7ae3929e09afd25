"""The file object that libsndfile reads: stretches of a file after bytes of our own.

    file    |tag|frames......|junk|frames....|           view    head + frames...... + frames....

A callback of libsndfile must not raise: the error would be printed on stderr and libsndfile would continue with
garbage. So nothing here raises while a decoder reads; the first error is kept for the caller.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


_BLOCK_BYTES = 1 << 15


class BinaryFile(Protocol):
    """The methods of a file object that decoders use."""

    def read(self, count: int = -1, /) -> bytes:
        """Read as files do."""

    def seek(self, offset: int, whence: int = ..., /) -> int:
        """Set the position."""

    def tell(self) -> int:
        """Return the position."""


class View:
    """A read-only file that consists of a head and stretches of another file.

    >>> import io
    >>> view = View(io.BytesIO(b"0123456789"), ((1, 3), (7, 9)), head=b"ab")
    >>> buffer = bytearray(9)
    >>> view.readinto(buffer), bytes(buffer[:6])
    (6, b'ab1278')
    """

    def __init__(self, file: BinaryIO, stretches: Sequence[tuple[int, int]], *, head: bytes = b"") -> None:
        self._file, self._stretches, self._head = file, stretches, head
        self._starts = list(accumulate((end - start for start, end in stretches), initial=len(head)))
        self._position = 0
        self._block, self._block_start = b"", 0
        self._seek_failed = False
        self.error: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as there are bytes; a read error ends the file."""
        # libmpg123 reads a frame's header and body separately: most of them are in the current block.
        at, count = self._position - self._block_start, len(buffer)
        if at >= 0 and at + count <= len(self._block):
            buffer[:] = self._block[at : at + count]
            self._position += count
            return count
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target):
            part = self._next(len(target) - filled)
            if not part:
                break
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return filled

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position; before the start it does not change, as with a file of the system."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._seek_failed = base + offset < 0
        if not self._seek_failed:
            self._position = base + offset
        return self._position

    def tell(self) -> int:
        """Return the position; -1 once after a failed seek, which is how soundfile reports failure."""
        if self._seek_failed:
            self._seek_failed = False
            return -1
        return self._position

    def read(self, count: int = -1) -> bytes:
        """Read as files do; soundfile requires the method."""
        buffer = bytearray(max(0, self._starts[-1] - self._position) if count < 0 else count)
        return bytes(buffer[: self.readinto(buffer)])

    def _next(self, count: int) -> bytes:
        if self._position < len(self._head):
            return self._head[self._position : self._position + count]
        index = bisect_right(self._starts, self._position) - 1
        if index >= len(self._stretches):
            return b""
        start, end = self._stretches[index]
        here = start + self._position - self._starts[index]
        try:
            self._file.seek(here)
            block = self._file.read(min(max(count, _BLOCK_BYTES), end - here))
            self._block, self._block_start = block, self._position
            return block[:count]
        except Exception as error:  # noqa: BLE001 - whatever a caller's file object raises
            self.error = self.error or error
            return b""
