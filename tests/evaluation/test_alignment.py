"""Delays are found and removed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import noise, speech

from snac_tok.evaluation import find_delay, fitted


@settings(deadline=None, max_examples=25)
@given(delay=st.integers(-800, 800), seed=st.integers(0, 5))
def test_a_known_delay_is_recovered_to_the_sample(delay, seed):
    """Late or early, within 0.1 s, with noise on it: the delay is found, and fitting undoes it."""
    clean = noise(0.5, rate=8000, seed=seed).samples[0]
    moved = fitted(clean, len(clean) + 800, delay=-delay)
    noisy = moved + 0.03 * np.random.default_rng(9).normal(size=len(moved))
    assert find_delay(clean, noisy, sampling_rate=8000) == delay
    back = fitted(moved, len(clean), delay=delay)
    kept = slice(max(0, -delay), len(clean))
    assert np.array_equal(back[kept], clean[kept])


def test_a_new_waveform_is_found_by_its_loudness():
    """Speech made anew out of noise with the speech's loudness has no common waveform; milliseconds are right."""
    waveform = speech()
    samples, rate = waveform.samples[0], waveform.sampling_rate
    window = np.hanning(441)
    loudness = np.sqrt(np.convolve(samples**2, window / window.sum(), mode="same"))
    made = loudness * np.random.default_rng(0).normal(size=len(samples))
    late = np.concatenate([np.zeros(rate // 50), made])
    assert find_delay(samples, late, sampling_rate=rate) == pytest.approx(rate / 50, abs=0.003 * rate)


@pytest.mark.parametrize(
    "pair", [(np.zeros(100), np.ones(100)), (np.ones(100), np.zeros(100)), (np.ones(1), np.ones(1))]
)
def test_silence_and_single_samples_have_no_delay(pair):
    """There is nothing to find, and nothing breaks."""
    assert find_delay(*pair, sampling_rate=8000) == 0


@given(length=st.integers(0, 30), have=st.integers(0, 30), delay=st.integers(-40, 40))
def test_fitting_gives_the_length_that_is_asked_for(length, have, delay):
    """Every sample is where the delay says, or zero where there is none."""
    estimate = np.arange(1, have + 1)
    found = fitted(estimate, length, delay=delay)
    expected = [estimate[at + delay] if 0 <= at + delay < have else 0 for at in range(length)]
    assert found.tolist() == expected
