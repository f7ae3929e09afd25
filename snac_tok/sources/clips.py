"""What is taken of a recording for an encoder: its channels as clips, at the codec's rate.

The reading processes do this, too, so that an encoding process need not: resampling takes as long as decoding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.audio import Resampler, Waveform, resample, select_channels
from snac_tok.sources.limits import Limits
from snac_tok.sources.reading import LongSound

if TYPE_CHECKING:
    from snac_tok.audio import ChannelPolicy
    from snac_tok.sources.recording import Recording


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What is taken of a recording.

    Attributes:
        allow_truncated: as in `Recording.read`.
        long_seconds: as in `Recording.read`.
        limits: as in `Recording.read`.
        channels: which channel of several becomes a clip, or each; None keeps them together. A recording that means
            one channel gets that one.
        sampling_rate: that clips are brought to, in Hz; None leaves theirs.
        resampler: how.
    """

    allow_truncated: bool = False
    long_seconds: float | None = None
    limits: Limits = field(default_factory=Limits)
    channels: ChannelPolicy | None = None
    sampling_rate: int | None = None
    resampler: Resampler = field(default_factory=Resampler)


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """The clips of one recording that stands in memory.

    Attributes:
        waveform: (N, T), a clip a channel.
        source_rate: of the recording, in Hz.
    """

    waveform: Waveform
    source_rate: int

    def each(self) -> list[Waveform]:
        """Return the clips, (1, T) each."""
        return select_channels(self.waveform, "each")


def read_clips(recording: Recording, options: ReadOptions) -> Clips | LongSound:
    """Read a recording and return its clips; of a long one its channels as they are, block by block.

    Raises:
        AudioError: as in `Recording.read`, or channels that cannot be mixed to one.
    """
    found = recording.read(
        allow_truncated=options.allow_truncated, long_seconds=options.long_seconds, limits=options.limits
    )
    if isinstance(found, LongSound):
        return found
    policy = options.channels if recording.channel is None else recording.channel
    clips = [found] if policy is None else select_channels(found, policy, name=recording.name)
    if options.sampling_rate is not None:
        clips = [resample(clip, options.sampling_rate, resampler=options.resampler) for clip in clips]
    samples = clips[0].samples if len(clips) == 1 else np.concatenate([clip.samples for clip in clips])
    return Clips(
        waveform=Waveform(samples=samples, sampling_rate=clips[0].sampling_rate),
        source_rate=found.sampling_rate,
    )
