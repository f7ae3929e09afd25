"""From a recording to the codec's input: one channel at the codec's rate, whole or block by block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snac_tok.audio import (
    MonoPolicy,
    Resampler,
    check_policy,
    mono_blocks,
    resample,
    resample_blocks,
    to_mono,
)
from snac_tok.audio.resampling import check_resampler
from snac_tok.errors import SamplingRateError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from snac_tok.audio import Waveform


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How recordings are brought to one channel at the codec's rate.

    Args:
        sampling_rate: the codec's, in Hz.
        resample: whether another rate is resampled; False makes it an error.
        channels: which channel of several is taken: "mean", "left", "right" or its number, counted from 0.
        resampler: how rates are changed.
        allow_truncated: whether what a cut-off or damaged file still holds is taken; without it, it is an error.
    """

    sampling_rate: int
    resample: bool = True
    channels: MonoPolicy = "mean"
    resampler: Resampler = field(default_factory=Resampler)
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", check_policy(self.channels))
        check_resampler(self.resampler)
        if not isinstance(self.resample, bool):
            raise SamplingRateError(f"resample is {self.resample!r}; it must be True or False.")

    def whole(self, waveform: Waveform, *, name: str = "the recording") -> Waveform:
        """Prepare a recording that stands in memory; `name` is what a warning calls it.

        Raises:
            SamplingRateError: another rate, and resample=False.
            WaveformError: no samples, or channels that cannot be mixed to one.
        """
        if waveform.num_samples == 0:
            raise WaveformError("the recording has no samples; leave it out.")
        self._check_rate(waveform.sampling_rate)
        mono = to_mono(waveform, channels=self.channels, name=name)
        return resample(mono, self.sampling_rate, resampler=self.resampler)

    def blocks(self, blocks: Iterable[Waveform], *, name: str = "the recording") -> Iterator[Waveform]:
        """Prepare a recording that comes in blocks; joined, the result is that of the whole.

        Raises:
            SamplingRateError: another rate, and resample=False.
            WaveformError: as in `whole`; of channels after the last block.
        """
        mono = mono_blocks(map(self._checked, blocks), channels=self.channels, name=name)
        return resample_blocks(mono, self.sampling_rate, resampler=self.resampler)

    def _checked(self, block: Waveform) -> Waveform:
        self._check_rate(block.sampling_rate)
        return block

    def _check_rate(self, found: int) -> None:
        if found != self.sampling_rate and not self.resample:
            raise SamplingRateError(
                f"the recording is at {found} Hz, the codec at {self.sampling_rate} Hz, and resample=False was asked "
                "for; leave that out, or resample the recording before."
            )
