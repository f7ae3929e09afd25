"""How soon and how fast sound came."""

from __future__ import annotations

import time


class StreamTiming:
    """A clock for one stream, running from the moment it is made.

    Attributes:
        first_audio_seconds: from the beginning to the first samples handed out; None before them.
        audio_seconds: how long the sound handed out so far plays.
        elapsed_seconds: from the beginning to the last samples handed out.

    Example:
        >>> timing = StreamTiming()
        >>> timing.note(12_000, sampling_rate=24_000)
        >>> timing.audio_seconds, timing.first_audio_seconds == timing.elapsed_seconds
        (0.5, True)
    """

    def __init__(self) -> None:
        self.first_audio_seconds: float | None = None
        self.audio_seconds = 0.0
        self.elapsed_seconds = 0.0
        self._begin = time.perf_counter()

    def note(self, num_samples: int, *, sampling_rate: int) -> None:
        """Count samples that are handed out now."""
        self.elapsed_seconds = time.perf_counter() - self._begin
        self.audio_seconds += num_samples / sampling_rate
        if num_samples and self.first_audio_seconds is None:
            self.first_audio_seconds = self.elapsed_seconds

    @property
    def real_time_factor(self) -> float | None:
        """Seconds taken for each second of sound: below 1 keeps up with a listener; None before any sound."""
        return self.elapsed_seconds / self.audio_seconds if self.audio_seconds else None
