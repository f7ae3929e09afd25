"""Mel spectra and DAC's distance between them: a training loss and a figure of quality in one.

Slaney's mel scale and area normalisation, as librosa has them by default. Nothing here resamples or aligns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from snac_tok.errors import ConfigError, WaveformError
from snac_tok.metrics.pairs import check_tensors
from snac_tok.metrics.stft import short_time_spectra

if TYPE_CHECKING:
    from collections.abc import Sequence

# Slaney's Auditory Toolbox (1998): linear up to 1 kHz, 27 steps for each factor of 6.4 above.
_HERTZ_PER_MEL = 200 / 3
_LINEAR_UP_TO_HERTZ = 1000.0
_LINEAR_UP_TO_MEL = _LINEAR_UP_TO_HERTZ / _HERTZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27


@dataclass(frozen=True, kw_only=True)
class MelScale:
    """One resolution at which mel spectra are compared.

    Args:
        window_length: samples in a window; also the size of the Fourier transform.
        n_mels: filters.
        hop: samples from one window to the next.

    Raises:
        ConfigError: a value below 1, or an odd window.

    Example:
        >>> MelScale(window_length=512, n_mels=80, hop=128).n_mels
        80
    """

    window_length: int
    n_mels: int
    hop: int

    def __post_init__(self) -> None:
        if self.window_length < 2 or self.window_length % 2:  # noqa: PLR2004 - the smallest even window
            raise ConfigError(f"window_length is {self.window_length}; it must be even and at least 2.")
        for name in ("n_mels", "hop"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1.")


# The paper's seven (Kumar et al. 2023, section 3.4 and conf/final of its code).
DAC_SCALES = tuple(
    MelScale(window_length=window, n_mels=n_mels, hop=window // 4)
    for window, n_mels in ((32, 5), (64, 10), (128, 20), (256, 40), (512, 80), (1024, 160), (2048, 320))
)


def mel_filter_bank(
    *, sampling_rate: int, n_fft: int, n_mels: int, f_min: float = 0.0, f_max: float | None = None
) -> torch.Tensor:
    """Return triangular filters of equal area, evenly spaced on Slaney's mel scale.

    Equal to `librosa.filters.mel` with its defaults. Where filters are narrower than the transform's bins, some are
    empty: rows of zeros, without a warning.

    Args:
        sampling_rate: in Hz.
        n_fft: size of the Fourier transform.
        n_mels: filters.
        f_min: where the first filter begins, in Hz.
        f_max: where the last one ends, in Hz; half the sampling rate if None.

    Returns:
        (n_mels, n_fft // 2 + 1) float32 on the CPU, the same tensor on every call: not to be written to.

    Raises:
        ConfigError: no filter, no bin, or not 0 <= f_min < f_max.

    Example:
        >>> mel_filter_bank(sampling_rate=24_000, n_fft=512, n_mels=80).shape
        torch.Size([80, 257])
    """
    top = sampling_rate / 2 if f_max is None else f_max
    bands = (n_mels, float(f_min), float(top))
    return _filters(sampling_rate, n_fft, bands=bands, device=torch.device("cpu"))


def mel_distance(
    reference: torch.Tensor,
    estimate: torch.Tensor,
    *,
    sampling_rate: int,
    scales: Sequence[MelScale] = DAC_SCALES,
    floor: float = 1e-5,
) -> torch.Tensor:
    """Return how far two sounds are apart: the mean difference of log10 mel magnitudes, summed over scales.

    DAC's mel loss (Kumar et al. 2023, section 3.4: weight 1 on the logarithm, 0 on the magnitude, power 1).
    Gradients are finite everywhere, and zero where a band is below the floor.

    Args:
        reference: (..., T), on any device; any T, as windows mirror the ends and short sounds are filled up.
        estimate: of the same shape and device.
        sampling_rate: in Hz.
        scales: the resolutions to compare at.
        floor: magnitudes below this count as this.

    Returns:
        A scalar in float32, with gradients to whichever input wants them.

    Raises:
        WaveformError: the shapes differ, or one is no tensor.
        ConfigError: as `mel_filter_bank`.

    Example:
        >>> noise = torch.rand((1, 1, 4096), generator=torch.Generator().manual_seed(0))
        >>> round(float(mel_distance(noise, noise / 10, sampling_rate=24_000, scales=DAC_SCALES[3:5])), 3)
        2.0
    """
    check_tensors(reference=reference, estimate=estimate)
    if reference.shape != estimate.shape:
        raise WaveformError(
            f"reference is {tuple(reference.shape)} and estimate {tuple(estimate.shape)}; cut both to one shape."
        )
    total = torch.zeros((), device=estimate.device)
    for scale in scales:
        pair = [_log_mels(audio, scale, sampling_rate, floor) for audio in (reference, estimate)]
        total = total + (pair[0] - pair[1]).abs().mean()
    return total


def _log_mels(audio: torch.Tensor, scale: MelScale, sampling_rate: int, floor: float) -> torch.Tensor:
    spectra = short_time_spectra(audio, window_length=scale.window_length, hop=scale.hop)
    bands = (scale.n_mels, 0.0, sampling_rate / 2)
    bank = _filters(sampling_rate, scale.window_length, bands=bands, device=audio.device)
    with torch.autocast(audio.device.type, enabled=False):
        mels = spectra.abs() @ bank.t()  # (..., N, M)
    return mels.clamp(min=floor).log10()


@lru_cache(maxsize=64)
def _filters(
    sampling_rate: int, n_fft: int, *, bands: tuple[int, float, float], device: torch.device
) -> torch.Tensor:
    n_mels, f_min, f_max = bands
    if n_mels < 1 or n_fft < 1 or not 0 <= f_min < f_max:
        raise ConfigError(
            f"{n_mels} mel filters over a transform of {n_fft} from {f_min:g} to {f_max:g} Hz make no sense: "
            "at least one of each is needed, and 0 <= f_min < f_max."
        )
    # A tensor made in inference mode could never take part in training afterwards.
    with torch.inference_mode(mode=False):
        bins = torch.linspace(0, sampling_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
        edges = _hertz(torch.linspace(_mel(f_min), _mel(f_max), n_mels + 2, dtype=torch.float64))
        rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
        falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
        area = (edges[2:] - edges[:-2])[:, None] / 2  # of a triangle of height 1
        return (torch.minimum(rising, falling).clamp(min=0) / area).float().to(device)


def _mel(hertz: float) -> float:
    if hertz < _LINEAR_UP_TO_HERTZ:
        return hertz / _HERTZ_PER_MEL
    return _LINEAR_UP_TO_MEL + math.log(hertz / _LINEAR_UP_TO_HERTZ) / _LOG_STEP


def _hertz(mels: torch.Tensor) -> torch.Tensor:
    above = _LINEAR_UP_TO_HERTZ * torch.exp((mels - _LINEAR_UP_TO_MEL) * _LOG_STEP)
    return torch.where(mels < _LINEAR_UP_TO_MEL, mels * _HERTZ_PER_MEL, above)
