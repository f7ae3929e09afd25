"""What sample values mean: floats beyond ±10, and 32-bit numbers that hold 16-bit values."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from snac_tok.audio import Waveform, as_waveform, iter_audio, read_audio
from snac_tok.errors import AudioFileError, WaveformError

RATE = 24000


def speech_like(num_samples=4000, peak=9000, seed=0):
    """Noise under an envelope, as int16 values."""
    noise = np.random.default_rng(seed).normal(0, 1, num_samples) * np.hanning(num_samples)
    return np.rint(noise / np.abs(noise).max() * peak).astype(np.int16)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(-1,), (1, -1), (2, -1), (1, 1, -1)])
def test_int16_values_kept_as_floats_are_refused(dtype, shape):
    """Whatever the width and the shape; the sentence says what to divide by."""
    pcm = speech_like()
    floats = torch.from_numpy(pcm).to(dtype) if isinstance(dtype, torch.dtype) else pcm.astype(dtype)
    with pytest.raises(
        WaveformError, match=r"reach ±9000, but full scale is ±1: .*16-bit.* divide them by 32768"
    ):
        as_waveform(floats.reshape(shape), sampling_rate=RATE)


@pytest.mark.parametrize(
    ("peak", "cure"),
    [
        (10.01, "divide them by 32768"),
        (32768, "divide them by 32768"),
        (-32768, "divide them by 32768"),
        (32769, "divide them by 8388608"),
        (2**23, "divide them by 8388608"),
        (2.0**31, "divide them by 2147483648"),
        (2.0**32, "no recording is that loud"),
        (1e30, "no recording is that loud"),
        (-3e38, "no recording is that loud"),
    ],
)
def test_the_cure_follows_the_size(peak, cure):
    """16, 24 and 32 bits, and what is no scale of anything."""
    with pytest.raises(WaveformError, match=cure):
        Waveform(samples=np.array([[0.0, peak]], np.float32), sampling_rate=RATE)


@pytest.mark.parametrize("peak", [1.0, -1.0, 1.5, 9.99, -10.0, 10.0])
def test_loud_floats_are_sound(peak):
    """Up to ±10: a float recording may go beyond full scale."""
    assert as_waveform([0.0, peak], sampling_rate=RATE).samples[0, 1] == np.float32(peak)


def test_nan_beside_huge_values_is_said_first():
    """The worst thing is named."""
    with pytest.raises(WaveformError, match="1 of 3 samples are NaN"):
        as_waveform([0.0, np.nan, 30_000.0], sampling_rate=RATE)


@pytest.mark.parametrize("order", ["=", ">"])
@pytest.mark.parametrize("shape", [(-1,), (2, -1)])
def test_int16_values_in_an_int32_array_are_refused(order, shape):
    """As 32-bit sound they would be silence; both ways out are named."""
    array = speech_like().astype(np.dtype(np.int32).newbyteorder(order)).reshape(shape)
    with pytest.raises(
        WaveformError, match=r"reach only ±9000, .* \.astype\(numpy\.int16\), .* floats: x / 2\*\*31"
    ):
        as_waveform(array, sampling_rate=RATE)
    with pytest.raises(WaveformError, match="look like int16 values"):
        as_waveform(torch.from_numpy(speech_like()).to(torch.int32), sampling_rate=RATE)
    assert as_waveform(array.astype(np.int16), sampling_rate=RATE).num_channels == max(1, shape[0])
    assert np.abs(as_waveform(array / 2**31, sampling_rate=RATE).samples).max() < 1e-5


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (speech_like().astype(np.int32) * 65536, "16 bits in the upper half"),
        (speech_like().astype(np.int32) * 4, "peak just above 16 bits"),
        (speech_like(peak=100).astype(np.int32) * 256, "a silent 24-bit track"),
        (speech_like(peak=32).astype(np.int32), "silence either way"),
        (np.zeros(100, np.int32), "nothing but zeros"),
        (np.zeros(0, np.int32), "no samples"),
        (np.array([-(2**31), 5], np.int32), "full scale"),
        (
            np.stack([speech_like().astype(np.int32), speech_like().astype(np.int32) * 65536]),
            "one quiet channel",
        ),
    ],
)
def test_quiet_true_int32_recordings_are_taken(values, why):
    """What could be 32-bit sound is read as that."""
    expected = np.atleast_2d(values) / 2.0**31
    assert np.allclose(as_waveform(values, sampling_rate=RATE).samples, expected, atol=1e-7), why


@given(npst.arrays(np.int32, st.integers(1, 20), elements=st.integers(-(2**31), 2**31 - 1)))
def test_an_int32_array_beyond_16_bits_is_never_refused(values):
    """Law: one value beyond ±32768 makes it 32-bit sound."""
    values[0] = 40_000
    assert np.allclose(as_waveform(values, sampling_rate=RATE).samples[0], values / 2.0**31, atol=1e-7)


@pytest.mark.parametrize("name", ["x.wav", "x.aiff", "x.au"])
def test_files_of_32_bits_with_int16_values_are_refused(tmp_path, name):
    """Whole and in blocks, after the last; 16 bits in 32, 24 bits in 32 and the same file with 16 bits are taken."""
    path = tmp_path / name
    pcm = speech_like().astype(np.int32)
    sf.write(path, pcm, RATE, subtype="PCM_32")
    for read in (read_audio, lambda path: list(iter_audio(path, block_seconds=0.01))):
        with pytest.raises(
            AudioFileError, match=rf"{name}: its 32-bit samples reach only ±9000, .* 16-bit samples\."
        ):
            read(path)
    for right in (pcm * 65536, pcm * 256, pcm // 400, pcm * 0):
        sf.write(path, right, RATE, subtype="PCM_32")
        assert np.allclose(read_audio(path).samples[0], right / 2.0**31, atol=1e-7)


def test_a_quiet_block_of_a_32_bit_file_is_no_reason(tmp_path):
    """The whole file decides: fading out is no fault."""
    fade = np.concatenate([speech_like().astype(np.int32) * 65536, speech_like(12_000).astype(np.int32)])
    sf.write(tmp_path / "x.wav", fade, RATE, subtype="PCM_32")
    blocks = list(iter_audio(tmp_path / "x.wav", block_seconds=0.1))
    assert np.allclose(np.concatenate([block.samples[0] for block in blocks]), fade / 2.0**31, atol=1e-7)
