"""Every form of sound that a caller may pass → a `Waveform`.

Arrays, tensors, lists, paths, encoded bytes, file objects, the audio column of a `datasets` row and
torchcodec decoders. torch is recognised by its name and never imported; nothing is resampled or mixed, and
ambiguous input is refused, not guessed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.audio.ffmpeg import decode_all, samples_of
from snac_tok.audio.files import read_audio
from snac_tok.audio.pairs import refuse_pair
from snac_tok.audio.sampling_rate import check_sampling_rate
from snac_tok.audio.values import scaled
from snac_tok.audio.waveform import MAX_CHANNELS, Samples, Waveform
from snac_tok.errors import AudioFileError, SamplingRateError, WaveformError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A stereo recording has two rows; more are as likely a batch of clips.
_MOST_ROWS = 2


def as_waveform(
    audio: Any,
    *,
    sampling_rate: int | None = None,
    rows_are_channels: bool = False,
    allow_truncated: bool = False,
) -> Waveform:
    """Return `audio` as a waveform; float32 arrays (C, T) are shared, not copied.

    Accepted: a `Waveform`; a 1-D, (1, T), (2, T) or, as a batch of one, (1, C, T) numpy array, torch tensor or
    list of floats, and (C, T) where `rows_are_channels` says what its rows are; integer PCM as int16, int32,
    uint8 or int8; a path; the bytes of a sound file; a binary file object; a `datasets` audio dict with "array",
    (T,) or (C, T), and "sampling_rate", or "bytes" and/or "path"; a torchcodec `AudioDecoder` or `AudioSamples`.

    Args:
        audio: one recording.
        sampling_rate: Hz. Required for bare samples; must agree with the rate of sound that has its own.
        rows_are_channels: whether more than two rows of bare samples are channels of one recording; without
            it they are refused, because a batch of clips looks the same.
        allow_truncated: take what can be read of a cut-off or damaged file.

    Raises:
        SamplingRateError: the rate is missing, impossible, or contradicts the sound's own.
        WaveformError: samples of a shape, type or value that cannot be used.
        AudioFileError: a file or bytes that cannot be read.

    >>> as_waveform(np.array([0, 16384], np.int16), sampling_rate=24000).samples.tolist()
    [[0.0, 0.5]]
    """
    if sampling_rate is not None:
        sampling_rate = check_sampling_rate(sampling_rate)
    if isinstance(audio, Mapping):
        return _from_mapping(audio, sampling_rate, allow_truncated=allow_truncated)
    known = _with_own_rate(audio, allow_truncated=allow_truncated)
    if known is not None:
        return _agreeing(known, sampling_rate)
    samples = _as_samples(audio, rows_are_channels=rows_are_channels)
    return Waveform(samples=samples, sampling_rate=check_sampling_rate(sampling_rate))


def _with_own_rate(audio: Any, *, allow_truncated: bool) -> Waveform | None:
    """Return the waveform of sound that has its own rate, None for bare samples."""
    if isinstance(audio, Waveform):
        return audio
    if isinstance(audio, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(audio, "read"):
        source = bytes(audio) if isinstance(audio, bytearray | memoryview) else audio
        return read_audio(source, allow_truncated=allow_truncated)
    if hasattr(audio, "get_all_samples"):
        samples, rate = decode_all(audio, f"<{type(audio).__name__}>")
        return Waveform(samples=samples, sampling_rate=rate)
    if hasattr(audio, "sample_rate") and hasattr(audio, "data"):
        samples, rate = samples_of(audio)
        return Waveform(samples=samples, sampling_rate=rate)
    return None


def _from_mapping(audio: Mapping[str, Any], sampling_rate: int | None, *, allow_truncated: bool) -> Waveform:
    """Unpack a `datasets` audio dict; its "path" is read only if there is nothing else."""
    if audio.get("array") is not None:
        own = audio.get("sampling_rate")
        rate = sampling_rate if own is None else check_sampling_rate(own)
        # One row of a dataset is one recording, so its rows are channels.
        samples = _as_samples(audio["array"], rows_are_channels=True)
        return _agreeing(Waveform(samples=samples, sampling_rate=check_sampling_rate(rate)), sampling_rate)
    encoded, path = audio.get("bytes"), audio.get("path")
    source: Any = path if encoded is None else encoded
    if source is None:
        keys = ", ".join(map(str, audio)) or "none"
        raise WaveformError(
            f"an audio dict holds 'array' and 'sampling_rate', 'bytes', or 'path'; this one has: {keys}."
        )
    try:
        return _agreeing(read_audio(source, allow_truncated=allow_truncated), sampling_rate)
    except AudioFileError as error:
        if encoded is None or path is None:
            raise
        raise AudioFileError(f"{path}: {error}") from error


def _agreeing(waveform: Waveform, sampling_rate: int | None) -> Waveform:
    if sampling_rate in (None, waveform.sampling_rate):
        return waveform
    raise SamplingRateError(
        f"the sound has {waveform.sampling_rate} Hz, sampling_rate={sampling_rate} was given: leave it out, "
        "and call resample() if another rate is wanted."
    )


def _as_samples(audio: Any, *, rows_are_channels: bool) -> Samples:
    array = _as_array(audio)
    if array.ndim == 3 and len(array) == 1:  # noqa: PLR2004 - a batch of one, as codecs decode
        array, rows_are_channels = array[0], True
    _check_shape(array, rows_are_channels=rows_are_channels)
    return np.ascontiguousarray(scaled(np.atleast_2d(array)))


def _check_shape(array: NDArray[Any], *, rows_are_channels: bool) -> None:
    if array.ndim not in (1, 2):
        raise WaveformError(
            f"one recording is 1-D, (channels, samples) or (1, channels, samples), got shape {array.shape}: "
            + (
                "a single number is not sound."
                if array.ndim == 0
                else "pass the clips of a batch one by one."
            )
        )
    rows = array.shape[0] if array.ndim == 2 else 1  # noqa: PLR2004 - (rows, T)
    if rows > MAX_CHANNELS:
        raise WaveformError(
            f"shape {array.shape} would mean {rows} channels, at most {MAX_CHANNELS} are possible: transpose "
            "(samples, channels) to (channels, samples)."
        )
    if rows > _MOST_ROWS and not rows_are_channels:
        raise WaveformError(
            f"shape {array.shape} may be {rows} clips or {rows} channels of one: pass clips as a list or one by "
            "one, and the channels of one recording as {'array': samples, 'sampling_rate': …}."
        )


def _as_array(audio: Any) -> NDArray[Any]:
    refuse_masked(audio, what="samples", error=WaveformError)
    refuse_pair(audio)
    if isinstance(audio, np.ndarray):
        return audio
    if type(audio).__module__.split(".", 1)[0] == "torch" and hasattr(audio, "detach"):
        tensor = audio.detach().cpu()
        # numpy has no bfloat16, so floats are widened on torch's side.
        return np.asarray((tensor.float() if tensor.is_floating_point() else tensor).numpy())
    if isinstance(audio, list | tuple) and audio and isinstance(audio[0], Waveform):
        raise WaveformError("a list of waveforms is several recordings: pass them one by one.")
    if not isinstance(audio, list | tuple) and not hasattr(audio, "__array__"):
        raise WaveformError(
            "sound is an array, a tensor, a list of floats, a path, encoded bytes, a file object or an audio "
            f"dict, got {type(audio).__name__}."
        )
    try:
        return np.asarray(audio)
    except ValueError as error:
        raise WaveformError(
            "the list holds rows of different lengths: a list is one recording, channels are equally long."
        ) from error
