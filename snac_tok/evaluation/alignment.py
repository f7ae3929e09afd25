"""How late a codec's sound comes, and the sound without that delay.

    reference  |a b c d e f g|
    estimate   |. . a b c d e f g .|     two samples late
    aligned        |a b c d e f g|       of the reference's length; zeros where nothing came

Codecs that keep the waveform are found by it, to the sample. Those that make up a new one (Codec2) have other phases,
and only their loudness over time can be recognised: that is good to a few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.floating]

MAX_DELAY_SECONDS = 0.1
# Below this share of a perfect correlation the waveform is not the same one: Codec2 reaches 0.37, Opus at its
# lowest bitrate 0.85.
_SAME_WAVEFORM = 0.6
_ENVELOPE_SECONDS = 0.01


def find_delay(
    reference: Samples, estimate: Samples, *, sampling_rate: int, max_seconds: float = MAX_DELAY_SECONDS
) -> int:
    """Return by how many samples the estimate is late, negative where it is early; 0 for silence.

    Args:
        reference: (T,) samples.
        estimate: (U,) samples.
        sampling_rate: of both, in Hz.
        max_seconds: the largest delay to look for.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=4000)
        >>> find_delay(noise, np.concatenate([np.zeros(123), noise]), sampling_rate=8000)
        123
    """
    if not (reference.any() and estimate.any()):
        return 0
    reach = min(int(max_seconds * sampling_rate), max(len(reference), len(estimate)) - 1)
    delay, likeness = _best_lag(reference, estimate, reach)
    if likeness < _SAME_WAVEFORM:
        loudness, other = (_envelope(samples, sampling_rate) for samples in (reference, estimate))
        delay, _ = _best_lag(loudness, other, reach)
    return delay


def fitted(estimate: Samples, length: int, *, delay: int = 0) -> npt.NDArray[np.float32]:
    """Return (length,) samples from `delay` on, with zeros where the estimate has none.

    Example:
        >>> fitted(np.array([0, 0, 1, 2]), 3, delay=2).tolist()
        [1.0, 2.0, 0.0]
        >>> fitted(np.array([1, 2]), 3, delay=-1).tolist()
        [0.0, 1.0, 2.0]
    """
    result = np.zeros(length, np.float32)
    start = max(-delay, 0)
    kept = estimate[max(delay, 0) :][: max(length - start, 0)]
    result[start : start + len(kept)] = kept
    return result


def _best_lag(reference: Samples, estimate: Samples, reach: int) -> tuple[int, float]:
    """Return the lag within ±reach where the sounds are most alike, and their correlation there, 0…1."""
    size = 1 << (len(reference) + len(estimate) + 2 * reach).bit_length()
    spectrum = np.conj(np.fft.rfft(reference, size)) * np.fft.rfft(estimate, size)
    circular = np.fft.irfft(spectrum, size)
    lags = np.arange(-reach, reach + 1)
    correlation = circular[lags]  # negative lags lie at the end
    scale = np.linalg.norm(reference) * np.linalg.norm(estimate)
    best = int(correlation.argmax())
    return int(lags[best]), float(correlation[best] / scale) if scale else 0.0


def _envelope(samples: Samples, sampling_rate: int) -> npt.NDArray[np.float64]:
    """Return loudness over time without its mean: the root of the power in a window of 10 ms."""
    window = np.hanning(max(3, int(_ENVELOPE_SECONDS * sampling_rate) | 1))
    power = np.convolve(np.square(samples, dtype=np.float64), window / window.sum(), mode="full")
    half = len(window) // 2
    loudness = np.sqrt(np.maximum(power[half : half + len(samples)], 0))
    return loudness - float(loudness.mean())
