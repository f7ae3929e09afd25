"""Pasted tokens as sound that is decoded while it is heard: kept for a while, and served as a WAV of known length."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snac_tok.errors import TokenError
from snac_tok.generation import SpeechStream, read_generated, stream_audio, wav_header
from snac_tok.streaming.frame_repair import repair_ids
from snac_tok.streaming.pairing import without_trial_warning
from snac_tok.wording import lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.streaming.repair_report import OnError
    from snac_tok.tokenizer import SnacTokenizer

_BYTES_A_SAMPLE = 2
# How many are kept: a browser may ask for one again.
_MOST_KEPT = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Speech:
    """Ids that are known to be whole frames, and the codec that speaks them.

    Attributes:
        ids: int64 (frames, ids of a frame).
        remarks: a sentence about each thing that was left out or repaired.
        key: its name in an address, which nobody can guess.
    """

    tokenizer: SnacTokenizer
    ids: Any
    remarks: tuple[str, ...]
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    @property
    def num_samples(self) -> int:
        """How long the sound is, which is known before it is made."""
        return len(self.ids) * self.tokenizer.codec.config.frame_length

    @property
    def num_bytes(self) -> int:
        """How long the WAV is."""
        return len(self._header()) + _BYTES_A_SAMPLE * self.num_samples

    def wav(self) -> Iterator[bytes]:
        """Yield the WAV, each frame's sound as soon as it is decoded."""
        with without_trial_warning():  # the page itself tells of trial codecs
            stream = SpeechStream(self.tokenizer)
        yield self._header()
        yield from stream_audio(self.ids, stream, encoding="pcm16")

    def _header(self) -> bytes:
        return wav_header(self.tokenizer.sampling_rate, num_samples=self.num_samples)


def speech_in(text: str, tokenizer: SnacTokenizer, *, on_error: OnError, max_seconds: float) -> Speech:
    """Return the speech in what a language model wrote, checked as a whole before any of it is heard.

    Raises:
        TokenError: there is none, it has faults (strict), or it is longer than `max_seconds`.
    """
    table = tokenizer.vocabulary
    found = read_generated(text, table)
    ids, remarks = found.ids, list(found.left_out)
    if on_error != "strict":
        repaired = repair_ids(ids, table, on_error=on_error)
        ids = repaired.ids
        remarks += [f"{repaired.report}"] if repaired.report else []
    table.decode(ids)
    speech = Speech(tokenizer=tokenizer, ids=ids.reshape(-1, table.ids_per_frame), remarks=tuple(remarks))
    seconds = speech.num_samples / tokenizer.sampling_rate
    if not seconds:
        raise TokenError("no whole frame is left of these ids; paste more of them.")
    if seconds > max_seconds:
        raise TokenError(
            f"these ids are {lasting(seconds)} of speech, and the limit of this page is {max_seconds:g} s; "
            "paste fewer."
        )
    return speech


class KeptSpeech:
    """The latest speech that was asked for, by its key; the oldest make room."""

    def __init__(self) -> None:
        self._kept: deque[Speech] = deque(maxlen=_MOST_KEPT)

    def keep(self, speech: Speech) -> str:
        """Keep a speech, and return its address on the page."""
        self._kept.append(speech)
        return f"speech/{speech.key}.wav"

    def find(self, key: str) -> Speech | None:
        """Return the speech of a key, None where there is none any more."""
        return next((speech for speech in tuple(self._kept) if speech.key == key), None)
