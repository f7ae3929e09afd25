"""Whether sound has a pitch, and which: how much of it is voiced, and how far its pitch is from the recording's.

A codec can keep every spectral envelope and still whisper; mel distance, STOI and PESQ hardly tell. Pitch is looked for
frame by frame in the normalised autocorrelation; nothing is smoothed over time, and speech of two at once has no
meaningful pitch here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from snac_tok.errors import WaveformError
from snac_tok.metrics.pairs import check_tensors, checked_pair

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.floating]

# The range of speech.
_LOWEST_HERTZ, _HIGHEST_HERTZ = 70.0, 400.0
# A frame, and so the least that has a pitch: nearly three periods of the lowest one.
LEAST_SECONDS, _HOP_SECONDS = 0.04, 0.01
# White noise stays below 0.2, steady voices lie above 0.8; real speech has 78 % of its audible frames above this.
_LEAST_CORRELATION = 0.45
# Frames that lie further below the recording's loudest are pauses.
_PAUSE_DB = 35.0
# Twice a period correlates as well as one does: the shortest lag that comes near the best is the period.
_NEARLY_BEST = 0.85
# Frames held at once: an hour's spectra together would take 6 GB.
_FRAMES_AT_ONCE = 4096
_SEMITONES_PER_OCTAVE = 12


@dataclass(frozen=True, kw_only=True, eq=False)
class PitchTrack:
    """Pitch over time, a frame every 10 ms.

    Attributes:
        f0_hertz: (N,) float64; 0 where a frame has no pitch.
        power: (N,) float64, mean square of each frame without its offset.
    """

    f0_hertz: torch.Tensor
    power: torch.Tensor

    @property
    def voiced(self) -> torch.Tensor:
        """(N,) bool, whether a frame has a pitch."""
        return self.f0_hertz > 0


@dataclass(frozen=True, kw_only=True)
class Voicing:
    """How a sound's pitch compares with that of the recording it was made of; sums over clips with `total`.

    Attributes:
        audible: frames in which the recording does not pause.
        voiced_reference: those of them that are voiced in the recording.
        voiced_estimate: those of them that are voiced in the estimate.
        voiced_both: those of them that are voiced in both.
        semitones: absolute pitch differences, summed over the frames that are voiced in both.
    """

    audible: int
    voiced_reference: int
    voiced_estimate: int
    voiced_both: int
    semitones: float

    @property
    def reference_share(self) -> float:
        """Share of audible frames that are voiced in the recording."""
        return self.voiced_reference / max(self.audible, 1)

    @property
    def estimate_share(self) -> float:
        """Share of audible frames that are voiced in the estimate."""
        return self.voiced_estimate / max(self.audible, 1)

    @property
    def f0_error_semitones(self) -> float | None:
        """Mean absolute pitch difference where both are voiced; None where that is nowhere."""
        return self.semitones / self.voiced_both if self.voiced_both else None

    @classmethod
    def total(cls, parts: Iterable[Voicing]) -> Voicing:
        """Add the counts of several clips, so that long clips count more."""
        all_parts = list(parts)
        return cls(
            audible=sum(part.audible for part in all_parts),
            voiced_reference=sum(part.voiced_reference for part in all_parts),
            voiced_estimate=sum(part.voiced_estimate for part in all_parts),
            voiced_both=sum(part.voiced_both for part in all_parts),
            semitones=sum(part.semitones for part in all_parts),
        )


def pitch_track(samples: torch.Tensor, *, sampling_rate: int) -> PitchTrack:
    """Find the pitch of (T,) samples between 70 and 400 Hz, in frames of 40 ms every 10 ms.

    A frame is voiced where the correlation with itself, some period later, has a peak above 0.45; power does not
    count, so ask `power` where the sound is loud enough to matter.

    Raises:
        WaveformError: less than one frame, or no tensor.

    Example:
        >>> tone = torch.sin(torch.arange(24_000) * (2 * math.pi * 200 / 24_000))
        >>> track = pitch_track(tone, sampling_rate=24_000)
        >>> bool(track.voiced.all()), round(float(track.f0_hertz.mean()), 1)
        (True, 200.0)
    """
    check_tensors(samples=samples)
    length, hop = round(LEAST_SECONDS * sampling_rate), round(_HOP_SECONDS * sampling_rate)
    if len(samples) < length:
        raise WaveformError(f"pitch needs {LEAST_SECONDS} s of sound; there are {len(samples)} samples.")
    frames = samples.double().unfold(0, length, hop)  # (N, length)
    parts = [_of_frames(part, sampling_rate) for part in torch.split(frames, _FRAMES_AT_ONCE)]
    f0, power = (torch.cat(values) for values in zip(*parts, strict=True))
    return PitchTrack(f0_hertz=f0, power=power)


def voicing(reference: torch.Tensor, estimate: torch.Tensor, *, sampling_rate: int) -> Voicing:
    """Compare the pitch of two sounds (T,) of one length, where the reference does not pause.

    Raises:
        WaveformError: the lengths differ, there is less than one frame, or one is no tensor.

    Example:
        >>> tone, generator = torch.sin(torch.arange(24_000) / 20), torch.Generator().manual_seed(0)
        >>> compared = voicing(tone, torch.randn(24_000, generator=generator), sampling_rate=24_000)
        >>> compared.reference_share, compared.estimate_share, compared.f0_error_semitones
        (1.0, 0.0, None)
    """
    check_tensors(reference=reference, estimate=estimate)
    if reference.shape != estimate.shape:
        raise WaveformError(
            f"reference is {tuple(reference.shape)} and estimate {tuple(estimate.shape)}; cut both to one length."
        )
    recorded, made = (pitch_track(samples, sampling_rate=sampling_rate) for samples in (reference, estimate))
    loudest = recorded.power.max()
    audible = (recorded.power > 0) & (recorded.power >= loudest * 10 ** (-_PAUSE_DB / 10))
    both = audible & recorded.voiced & made.voiced
    octaves = (made.f0_hertz[both] / recorded.f0_hertz[both]).log2().abs()
    return Voicing(
        audible=int(audible.sum()),
        voiced_reference=int((audible & recorded.voiced).sum()),
        voiced_estimate=int((audible & made.voiced).sum()),
        voiced_both=int(both.sum()),
        semitones=float(octaves.sum()) * _SEMITONES_PER_OCTAVE,
    )


def voiced_share(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return the share of the estimate's frames that have a pitch, where the reference does not pause, 0…1.

    To be read beside the recording's own share (that of `voiced_share(reference, reference)`), about 0.78 for read
    speech.

    Args:
        reference: (T,) samples, 0.04 s at least.
        estimate: (T,) samples, aligned with it.
        sampling_rate: of both, in Hz.

    Raises:
        WaveformError: the sounds do not fit each other or are too short, or the reference is silent.
    """
    return _compared(reference, estimate, sampling_rate).estimate_share


