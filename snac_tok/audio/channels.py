"""From many channels to one: the policies that a caller can name, and a check of what a mean loses.

    mean       of all channels; a warning says what it loses, and a mean of channels that cancel each other is refused
    left       the first channel
    right      the second
    2          channel 2, counted from 0, as `each` names them
    each       one recording per channel, if the caller takes several

Nothing here changes the rate or the level; no policy changes a recording with one channel.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args, overload

import numpy as np

from snac_tok.audio.waveform import MAX_CHANNELS, Waveform
from snac_tok.errors import WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_Name = Literal["mean", "left", "right"]
_EACH = "each"
MonoPolicy: TypeAlias = _Name | int
ChannelPolicy: TypeAlias = Literal["each"] | MonoPolicy

# A mean loses 6 dB if one channel of two is silent, which is common in stereo; 9.5 dB if speech is in one channel of
# three, 15.6 dB in the centre channel of 5.1. A larger loss means that channels cancel each other.
_WORTH_TELLING_DB = 9.0
# A mean of N channels keeps at least 1/N of the loudest if the others are silent or uncorrelated. 20 dB below that,
# the sound was cancelled: the two wires of one channel were swapped.
_CANCELLED = 0.1
# RMS of -100 dB: there is no sound to lose.
_SILENT = 1e-5


def to_mono(waveform: Waveform, *, channels: MonoPolicy = "mean", name: str = "the recording") -> Waveform:
    """Return one channel (1, T): the mean of all, the first ("left"), the second ("right"), or one by its number.

    A mean that is much quieter than its loudest channel is logged as a warning.

    Args:
        waveform: the recording.
        channels: the policy; numbers count from 0.
        name: what the warning calls the recording.

    Raises:
        WaveformError: another policy, a channel that is not there, or channels whose mean is silence.

    >>> stereo = Waveform(samples=np.array([[1.0, 0.0], [0.0, 0.5]], np.float32), sampling_rate=24000)
    >>> to_mono(stereo).samples.tolist()
    [[0.5, 0.25]]
    """
    downmix = _Downmix(channels, name)
    mono = downmix.mix(waveform)
    downmix.judge()
    return mono


def mono_blocks(
    blocks: Iterable[Waveform], *, channels: MonoPolicy = "mean", name: str = "the recording"
) -> Iterator[Waveform]:
    """Yield one channel of a recording in blocks; warnings and errors of `to_mono` come after the last block.

    Raises:
        WaveformError: as in `to_mono`, after the last block.

    >>> halves = [Waveform(samples=np.ones((2, 3), np.float32), sampling_rate=24000)] * 2
    >>> [block.samples.shape for block in mono_blocks(halves, channels="left")]
    [(1, 3), (1, 3)]
    """
    downmix = _Downmix(channels, name)
    for block in blocks:
        yield downmix.mix(block)
    downmix.judge()


def select_channels(
    waveform: Waveform, policy: ChannelPolicy, *, name: str = "the recording"
) -> list[Waveform]:
    """Return the mono waveforms that a policy makes from a recording: one, or with "each" one per channel.

    Raises:
        WaveformError: an unknown policy, or as in `to_mono`.

    >>> stereo = Waveform(samples=np.zeros((2, 3), np.float32), sampling_rate=24000)
    >>> len(select_channels(stereo, "each"))
    2
    """
    if check_policy(policy, each=True) != _EACH:
        return [to_mono(waveform, channels=policy, name=name)]  # type: ignore[arg-type]
    if waveform.num_channels == 1:
        return [waveform]
    return [_channel(waveform, index) for index in range(waveform.num_channels)]


@overload
def check_policy(policy: object) -> MonoPolicy: ...


@overload
def check_policy(policy: object, *, each: bool) -> ChannelPolicy: ...


def check_policy(policy: object, *, each: bool = False) -> ChannelPolicy:
    """Return a valid policy; a number that is given as text becomes an int.

    Raises:
        WaveformError: it is not a policy.

    >>> check_policy("2"), check_policy("left")
    (2, 'left')
    """
    if isinstance(policy, str) and policy.isdecimal() and policy.isascii():
        policy = int(policy)
    if isinstance(policy, int | np.integer) and not isinstance(policy, bool) and 0 <= policy < MAX_CHANNELS:
        return int(policy)
    names = (*get_args(_Name), *([_EACH] if each else []))
    if isinstance(policy, str) and policy in names:
        return policy  # type: ignore[return-value]
    known = ", ".join(map(repr, names))
    raise WaveformError(
        f"channels is {known} or a channel's number from 0 to {MAX_CHANNELS - 1}, got {policy!r}."
    )


class _Downmix:
    """Mixes a recording's blocks to one channel, and measures how loud each channel was."""

    def __init__(self, channels: MonoPolicy, name: str) -> None:
        self._policy = check_policy(channels)
        self._name = name
        # Sums of squares of each channel and of the mean.
        self._energies: NDArray[np.float64] = np.zeros(0)
        self._mixed = 0.0
        self._num_samples = 0

    def mix(self, block: Waveform) -> Waveform:
        """Return the block as one channel."""
        if block.num_channels == 1 and (isinstance(self._policy, str) or not self._policy):
            return block
        if self._policy != "mean":
            index = {"left": 0, "right": 1}.get(str(self._policy), self._policy)
            return _channel(block, int(index))
        mixed = block.samples.mean(axis=0, keepdims=True, dtype=np.float32)
        self._note(block, mixed[0])
        return Waveform(samples=mixed, sampling_rate=block.sampling_rate)

    def _note(self, block: Waveform, mixed: NDArray[np.float32]) -> None:
        if len(self._energies) != block.num_channels:
            self.judge()
            self._energies, self._mixed, self._num_samples = np.zeros(block.num_channels), 0.0, 0
        self._energies += [float(np.dot(channel, channel)) for channel in block.samples]
        self._mixed += float(np.dot(mixed, mixed))
        self._num_samples += block.num_samples

    def judge(self) -> None:
        """Warn or raise if the mean has lost too much."""
        if not self._num_samples:
            return
        loudest = int(self._energies.argmax())
        before = math.sqrt(self._energies[loudest] / self._num_samples)
        after = math.sqrt(self._mixed / self._num_samples)
        if before < _SILENT:
            return
        if after < _CANCELLED * before / len(self._energies):
            raise WaveformError(self._cancelled())
        lost_db = 20 * math.log10(before / after)
        if lost_db > _WORTH_TELLING_DB:
            logger.warning("%s", self._quieter(lost_db, loudest))

    def _cancelled(self) -> str:
        return (
            f"the recording's {len(self._energies)} channels cancel each other, so that their mean is silence (one "
            f"of them is probably wired the wrong way round): {self._choice()}."
        )

    def _quieter(self, lost_db: float, loudest: int) -> str:
        return (
            f"{self._name}: the mean of its {len(self._energies)} channels is {lost_db:.1f} dB quieter "
            f"than channel {loudest}, the loudest: {self._choice()}."
        )

    def _choice(self) -> str:
        return f"channels='left' takes the first, and right or a number from 0 to {len(self._energies) - 1} another"


def _channel(waveform: Waveform, index: int) -> Waveform:
    """Return one row as a view: a row of a contiguous array is contiguous."""
    if index >= waveform.num_channels:
        raise WaveformError(
            f"the recording has {waveform.num_channels} channel{'s' if waveform.num_channels > 1 else ''}, counted "
            f"from 0: there is no channel {index}."
        )
    return Waveform(samples=waveform.samples[index : index + 1], sampling_rate=waveform.sampling_rate)
