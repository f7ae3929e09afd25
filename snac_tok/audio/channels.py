"""From many channels to one: the policies a caller can name.

Nothing here changes the rate or the level; a recording with one channel passes every policy untouched.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from snac_tok.audio.waveform import Waveform
from snac_tok.errors import WaveformError

MonoPolicy = Literal["mean", "left", "right"]
ChannelPolicy = Literal["mean", "left", "right", "each"]


def to_mono(waveform: Waveform, *, channels: MonoPolicy = "mean") -> Waveform:
    """Return one channel (1, T): the mean of all, or the first ("left") or second ("right").

    Raises:
        WaveformError: another policy.

    >>> stereo = Waveform(samples=np.array([[1.0, 0.0], [0.0, 0.5]], np.float32), sampling_rate=24000)
    >>> to_mono(stereo).samples.tolist()
    [[0.5, 0.25]]
    """
    if channels not in get_args(MonoPolicy):
        raise WaveformError(f"one channel is made by 'mean', 'left' or 'right', got {channels!r}.")
    if waveform.num_channels == 1:
        return waveform
    if channels == "mean":
        mixed = waveform.samples.mean(axis=0, keepdims=True, dtype=np.float32)
        return Waveform(samples=mixed, sampling_rate=waveform.sampling_rate)
    return _channel(waveform, 0 if channels == "left" else 1)


def select_channels(waveform: Waveform, policy: ChannelPolicy) -> list[Waveform]:
    """Return the mono waveforms a policy makes of a recording: one, or with "each" one a channel.

    Raises:
        WaveformError: an unknown policy.

    >>> stereo = Waveform(samples=np.zeros((2, 3), np.float32), sampling_rate=24000)
    >>> len(select_channels(stereo, "each"))
    2
    """
    if policy not in get_args(ChannelPolicy):
        raise WaveformError(f"the channel policy is 'mean', 'left', 'right' or 'each', got {policy!r}.")
    if policy != "each":
        return [to_mono(waveform, channels=policy)]
    if waveform.num_channels == 1:
        return [waveform]
    return [_channel(waveform, index) for index in range(waveform.num_channels)]


def _channel(waveform: Waveform, index: int) -> Waveform:
    """One row, as a view: a row of a contiguous array is contiguous."""
    return Waveform(samples=waveform.samples[index : index + 1], sampling_rate=waveform.sampling_rate)
