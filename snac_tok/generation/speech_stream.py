"""Sound while a language model writes, from any source of tokens: ids or text, in this process or from a server.

Threads: a stream takes one call at a time, from any thread; streams of one codec may run side by side in several.
`astream_audio` decodes in a worker thread, so that an event loop goes on meanwhile. Nothing is read from the source
before the sound in front of it was taken: a slow listener slows the source down.
"""

from __future__ import annotations

import asyncio
import copy
import warnings
from collections.abc import AsyncIterable, Iterable
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np

from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.generation.sound_bytes import pcm16, wav_header
from snac_tok.generation.speech_filter import SpeechFilter
from snac_tok.generation.timing import StreamTiming
from snac_tok.generation.token_source import check_source, check_text
from snac_tok.generation.token_text import TokenText
from snac_tok.streaming import StreamDecoder
from snac_tok.streaming.copies import CopyableStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.frames.grammar import EdgeIds
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike
    from snac_tok.streaming.repair_report import OnError

    # One id, several, or a piece of text.
    Tokens: TypeAlias = int | str | Iterable[int]
    Samples: TypeAlias = npt.NDArray[np.float32]

Encoding: TypeAlias = Literal["float32", "pcm16", "wav"]
ENDED_INSIDE_A_FRAME = (
    "the model ended its speech inside a frame, whose ids make no sound; "
    "a frame grammar keeps it from doing so."
)
_USED_UP = "this SpeechStream has come to its end; make another one for the next speech."
_ENCODINGS = ("float32", "pcm16", "wav")


