"""Rows' sound to codes: short clips in batches, long ones alone, with at most the requested seconds in memory.

On a GPU threads read the rows, and the next batch is begun before the codes of this one are waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from snac_tok.audio import Waveform
from snac_tok.codec.transfers import pipelined
from snac_tok.errors import AudioError
from snac_tok.mapping.rows import load_row
from snac_tok.sources.read_ahead import read_in_threads
from snac_tok.sources.reading import LongSound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy as np
    import numpy.typing as npt

    from snac_tok.tokenizer import SnacTokenizer
    from snac_tok.tokenizer.preprocessing import Preprocessing

    Sound = Waveform | LongSound | AudioError
    Portion = Mapping[int, Sound]


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
    ahead = encoder.batches_ahead
    load = partial(_load, preprocessing=encoder.preprocessing)
    rows = enumerate(zip(audio, rates, strict=True))
    sounds = read_in_threads(load, rows, threads=torch.get_num_threads()) if ahead else map(load, rows)
    results: dict[int, Encoded | AudioError] = {}
    begin = partial(_begin, encoder=encoder)
    for portion, codes in pipelined(begin, _portions(sounds, seconds_per_call), ahead=ahead):
        whole = iter(codes)
        for at, sound in portion.items():
            if isinstance(sound, Waveform):
                results[at] = Encoded(codes=next(whole), num_samples=sound.num_samples)
            elif isinstance(sound, AudioError):
                results[at] = sound
            else:
                results[at] = _encode_long(sound, encoder, name=_named(at))
    return [results[at] for at in range(len(audio))]


def _load(row: tuple[int, tuple[Any, Any]], *, preprocessing: Preprocessing) -> Sound:
    at, (value, rate) = row
    try:
        return load_row(value, rate, preprocessing, name=_named(at))
    except AudioError as error:
        return error


def _portions(sounds: Iterator[Waveform | LongSound | AudioError], most_seconds: float) -> Iterator[Portion]:
    """Take rows, by number, until enough sound is in memory."""
    portion: dict[int, Sound] = {}
    seconds = 0.0
    for at, sound in enumerate(sounds):
        if isinstance(sound, Exception) and not isinstance(sound, AudioError):
            raise sound
        portion[at] = sound
        # A long file is open until it is encoded: a batch of them would be more files than a process may have open.
        seconds += most_seconds if isinstance(sound, LongSound) else 0.0
        seconds += sound.duration_seconds if isinstance(sound, Waveform) else 0.0
        if seconds >= most_seconds:
            yield portion
            portion, seconds = {}, 0.0
    yield portion


def _begin(
    portion: Portion, encoder: SnacTokenizer
) -> Callable[[], tuple[Portion, list[list[npt.NDArray[np.int64]]]]]:
    """Begin to encode what stands in memory; what is returned waits for its codes."""
    whole = [sound for sound in portion.values() if isinstance(sound, Waveform)]
    if encoder.batches_ahead:
        finish = encoder.begin_codes(whole)
        return lambda: (portion, finish())
    codes = encoder.encode_codes(whole) if whole else []
    return lambda: (portion, codes)


def _named(at: int) -> str:
    return f"row {at} of the batch"


def _encode_long(sound: LongSound, encoder: SnacTokenizer, *, name: str) -> Encoded | AudioError:
    try:
        codes, num_samples = encoder.encode_blocks(sound, name=name)
    except AudioError as error:
        return error
    return Encoded(codes=codes, num_samples=num_samples)
