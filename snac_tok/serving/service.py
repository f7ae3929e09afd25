"""What all routes of one application share."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from snac_tok.serving.decoding import SharedDecoder, settle
from snac_tok.serving.gate import Gate
from snac_tok.serving.live_speech import LiveSpeech
from snac_tok.serving.metrics import Metrics
from snac_tok.serving.sources import close_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from snac_tok.prompts import PromptFormat
    from snac_tok.serving.limits import Limits
    from snac_tok.serving.request_log import RequestRecord
    from snac_tok.serving.sources import TokenSource
    from snac_tok.streaming.repair_report import OnError
    from snac_tok.tokenizer import SnacTokenizer

    Answer = TypeVar("Answer")


class Service:
    """The codec, the source of tokens, and who uses them.

    Attributes:
        tokenizer: the codec and its id table.
        source: where tokens come from, None for nowhere.
        limits: what clients may ask for.
        gate: who is inside.
        metrics: what is counted.
        decoder: of all streams.
    """

    def __init__(
        self, tokenizer: SnacTokenizer, source: TokenSource | None, limits: Limits, *, on_error: OnError
    ) -> None:
        self.tokenizer, self.source, self.limits = tokenizer, source, limits
        self.gate = Gate(limits)
        codec = tokenizer.codec
        self.metrics = Metrics(
            frame_samples=codec.config.frame_length, graph_report=lambda: codec.graph_report
        )
        self.decoder = SharedDecoder(tokenizer, on_error=on_error, on_step=self.metrics.note_step)
        # Whole recordings take turns: several at once are no faster, and take more memory.
        self._turn = asyncio.Lock()

    async def whole(self, work: Callable[..., Answer], *args: Any) -> Answer:
        """Run work on a whole recording in a thread, one after the other."""
        await self._turn.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()

        def run() -> None:
            try:
                found: Answer | Exception = work(*args)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                found = error
            settle(answer, found)
            # Here, since a caller who waits no longer does not end the work.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._turn.release)

        # A process that ends does not wait for it, as it would for a pool's threads.
        try:
            threading.Thread(target=run, name="whole", daemon=True).start()
        except RuntimeError:  # the system has no more threads
            self._turn.release()
            raise
        return await answer

    @asynccontextmanager
    async def listening(
        self, record: RequestRecord, *, prompt: PromptFormat | None = None
    ) -> AsyncIterator[LiveSpeech]:
        """Open a stream, whose speech stands between a prompt's ids; count it, and forget it, whatever happens."""
        speech = LiveSpeech(self.decoder, self.limits, prompt=prompt)
        try:
            with self.metrics.streams.track_inprogress():
                yield speech
        finally:
            speech.close()
            timing = speech.timing
            self.metrics.note_speech(timing)
            record.add(
                tokens=speech.num_tokens,
                audio_seconds=timing.audio_seconds,
                first_audio_seconds=timing.first_audio_seconds,
                real_time_factor=timing.real_time_factor,
                left_out=speech.left_out,
            )

    async def start(self) -> None:
        """Begin to decode."""
        self.decoder.start()

    async def stop(self) -> None:
        """Send away whoever is still inside, and end the threads."""
        self.gate.hurry()
        await self.gate.emptied()
        await asyncio.to_thread(self.decoder.stop)
        await close_source(self.source)
