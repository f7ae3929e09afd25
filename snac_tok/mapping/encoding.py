"""Rows' sound to codes: short clips in batches, long ones alone, with at most the requested seconds in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.audio import Waveform
from snac_tok.errors import AudioError
from snac_tok.mapping.rows import load_row
from snac_tok.sources.reading import LongSound

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from snac_tok.tokenizer import SnacTokenizer


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One encoded row: codes [(T_k,)] per level, coarsest first, and its number of samples at the codec's rate."""

    codes: Sequence[npt.NDArray[np.int64]]
    num_samples: int


def encode_rows(
    audio: Sequence[Any], rates: Sequence[Any], encoder: SnacTokenizer, *, seconds_per_call: float
) -> list[Encoded | AudioError]:
    """Return the codes of each row, or the error that prevented them.

    Args:
        audio: one value per row, as `rows.load_row` takes it.
        rates: one rate per row, in Hz, of bare samples; None for other values.
        encoder: the codec and its preprocessing.
        seconds_per_call: how much sound is read before the network runs.
    """
    results: dict[int, Encoded | AudioError] = {}
    for portion in _portions(audio, rates, encoder, seconds_per_call):
        short = {at: sound for at, sound in portion.items() if isinstance(sound, Waveform)}
        codes = encoder.encode_codes(list(short.values())) if short else []
        for (at, waveform), levels in zip(short.items(), codes, strict=True):
            results[at] = Encoded(codes=levels, num_samples=waveform.num_samples)
        for at, sound in portion.items():
            if isinstance(sound, LongSound):
                results[at] = _encode_long(sound, encoder, name=_named(at))
            elif isinstance(sound, AudioError):
                results[at] = sound
    return [results[at] for at in range(len(audio))]


def _portions(
    audio: Sequence[Any], rates: Sequence[Any], encoder: SnacTokenizer, most_seconds: float
) -> Iterator[Mapping[int, Waveform | LongSound | AudioError]]:
    """Read rows until enough sound is in memory."""
    portion: dict[int, Waveform | LongSound | AudioError] = {}
    seconds = 0.0
    for at, (value, rate) in enumerate(zip(audio, rates, strict=True)):
        try:
            sound = portion[at] = load_row(value, rate, encoder.preprocessing, name=_named(at))
        except AudioError as error:
            portion[at] = error
            continue
        seconds += sound.duration_seconds if isinstance(sound, Waveform) else 0.0
        if seconds >= most_seconds:
            yield portion
            portion, seconds = {}, 0.0
    yield portion


def _named(at: int) -> str:
    return f"row {at} of the batch"


def _encode_long(sound: LongSound, encoder: SnacTokenizer, *, name: str) -> Encoded | AudioError:
    try:
        codes, num_samples = encoder.encode_blocks(sound, name=name)
    except AudioError as error:
        return error
    return Encoded(codes=codes, num_samples=num_samples)
