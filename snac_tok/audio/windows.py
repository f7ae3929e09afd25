"""A file's bytes by offset, read a block at a time."""

from __future__ import annotations

from typing import BinaryIO

_BLOCK_BYTES = 1 << 20


class Window:
    """Keeps one block of a file in memory; asking for another part reads it.

    Args:
        file: a seekable file.
        size: its size in bytes.

    >>> import io
    >>> Window(io.BytesIO(b"0123456789"), 10).part(3, 4)
    b'3456'
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self.size = file, size
        self._start, self._block = 0, b""

    def part(self, at: int, count: int) -> bytes:
        """Return up to `count` bytes from an offset on."""
        block, start = self.block(at, count)
        return block[at - start : at - start + count]

    def block(self, at: int, count: int) -> tuple[bytes, int]:
        """Return a block with at least `count` bytes from `at` on, or all that remain, and the block's offset."""
        if at < self._start or min(at + count, self.size) > self._start + len(self._block):
            self._file.seek(at)
            self._start, self._block = at, self._file.read(max(count, _BLOCK_BYTES))
        return self._block, self._start

    def find(self, mark: bytes, at: int) -> int:
        """Return the next offset of `mark`; -1 if there is none."""
        while at < self.size:
            block, start = self.block(at, len(mark))
            found = block.find(mark, at - start)
            if found >= 0:
                return start + found
            at = max(start + len(block) - len(mark) + 1, at + 1)
        return -1
