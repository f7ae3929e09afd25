"""Reads recordings in several processes, or threads, ahead of whoever uses them, in their order.

    recordings ─┬─ thread ─ process ─┐
                ├─ thread ─ process ─┼─ in order, as far ahead as memory allows ─ whoever asked
                └─ thread ─ process ─┘

`processes.py` says what becomes of a process that dies. Threads of this process need no other one; a decoder that
crashes takes it along.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING, Any, Self, TypeVar

from snac_tok.audio import Waveform
from snac_tok.sources.clips import Clips
from snac_tok.sources.processes import ReadingProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from snac_tok.sources.clips import ReadOptions
    from snac_tok.sources.processes import LongInfo, ProcessOptions
    from snac_tok.sources.recording import Recording

T = TypeVar("T")

# How much decoded sound waits for whoever uses it; the file in progress of each process comes on top.
_AHEAD_BYTES = 256 << 20
_AHEAD_FILES = 2048
# More gain nothing: Python hands each its next recording.
_MOST_THREADS = 16


class RemoteLongSound:
    """A long recording that is read in another process: iterating over it yields its blocks, as `LongSound` does.

    Attributes:
        info: its rate and its number of channels.
    """

    def __init__(self, info: LongInfo, blocks: Callable[[], Iterator[Waveform]]) -> None:
        self.info = info
        self._blocks = blocks

    def __iter__(self) -> Iterator[Waveform]:
        return self._blocks()


class ReadingPool:
    """Several processes that read recordings ahead; a context manager.

    Args:
        options: how many, and what each may take.
    """

    def __init__(self, options: ProcessOptions) -> None:
        self._options = options
        self._processes = [ReadingProcess(options) for _ in range(options.jobs)]
        self._for_blocks = ReadingProcess(options)
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for process in self._processes:
            process.interrupt()
        for thread in self._threads:
            thread.join()
        for process in [*self._processes, self._for_blocks]:
            process.close()

    def read(
        self, recordings: Iterable[Recording], options: ReadOptions
    ) -> Iterator[Clips | RemoteLongSound | Exception]:
        """Yield each recording's clips, or what reading it raised, in their order.

        Args:
            recordings: paths or encoded bytes; taken in threads, one at a time.
            options: what is taken of each.
        """
        shelf = _Shelf(enumerate(recordings), self._stopped)
        for process in self._processes:
            thread = threading.Thread(target=self._fill, args=(shelf, process, options), daemon=True)
            self._threads.append(thread)
            thread.start()
        for number in count():
            found = shelf.take(number)
            if found is None:
                return
            yield found

    def _fill(self, shelf: _Shelf, process: ReadingProcess, options: ReadOptions) -> None:
        """Read one recording after another, until there is none left or the pool is closed."""
        while (job := shelf.next_job()) is not None:
            number, recording = job
            try:
                found = process.read(recording, options)
            except Exception as error:  # noqa: BLE001 - raised where the recording is used
                shelf.put(number, error)
            else:
                shelf.put(number, self._long(recording, options, found))

    def _long(
        self, recording: Recording, options: ReadOptions, found: Clips | LongInfo
    ) -> Clips | RemoteLongSound:
        if isinstance(found, Clips):
            return found
        return RemoteLongSound(found, lambda: self._for_blocks.blocks(recording, options))


def read_in_threads(read: Callable[[T], Any], recordings: Iterable[T], *, threads: int) -> Iterator[Any]:
    """Yield what `read` makes of each recording, or what it raised, in order; the threads end with the iterator."""
    stopped = threading.Event()
    shelf = _Shelf(enumerate(recordings), stopped)
    threads = min(threads, _MOST_THREADS)

    def fill() -> None:
        while (job := shelf.next_job()) is not None:
            number, recording = job
            try:
                shelf.put(number, read(recording))
            except Exception as error:  # noqa: BLE001 - raised where the recording is used
                shelf.put(number, error)

    fillers = [
        threading.Thread(target=fill, name=f"snac_tok_read_{number}", daemon=True)
        for number in range(threads)
    ]
    try:
        for each in fillers:
            each.start()
        for number in count():
            found = shelf.take(number)
            if found is None:
                return
            yield found
    finally:
        stopped.set()
        for each in fillers:
            if each.ident is not None:
                each.join()


class _Shelf:
    """Hands recordings out and puts their sound in order, so that not too much of it waits."""

    def __init__(self, jobs: Iterator[tuple[int, Any]], stopped: threading.Event) -> None:
        self._jobs, self._stopped = jobs, stopped
        self._changed = threading.Condition()
        self._found: dict[int, Any] = {}
        self._num_bytes = self._num_given = 0
        self._is_empty = False
        self._failure: Exception | None = None

    def next_job(self) -> tuple[int, Any] | None:
        """Return the next recording as soon as there is room for it; None where there is nothing left to do."""
        with self._changed:
            while self._is_full() and not self._stopped.is_set():
                self._changed.wait(timeout=0.2)
            if self._stopped.is_set() or self._is_empty:
                return None
            try:
                job = next(self._jobs, None)
            except Exception as error:  # noqa: BLE001 - of the caller's iterator, raised in the caller's thread
                job, self._failure = None, error
            self._is_empty = job is None
            self._num_given += job is not None
            self._changed.notify_all()
            return job

    def put(self, number: int, found: Any) -> None:
        """Keep what reading gave until it is taken."""
        with self._changed:
            self._found[number] = found
            self._num_bytes += _size(found)
            self._changed.notify_all()

    def take(self, number: int) -> Any:
        """Wait for a recording's sound; None behind the last one."""
        with self._changed:
            while number not in self._found:
                if self._is_empty and number >= self._num_given:
                    if self._failure:
                        raise self._failure
                    return None
                self._changed.wait()
            found = self._found.pop(number)
            self._num_bytes -= _size(found)
            self._changed.notify_all()
            return found

    def _is_full(self) -> bool:
        return self._num_bytes >= _AHEAD_BYTES or len(self._found) >= _AHEAD_FILES


def _size(found: Any) -> int:
    sound = found.waveform if isinstance(found, Clips) else found
    return sound.samples.nbytes if isinstance(sound, Waveform) else 0
