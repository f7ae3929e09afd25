"""What is taken of a recording for an encoder: its channels as clips, at the codec's rate.

The reading processes do this, too, so that an encoding process need not: resampling takes as long as decoding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.audio import Resampler, Waveform, resample, select_channels
from snac_tok.audio.loudness import with_loudness
from snac_tok.errors import WaveformError
from snac_tok.sources.limits import Limits
from snac_tok.sources.reading import LongSound, noticed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
        loudness: that clips are brought to before, in LUFS; a file is then never read in blocks.
        only_digest: whether only a digest of the sound is wanted; two recordings have the same if all samples of all
            channels are equal.
    """

    allow_truncated: bool = False
    long_seconds: float | None = None
    limits: Limits = field(default_factory=Limits)
    channels: ChannelPolicy | None = None
    sampling_rate: int | None = None
    resampler: Resampler = field(default_factory=Resampler)
    loudness: float | None = None
    only_digest: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """The clips of one recording that stands in memory.

    Attributes:
        waveform: (N, T), a clip a channel.
        source_rate: of the recording, in Hz.
        digest: of its sound, if that was asked for; there are no samples then.
    """

    waveform: Waveform
    source_rate: int
    digest: str | None = None

    def each(self) -> list[Waveform]:
        """Return the clips, (1, T) each."""
        return select_channels(self.waveform, "each")


def read_clips(
    recording: Recording, options: ReadOptions, *, on_block: Callable[[], None] | None = None
) -> Clips | LongSound:
    """Read a recording and return its clips; of a long one its channels as they are, block by block.

    Args:
        recording: of a source.
        options: what is taken of it.
        on_block: called now and then while a long file is read to its end here, so that somebody who waits for it can
            see that it goes on.

    Raises:
        AudioError: as in `Recording.read`, or channels that cannot be mixed to one.
    """
    found = recording.read(
        allow_truncated=options.allow_truncated,
        long_seconds=options.long_seconds,
        limits=options.limits,
        on_block=on_block,
    )
    if options.only_digest:
        return _digest_of([found] if isinstance(found, Waveform) else noticed(found, on_block))
    if isinstance(found, LongSound):
        if options.loudness is None:
            return found
        found = _joined(noticed(found, on_block))
    policy = recording.policy(options.channels)
    clips = [found] if policy is None else select_channels(found, policy, name=recording.name)
    if options.loudness is not None:
        clips = [with_loudness(clip, options.loudness) for clip in noticed(clips, on_block)]
    if options.sampling_rate is not None:
        clips = [
            resample(clip, options.sampling_rate, resampler=options.resampler)
            for clip in noticed(clips, on_block)
        ]
    samples = clips[0].samples if len(clips) == 1 else np.concatenate([clip.samples for clip in clips])
    return Clips(
        waveform=Waveform(samples=samples, sampling_rate=clips[0].sampling_rate),
        source_rate=found.sampling_rate,
    )


def _joined(sound: Iterable[Waveform]) -> Waveform:
    blocks = list(sound)
    if not blocks:
        raise WaveformError("it holds no samples.")
    samples = np.concatenate([block.samples for block in blocks], axis=1)
    return Waveform(samples=samples, sampling_rate=blocks[0].sampling_rate)


def _digest_of(sound: Iterable[Waveform]) -> Clips:
    """Hash samples in the order of time, so that blocks make no difference."""
    digest = hashlib.sha256()
    rate = 0
    for block in sound:
        if not rate:
            rate = block.sampling_rate
            digest.update(f"{rate} Hz, {block.num_channels} channels;".encode())
        digest.update(np.ascontiguousarray(block.samples.T).data)
    nothing = Waveform(samples=np.zeros((1, 0), np.float32), sampling_rate=rate or 1)
    return Clips(waveform=nothing, source_rate=rate, digest=digest.hexdigest() if rate else None)
