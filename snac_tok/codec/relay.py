"""Chunks of one clip in several threads at once: each layer goes from chunk to chunk as soon as it is free.

A chunk needs from the one before it only what each layer kept, so it may follow one layer behind:

    thread 1   chunk 0 |layer 1|layer 2|layer 3|layer 4|   chunk 2 |layer 1|layer 2| …
    thread 2   chunk 1         |layer 1|layer 2|layer 3|layer 4|   chunk 3 |layer 1| …

Every layer sees the chunks in their order and every sum is made by one thread, so results are those of one thread.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar

from snac_tok.codec.stream import StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    import torch

T = TypeVar("T")


class Relay:
    """Lets the chunks of one clip have what they share in turn: chunk n after chunk n-1.

    Args:
        alone: chunks run one after another, and there is nothing to wait for.
    """

    def __init__(self, *, alone: bool = False) -> None:
        self._alone = alone
        self._turns: defaultdict[Hashable, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._broken = False

    def leg(self, state: StreamState, number: int) -> StreamState:
        """Return chunk `number`'s view of the clip's state; the state itself where chunks run one after another.

        Compiled graphs exchange all that a state keeps at once, which no view could pass on layer by layer.
        """
        return state if self._alone else Leg(self, state, number)

    def wait(self, shared: Hashable, number: int) -> None:
        """Return once it is chunk `number`'s turn.

        Raises:
            RuntimeError: an earlier chunk failed, so that the turn will never come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._broken or self._turns[shared] == number)
            if self._broken:
                raise RuntimeError("an earlier chunk of the clip failed")

    def pass_on(self, shared: Hashable) -> None:
        """Give the next chunk its turn."""
        with self._changed:
            self._turns[shared] += 1
            self._changed.notify_all()

    def guarded(self, job: Callable[[], T]) -> Callable[[], T]:
        """Return the job of one chunk so that, if it fails, nobody waits for it."""

        def run() -> T:
            try:
                return job()
            except BaseException:
                self._break_off()
                raise

        return run

    def _break_off(self) -> None:
        with self._changed:
            self._broken = True
            self._changed.notify_all()


class Leg(StreamState):
    """One chunk's view of a state that the chunks of its clip share."""

    def __init__(self, relay: Relay, shared: StreamState, number: int) -> None:
        super().__init__(kept=shared.kept, positions=shared.positions)
        self._relay, self._number = relay, number
        self._owner = id(shared)

    def take(self, layer: int) -> torch.Tensor | None:
        """Wait for the chunk before, then return what the layer kept of it."""
        self._relay.wait((self._owner, layer), self._number)
        return super().take(layer)

    def put(self, layer: int, kept: torch.Tensor | None) -> None:
        """Keep this for the layer's next chunk, which may go on now."""
        super().put(layer, kept)
        self._relay.pass_on((self._owner, layer))

    def move(self, noise_layer: int, length: int) -> int:
        """Wait for the chunk before, then count on from it."""
        shared = (self._owner, "noise", noise_layer)
        self._relay.wait(shared, self._number)
        start = super().move(noise_layer, length)
        self._relay.pass_on(shared)
        return start
