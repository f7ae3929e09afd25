"""Sound in memory: the type that all other parts of the package use.

A `Waveform` is float32 samples and their rate, checked once when it is made. Nothing here reads files, changes rates
or mixes channels; `conversion.py` makes waveforms from other forms of sound.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from snac_tok.audio.encoding import write_blocks
from snac_tok.audio.player import player_html
from snac_tok.audio.sampling_rate import check_sampling_rate
from snac_tok.audio.values import check_values
from snac_tok.errors import AudioError, WaveformError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    import os

# Enough for microphone arrays and fourth-order ambisonics; more means a wrong header or samples in the order (T, C).
MAX_CHANNELS = 32

Samples = NDArray[np.float32]


def check_count(count: object, *, what: str, least: int, most: int) -> int:
    """Return `count` as an int, so that no narrow numpy type can overflow later.

    Raises:
        AudioError: it is not a whole number, or outside `least`…`most`; `what` names it.

    >>> check_count(np.int16(2), what="num_channels", least=1, most=MAX_CHANNELS)
    2
    """
    number: int | None
    try:
        number = None if isinstance(count, bool) else operator.index(count)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or not least <= number <= most:
        raise AudioError(f"{what} must be a whole number from {least} to {most}, got {count!r}.")
    return number


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Waveform:
    """Samples of one recording and their rate.

    It may have zero samples (see `num_samples`); functions that need sound refuse an empty recording. The array is
    kept, not copied: do not write to it afterwards.

    Args:
        samples: (C, T) float32, C-contiguous, finite; full scale is ±1, values up to ±10 are allowed.
        sampling_rate: Hz, 1,000…768,000.

    Raises:
        WaveformError: another shape, dtype or layout, NaN or infinite values, or integers kept as floats.
        SamplingRateError: an impossible rate.

    >>> hum = Waveform(samples=np.zeros((2, 12000), np.float32), sampling_rate=24000)
    >>> hum
    Waveform(2 channels, 12000 samples, 24000 Hz, 0.500 s, silent)
    >>> np.asarray(hum).shape, len(hum)
    ((2, 12000), 12000)
    """

    samples: Samples
    sampling_rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampling_rate", check_sampling_rate(self.sampling_rate))
        _check_layout(self.samples)
        check_values(self.samples)

    @property
    def num_channels(self) -> int:
        """Number of channels, at least 1."""
        return int(self.samples.shape[0])

    @property
    def num_samples(self) -> int:
        """Samples per channel; 0 for an empty recording."""
        return int(self.samples.shape[1])

    @property
    def duration_seconds(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sampling_rate

    def save(self, path: str | os.PathLike[str], *, subtype: str = "PCM_16") -> int:
        """Write a WAV or FLAC file and return how many values were clipped; see `write_audio`.

        Raises:
            AudioFileError: as in `write_audio`, and AudioError.

        >>> Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000).save("hum.wav")
        0
        """
        return write_blocks(path, iter([self]), subtype=subtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: FBT001 - numpy's
        """Return `samples` (C, T) for `numpy.asarray(waveform)`; the rate is lost."""
        return np.array(self.samples, dtype=dtype) if copy else np.asarray(self.samples, dtype=dtype)

    def __len__(self) -> int:
        """Return `num_samples`; len(waveform) / waveform.sampling_rate is the length in seconds."""
        return self.num_samples

    def __repr__(self) -> str:
        channels = "1 channel" if self.num_channels == 1 else f"{self.num_channels} channels"
        return (
            f"Waveform({channels}, {self.num_samples} samples, {self.sampling_rate} Hz, "
            f"{self.duration_seconds:.3f} s, {self._level()})"
        )

    def _repr_html_(self) -> str:
        """Return a player, which notebooks show."""
        return player_html(self.samples, sampling_rate=self.sampling_rate, words=repr(self))

    def _level(self) -> str:
        # Not the absolute values: those of an hour would be a copy of it.
        peak = max(float(self.samples.max(initial=0.0)), -float(self.samples.min(initial=0.0)))
        return f"peak {20 * math.log10(peak):.1f} dBFS" if peak else "silent"


def _check_layout(samples: object) -> None:
    """Refuse anything but a (C, T) float32 array; `as_waveform` converts other input."""
    refuse_masked(samples, what="samples", error=WaveformError)
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 2:  # noqa: PLR2004
        found = (
            f"{samples.dtype} of shape {samples.shape}"
            if isinstance(samples, np.ndarray)
            else type(samples).__name__
        )
        raise WaveformError(
            f"samples must be a float32 numpy array (channels, samples), got {found}: "
            "as_waveform() converts arrays, tensors and files."
        )
    if not 1 <= samples.shape[0] <= MAX_CHANNELS:
        raise WaveformError(
            f"samples must be (channels, samples) with 1 to {MAX_CHANNELS} channels, got shape "
            f"{samples.shape}: transpose the array if it is (samples, channels)."
        )
    if not samples.flags.c_contiguous:
        raise WaveformError(
            "samples must be C-contiguous: pass them through numpy.ascontiguousarray() first."
        )
