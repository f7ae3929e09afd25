"""Whether another CUDA graph may be captured: not if there are enough, if nothing works, or if somebody said so.

It knows no graphs; `graphs` asks before each capture and tells what came of it.
"""

from __future__ import annotations

import math
import time

# Shapes that could not be captured, after which no other is tried: then it is something that all have in them.
MOST_REFUSED = 8
# A capture for which there is too little memory is tried again, for others may have freed some: each wait is as long
# as all before it and one minute more, because a try waits for all of the GPU's work.
_WAIT_SECONDS = 60.0
_MOST_WAITS = 4


class CaptureAttempts:
    """Says whether another graph may be captured now.

    Args:
        limit: how many graphs there may be.

    Attributes:
        frozen: no more are captured.
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self.frozen = False
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what failed: graphs were freed, and what is captured next is something else."""
        self._waits = 0
        self._not_before = -math.inf

    def may_capture(self, *, graphs: int, refused: int) -> bool:
        """Say so for a network that has graphs, and shapes that could not be captured."""
        if self.frozen or graphs >= self.limit or refused >= MOST_REFUSED:
            return False
        return time.monotonic() >= self._not_before

    def lacked_memory(self) -> None:
        """Wait before the next one, and for ever after the last wait."""
        self._waits += 1
        wait = _WAIT_SECONDS * 2 ** (self._waits - 1) if self._waits <= _MOST_WAITS else math.inf
        self._not_before = time.monotonic() + wait
