"""Recordings to the padded batch that `SnacModel` takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor

from snac_tok.audio.pairs import refuse_pair
from snac_tok.audio.sampling_rate import check_sampling_rate
from snac_tok.audio.values import as_float32, check_values
from snac_tok.errors import SamplingRateError, WaveformError
from snac_tok.masked import refuse_masked


class SnacFeatureExtractor(SequenceFeatureExtractor):
    """Checks recordings and pads them; changes no sample.

    Args:
        sampling_rate: the codec's, in Hz.
        feature_size: channels; SNAC has one.
        padding_value: what stands behind a clip's end.
        **kwargs: as every feature extractor takes them.

    Example:
        >>> batch = SnacFeatureExtractor()([np.zeros(480), np.zeros(240)], sampling_rate=24_000, return_tensors="np")
        >>> batch["input_values"].shape, batch["padding_mask"].sum(axis=1).tolist()
        ((2, 1, 480), [480, 240])
    """

    model_input_names = ["input_values", "padding_mask"]  # noqa: RUF012 - as every feature extractor has it

    def __init__(
        self, sampling_rate: int = 24_000, feature_size: int = 1, padding_value: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(
            feature_size=feature_size,
            sampling_rate=check_sampling_rate(sampling_rate),
            padding_value=padding_value,
            **kwargs,
        )

    def __call__(
        self,
        raw_audio: Any,
        *,
        sampling_rate: int | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        truncation: bool = False,
        return_tensors: Any = None,
    ) -> BatchFeature:
        """Return `input_values` (B, 1, T) float32 and `padding_mask` (B, T) int32.

        Args:
            raw_audio: one mono clip (T,) or a list of them: arrays, tensors, lists of floats or waveforms.
            sampling_rate: of the clips, in Hz; required, and must be the extractor's.
            padding: True or "longest" pads to the longest clip, "max_length" to `max_length`, False not at all.
            max_length: in samples, from 1.
            truncation: whether longer clips are cut to `max_length`.
            return_tensors: "np", "pt" or None for arrays in lists.

        Raises:
            SamplingRateError: a missing or another sampling rate.
            WaveformError: a clip that is empty, not mono, has NaN or infinite samples, or integers kept as floats; or
                an option that makes no sense.
        """
        refuse_pair(raw_audio, call="feature_extractor")
        self._check_options(sampling_rate, padding=padding, max_length=max_length, truncation=truncation)
        clips = [_checked(at, clip, self.sampling_rate) for at, clip in enumerate(_clips(raw_audio))]
        if truncation:
            clips = [clip[:max_length] for clip in clips]
        lengths = _padded_lengths(clips, padding=padding, max_length=max_length)
        if return_tensors is not None and len(set(lengths)) > 1:
            raise WaveformError("clips of several lengths make no one tensor; ask for padding=True.")
        values = [
            np.pad(clip, (0, length - len(clip)), constant_values=self.padding_value)[None]
            for clip, length in zip(clips, lengths, strict=True)
        ]
        masks = [
            (np.arange(length) < len(clip)).astype(np.int32)
            for clip, length in zip(clips, lengths, strict=True)
        ]
        return BatchFeature({"input_values": values, "padding_mask": masks}, tensor_type=return_tensors)

    def _check_options(
        self, sampling_rate: int | None, *, padding: bool | str, max_length: int | None, truncation: bool
    ) -> None:
        if sampling_rate is None or check_sampling_rate(sampling_rate) != self.sampling_rate:
            raise SamplingRateError(
                f"the audio's sampling_rate is {sampling_rate}, this extractor's {self.sampling_rate}; resample it "
                "(snac_tok.SnacTokenizer does) and say sampling_rate=."
            )
        if self.padding_side != "right":
            raise WaveformError(
                f"padding_side is {self.padding_side!r}; clips are padded at their end: leave it out."
            )
        if padding not in (True, False, "longest", "max_length", "do_not_pad"):
            raise WaveformError(
                f'padding is {padding!r}; True, False, "longest", "max_length" and "do_not_pad" are possible.'
            )
        if max_length is not None:
            _check_length(max_length)
        if truncation and max_length is None:
            raise WaveformError("truncation=True needs max_length=, a number of samples.")
        if padding == "max_length" and max_length is None:
            raise WaveformError('padding="max_length" needs max_length=, a number of samples.')


def _check_length(max_length: Any) -> None:
    is_whole = isinstance(max_length, (int, np.integer)) and not isinstance(max_length, bool)
    if not is_whole or max_length < 1:
        raise WaveformError(f"max_length is {max_length!r}; a whole number of samples from 1 is needed.")


def _padded_lengths(
    clips: list[np.ndarray[Any, Any]], *, padding: bool | str, max_length: int | None
) -> list[int]:
    """Return the length of each clip after padding."""
    if padding in (False, "do_not_pad"):
        return [len(clip) for clip in clips]
    least = max_length or 0 if padding == "max_length" else 0
    return [max(least, *map(len, clips))] * len(clips)


def _clips(raw_audio: Any) -> list[Any]:
    """Return recordings: a list of numbers, (T,) and (C, T) are one, as everywhere in this package."""
    if _has_a_rate(raw_audio):
        return [raw_audio]
    if isinstance(raw_audio, (list, tuple)) and (not raw_audio or not np.isscalar(raw_audio[0])):
        clips = list(raw_audio)
    else:
        array = _as_array(raw_audio)
        clips = list(array) if array.ndim == 3 else [array]  # noqa: PLR2004 - (B, 1, T)
    if not clips:
        raise WaveformError("there are no clips; a batch needs at least one.")
    return clips


def _has_a_rate(clip: Any) -> bool:
    """Say whether this is a `Waveform`, whose class would bring libraries of sound files with it."""
    return hasattr(clip, "samples") and hasattr(clip, "sampling_rate")


def _as_array(clip: Any) -> np.ndarray[Any, Any]:
    refuse_masked(clip, what="samples", error=WaveformError)
    # numpy has no bfloat16 and reads no other device.
    return np.asarray(
        clip.detach().cpu().float() if isinstance(clip, torch.Tensor) and clip.is_floating_point() else clip
    )


def _checked(at: int, clip: Any, sampling_rate: int) -> np.ndarray[Any, Any]:
    if _has_a_rate(clip) and clip.sampling_rate != sampling_rate:
        raise SamplingRateError(
            f"clip {at} is at {clip.sampling_rate} Hz, this extractor at {sampling_rate}; resample it "
            "(snac_tok.SnacTokenizer does)."
        )
    array = _as_array(clip)
    if array.size and array.dtype.kind != "f":
        cure = ": int16 is divided by 32768" if array.dtype.kind in "iu" else ""
        raise WaveformError(f"clip {at} is {array.dtype}; floats in [-1, 1] are needed{cure}.")
    if array.ndim == 2 and 1 in array.shape:  # noqa: PLR2004 - (1, T) and (T, 1) are mono, too
        array = array.reshape(-1)
    if array.ndim != 1 or not array.size:
        raise WaveformError(
            f"clip {at} has shape {array.shape}; mono samples (T,) are needed, not empty, and several clips as a list."
        )
    try:
        samples = as_float32(array)
        check_values(samples)
    except WaveformError as error:
        raise WaveformError(f"clip {at}: {error}") from error
    return samples
