"""Sound out of transformers' `generate` while it runs.

    generate's thread   put(prompt) put(ids) put(ids) …  end()
                             |         |        |          |         a queue of ids: put() never waits
    listener's thread   for chunk in streamer: decode, hand out

Threads: `put`, `end` and `fail` belong to the thread that generates, reading to one other; `close` may come from
anywhere. What the listener does not take waits as ids, at most as many as are generated.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import warnings
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from transformers.generation.streamers import BaseStreamer

from snac_tok.codec.noise import checked_noise
from snac_tok.errors import GenerationStoppedError, LostSpeechWarning, TokenError
from snac_tok.generation.speech_filter import SpeechFilter
from snac_tok.generation.speech_stream import ENDED_INSIDE_A_FRAME, no_speech
from snac_tok.generation.timing import StreamTiming
from snac_tok.streaming import BatchStreamDecoder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.frames.grammar import EdgeIds
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike
    from snac_tok.streaming.repair_report import OnError, RepairReport

    Samples = npt.NDArray[np.float32]

_END = object()
# How often a listener looks whether the thread that generates is still there.
_LOOK_SECONDS = 1.0


class SnacStreamer(BaseStreamer):
    """Hands out the sound of what `generate(streamer=…)` writes: exact, every sample once, while the model goes on.

    It serves one call of `generate`, of one row or several. Speech that the prompt ends with belongs to the sound.

    Args:
        codec: the network, or a `SnacTokenizer`, which brings its vocabulary along.
        vocabulary: as in `BatchStreamDecoder`.
        noise: as in `BatchStreamDecoder.open`, the same for each row.
        on_error: as in `StreamDecoder`; `reports` says what was repaired.
        before_speech: names of specials, or ids, whose last one starts speech; None as in `Vocabulary.grammar`.
        after_speech: those that end it; None as there.
        timeout: how many seconds a listener waits for the next id before it gives up; None is for ever.

    Attributes:
        timing: a `StreamTiming`, from the moment the prompt came.
        generated: what the call handed to `start` returned, None before it has: the ids, once the sound is at its end.
        reports: a `RepairReport` for each row that has ended.

    Raises:
        LayoutError: no vocabulary, or one for another codec.
        TokenError: parallel rows, which are no stream; another word in `on_error`.
        CodesError: `noise` is not what `SNAC.decode` takes.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> streamer = SnacStreamer(SnacTokenizer.from_pretrained("tiny", preset="orpheus"))
        >>> for chunk in streamer.start(lambda: model.generate(**prompt, streamer=streamer)):   # doctest: +SKIP
        ...     play(chunk)
    """

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        noise: Noise = 0,
        on_error: OnError = "strict",
        before_speech: EdgeIds | None = None,
        after_speech: EdgeIds | None = None,
        timeout: float | None = None,
    ) -> None:
        self.timing = StreamTiming()
        self.timeout = timeout
        self.generated: Any = None
        self.reports: dict[int, RepairReport] = {}
        self._streams = BatchStreamDecoder(codec, vocabulary, on_error=on_error)
        self._noise = checked_noise(noise)
        self._edges = {"before_speech": before_speech, "after_speech": after_speech}
        self._rows: list[SpeechFilter] = []
        self._open: set[int] = set()
        self._heard: set[int] = set()
        self._num_steps = 0
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._returned: threading.Event | None = None
        self._is_closed = False
        self._has_ended = False
        self._is_read = False
        # Fails now, not in the listener's thread.
        self._new_row()

    @property
    def sampling_rate(self) -> int:
        """The rate of the samples that come out, in Hz."""
        return self._streams.codec.sampling_rate

    def put(self, value: Any) -> None:
        """Take the prompt (B, L), then the ids of each step; called by `generate`.

        Raises:
            GenerationStoppedError: the listener has left, or this streamer has served a `generate` already; it ends
                `generate`.
        """
        if self._is_closed or self._has_ended:
            raise GenerationStoppedError(
                "this streamer has served a generate(), or nobody listens to it any more; make another."
            )
        if self._writer is None:
            self.timing = StreamTiming()
        self._writer = threading.current_thread()
        self._queue.put(np.asarray(value.cpu() if hasattr(value, "cpu") else value).copy())

    def end(self) -> None:
        """Mark the end of what the model writes; called by `generate`."""
        self._has_ended = True
        self._queue.put(_END)

    def fail(self, error: BaseException) -> None:
        """Hand an error to the listener, who gets it after the sound in front of it."""
        self._queue.put(error)

    def close(self) -> None:
        """Stop: the next `put` ends `generate`, and a listener that waits goes on."""
        self._is_closed = True
        self._queue.put(GenerationStoppedError("the streamer was closed while generate() ran."))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """In the thread that generates, `with streamer: model.generate(…)` hands an error of generate's on."""
        if error is not None:
            self.fail(error)

    def start(self, generate: Callable[[], Any]) -> Self:
        """Run a call of `generate` in a thread of its own; then read this streamer.

        Args:
            generate: calls the model with this streamer; what it raises reaches the listener.
        """

        def run() -> None:
            try:
                self.generated = generate()
            except GenerationStoppedError:
                self.end()
            except BaseException as error:  # noqa: BLE001 - it is the listener's
                self.fail(error)
            else:
                self.end()
            finally:
                returned.set()

        returned = self._returned = threading.Event()
        threading.Thread(target=run, name="generate", daemon=True).start()
        return self

    def __iter__(self) -> Iterator[Samples]:
        """Yield the samples (n,) of one row as they become final.

        Raises:
            TokenError: there are several rows; or as `rows`.
        """
        for _, sound in self._sounds(one_row=True):
            yield sound

    def rows(self) -> Iterator[tuple[int, Samples]]:
        """Yield (row, samples) as they become final, the rows of a batch in any order.

        Raises:
            TokenError: an id among the speech that is not its slot's (strict), or a row without a frame of speech.
            GenerationStoppedError: the thread that generates has died without a word, or nothing came in time.
            BaseException: whatever `generate` raised, where it was handed on (`start`, `with streamer`, `fail`).

        Warns:
            LostSpeechWarning: the model ended speech in the middle of a frame, or a row was repaired.
        """
        yield from self._sounds(one_row=False)

    async def __aiter__(self) -> AsyncIterator[Samples]:
        """Yield the samples (n,) of one row; an event loop goes on meanwhile."""
        async for _, sound in self._in_thread(one_row=True):
            yield sound

    async def arows(self) -> AsyncIterator[tuple[int, Samples]]:
        """Yield (row, samples); an event loop goes on meanwhile."""
        async for row in self._in_thread(one_row=False):
            yield row

    async def _in_thread(self, *, one_row: bool) -> AsyncIterator[tuple[int, Samples]]:
        sounds, end = self._sounds(one_row=one_row), object()
        try:
            while (found := await asyncio.to_thread(next, sounds, end)) is not end:
                yield found  # type: ignore[misc]
        finally:
            # A worker thread that waits for ids cannot be cancelled; this lets it go on and end.
            self.close()

    def _sounds(self, *, one_row: bool) -> Iterator[tuple[int, Samples]]:
        if self._is_read:
            raise TokenError("this streamer has been read; make another for the next generate().")
        self._is_read = True
        last: object = None
        try:
            while last is None:
                last = self._take_all(self._next_items(), one_row=one_row)
                yield from self._advanced()
            if isinstance(last, BaseException):
                raise last
            # `generate` tells of its end before it returns, and whoever reads `generated` next relies on it.
            if self._returned is not None:
                self._returned.wait(self.timeout)
            self._check_rows()
        finally:
            self.close()

    def _next_items(self) -> list[Any]:
        """Wait for ids, and return them with all that came since."""
        step = _LOOK_SECONDS if self.timeout is None else min(_LOOK_SECONDS, self.timeout)
        waited = 0.0
        while True:
            try:
                items = [self._queue.get(timeout=step)]
            except queue.Empty:
                waited += step
                self._check_writer(waited)
                continue
            while not self._queue.empty():
                items.append(self._queue.get())
            return items

    def _check_writer(self, waited: float) -> None:
        if self._writer is not None and not self._writer.is_alive() and self._queue.empty():
            raise GenerationStoppedError(
                "generate() ended without end(): it failed in its thread; run it through streamer.start(…), or inside "
                "`with streamer:`, to get its error here."
            )
        if self.timeout is not None and waited >= self.timeout:
            raise GenerationStoppedError(f"no id came within {self.timeout} seconds; is generate() running?")

    def _take_all(self, items: list[Any], *, one_row: bool) -> object:
        """Take ids up to the end or the first error, and return which of these came, None for neither."""
        for item in items:
            try:
                if item is _END:
                    for row in sorted(self._open):
                        self._end_row(row)
                if not isinstance(item, np.ndarray):
                    return item
                self._take(item, one_row=one_row)
            except TokenError as error:
                return error
        return None

    def _take(self, ids: npt.NDArray[Any], *, one_row: bool) -> None:
        if self._rows:
            self._num_steps += 1
            for row, line in enumerate(ids.reshape(len(self._rows), -1)):
                self._push(row, self._rows[row].take(line))
            return
        prompt = np.atleast_2d(ids)
        if one_row and len(prompt) > 1:
            raise TokenError(
                f"generate() writes {len(prompt)} rows; read them with streamer.rows(), "
                "or set num_beams=1 if they are beams."
            )
        self._rows = [self._new_row() for _ in prompt]
        self._open = set(range(len(prompt)))
        for row, line in enumerate(prompt):
            self._streams.open(row, noise=self._noise)
            self._push(row, self._rows[row].take_prompt(line))

    def _new_row(self) -> SpeechFilter:
        return SpeechFilter(self._streams.vocabulary, **self._edges)

    def _push(self, row: int, speech: npt.NDArray[np.int64]) -> None:
        if speech.size:
            try:
                self._streams.push(row, speech)
            except TokenError as error:
                error.add_note(f"in row {row} of what generate() writes.")
                raise
        if self._rows[row].ended and row in self._open:
            self._end_row(row)

    def _end_row(self, row: int) -> None:
        self._open.discard(row)
        try:
            self._streams.end(row, drop_partial=not self._rows[row].ended)
        except TokenError:
            warnings.warn(ENDED_INSIDE_A_FRAME, LostSpeechWarning, stacklevel=2)
            self._streams.end(row, drop_partial=True)
        self.reports[row] = self._streams.report(row)

    def _advanced(self) -> Iterator[tuple[int, Samples]]:
        for row, sound in self._streams.step().items():
            if sound.size:
                assert isinstance(row, int)
                self._heard.add(row)
                self.timing.note(sound.size, sampling_rate=self.sampling_rate)
                yield row, sound

    def _check_rows(self) -> None:
        if not self._rows:
            raise TokenError("no id came: hand this streamer to generate(), streamer=streamer.")
        if not self._num_steps:
            raise TokenError(
                "generate() handed over the prompt and no id after it; with beams it streams nothing: set num_beams=1."
            )
        for row, speech in enumerate(self._rows):
            if row not in self._heard:
                error = no_speech(speech)
                error.add_note(f"row {row} of {len(self._rows)}.")
                raise error
