"""The losses that compare sounds: 0 for equal ones, blind to what they should be blind to, safe for silence."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from snac_tok.errors import ConfigError
from snac_tok.training.losses import SOUND_LOSSES, LossWeights
from snac_tok.training.sound_losses import (
    convergence_loss,
    envelope_loss,
    log_stft_loss,
    low_spectrum_loss,
    periodicity_loss,
    sound_losses,
)

RATE = 24_000
SAMPLES = 12_288


def voice(hertz, *, phase=0.0, rate=RATE, samples=SAMPLES):
    """A tone of ten partials of falling level, (1, 1, T)."""
    times = torch.arange(samples, dtype=torch.float64) / rate
    partials = [torch.sin(2 * math.pi * hertz * k * times + phase * k) / k for k in range(1, 11)]
    return (0.2 * torch.stack(partials).sum(0)).float()[None, None]


def whisper(seed=0, samples=SAMPLES):
    """Noise whose loudness rises and falls four times a second, (1, 1, T)."""
    noise = torch.randn((1, 1, samples), generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * (1 + 0.9 * torch.sin(torch.arange(samples) * (2 * math.pi * 4 / RATE)))


def found(reference, estimate, rate=RATE):
    """All of them."""
    return sound_losses(reference, estimate, names=SOUND_LOSSES, sampling_rate=rate)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_equal_sounds_are_0_apart(rate):
    """Of any kind, at any rate."""
    for sound in (voice(120.0, rate=rate, samples=rate), whisper(samples=rate)):
        for name, loss in found(sound, sound, rate).items():
            assert float(loss) == pytest.approx(0, abs=0.02), name


@pytest.mark.parametrize("silent", ["reference", "estimate", "both"])
def test_silence_has_finite_losses_and_gradients(silent):
    """Whichever of the two is silent."""
    silence = torch.zeros(1, 1, SAMPLES)
    reference = silence if silent != "estimate" else voice(120.0)
    estimate = (silence if silent != "reference" else voice(120.0)).clone().requires_grad_()
    for name, loss in found(reference, estimate).items():
        assert math.isfinite(loss.item()), name
        (gradient,) = torch.autograd.grad(loss, estimate)
        assert gradient.isfinite().all(), name


@pytest.mark.parametrize("samples", [1, 64, 1500])
def test_short_sounds_have_losses(samples):
    """Those that need more sound give 0, and a gradient all the same."""
    estimate = whisper(samples=samples).requires_grad_()
    for name, loss in found(whisper(1, samples=samples), estimate).items():
        assert math.isfinite(loss.item()), name
        assert torch.autograd.grad(loss, estimate)[0].isfinite().all(), name


def test_periodicity_hears_the_pitch_and_nothing_else():
    """A whisper and another pitch are far, another phase and level are not; the right pitch is nearest."""
    reference = voice(120.0)
    near = float(periodicity_loss(reference, 0.3 * voice(120.0, phase=1.0), sampling_rate=RATE))
    for other in (voice(170.0), voice(90.0), whisper()):
        assert float(periodicity_loss(reference, other, sampling_rate=RATE)) > 0.2 + near
    assert near < 0.15


def test_a_whisper_learns_the_pitch_from_periodicity_alone():
    """The gradient leads from noise to the recording's pitch: its correlation there rises."""
    reference, estimate = voice(140.0), whisper().requires_grad_()
    before = periodicity_loss(reference, estimate, sampling_rate=RATE).item()
    optimizer = torch.optim.Adam([estimate], lr=5e-3)
    for _ in range(60):
        optimizer.zero_grad()
        periodicity_loss(reference, estimate, sampling_rate=RATE).backward()
        optimizer.step()
    assert periodicity_loss(reference, estimate, sampling_rate=RATE).item() < before / 2


def test_low_spectra_hear_phase_at_low_frequencies_only():
    """Another sign is farther than silence; what differs above 1150 Hz is not heard; an octave is."""
    reference = voice(120.0)
    high = 0.2 * torch.sin(torch.arange(SAMPLES) * (2 * math.pi * 3000 / RATE))
    assert float(low_spectrum_loss(reference, reference + high, sampling_rate=RATE)) < 0.02
    assert float(low_spectrum_loss(reference, -reference, sampling_rate=RATE)) == pytest.approx(4, abs=0.02)
    assert float(low_spectrum_loss(reference, 0 * reference, sampling_rate=RATE)) == pytest.approx(
        1, abs=0.01
    )
    times = torch.arange(SAMPLES, dtype=torch.float64) / RATE
    odd = sum(torch.sin(2 * math.pi * 120 * k * times) / k for k in (1, 3, 5, 7, 9))
    octave = reference - 0.2 * odd.float()
    assert float(low_spectrum_loss(reference, octave, sampling_rate=RATE)) > 0.3


def test_magnitudes_do_not_hear_phase():
    """Neither log magnitudes nor their convergence hear a sign; both hear level."""
    reference = voice(120.0)
    for loss in (log_stft_loss, convergence_loss):
        assert float(loss(reference, -reference)) == pytest.approx(0, abs=1e-5)
        assert float(loss(reference, 0.1 * reference)) > 0.15


def test_envelopes_hear_rhythm_and_not_level():
    """Noise of another seed with the same rise and fall is near, steady noise is far, level does not count."""
    reference = whisper(0)
    steady = 0.1 * torch.randn((1, 1, SAMPLES), generator=torch.Generator().manual_seed(2))
    same = float(envelope_loss(reference, 0.2 * whisper(1), sampling_rate=RATE))
    assert same < 0.35
    assert float(envelope_loss(reference, steady, sampling_rate=RATE)) > 0.7


def test_each_loss_has_a_weight_and_judges_sound():
    """Names and weights are the same; any one of them is enough to train by."""
    weights = dataclasses.replace(LossWeights(), mel=0.0)
    assert not weights.judges_sound
    for name in SOUND_LOSSES:
        assert dataclasses.replace(weights, **{name: 1.0}).judges_sound
    with pytest.raises(ConfigError, match=r"no losses \['mell'\]; known: \['convergence'"):
        sound_losses(voice(100.0), voice(100.0), names=["mell"], sampling_rate=RATE)
