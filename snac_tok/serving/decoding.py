"""One decoder for all streams: a thread of its own takes what each has ready and advances them in one step.

    stream A  push ──┐                        ┌── sound of A
    stream B  push ──┼── BatchStreamDecoder ──┼── sound of B        one step, one call of the network
    stream C  push ──┘                        └── sound of C

A stream waits for its sound before it pushes again. So nothing piles up here, and whoever is slow, a source or a
listener, slows down nobody else: the others' steps do not wait for it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from snac_tok.errors import LostSpeechWarning, ServingError
from snac_tok.streaming import BatchStreamDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.streaming.pairing import CodecWithVocabulary
    from snac_tok.streaming.repair_report import OnError, RepairReport

    Samples: TypeAlias = npt.NDArray[np.float32]
    Ids: TypeAlias = npt.NDArray[np.int64]

# Whole: what is left of a frame is a fault, and repaired as one.
Kind: TypeAlias = Literal["push", "end", "end whole", "abort"]
_NOTHING = np.zeros(0, np.float32)
# The layers of the released codecs hold as much as they ever do after ten frames; a graph is made soon after.
_TYPICAL_STEPS = 16


@dataclass(frozen=True, kw_only=True)
class StepSeen:
    """What one step did: how many streams it advanced, how many samples came out, and how long it took."""

    num_streams: int
    num_samples: int
    seconds: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """What a stream asks for; its answer goes back to the event loop that waits for it."""

    name: int
    kind: Kind
    ids: Ids | None = None
    answer: asyncio.Future[Any] | None = None


class SharedDecoder:
    """Decodes the streams of all clients side by side.

    Args:
        tokenizer: the codec and its id table.
        on_error: as in `BatchStreamDecoder`.
        on_step: is told of each step, in the thread that decodes.

    Raises:
        TokenError: as `BatchStreamDecoder`.
    """

    def __init__(
        self,
        tokenizer: CodecWithVocabulary,
        *,
        on_error: OnError = "strict",
        on_step: Callable[[StepSeen], None] = lambda _: None,
    ) -> None:
        self._streams = BatchStreamDecoder(tokenizer, on_error=on_error)
        self.on_error = on_error
        self._on_step = on_step
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    @property
    def vocabulary(self) -> Vocabulary:
        """Whose ids it decodes."""
        return self._streams.vocabulary

    @property
    def sampling_rate(self) -> int:
        """The rate of the samples that come out, in Hz."""
        return self._streams.codec.sampling_rate

    @property
    def is_running(self) -> bool:
        """Whether its thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread finish what it is asked for, and end it."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()

    async def push(self, name: int, ids: Ids) -> Samples:
        """Hand over the next ids of a stream's speech and return the samples (n,) that are final now.

        Raises:
            TokenError: an id out of place (strict); the stream is forgotten.
        """
        sound: Samples = await self._asked("push", name, ids)
        return sound

    async def end(self, name: int, *, drop_partial: bool) -> tuple[Samples, RepairReport]:
        """End a stream and return the rest of its sound, and what was repaired.

        Args:
            name: of the stream.
            drop_partial: whether a last frame that is not whole was cut, and is no fault to repair; in a strict
                stream it makes no sound in either case.
        """
        sound, report = await self._asked("end" if drop_partial else "end whole", name)
        return sound, report

    def abort(self, name: int) -> None:
        """Forget a stream, if it is there."""
        self._jobs.put(_Job(name=name, kind="abort"))

    async def _asked(self, kind: Kind, name: int, ids: Ids | None = None) -> Any:
        if not self.is_running:
            raise ServingError("the thread that decodes is not running; start the application first.")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(name=name, kind=kind, ids=ids, answer=answer))
        return await answer

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            self._advance([job for job in jobs if job is not None])
            if None in jobs:
                return

    def _advance(self, jobs: list[_Job]) -> None:
        waiting: dict[int, tuple[_Job, RepairReport | None]] = {}
        for job in jobs:
            try:
                report = self._applied(job)
            except Exception as error:  # noqa: BLE001 - it is this stream's alone
                self._fail(job, error)
            else:
                if job.answer is not None:
                    waiting[job.name] = job, report
        if not waiting:
            return
        begin = time.perf_counter()
        try:
            sounds = self._streams.step()
        except Exception as error:  # noqa: BLE001 - all who wait are told; the next streams begin anew
            for job, _ in waiting.values():
                self._fail(job, error)
            return
        self._on_step(
            StepSeen(
                num_streams=len(sounds),
                num_samples=sum(sound.size for sound in sounds.values()),
                seconds=time.perf_counter() - begin,
            )
        )
        for name, (job, report) in waiting.items():
            sound = sounds.get(name, _NOTHING)
            settle(job.answer, sound if job.kind == "push" else (sound, report))

    def _applied(self, job: _Job) -> RepairReport | None:
        if job.kind == "abort":
            if job.name in self._streams:
                self._streams.abort(job.name)
            return None
        if job.name not in self._streams:
            self._streams.open(job.name)
        if job.kind == "push":
            self._streams.push(job.name, job.ids)
            return None
        # Repairs are reported, and so warned of only where warnings are errors.
        with suppress(LostSpeechWarning):
            self._streams.end(job.name, drop_partial=job.kind == "end" or self.on_error == "strict")
        return self._streams.report(job.name)

    def _fail(self, job: _Job, error: Exception) -> None:
        if job.name in self._streams:
            self._streams.abort(job.name)
        settle(job.answer, error)


def run_typical_steps(tokenizer: CodecWithVocabulary, *, most_streams: int) -> None:
    """Run steps of 1, 2, 4, … streams, a frame each: what they need, CUDA graphs too, is there before clients come."""
    codes_per_frame = tokenizer.vocabulary.layout.codes_per_frame
    frame = tokenizer.vocabulary.encode([np.zeros(count, np.int64) for count in codes_per_frame])
    for power in range((most_streams - 1).bit_length() + 1):
        streams = BatchStreamDecoder(tokenizer)
        names = range(1 << power)
        for name in names:
            streams.open(name)
        for _ in range(_TYPICAL_STEPS):
            for name in names:
                streams.push(name, frame)
            streams.step()


def settle(future: asyncio.Future[Any] | None, answer: Any) -> None:
    """Hand an answer, or an error, from a thread to the event loop that waits for it."""
    if future is None:
        return

    def settle_there() -> None:
        if future.done():  # the client has left
            return
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)

    # The loop is closed where a server was torn down meanwhile.
    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(settle_there)