class SpeechStream(CopyableStream):
    """The speech in what a language model writes, as sound: exact, every sample once, text around it left out.

    A call that fails, for any reason, leaves the stream as it was and can be repeated. A copy, shallow or deep, goes on
    by itself with the same codec; a stream that has begun cannot be pickled.

    Args:
        codec: the network, or a `SnacTokenizer`, which brings its vocabulary along.
        vocabulary: as in `StreamDecoder`.
        noise: as in `StreamDecoder`.
        lookahead: as in `StreamDecoder`.
        on_error: as in `StreamDecoder`; `decoder.report` says what was repaired.
        before_speech: names of specials, or ids, whose last one starts speech; None as in `Vocabulary.grammar`.
        after_speech: those that end it; None as there.

    Attributes:
        timing: a `StreamTiming`, from the moment the stream was made.

    Raises:
        LayoutError: no vocabulary, or one for another codec.
        TokenError: parallel rows, which are no stream.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> ids = tok.encode(np.zeros(24_000), sampling_rate=24_000, add_special_tokens=True)
        >>> stream = SpeechStream(tok)
        >>> stream.push(ids[:36]).size, stream.push(ids[36:]).size, stream.ended
        (5483, 19093, True)
    """

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        noise: Noise = 0,
        lookahead: int | None = None,
        on_error: OnError = "strict",
        before_speech: EdgeIds | None = None,
        after_speech: EdgeIds | None = None,
    ) -> None:
        self.decoder = StreamDecoder(codec, vocabulary, noise=noise, lookahead=lookahead, on_error=on_error)
        self._speech = SpeechFilter(
            self.decoder.vocabulary, before_speech=before_speech, after_speech=after_speech
        )
        self._text: TokenText | None = None
        self._is_flushed = False
        self._num_samples = 0
        self.timing = StreamTiming()

    @property
    def sampling_rate(self) -> int:
        """The rate of the samples that come out, in Hz."""
        return self.decoder.sampling_rate

    @property
    def ended(self) -> bool:
        """Whether an end of speech came: what follows makes no sound."""
        return self._speech.ended

    @property
    def is_flushed(self) -> bool:
        """Whether all sound was handed out: the stream is used up."""
        return self._is_flushed

    def push(self, ids: Any) -> Samples:
        """Take the next ids, one or several, and return the samples (n,) that are final now, n possibly 0.

        Raises:
            TokenError: no integers (n,), an id among the speech that is not its slot's (strict), or speech after
                `flush`.

        Warns:
            LostSpeechWarning: the speech ended in the middle of a frame, whose ids make no sound, or was repaired.
        """
        return self._advance(ids, self._text)

    def push_text(self, text: str) -> Samples:
        """Do the same with a piece of text, whose tokens may be cut anywhere.

        Raises:
            LayoutError: the vocabulary has no text form.
            TokenError: as `push`, a token whose number is not an id, or no text.
        """
        check_text(text)
        reader = copy.copy(self._text) if self._text else TokenText(self.decoder.vocabulary)
        return self._advance(reader.push(text), reader)

    def flush(self) -> Samples:
        """End the stream and return what is left (n,); a frame that was being written makes no sound.

        Raises:
            TokenError: no whole frame of speech came at all: more may be pushed.
        """
        reader = copy.copy(self._text)
        return self._advance(reader.flush() if reader else [], reader, is_last=True)

    @property
    def _has_begun(self) -> bool:
        return self.decoder._has_begun  # noqa: SLF001 - of the same parent

    def _own_parts(self) -> dict[str, Any]:
        return {"decoder": copy.copy(self.decoder), "timing": copy.copy(self.timing)}

    def _advance(self, ids: Any, text: TokenText | None, *, is_last: bool = False) -> Samples:
        """Take ids, and keep what they change, with what the text's reader is then, once all of it has succeeded."""
        speech = copy.copy(self._speech)
        with self.decoder.all_or_nothing():
            sound = self._sound(speech, ids, is_last=is_last)
            if is_last and not self._num_samples + sound.size:
                raise no_speech(speech)
        self._speech, self._text = speech, text
        self._is_flushed = self._is_flushed or speech.ended or is_last
        self._num_samples += sound.size
        if sound.size:
            self.timing.note(sound.size, sampling_rate=self.sampling_rate)
        return sound

    def _sound(self, speech: SpeechFilter, ids: Any, *, is_last: bool) -> Samples:
        """Decode those of the ids that are speech, and at its end the rest."""
        spoken = speech.take(ids)
        if spoken.size and self._is_flushed:
            raise TokenError(_USED_UP)
        sound = self.decoder.push(spoken) if spoken.size else np.zeros(0, np.float32)
        if self._is_flushed or not (speech.ended or is_last):
            return sound
        return np.concatenate((sound, self._rest(is_whole=speech.ended)))

    def _rest(self, *, is_whole: bool) -> Samples:
        try:
            # The frame that a model was writing when it was stopped is no fault.
            return self.decoder.flush(drop_partial=not is_whole)
        except TokenError:
            warnings.warn(ENDED_INSIDE_A_FRAME, LostSpeechWarning, stacklevel=5)
            return self.decoder.flush(drop_partial=True)


def no_speech(speech: SpeechFilter) -> TokenError:
    """Return what to raise where a model wrote no speech."""
    table = speech.vocabulary
    return TokenError(
        f"there is no whole frame of {table.name!r} speech among {speech.num_seen} ids; its codes are ids from "
        f"{table.code_ids[0]} to {table.code_ids[-1]}: name the preset of the model that wrote them, and let it write "
        "at least one frame."
    )


@overload
def stream_audio(
    tokens: Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Literal["float32"] = "float32",
) -> Iterator[Samples]: ...
@overload
def stream_audio(
    tokens: Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Literal["pcm16", "wav"],
) -> Iterator[bytes]: ...
def stream_audio(
    tokens: Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Encoding = "float32",
) -> Iterator[Any]:
    """Turn tokens into sound as they come.

    Args:
        tokens: ids, one or several at a time, or pieces of text, from anywhere.
        codec: the network or a `SnacTokenizer`; or a `SpeechStream` of one's own, for its options and its timing.
        vocabulary: as in `SpeechStream`.
        encoding: "float32" for arrays of samples, "pcm16" for bytes, "wav" for the same bytes behind one header.

    Yields:
        what is final, as soon as it is; never nothing.

    Raises:
        TokenError: as `SpeechStream.push` and `SpeechStream.flush`, after the sound in front of it; or a source of
            something else: bytes, a mapping, what is asynchronous.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> ids = tok.encode(np.zeros(24_000), sampling_rate=24_000)
        >>> [len(part) for part in stream_audio(ids, tok, encoding="wav")][:3]
        [44, 2774, 4096]
    """
    check_source(tokens, may_be_asynchronous=False)
    stream = _stream_of(codec, vocabulary, encoding)
    if encoding == "wav":
        yield wav_header(stream.sampling_rate)
    for piece in tokens:
        yield from _parts(_pushed(stream, piece), encoding)
        if stream.ended:
            break
    yield from _parts(stream.flush(), encoding)


