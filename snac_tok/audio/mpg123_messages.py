"""Captures the messages that libmpg123 prints while it decodes.

libsndfile cannot silence libmpg123, and its messages are the only sign of a damaged frame. They go to C's `stderr`,
which a process can redirect with the GNU C library; Python's own `sys.stderr`, the file descriptor and child processes
are not changed. On other systems (macOS, musl, Windows) the messages are printed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BEGINNINGS = ("[src/libmpg123/", "Note: ", "Warning: ")


@contextmanager
def caught_messages() -> Iterator[list[str]]:
    """Capture the lines that libmpg123 prints, in a list that is filled after the block; one thread at a time.

    >>> with caught_messages() as said:
    ...     pass
    >>> said
    []
    """
    said: list[str] = []
    sink = _sink()
    if sink is None:
        yield said
        return
    with sink.lock:
        sink.open()
        try:
            yield said
        finally:
            said += sink.close()


class _Sink:
    """A stream in memory that replaces C's `stderr`; it lives as long as the process.

    Another thread may still hold the pointer after it is changed back, so the stream is never freed.
    """

    def __init__(self, libc: ctypes.CDLL) -> None:
        self._libc = libc
        self._slot = ctypes.c_void_p.in_dll(libc, "stderr")
        self._text, self._size = ctypes.c_void_p(), ctypes.c_size_t()
        libc.open_memstream.restype = ctypes.c_void_p
        self._stream = libc.open_memstream(ctypes.byref(self._text), ctypes.byref(self._size))
        if not self._stream:
            raise OSError("there is no stream in memory.")
        for function in (libc.fflush, libc.rewind):
            function.argtypes = [ctypes.c_void_p]
        self._before: int | None = None
        self.lock = threading.Lock()

    def open(self) -> None:
        self._libc.rewind(self._stream)
        self._before, self._slot.value = self._slot.value, self._stream

    def close(self) -> list[str]:
        self._slot.value, self._before = self._before, None
        self._libc.fflush(self._stream)
        if not self._size.value:
            return []
        text = ctypes.string_at(self._text.value or 0, self._size.value).decode(errors="replace")
        lines = text.splitlines(keepends=True)
        foreign = "".join(line for line in lines if not line.startswith(_BEGINNINGS))
        if foreign.strip():
            with suppress(OSError):
                os.write(2, foreign.encode())  # printed by another thread's C code
        return [line.strip() for line in lines if line.startswith(_BEGINNINGS)]

    def forget(self) -> None:
        """Reset a forked child: the thread that held the lock does not exist there."""
        if self._before is not None:
            self._slot.value, self._before = self._before, None
        self.lock = threading.Lock()


@cache
def _sink() -> _Sink | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    try:
        sink = _Sink(ctypes.CDLL(None))
    except (OSError, ValueError, AttributeError):
        return None
    os.register_at_fork(after_in_child=sink.forget)
    return sink
