"""Mel filters against librosa's figures, and the distance's laws: zero for equals, one per tenth, finite gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok.errors import ConfigError, WaveformError
from snac_tok.metrics.mel import DAC_SCALES, MelScale, mel_distance, mel_filter_bank
from snac_tok.metrics.stft import mirrored, short_time_spectra

# librosa 0.11, filters.mel(sr=24000, n_fft=512, n_mels=80): (filter, bin, value).
LIBROSA_FILTERS = (
    (0, 1, 0.021058019250631332),
    (5, 5, 0.013494117185473442),
    (20, 16, 0.0),
    (40, 44, 0.004662310238927603),
    (40, 45, 0.010349111631512642),
    (79, 250, 0.0011057716328650713),
    (79, 252, 0.0007371811079792678),
)
LIBROSA_NONZERO, LIBROSA_SUM = 500, 1.7054254
# The distance of `_two_sounds` by numpy and librosa 0.11: feature.melspectrogram(power=1.0, pad_mode="reflect") at
# DAC's scales.
LIBROSA_DISTANCE = 7.923971


def _two_sounds() -> tuple[torch.Tensor, torch.Tensor]:
    time = torch.arange(5000, dtype=torch.float64)
    chirp = 0.3 * torch.sin(1e-4 * time**2) + 0.1 * torch.sin(0.05 * time)
    return chirp.float(), (0.2 * torch.sin(0.3 * time) + 0.01 * torch.sin(2e-4 * time**2)).float()


def _noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def test_filters_equal_librosas():
    """Single values, how many there are, and their sum."""
    bank = mel_filter_bank(sampling_rate=24_000, n_fft=512, n_mels=80)
    for row, column, value in LIBROSA_FILTERS:
        assert float(bank[row, column]) == pytest.approx(value, rel=1e-6, abs=1e-9)
    assert int((bank > 0).sum()) == LIBROSA_NONZERO
    assert float(bank.sum()) == pytest.approx(LIBROSA_SUM, rel=1e-6)


def test_below_a_kilohertz_filters_are_triangles_of_one_width():
    """Slaney's scale is linear there: filters one mel, 66.67 Hz, apart, and of area 1."""
    bank = mel_filter_bank(sampling_rate=2000, n_fft=2000, n_mels=14, f_max=1000.0)  # bins 1 Hz apart
    centres = torch.arange(1, 15) * 1000 / 15
    assert torch.all((bank.argmax(1) - centres).abs() <= 0.5)
    torch.testing.assert_close(bank.sum(1), torch.ones(14), atol=1e-3, rtol=0)
    assert float(bank.max()) == pytest.approx(15 / 1000, rel=0.02)


def test_filters_are_made_once_and_survive_inference_mode():
    """Filters first made in validation serve training afterwards."""
    with torch.inference_mode():
        bank = mel_filter_bank(sampling_rate=11_111, n_fft=64, n_mels=4)
        mel_distance(_noise(200), _noise(200, seed=1), sampling_rate=11_111, scales=DAC_SCALES[:1])
    assert bank is mel_filter_bank(sampling_rate=11_111, n_fft=64, n_mels=4)
    assert not bank.is_inference()
    sound = _noise(200).requires_grad_()
    mel_distance(_noise(200), sound, sampling_rate=11_111, scales=DAC_SCALES[:1]).backward()
    assert sound.grad is not None


def test_dacs_scales():
    """Windows double, and so do filters; the hop is a quarter."""
    assert [scale.window_length for scale in DAC_SCALES] == [32, 64, 128, 256, 512, 1024, 2048]
    assert [scale.n_mels for scale in DAC_SCALES] == [5, 10, 20, 40, 80, 160, 320]
    assert all(scale.hop * 4 == scale.window_length for scale in DAC_SCALES)


def test_the_distance_equals_librosas():
    """Framing, mirroring, window, magnitudes, filters, floor and logarithm together."""
    distance = mel_distance(*_two_sounds(), sampling_rate=24_000)
    assert float(distance) == pytest.approx(LIBROSA_DISTANCE, rel=1e-4)


def test_spectra_equal_torchs():
    """Centred windows are torch.stft's."""
    sound = _noise(2, 1000)
    window = torch.hann_window(64)
    expected = torch.stft(sound, 64, 16, window=window, center=True, return_complex=True, pad_mode="reflect")
    torch.testing.assert_close(short_time_spectra(sound, window_length=64, hop=16), expected.transpose(1, 2))


@given(
    num_samples=st.integers(0, 40), left=st.integers(0, 50), right=st.integers(0, 50), rows=st.integers(1, 3)
)
@settings(deadline=None, max_examples=60)
def test_mirroring_keeps_the_sound_in_its_place(num_samples, left, right, rows):
    """The length is left + T + right whatever T is, and what was there stays there."""
    sound = _noise(rows, 1, num_samples)
    longer = mirrored(sound, left, right)
    assert longer.shape == (rows, 1, left + num_samples + right)
    assert torch.equal(longer[..., left : left + num_samples], sound)
    if num_samples > left:
        assert torch.equal(longer[..., :left], sound[..., 1 : left + 1].flip(-1))


