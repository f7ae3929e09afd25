"""One client's speech: the tokens of a language model, in any pieces, to sound by way of the shared decoder."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.generation.speech_filter import SpeechFilter
from snac_tok.generation.speech_stream import ENDED_INSIDE_A_FRAME, no_speech
from snac_tok.generation.timing import StreamTiming
from snac_tok.generation.token_text import TokenText
from snac_tok.serving.problems import RefusedError
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from snac_tok.prompts import PromptFormat
    from snac_tok.serving.decoding import Ids, Samples, SharedDecoder
    from snac_tok.serving.limits import Limits
    from snac_tok.serving.sources import Tokens

# A stream that has much to decode takes turns with the others: this many frames a step, 0.3 s at 24 kHz.
_FRAMES_A_STEP = 4
_names = itertools.count()


class LiveSpeech:
    """The speech of one stream.

    It hands whole frames to the decoder, so one token at a time costs no more than seven at once.

    Args:
        decoder: what makes the sound.
        limits: how many tokens may come.
        prompt: the ids around the speech; None is what the families use.

    Attributes:
        timing: a `StreamTiming`, from the moment the stream was made.
        left_out: a sentence about ids that make no sound, or were repaired; None where there are none.
    """

    def __init__(self, decoder: SharedDecoder, limits: Limits, *, prompt: PromptFormat | None = None) -> None:
        self.timing = StreamTiming()
        self.left_out: str | None = None
        self._decoder, self._limits = decoder, limits
        self._name = next(_names)
        self._speech = SpeechFilter(
            decoder.vocabulary,
            before_speech=None if prompt is None else prompt.before_speech,
            after_speech=None if prompt is None else prompt.after_speech,
        )
        self._text: TokenText | None = None
        self._per_frame = decoder.vocabulary.ids_per_frame
        self._waiting: Ids = np.zeros(0, np.int64)
        self._num_handed_over = 0
        self._is_open = False

    @property
    def ended(self) -> bool:
        """Whether an end of speech came: what follows makes no sound."""
        return self._speech.ended

    @property
    def num_tokens(self) -> int:
        """How many ids came."""
        return self._speech.num_seen

    async def push(self, piece: Tokens) -> AsyncIterator[Samples]:
        """Take the next tokens and yield the samples (n,) that are final now.

        Raises:
            TokenError: an id that is out of place (strict), or a token whose number is no id.
            LayoutError: text, and the vocabulary has no text form.
            RefusedError: more tokens than one stream may have.
        """
        if isinstance(piece, str):
            if self._text is None:
                self._text = TokenText(self._decoder.vocabulary)
            piece = self._text.push(piece)
        self._waiting = np.concatenate((self._waiting, self._speech.take(piece)))
        self._check_length()
        async for sound in self._decoded(least=self._per_frame):
            yield sound

    async def finish(self) -> AsyncIterator[Samples]:
        """End the stream and yield the rest of its sound.

        Raises:
            TokenError: as `push`, or no whole frame of speech came at all.
        """
        if self._text is not None:
            async for sound in self.push(self._text.flush()):
                yield sound
        async for sound in self._decoded(least=1):
            yield sound
        rest, report = await self._decoder.end(self._name, drop_partial=not self.ended)
        self._is_open = False
        if report:
            self.left_out = f"{report}."
        elif self._decoder.on_error == "strict" and self._num_handed_over % self._per_frame:
            self.left_out = ENDED_INSIDE_A_FRAME if self.ended else self._unfinished()
        if rest.size:
            yield self._noted(rest)
        if not self.timing.audio_seconds:
            raise no_speech(self._speech)

    def _unfinished(self) -> str:
        over = self._num_handed_over % self._per_frame
        return f"the last {counted(over, 'id')} {'is' if over == 1 else 'are'} no whole frame."

    def close(self) -> None:
        """Forget the stream, wherever it is."""
        if self._is_open:
            self._decoder.abort(self._name)

    async def _decoded(self, *, least: int) -> AsyncIterator[Samples]:
        """Decode what waits, as long as there are this many ids."""
        while self._waiting.size >= least:
            size = min(self._waiting.size, _FRAMES_A_STEP * self._per_frame)
            now, self._waiting = self._waiting[:size], self._waiting[size:]
            self._is_open = True
            sound = await self._decoder.push(self._name, now)
            self._num_handed_over += size
            if sound.size:
                yield self._noted(sound)

    def _noted(self, sound: Samples) -> Samples:
        self.timing.note(sound.size, sampling_rate=self._decoder.sampling_rate)
        return sound

    def _check_length(self) -> None:
        if self.num_tokens > self._limits.stream_tokens:
            raise RefusedError(
                f"the stream has more than {counted(self._limits.stream_tokens, 'token')}; begin another one.",
                status=413,
                code="too_many_tokens",
            )