@overload
def astream_audio(
    tokens: AsyncIterable[Tokens] | Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Literal["float32"] = "float32",
) -> AsyncIterator[Samples]: ...
@overload
def astream_audio(
    tokens: AsyncIterable[Tokens] | Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Literal["pcm16", "wav"],
) -> AsyncIterator[bytes]: ...
async def astream_audio(
    tokens: AsyncIterable[Tokens] | Iterable[Tokens],
    codec: SNAC | CodecWithVocabulary | SpeechStream,
    vocabulary: VocabularyLike = "auto",
    *,
    encoding: Encoding = "float32",
) -> AsyncIterator[Any]:
    """Do what `stream_audio` does in an event loop, which goes on while a frame is decoded.

    Cancelled, or closed by `aclose`, it closes the source, too; a source that is just writing in its worker thread
    is closed when its next piece is there, and a cancelled task does not wait for that.

    Args:
        tokens: as in `stream_audio`, or asynchronous; what is not is read in a worker thread.
        codec: see there.
        vocabulary: see there.
        encoding: see there.

    Yields:
        as there.

    Raises:
        TokenError: as there.
    """
    check_source(tokens, may_be_asynchronous=True)
    source = tokens if isinstance(tokens, AsyncIterable) else _from_thread(tokens)
    try:
        stream = await asyncio.to_thread(_stream_of, codec, vocabulary, encoding)
        if encoding == "wav":
            yield wav_header(stream.sampling_rate)
        async for piece in source:
            for part in _parts(await asyncio.to_thread(_pushed, stream, piece), encoding):
                yield part
            if stream.ended:
                break
        for part in _parts(await asyncio.to_thread(stream.flush), encoding):
            yield part
    finally:
        if hasattr(source, "aclose"):
            await source.aclose()


def _stream_of(
    codec: SNAC | CodecWithVocabulary | SpeechStream, vocabulary: VocabularyLike, encoding: Encoding
) -> SpeechStream:
    if encoding not in _ENCODINGS:
        raise TokenError(f"encoding is {encoding!r}; it must be one of {_ENCODINGS}.")
    if not isinstance(codec, SpeechStream):
        return SpeechStream(codec, vocabulary)
    if codec.is_flushed:
        raise TokenError(_USED_UP)
    return codec


def _pushed(stream: SpeechStream, piece: Tokens) -> Samples:
    return stream.push_text(piece) if isinstance(piece, str) else stream.push(piece)


def _parts(sound: Samples, encoding: Encoding) -> list[Any]:
    if not sound.size:
        return []
    return [sound if encoding == "float32" else pcm16(sound)]


async def _from_thread(tokens: Iterable[Tokens]) -> AsyncIterator[Tokens]:
    pieces, end, reading = iter(tokens), object(), Lock()

    def following() -> Any:
        with reading:
            return next(pieces, end)

    def close() -> None:
        with reading:
            if hasattr(pieces, "close"):
                pieces.close()

    is_left_alone = False
    try:
        while (piece := await asyncio.to_thread(following)) is not end:
            yield piece
    except asyncio.CancelledError:
        # A thread cannot be stopped, and a generator that runs cannot be closed. Who cancelled does not wait for it:
        # a timeout over a slow source must be punctual.
        is_left_alone = True
        raise
    finally:
        closing = asyncio.get_running_loop().run_in_executor(None, close)
        if not is_left_alone:
            await closing
