"""Every form of sound → WAV and FLAC files: one recording, or an iterator of its blocks.

`encoding.py` writes the file itself, complete or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from snac_tok.audio.conversion import as_waveform
from snac_tok.audio.encoding import write_blocks
from snac_tok.audio.pairs import refuse_pair
from snac_tok.audio.waveform import Waveform
from snac_tok.errors import AudioFileError, WaveformError
from snac_tok.paths import checked_path
from snac_tok.wording import what_came

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def write_audio(
    path: str | os.PathLike[str],
    audio: Waveform | Iterable[Waveform] | Any,
    sampling_rate: int | None = None,
    *,
    subtype: str = "PCM_16",
) -> int:
    """Write a WAV or FLAC file (by its extension), complete or not at all; return how many values were clipped.

    Integer subtypes hold ±1: values beyond are clipped, counted, and logged as a warning. A value is
    scaled by 2^(bits-1) and rounded, the inverse of reading, so integers survive a round trip.

    Args:
        path: ends in .wav or .flac; an existing file is replaced when the new one is complete.
        audio: a waveform, or the blocks of one in order; with `sampling_rate`, anything `as_waveform` takes,
            such as a codec's output (1, 1, T); the rows of (C, T) are the file's channels.
        sampling_rate: Hz of bare samples; must agree with the rate of waveforms and blocks.
        subtype: PCM_16 (default), PCM_24, PCM_32, PCM_U8 (WAV), PCM_S8 (FLAC), FLOAT, DOUBLE (WAV).

    Raises:
        AudioFileError: another extension, no samples, blocks that change rate or channels, a WAV over
            4 GiB, or a folder or disk that refuses; the old file is kept.
        AudioError: a subtype that the format does not have, or samples or a rate that `as_waveform` refuses;
            a WaveformError for bare samples without a rate.

    >>> import numpy as np
    >>> loud = Waveform(samples=np.array([[0.5, 1.5, -2.0]], np.float32), sampling_rate=24000)
    >>> write_audio("loud.flac", loud)
    2
    >>> write_audio("hum.wav", np.zeros((1, 1, 12000), np.float32), 24000)
    0
    """
    _check_order(path, audio)
    needed = "the path of a .wav or .flac file"
    target = checked_path(path, name="path", needed=needed, error=AudioFileError)
    return write_blocks(target, _blocks_of(target, audio, sampling_rate), subtype=subtype)


def _check_order(path: Any, audio: Any) -> None:
    if not isinstance(path, (str, os.PathLike)) and isinstance(audio, (str, os.PathLike)):
        raise AudioFileError(
            "write_audio takes the path first and the sound second, got "
            f"{what_came(path)} and then {what_came(os.fspath(audio))}: swap them."
        )


def _blocks_of(target: Path, audio: Any, sampling_rate: int | None) -> Iterator[Waveform]:
    """Yield the waveforms to write; anything else is refused when it is reached."""
    refuse_pair(audio, call="as_waveform")
    if isinstance(audio, Waveform) or (sampling_rate is not None and not _are_blocks(audio)):
        # A file stores all channels, so nothing is lost if the rows were not channels.
        yield as_waveform(audio, sampling_rate=sampling_rate, rows_are_channels=True)
        return
    try:
        blocks = iter(audio)
    except TypeError as error:
        raise WaveformError(_no_waveforms(target, type(audio).__name__)) from error
    for block in blocks:
        if not isinstance(block, Waveform):
            raise WaveformError(_no_waveforms(target, f"{type(audio).__name__} of {type(block).__name__}"))
        yield as_waveform(block, sampling_rate=sampling_rate)


def _are_blocks(audio: Any) -> bool:
    return isinstance(audio, Iterator) or (
        isinstance(audio, list | tuple) and any(isinstance(block, Waveform) for block in audio)
    )


def _no_waveforms(target: Path, found: str) -> str:
    return (
        f"{target}: a Waveform or blocks of one are written, got {found}; pass the samples' sampling_rate= as "
        "well, or wrap them: as_waveform(samples, sampling_rate=…)."
    )