@given(num_samples=st.integers(1, 3000), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=10)
def test_equals_are_zero_apart_and_the_order_does_not_matter(num_samples, seed):
    """At every length, also below a window's."""
    one, other = _noise(2, 1, num_samples, seed=seed), _noise(2, 1, num_samples, seed=seed + 1)
    assert float(mel_distance(one, one, sampling_rate=16_000)) == 0
    there, back = (mel_distance(*pair, sampling_rate=16_000) for pair in ((one, other), (other, one)))
    assert float(there) > 0
    torch.testing.assert_close(there, back)


def test_a_tenth_of_the_level_is_one_apart_at_each_scale():
    """Logarithms to the base of 10 of magnitudes, not powers; scales add up."""
    sound = _noise(1, 1, 8000) + 0.2
    for count in (1, 3):
        distance = mel_distance(sound, sound / 10, sampling_rate=24_000, scales=DAC_SCALES[3 : 3 + count])
        assert float(distance) == pytest.approx(count, abs=1e-3)


def test_below_the_floor_everything_is_silence():
    """No band is above 1e-5 in either."""
    sound = _noise(1, 1, 4000)
    assert float(mel_distance(sound * 1e-9, sound * 0, sampling_rate=24_000)) == 0
    assert float(mel_distance(sound * 1e-9, sound * 0, sampling_rate=24_000, floor=1e-20)) > 1


def test_leading_dimensions_are_the_batchs():
    """(T,), (B, T) and (B, 1, T) of the same sounds are the same distance apart."""
    one, other = _noise(3, 1, 3000), _noise(3, 1, 3000, seed=1)
    flat = mel_distance(one[:, 0], other[:, 0], sampling_rate=24_000)
    torch.testing.assert_close(mel_distance(one, other, sampling_rate=24_000), flat)
    alone = [mel_distance(a[0], b[0], sampling_rate=24_000) for a, b in zip(one, other, strict=True)]
    torch.testing.assert_close(torch.stack(alone).mean(), flat)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-3, 1.0])
def test_gradients_are_finite_at_every_level(level):
    """Silence has no direction, and what is below the floor no slope: zero, not a division by zero."""
    estimate = (_noise(2, 1, 4096) * level).requires_grad_()
    mel_distance(_noise(2, 1, 4096, seed=1), estimate, sampling_rate=24_000).backward()
    assert torch.isfinite(estimate.grad).all()
    assert bool(estimate.grad.any()) == (level >= 1e-3)


def test_gradients_are_the_distances_slopes():
    """Against finite differences, in the one direction that descent takes."""
    reference, estimate = _noise(1, 1, 600), _noise(1, 1, 600, seed=1).requires_grad_()
    scales = (MelScale(window_length=64, n_mels=10, hop=16),)
    mel_distance(reference, estimate, sampling_rate=24_000, scales=scales).backward()
    step = 1e-3 * estimate.grad / estimate.grad.norm()
    ends = [
        float(mel_distance(reference, estimate.detach() + sign * step, sampling_rate=24_000, scales=scales))
        for sign in (1, -1)
    ]
    assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(float(estimate.grad.norm()), rel=0.02)


def test_empty_filters_do_no_harm():
    """More filters than bins: rows of zeros, at the floor in both sounds."""
    assert (mel_filter_bank(sampling_rate=24_000, n_fft=32, n_mels=40).sum(1) == 0).any()
    estimate = _noise(1, 1, 640).requires_grad_()
    scales = [MelScale(window_length=32, n_mels=40, hop=8)]
    distance = mel_distance(_noise(1, 1, 640, seed=1), estimate, sampling_rate=24_000, scales=scales)
    distance.backward()
    assert torch.isfinite(distance)
    assert torch.isfinite(estimate.grad).all()


def test_autocast_changes_nothing():
    """Spectra and filters stay in float32; bfloat16 in gives float32 out."""
    one, other = _noise(1, 1, 2048), _noise(1, 1, 2048, seed=1)
    plain = mel_distance(one, other, sampling_rate=24_000)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel_distance(one, other, sampling_rate=24_000), plain)
    assert mel_distance(one.bfloat16(), other.bfloat16(), sampling_rate=24_000).dtype == torch.float32


def test_what_makes_no_sense_is_refused():
    """Shapes that differ, scales and filters that cannot be."""
    with pytest.raises(WaveformError, match="one shape"):
        mel_distance(_noise(1, 1, 10), _noise(1, 10), sampling_rate=24_000)
    with pytest.raises(ConfigError, match="even"):
        MelScale(window_length=33, n_mels=5, hop=8)
    with pytest.raises(ConfigError, match="hop is 0"):
        MelScale(window_length=32, n_mels=5, hop=0)
    for bad in ({"n_mels": 0}, {"f_min": 9000.0, "f_max": 100.0}, {"f_max": 0.0}, {"f_min": -1.0}):
        with pytest.raises(ConfigError, match="make no sense"):
            mel_filter_bank(**{"sampling_rate": 24_000, "n_fft": 64, "n_mels": 8} | bad)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_agrees():
    """The same distance there."""
    one, other = _noise(2, 1, 5000), _noise(2, 1, 5000, seed=1)
    there = mel_distance(one.cuda(), other.cuda(), sampling_rate=24_000).cpu()
    torch.testing.assert_close(there, mel_distance(one, other, sampling_rate=24_000), rtol=1e-3, atol=0)
