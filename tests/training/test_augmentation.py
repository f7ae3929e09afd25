"""Each effect does what its name says, alone, and nothing is ever clipped."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_sound import RATE

from snac_tok.errors import ConfigError
from snac_tok.plain_values import from_plain, to_plain
from snac_tok.training.augmentation import Augmentation
from snac_tok.training.randomness import generator_for

CROP = 4096


def alone(**effects):
    """One effect, all others off."""
    return Augmentation(**({"level_db": None, "flip_polarity": 0.0, "rotate_phase": 0.0} | effects))


def applied(augmentation, make, *, rows=8, seed=0, level_db=-10.0):
    """Read rows of make(n) and augment them; the plain crops for comparison come with them."""
    num_read, margin = augmentation.num_read(CROP), augmentation.margin
    signal = torch.from_numpy(np.asarray(make(num_read), np.float32)).expand(rows, -1)
    crops = augmentation.apply(
        signal,
        crop_samples=CROP,
        sampling_rate=RATE,
        levels_db=torch.full((rows,), level_db),
        generator=generator_for(seed, "test"),
    )
    assert crops.shape == (rows, CROP)
    return crops, signal[:, margin : margin + CROP]


def noise(num_samples, *, seed=0):
    """Return evenly distributed samples."""
    return np.random.default_rng(seed).uniform(-0.3, 0.3, num_samples)


def sine(hertz, *, level=0.3):
    """Return what makes a tone."""
    return lambda num_samples: level * np.sin(2 * np.pi * hertz / RATE * np.arange(num_samples))


def rms_db(crops):
    """Return the level of each row."""
    return 10 * crops.double().square().mean(-1).log10()


def test_all_off_changes_nothing():
    """Not even the last bit, and nothing more than a crop is read."""
    assert Augmentation.off().num_read(CROP) == CROP
    crops, plain = applied(Augmentation.off(), noise)
    assert torch.equal(crops, plain)


def test_level_comes_from_the_clip_not_the_crop():
    """A crop 20 dB below its clip stays 20 dB below the level that the clip is brought to."""
    crops, plain = applied(alone(level_db=(-30.0, -30.0)), noise, level_db=float(rms_db(noise_row())) + 20)
    assert rms_db(crops).tolist() == pytest.approx([-50.0] * 8, abs=0.01)
    assert plain.shape == crops.shape


def noise_row():
    """Return as much noise as a crop."""
    return torch.from_numpy(noise(CROP))


def test_levels_spread_over_their_range():
    """Evenly, every row its own."""
    level = float(rms_db(noise_row()))
    crops, _ = applied(alone(level_db=(-40.0, -20.0)), noise, rows=400, level_db=level)
    levels = rms_db(crops)
    assert -40.1 < levels.min() < -39
    assert -21 < levels.max() < -19.9
    assert float(levels.mean()) == pytest.approx(-30, abs=1)


def test_a_crop_too_loud_is_turned_down_not_clipped():
    """It keeps its shape, and its peak is full scale."""
    crops, plain = applied(alone(level_db=(-1.0, -1.0)), noise, level_db=-30.0)
    assert crops.abs().amax(-1).tolist() == pytest.approx([1.0] * 8, abs=1e-6)
    assert torch.nn.functional.cosine_similarity(crops, plain).tolist() == pytest.approx([1.0] * 8)


def test_gain_is_bounded():
    """The noise of a recording of nearly nothing is not made speech."""
    crops, plain = applied(alone(level_db=(-20.0, -20.0)), lambda n: 1e-5 * noise(n), level_db=-110.0)
    assert torch.allclose(crops, plain * 10**1.5)


def test_polarity():
    """Some rows upside down, or all, or none."""
    crops, plain = applied(alone(flip_polarity=0.5), noise, rows=100)
    signs = (crops / plain).mean(-1)
    assert 30 < int((signs < 0).sum()) < 70
    assert torch.equal(applied(alone(flip_polarity=1.0), noise)[0], -plain[:8])


def test_rotated_phase_keeps_level_and_spectrum():
    """A sine stays a sine of its level, at another phase."""
    crops, plain = applied(alone(rotate_phase=1.0), sine(600))
    assert rms_db(crops).tolist() == pytest.approx(rms_db(plain).tolist(), abs=0.1)
    found = torch.fft.rfft(crops * torch.hann_window(CROP)).abs()
    assert found.argmax(-1).unique().tolist() == [round(600 * CROP / RATE)]
    likeness = torch.nn.functional.cosine_similarity(crops, plain)
    assert float(likeness.min()) < 0.5
    assert len(likeness.unique()) == 8


def test_half_the_rows_keep_their_phase():
    """rotate_phase is a share of rows."""
    crops, plain = applied(alone(rotate_phase=0.5), noise, rows=100)
    kept = (crops - plain).abs().amax(-1) < 1e-5
    assert 30 < int(kept.sum()) < 70


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_changes_pitch_and_keeps_the_level(factor):
    """A tone comes out higher the faster it goes."""
    crops, plain = applied(alone(speed=(factor, factor)), sine(1000))
    peaks = torch.fft.rfft(crops * torch.hann_window(CROP), n=16 * CROP).abs().argmax(-1) * RATE / (16 * CROP)
    assert peaks.tolist() == pytest.approx([1000 * factor] * 8, rel=0.02)
    assert rms_db(crops).tolist() == pytest.approx(rms_db(plain).tolist(), abs=0.2)


def test_speed_aliases_nothing():
    """What a faster tone would have beyond the band is gone, not folded back."""
    crops, _ = applied(alone(speed=(1.25, 1.25)), lambda n: np.hanning(n) * sine(11_000)(n))
    assert rms_db(crops).max() < -60


def test_tilt_leaves_the_pivot_and_turns_the_rest():
    """Below and above 1 kHz gains are opposite, at most the range given."""
    augmentation = alone(tilt_db=6.0)
    low, at_pivot, high = (
        rms_db(applied(augmentation, sine(hertz, level=0.05))[0]) - 10 * math.log10(0.05**2 / 2)
        for hertz in (125, 1000, 8000)
    )
    assert at_pivot.abs().max() < 0.2
    assert torch.allclose(low, -high, atol=0.3)
    assert high.abs().max() < 6.1
    assert high.max() > 1
    assert high.min() < -1


def test_nothing_wraps_around_from_the_far_end():
    """What is loud after the crop is not heard at its start."""

    def loud_end(num_samples):
        samples = np.zeros(num_samples)
        samples[-200:] = noise(200)
        return samples

    crops, _ = applied(alone(rotate_phase=1.0, tilt_db=6.0), loud_end)
    assert crops[:, :256].abs().max() < 0.005


def test_switching_an_effect_on_leaves_the_draws_of_others():
    """Two runs that differ in one effect can be compared."""
    plain, _ = applied(alone(level_db=(-40.0, -20.0)), noise)
    flipped, _ = applied(alone(level_db=(-40.0, -20.0), flip_polarity=1.0), noise)
    assert torch.equal(plain, -flipped)


@settings(max_examples=30, deadline=None)
@given(
    mix=st.builds(
        Augmentation,
        level_db=st.none() | st.tuples(st.floats(-60, -30), st.floats(-30, 0)),
        flip_polarity=st.floats(0, 1),
        rotate_phase=st.floats(0, 1),
        speed=st.none() | st.tuples(st.floats(0.5, 1.0), st.floats(1.0, 2.0)),
        tilt_db=st.floats(0, 24),
    ),
    seed=st.integers(0, 10_000),
)
def test_any_mix_is_repeatable_finite_and_within_full_scale(mix, seed):
    """A function of its arguments alone; settings survive YAML and JSON."""
    first, second = (applied(mix, noise, rows=3, seed=seed)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.isfinite(first).all()
    assert first.abs().max() <= 1.000001
    assert from_plain(Augmentation, to_plain(mix), error=ConfigError) == mix


@pytest.mark.parametrize(
    "effects",
    [
        {"level_db": (-10.0, -20.0)},
        {"level_db": (-20.0, 3.0)},
        {"level_db": (float("nan"), 0.0)},
        {"speed": (0.1, 1.0)},
        {"speed": (1.0, 3.0)},
        {"flip_polarity": 1.5},
        {"rotate_phase": -0.1},
        {"tilt_db": -1.0},
        {"tilt_db": float("nan")},
    ],
)
def test_impossible_ranges_are_refused(effects):
    """By name."""
    with pytest.raises(ConfigError, match=next(iter(effects))):
        Augmentation(**effects)


def test_crops_of_any_length_can_be_read():
    """Lengths that transform fast have no end."""
    longest = Augmentation(speed=(0.5, 2.0))
    assert 2 * 20_480_000 < longest.num_read(20_480_000) < 2.1 * 20_480_000
    assert Augmentation(speed=(1.0, 1.1)).num_read(16_384) == 19_200
