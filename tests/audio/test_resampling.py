"""Resampling: exact lengths, streams equal to the whole, channels and threads independent."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok.audio import (
    Resampler,
    StreamResampler,
    Waveform,
    iter_audio,
    read_audio,
    resample,
    resample_blocks,
    resampled_length,
)
from snac_tok.errors import AudioError, MissingDependencyError, SamplingRateError, WaveformError

SPEECH = Path(__file__).parents[1] / "speech" / "LJ001-0002.flac"
RATES = [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000]


def noise(num_samples, rate, *, channels=1, seed=0) -> Waveform:
    """Quiet noise, the same for the same seed."""
    samples = np.random.default_rng(seed).standard_normal((channels, num_samples)) * 0.1
    return Waveform(samples=samples.astype(np.float32), sampling_rate=rate)


@given(st.sampled_from(RATES), st.sampled_from([24000, 32000, 44100]), st.integers(0, 3000))
@settings(deadline=None)
def test_the_length_is_exactly_the_ceiling(old, new, num_samples):
    """Law: ceil(T · new / old) samples, for every pair of rates and every length, one sample included."""
    out = resample(noise(num_samples, old), new)
    assert out.num_samples == resampled_length(num_samples, old, new) == -(-num_samples * new // old)


@given(
    st.sampled_from(RATES),
    st.lists(st.integers(0, 5000), min_size=1, max_size=8),
    st.integers(1, 2),
    st.sampled_from(["HQ", "VHQ"]),
)
@settings(deadline=None, max_examples=50)
def test_a_stream_equals_the_whole_to_the_last_bit(rate, sizes, channels, quality):
    """Law: any partition into blocks, empty ones too, gives the samples of the one-shot call."""
    whole = noise(sum(sizes), rate, channels=channels)
    resampler = Resampler(quality=quality)
    stream = StreamResampler(from_rate=rate, to_rate=24000, num_channels=channels, resampler=resampler)
    cuts = np.split(whole.samples, np.cumsum(sizes)[:-1], axis=1)
    joined = np.concatenate([*(stream.push(cut) for cut in cuts), stream.flush()], axis=1)
    assert np.array_equal(joined, resample(whole, 24000, resampler=resampler).samples)


@pytest.mark.parametrize("rate", RATES)
def test_it_is_soxr_to_the_last_bit(rate):
    """Our zeros at the end only bring out the last sample; what soxr gives by itself is untouched."""
    whole = noise(200_003, rate)
    theirs = soxr.resample(whole.samples[0], rate, 24000, "HQ")
    ours = resample(whole, 24000).samples[0]
    assert np.array_equal(ours[: len(theirs)], theirs)
    assert 0 <= len(ours) - len(theirs) <= 1


def test_the_last_sample_is_sound_not_padding():
    """Where soxr rounds the length down, the sample it drops is interpolated."""
    level = np.full((1, 44102), 0.5, np.float32)
    assert len(soxr.resample(level[0], 44100, 24000)) == 24001
    assert resampled_length(44102, 44100, 24000) == 24002
    tail = resample(Waveform(samples=level, sampling_rate=44100), 24000).samples[0, -1]
    assert tail > 0.1


def test_a_tone_keeps_pitch_level_and_phase():
    """1 kHz at 48 kHz is the same 1 kHz at 24 kHz, to -90 dB away from the edges."""
    time = np.arange(48000) / 48000
    tone = Waveform(
        samples=np.sin(2 * np.pi * 1000 * time, dtype=np.float64).astype(np.float32)[None],
        sampling_rate=48000,
    )
    out = resample(tone, 24000).samples[0]
    expected = np.sin(2 * np.pi * 1000 * np.arange(24000) / 24000)
    assert np.abs(out - expected)[1000:-1000].max() < 3e-5


def test_the_same_rate_is_the_same_object():
    """No work, no rounding, no copy."""
    whole = noise(100, 24000)
    assert resample(whole, 24000) is whole


def test_nothing_is_clipped_or_normalised():
    """Twice the input is twice the output, above full scale too."""
    quiet = noise(5000, 16000)
    loud = Waveform(samples=quiet.samples * 16, sampling_rate=16000)
    out = resample(loud, 24000).samples
    assert np.abs(out).max() > 1
    assert np.array_equal(out, resample(quiet, 24000).samples * 16)


def test_a_channel_is_the_same_alone_and_in_company():
    """The neighbours, and other threads, change no bit."""
    stereo = noise(70_000, 44100, channels=2)
    together = resample(stereo, 24000).samples
    rows = [Waveform(samples=stereo.samples[i : i + 1], sampling_rate=44100) for i in (0, 1)] * 4
    with ThreadPoolExecutor(4) as pool:
        alone = list(pool.map(lambda row: resample(row, 24000).samples[0], rows))
    for index, one in enumerate(alone):
        assert np.array_equal(one, together[index % 2])


def test_a_file_in_blocks_equals_the_file_whole():
    """File → blocks → resampled blocks is what the whole way gives, on real speech."""
    blocks = resample_blocks(iter_audio(SPEECH, block_seconds=0.1), 24000)
    joined = np.concatenate([block.samples for block in blocks], axis=1)
    assert np.array_equal(joined, resample(read_audio(SPEECH), 24000).samples)


def test_blocks_must_belong_together():
    """A rate or a number of channels that changes midway is refused; no blocks give no blocks."""
    with pytest.raises(SamplingRateError, match="8000 Hz after 16000 Hz"):
        list(resample_blocks([noise(10, 16000), noise(10, 8000)], 24000))
    with pytest.raises(WaveformError, match=r"\(1, n\)"):
        list(resample_blocks([noise(10, 16000), noise(10, 16000, channels=2)], 24000))
    assert list(resample_blocks([], 24000)) == []


def test_a_flushed_stream_is_finished():
    """Pushing or flushing again is an error, also where the rates are equal."""
    for rate in (24000, 48000):
        stream = StreamResampler(from_rate=rate, to_rate=24000)
        stream.flush()
        with pytest.raises(WaveformError, match="flushed"):
            stream.push(np.zeros((1, 3), np.float32))
        with pytest.raises(WaveformError, match="flushed"):
            stream.flush()


def test_numpy_numbers_are_numbers_and_bools_are_not():
    """Narrow types do not overflow, and a stream's sizes are Python's own afterwards."""
    narrow = resampled_length(np.uint16(60_000), np.uint16(8000), np.uint16(48_000))
    assert (type(narrow), narrow) == (int, 360_000)
    stream = StreamResampler(
        from_rate=np.int32(8000), to_rate=np.int64(24_000), num_channels=np.int8(2), resampler=Resampler()
    )
    assert {type(number) for number in (stream.from_rate, stream.to_rate, stream.num_channels)} == {int}
    assert stream.push(np.zeros((2, 100), np.float32)).shape[0] == 2
    for bad in (True, 0, -1, 1.0, "2", 33):
        with pytest.raises(AudioError, match="num_channels must be a whole number from 1 to 32"):
            StreamResampler(from_rate=8000, to_rate=24_000, num_channels=bad)
    for bad in (True, -1, 1.5):
        with pytest.raises(AudioError, match="num_samples must be a whole number"):
            resampled_length(bad, 8000, 24_000)
    with pytest.raises(SamplingRateError):
        resampled_length(5, 0, 24_000)


def test_impossible_choices_are_refused():
    """Unknown backends, qualities and rates, and a stream through torchaudio."""
    with pytest.raises(AudioError, match="'soxr' or 'torchaudio', got 'scipy'"):
        Resampler(backend="scipy")
    with pytest.raises(AudioError, match="QQ, LQ, MQ, HQ, VHQ, got 'best'"):
        Resampler(quality="best")
    with pytest.raises(AudioError, match="LQ, HQ, VHQ, got 'QQ'"):
        Resampler(backend="torchaudio", quality="QQ")
    with pytest.raises(SamplingRateError):
        resample(noise(3, 8000), 0)
    with pytest.raises(AudioError, match="block by block"):
        StreamResampler(from_rate=8000, to_rate=24000, resampler=Resampler(backend="torchaudio"))


def test_the_description_decides_the_samples():
    """What shards record: backend, quality, versions."""
    assert Resampler(quality="VHQ").describe() == {
        "backend": "soxr",
        "quality": "VHQ",
        "soxr_version": soxr.__version__,
        "soxr_library_version": soxr.__libsoxr_version__,
    }


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_a_torchaudio_that_does_not_load_is_one_clear_sentence(monkeypatch, error):
    """ImportError, a missing CUDA library (OSError) and a version clash (RuntimeError) read the same."""

    def fail(_name):
        raise error("libcudart.so: cannot open\nsecond line")

    monkeypatch.setattr("importlib.import_module", fail)
    torchaudio = Resampler(backend="torchaudio")
    with pytest.raises(MissingDependencyError, match=r"needs torchaudio.*\(libcudart.so: cannot open\)"):
        resample(noise(10, 8000), 24000, resampler=torchaudio)
    with pytest.raises(MissingDependencyError, match=r"extra 'torchaudio'"):
        torchaudio.describe()


def test_a_torchaudio_that_loads_is_used(monkeypatch):
    """The chosen quality reaches torchaudio, and its samples come back as they are."""
    seen = {}

    def fake_resample(tensor, old, new, **settings):
        seen.update(settings, rates=(old, new))
        return torch.repeat_interleave(tensor, new // old, dim=-1)

    package, functional = ModuleType("torchaudio"), ModuleType("torchaudio.functional")
    package.__version__, functional.resample = "9.9", fake_resample
    monkeypatch.setitem(sys.modules, "torchaudio", package)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", functional)
    torchaudio = Resampler(backend="torchaudio", quality="VHQ")
    source = noise(10, 8000)
    out = resample(source, 24000, resampler=torchaudio)
    assert np.array_equal(out.samples, source.samples.repeat(3, axis=1))
    assert seen["rates"] == (8000, 24000)
    assert seen["lowpass_filter_width"] == 64
    assert torchaudio.describe()["torchaudio_version"] == "9.9"
