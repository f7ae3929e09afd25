"""What a mean of channels may lose, and what is said about it."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from snac_tok.audio import Waveform, check_policy, mono_blocks, select_channels, to_mono
from snac_tok.errors import WaveformError

RATE = 24000


def noise(num_samples=2400, *, seed=0, level=0.1):
    """One channel of noise."""
    return np.random.default_rng(seed).normal(0, level, num_samples).astype(np.float32)


def recording(*channels) -> Waveform:
    """A waveform of these channels."""
    return Waveform(samples=np.ascontiguousarray(np.stack(channels), np.float32), sampling_rate=RATE)


def in_blocks(waveform, size=500):
    """The same recording in pieces."""
    starts = range(0, waveform.num_samples, size)
    return [recording(*waveform.samples[:, start : start + size]) for start in starts]


LEFT = noise()
SURROUND = recording(*[LEFT * 0] * 2, LEFT, *[LEFT * 0] * 3)


@pytest.mark.parametrize(
    "waveform",
    [
        recording(LEFT, -LEFT),
        recording(LEFT, -0.97 * LEFT),
        recording(LEFT, -LEFT + noise(seed=1, level=1e-3)),
        recording(LEFT, -LEFT, LEFT, -LEFT),
    ],
)
def test_channels_that_cancel_each_other_are_refused(waveform):
    """Swapped wires, exactly or nearly: the sentence says what happened and what to choose, whole or in blocks."""
    sentence = r"channels cancel each other, .* channels='left' takes the first, and right or a number from 0 to [13]"
    with pytest.raises(WaveformError, match=sentence):
        to_mono(waveform)
    with pytest.raises(WaveformError, match=sentence):
        list(mono_blocks(in_blocks(waveform)))
    with pytest.raises(WaveformError, match=sentence):
        select_channels(waveform, "mean")
    for policy in ("left", "right", 0, 1):
        assert np.abs(to_mono(waveform, channels=policy).samples).max() > 0.1
    assert len(select_channels(waveform, "each")) == waveform.num_channels


@pytest.mark.parametrize(
    ("waveform", "lost", "loudest"),
    [
        (SURROUND, "15.6", 2),
        (recording(LEFT, LEFT * 0, LEFT * 0), "9.5", 0),
        (recording(LEFT, -0.5 * LEFT + 0.05 * noise(seed=1)), "12.0", 0),
    ],
)
def test_a_mean_that_loses_much_says_so(waveform, lost, loudest, caplog):
    """5.1's centre loses 15.6 dB: a warning with the recording's name, the loss and the choice, once."""
    mixed = to_mono(waveform, name="film.wav")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        f"film.wav: the mean of its {waveform.num_channels} channels is {lost} dB quieter than channel "
        f"{loudest}, the loudest: channels='left' takes the first, and right or a number from 0 to "
        f"{waveform.num_channels - 1} another."
    )
    blocks = list(mono_blocks(in_blocks(waveform), name="film.wav"))
    assert [found.getMessage() for found in caplog.records] == [record.getMessage()] * 2
    assert np.array_equal(np.concatenate([block.samples for block in blocks], axis=1), mixed.samples)


@pytest.mark.parametrize(
    "waveform",
    [
        recording(LEFT, LEFT),
        recording(LEFT, 0.1 * LEFT),
        recording(LEFT, 0 * LEFT),
        recording(LEFT, noise(seed=1)),
        recording(*[noise(seed=seed) for seed in range(6)]),
        recording(0 * LEFT, 0 * LEFT),
        recording(1e-5 * LEFT, -1e-5 * LEFT),
        recording(LEFT[:0], LEFT[:0]),
    ],
)
def test_ordinary_recordings_are_mixed_without_a_word(waveform, caplog):
    """Equal, unlike, one silent of two, all silent, empty: what every stereo recording may be."""
    assert np.array_equal(to_mono(waveform).samples[0], waveform.samples.mean(axis=0, dtype=np.float32))
    assert not caplog.records


def test_a_part_that_cancels_is_no_reason(caplog):
    """The whole recording decides, so that blocks of any size say the same."""
    waveform = recording(np.concatenate([LEFT, LEFT]), np.concatenate([LEFT, -LEFT]))
    assert to_mono(waveform).num_samples == 4800
    assert len(list(mono_blocks(in_blocks(waveform, 2400)))) == 2
    assert not caplog.records


@pytest.mark.parametrize("policy", [2, "2", np.int64(2)])
def test_one_channel_by_its_number(policy):
    """Counted from 0, as `each` names them; also where it comes as text."""
    assert np.array_equal(to_mono(SURROUND, channels=check_policy(policy)).samples[0], LEFT)
    (one,) = select_channels(SURROUND, policy)
    assert np.array_equal(one.samples[0], LEFT)


def test_a_channel_that_is_not_there():
    """Which there are is said, also of a recording of one channel, which passes every policy that has a name."""
    with pytest.raises(WaveformError, match="has 2 channels, counted from 0: there is no channel 2"):
        to_mono(recording(LEFT, LEFT), channels=2)
    with pytest.raises(WaveformError, match="has 1 channel, counted from 0: there is no channel 2"):
        to_mono(recording(LEFT), channels=2)
    for policy in ("mean", "left", "right", 0):
        assert to_mono(recording(LEFT), channels=policy).num_channels == 1


@pytest.mark.parametrize("policy", ["both", "", "-1", "1.0", -1, 32, 1.0, True, None, "\u0662"])
def test_policies_that_are_none(policy):
    """All that there are is said; no list, no float, no other alphabet's digits."""
    with pytest.raises(
        WaveformError, match=r"channels is 'mean', 'left', 'right' or a channel's number from 0 to 31"
    ):
        to_mono(recording(LEFT, LEFT), channels=policy)
