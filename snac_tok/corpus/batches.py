"""The loaded files of a shard to batches, and what the time of each went into."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from snac_tok.corpus.loading import Clip, LoadedFile


class Reading:
    """The clips of one batch after another, as they are read.

    Args:
        files: in their order.
        max_seconds: of a batch, all channels together.
        max_files: of a batch.

    Attributes:
        seconds: that reading took so far.
        taken: batches whose clips were handed out, in order.
    """

    def __init__(self, files: Iterable[LoadedFile], *, max_seconds: float, max_files: int) -> None:
        self._batches = _batches(files, max_seconds=max_seconds, max_files=max_files)
        self.seconds = 0.0
        self.taken: deque[list[LoadedFile]] = deque()

    def __iter__(self) -> Iterator[list[Clip]]:
        while True:
            begun = time.monotonic()
            batch = next(self._batches, None)
            self.seconds += time.monotonic() - begun
            if batch is None:
                return
            self.taken.append(batch)
            yield [clip for loaded in batch for clip in loaded.clips]


class Clock:
    """Tells what the time between two batches went into.

    Args:
        reading: counts what reading took.
        device_seconds: says for how long a GPU has had work so far.
    """

    def __init__(self, reading: Reading, device_seconds: Callable[[], float]) -> None:
        self._reading, self._device_seconds = reading, device_seconds
        self.start()

    def start(self) -> None:
        """Begin to count."""
        self._before = time.monotonic(), self._reading.seconds, self._device_seconds()

    def lap(self) -> dict[str, float]:
        """Return the seconds since the start, by the names of `BatchDone`."""
        begun, read, worked = self._before
        reading = self._reading.seconds - read
        return {
            "reading_seconds": reading,
            "encoding_seconds": time.monotonic() - begun - reading,
            "device_seconds": self._device_seconds() - worked,
        }


def _batches(
    files: Iterable[LoadedFile], *, max_seconds: float, max_files: int
) -> Iterator[list[LoadedFile]]:
    batch: list[LoadedFile] = []
    seconds = 0.0
    for loaded in files:
        is_long = loaded.is_long
        if batch and (is_long or seconds + loaded.seconds_in_memory > max_seconds):
            yield batch
            batch, seconds = [], 0.0
        batch.append(loaded)
        seconds += loaded.seconds_in_memory
        if is_long or len(batch) >= max_files or seconds >= max_seconds:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch
