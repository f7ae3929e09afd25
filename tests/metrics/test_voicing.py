"""Voicing and pitch: exact on tones, none in noise and silence, a distance in semitones between two sounds."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from snac_tok.errors import WaveformError
from snac_tok.evaluation.measures import MEASURES
from snac_tok.metrics.voicing import Voicing, f0_error, pitch_track, voiced_share, voicing

CLIP = Path(__file__).parents[1] / "speech" / "LJ001-0008.flac"
RATE = 24_000


def tone(hertz, *, rate=RATE, partials=1):
    """One second of a tone with so many partials of falling level, as float32 numpy."""
    times = np.arange(rate) / rate
    return sum(np.sin(2 * math.pi * hertz * k * times) / k for k in range(1, partials + 1)).astype(np.float32)


def noise(seed=0):
    """One second of white noise."""
    return np.random.default_rng(seed).normal(0, 0.1, RATE).astype(np.float32)


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
@pytest.mark.parametrize("hertz", [71.0, 110.5, 220.0, 333.3, 398.0])
def test_the_pitch_of_tones_is_exact(hertz, rate):
    """Sines and sums of partials, over the whole range and at any rate, within 2 cents."""
    for partials in (1, 8):
        track = pitch_track(torch.from_numpy(tone(hertz, rate=rate, partials=partials)), sampling_rate=rate)
        assert track.voiced.all()
        assert float((track.f0_hertz / hertz).log2().abs().max()) * 1200 < 2


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_no_pitch(seed):
    """No frame of white noise is voiced."""
    assert not pitch_track(torch.from_numpy(noise(seed)), sampling_rate=RATE).voiced.any()


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_silence_and_an_offset_have_no_pitch(level):
    """Constant sound is no tone, and has no power."""
    track = pitch_track(torch.full((RATE,), level), sampling_rate=RATE)
    assert not track.voiced.any()
    assert not track.power.any()


def test_tones_out_of_the_range_of_speech_have_no_pitch_of_their_own():
    """A 50 Hz hum is unvoiced: its correlation falls over the whole range and has no peak there."""
    assert not pitch_track(torch.from_numpy(tone(50.0)), sampling_rate=RATE).voiced.any()


def test_the_error_is_in_semitones():
    """Equal tones are 0 apart, a fifth 7, an octave 12, whichever is the higher."""
    for factor, semitones in ((1.0, 0.0), (2 ** (7 / 12), 7.0), (2.0, 12.0)):
        pair = [tone(120.0, partials=6), tone(120.0 * factor, partials=6)]
        for reference, estimate in (pair, pair[::-1]):
            assert f0_error(reference, estimate, sampling_rate=RATE) == pytest.approx(semitones, abs=0.05)


def test_a_whisper_is_not_voiced():
    """Noise in a tone's place: nothing is voiced, and there is no pitch to be off."""
    assert voiced_share(tone(150.0), noise(), sampling_rate=RATE) == 0
    assert voiced_share(tone(150.0), tone(180.0), sampling_rate=RATE) == 1
    with pytest.raises(WaveformError, match="no frame has a pitch in both"):
        f0_error(tone(150.0), noise(), sampling_rate=RATE)


def test_pauses_do_not_count():
    """Where the recording pauses, what the codec hums is not looked at; its own pauses elsewhere are."""
    speech_then_pause = np.concatenate([tone(200.0), np.zeros(RATE, np.float32)])
    pause_then_speech = speech_then_pause[::-1].copy()
    hum = np.tile(tone(100.0), 2)
    assert voiced_share(speech_then_pause, hum, sampling_rate=RATE) == 1
    assert voiced_share(speech_then_pause, pause_then_speech, sampling_rate=RATE) < 0.1


def test_level_does_not_change_the_pitch():
    """Neither the recording's nor the estimate's level counts, down to the last bits of 16."""
    found = voiced_share(tone(150.0), 1e-4 * tone(150.0), sampling_rate=RATE)
    assert found == voiced_share(1e-4 * tone(150.0), tone(150.0), sampling_rate=RATE) == 1


def test_read_speech_is_mostly_voiced():
    """Real speech against itself: between 60 and 90 % of it, and no error; noise of its power has less than 5 %."""
    samples, rate = sf.read(CLIP, dtype="float32")
    assert 0.6 < voiced_share(samples, samples, sampling_rate=rate) < 0.9
    assert f0_error(samples, samples, sampling_rate=rate) == 0
    whisper = np.random.default_rng(0).normal(0, samples.std(), len(samples)).astype(np.float32)
    assert voiced_share(samples, whisper, sampling_rate=rate) < 0.05


def test_clips_add_up_by_frames():
    """The total over clips is that of counts: long clips count more, and None stays None."""
    half = Voicing(audible=10, voiced_reference=10, voiced_estimate=5, voiced_both=5, semitones=5.0)
    none = Voicing(audible=30, voiced_reference=0, voiced_estimate=0, voiced_both=0, semitones=0.0)
    both = Voicing.total([half, none])
    assert (both.reference_share, both.estimate_share, both.f0_error_semitones) == (0.25, 0.125, 1.0)
    assert none.f0_error_semitones is None
    assert Voicing.total([]).estimate_share == 0


def test_sounds_that_do_not_fit_are_refused():
    """Too short, silent, or of two lengths."""
    with pytest.raises(WaveformError, match="at least"):
        voiced_share(noise()[:100], noise()[:100], sampling_rate=RATE)
    with pytest.raises(WaveformError, match="silent"):
        f0_error(np.zeros(RATE, np.float32), noise(), sampling_rate=RATE)
    with pytest.raises(WaveformError, match="one length"):
        voicing(torch.zeros(2000), torch.zeros(2001), sampling_rate=RATE)
    with pytest.raises(WaveformError, match=r"0\.04 s"):
        pitch_track(torch.zeros(10), sampling_rate=RATE)


def test_a_report_has_both():
    """They are measures like the others, and part of what is measured unless told."""
    assert MEASURES["voiced"].value(tone(150.0), tone(150.0), sampling_rate=RATE) == 1
    assert MEASURES["f0"].value(tone(150.0), tone(300.0), sampling_rate=RATE) == pytest.approx(12, abs=0.05)
