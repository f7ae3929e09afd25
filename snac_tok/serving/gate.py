"""Who is let in, for how long, and how everybody is asked to leave.

admitted ── reading ── working ── answering ──┐
    |<------------ total_seconds ------------>|  or until stop(): the client left, the server stops
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from snac_tok.serving.problems import RefusedError, shutting_down

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from snac_tok.serving.limits import Limits

    Answer = TypeVar("Answer")

# How long aborted streams get to say so.
_LAST_WORD_SECONDS = 2.0
_LOOK_SECONDS = 0.02


class Visit:
    """One request while it is worked on."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._deadline = asyncio.get_running_loop().time() + limits.total_seconds
        self._clock: asyncio.Timeout | None = None
        self._stopped: RefusedError | None = None

    def stop(self, refusal: RefusedError) -> None:
        """End what runs inside `within` by this refusal; the first reason to end counts."""
        clock = self._clock
        if self._stopped is not None or (clock is not None and clock.expired()):
            return
        self._stopped = refusal
        if clock is not None:
            clock.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """Do a part of the work, as long as it may take.

        Raises:
            RefusedError: it took too long, or was stopped.
        """
        if self._stopped is not None:
            raise self._stopped
        try:
            async with asyncio.timeout_at(self._deadline) as clock:
                self._clock = clock
                try:
                    yield
                finally:
                    self._clock = None
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise self._stopped or _took_too_long(self.limits) from error

    async def moving(self, step: Awaitable[Answer], refusal: RefusedError) -> Answer:
        """Wait for one step of a stream, which may not stand still.

        Raises:
            RefusedError: the one that was handed over, if it stands still for `idle_seconds`.
        """
        seconds = self.limits.idle_seconds
        try:
            # The second timer is for a step that hangs once more when it is cancelled.
            async with asyncio.timeout(2 * seconds), asyncio.timeout(seconds) as clock:
                return await step
        except TimeoutError as error:
            if not clock.expired():
                raise
            raise refusal from error


class Gate:
    """Counts visits and lets in no more than there is room for."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.is_closed = False
        self._visits: set[Visit] = set()
        self._is_in_a_hurry = False

    @contextmanager
    def admitted(self) -> Iterator[Visit]:
        """Let a request in.

        Raises:
            RefusedError: there is no room, or the server stops.
        """
        if self.is_closed:
            raise shutting_down()
        if len(self._visits) >= self.limits.clients:
            raise RefusedError(
                f"{self.limits.clients} clients are being served, as many as there is room for; ask again in a moment.",
                status=503,
                code="overloaded",
                retry_after=1,
            )
        visit = Visit(self.limits)
        self._visits.add(visit)
        try:
            yield visit
        finally:
            self._visits.discard(visit)

    def close(self) -> None:
        """Let nobody in any more."""
        self.is_closed = True

    def hurry(self) -> None:
        """End the grace time: whoever is inside leaves now."""
        self._is_in_a_hurry = True

    async def emptied(self) -> int:
        """Wait until all have left, in the grace time by themselves, and return how many were sent away."""
        self.close()
        await self._empty_within(self.limits.grace_seconds, may_hurry=True)
        sent_away = list(self._visits)
        for visit in sent_away:
            visit.stop(shutting_down())
        await self._empty_within(_LAST_WORD_SECONDS, may_hurry=False)
        return len(sent_away)

    async def _empty_within(self, seconds: float, *, may_hurry: bool) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds

        def is_waited_for() -> bool:
            return bool(self._visits) and loop.time() < deadline and not (may_hurry and self._is_in_a_hurry)

        # A signal handler calls hurry(), and cannot set an event that wakes the loop.
        while is_waited_for():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)


def _took_too_long(limits: Limits) -> RefusedError:
    return RefusedError(
        f"the request took longer than {limits.total_seconds:g} seconds; ask for less at once.",
        status=408,
        code="took_too_long",
    )