def f0_error(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return how far the pitch is off in semitones, the mean over frames that have one in both; an octave is 12.

    Args:
        reference: (T,) samples, 0.04 s at least.
        estimate: (T,) samples, aligned with it.
        sampling_rate: of both, in Hz.

    Raises:
        WaveformError: as in `voiced_share`, or no frame has a pitch in both.
    """
    found = _compared(reference, estimate, sampling_rate).f0_error_semitones
    if found is None:
        raise WaveformError("no frame has a pitch in both sounds.")
    return found


def _compared(reference: Samples, estimate: Samples, sampling_rate: int) -> Voicing:
    reference, estimate = checked_pair(
        reference, estimate, sampling_rate=sampling_rate, least_seconds=LEAST_SECONDS
    )
    # A copy: of arrays that cannot be written to torch warns.
    pair = [torch.tensor(samples) for samples in (reference, estimate)]
    return voicing(*pair, sampling_rate=sampling_rate)


def _of_frames(frames: torch.Tensor, sampling_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pitch and power of frames (N, length)."""
    frames = frames - frames.mean(1, keepdim=True)
    shortest = math.floor(sampling_rate / _HIGHEST_HERTZ)
    # One lag more at each end, so that a peak at the end of the range is seen to be one.
    correlation = _correlation(frames, lags=(shortest - 1, math.ceil(sampling_rate / _LOWEST_HERTZ) + 1))
    inner = correlation[:, 1:-1]
    # Rumble correlates best at the shortest lag of all, and falls from there: that is not a peak.
    peaks = (inner >= correlation[:, :-2]) & (inner > correlation[:, 2:]) & (inner > _LEAST_CORRELATION)
    heights = torch.where(peaks, inner, 0.0)
    good = peaks & (heights >= _NEARLY_BEST * heights.amax(1, keepdim=True))
    first = good.int().argmax(1)
    lag = shortest + first + _offset(correlation, first + 1)
    f0 = torch.where(good.any(1), sampling_rate / lag, 0.0)
    return f0, frames.square().mean(1)


def _correlation(frames: torch.Tensor, *, lags: tuple[int, int]) -> torch.Tensor:
    """Return the correlation of each frame's start with its end, (N, lags), for lags from the first to the last.

    frame   |================|
    start   |===========|              } these two, at one lag
    end          |===========|
    """
    length = frames.shape[1]
    spectra = torch.fft.rfft(frames, 2 * length)
    products = torch.fft.irfft(spectra.abs().square(), 2 * length)[:, lags[0] : lags[1] + 1]
    # Of the first n samples, n = 0 … length.
    energy = torch.nn.functional.pad(frames.square().cumsum(1), (1, 0))
    at = torch.arange(lags[0], lags[1] + 1, device=frames.device)
    of_start, of_end = energy[:, length - at], energy[:, -1:] - energy[:, at]
    # What differs from 0 by rounding alone has no correlation with anything.
    least = 1e-9 * energy[:, -1:] + 1e-20
    correlation: torch.Tensor = products / (of_start.clamp(min=least) * of_end.clamp(min=least)).sqrt()
    return correlation


def _offset(correlation: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """Return where between the lags beside `at` (N,) the peak lies: the vertex of the parabola through three values."""
    before, middle, after = (correlation.gather(1, (at + step)[:, None])[:, 0] for step in (-1, 0, 1))
    bend = before - 2 * middle + after
    vertex = (before - after) / (2 * bend).clamp(max=-1e-12)
    offset = torch.where(bend < 0, vertex, 0.0)
    clamped: torch.Tensor = offset.clamp(-0.5, 0.5)
    return clamped
