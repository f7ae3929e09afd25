"""The losses that compare decoded sound with the recording, besides the mel distance.

Each is a function of two tensors (B, 1, T) and the sampling rate, and returns a scalar in float32 with finite gradients
to the second, silence included. Lengths are in seconds inside, so that they mean the same at any rate.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.errors import ConfigError
from snac_tok.metrics.mel import DAC_SCALES, mel_distance
from snac_tok.metrics.stft import short_time_spectra

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

# Windows of the STFT losses, about 20, 43 and 85 ms at 24 kHz: pitch pulses, partials, close partials.
_STFT_WINDOWS = (480, 1024, 2048)
# Magnitudes below this count as this: the last bit of 16 in noise, as a window of 1024 sees it.
_LEAST_MAGNITUDE = 1e-3
# What keeps relative distances of near silence bounded.
_LEAST_NORM = 1e-3

# Low partials: windows of two and four periods of a low voice. Magnitudes count by the power of 0.4, and each band
# counts alike: otherwise the loudest partial is all that is learned, and a low voice comes out an octave too high.
_LOW_WINDOW_SECONDS, _LOW_BANDS_HERTZ = (0.032, 0.064), ((60.0, 170.0), (170.0, 450.0), (450.0, 1150.0))
_LOW_POWER, _LEAST_PARTIAL, _LEAST_ENERGY = 0.4, 6e-4, 1e-2

# Three periods of the lowest pitch; the lags of 400 to 60 Hz.
_PITCH_FRAME_SECONDS, _PITCH_HOP_SECONDS = 0.05, 0.0125
_SHORTEST_LAG_SECONDS, _LONGEST_LAG_SECONDS = 0.0025, 1 / 70
_ALL_LAGS_SECONDS = (0.00125, 1 / 60)
_VOICED_ABOVE = 0.4
# What the recording's own period counts beside the distance of whole autocorrelations. With a tenth of it, a codec in
# which 66 % of the frames were voiced lost its pitch within 750 steps: the distance alone is content with half a peak.
_PEAK_SHARE = 2.0
_QUIET_SHARE = 1e-3

# STOI's (Taal et al. 2011): 15 third-octave bands from 150 Hz on, windows of 25.6 ms, stretches of 30 of them.
_NUM_BANDS, _FIRST_BAND_HERTZ = 15, 150.0
_BAND_WINDOW_SECONDS, _STRETCH_WINDOWS, _STRETCH_HOP = 0.0256, 30, 4
_LEAST_BAND_LEVEL = 2e-2


def waveform_loss(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of samples, of two tensors of one shape.

    Example:
        >>> float(waveform_loss(torch.zeros(1, 1, 4), torch.tensor([[[1.0, 0.0, -1.0, 0.0]]])))
        0.5
    """
    return F.l1_loss(estimate, reference)


def log_stft_loss(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Return the mean absolute difference of log10 STFT magnitudes, over windows of 480, 1024 and 2048 samples.

    Unlike mel spectra these tell single partials of a voice apart at all frequencies.

    Example:
        >>> noise = torch.rand((1, 1, 4096), generator=torch.Generator().manual_seed(0))
        >>> round(float(log_stft_loss(noise, noise / 10)), 2)
        1.0
    """
    distances = []
    for target, found in _magnitudes(reference, estimate):
        pair = [values.clamp(min=_LEAST_MAGNITUDE).log10() for values in (target, found)]
        distances.append((pair[0] - pair[1]).abs().mean())
    return torch.stack(distances).mean()


def convergence_loss(reference: torch.Tensor, estimate: torch.Tensor) -> torch.Tensor:
    """Return the norm of the difference of STFT magnitudes over the norm of the recording's (Yamamoto et al. 2020).

    Example:
        >>> noise = torch.rand((1, 1, 4096), generator=torch.Generator().manual_seed(0))
        >>> round(float(convergence_loss(noise, noise / 2)), 2)
        0.5
    """
    shares = [
        (_norm(target - found) / (_norm(target) + _LEAST_NORM)).mean()
        for target, found in _magnitudes(reference, estimate)
    ]
    return torch.stack(shares).mean()


def low_spectrum_loss(reference: torch.Tensor, estimate: torch.Tensor, *, sampling_rate: int) -> torch.Tensor:
    """Return how far complex spectra are apart from 60 to 1150 Hz, relative to the recording's; silence is 1 apart.

    Phase counts here: codes that know it know the pitch, too. The mean over three bands, for which see above.
    """
    shares = []
    for seconds in _LOW_WINDOW_SECONDS:
        window = 4 * round(seconds * sampling_rate / 4)
        target, found = (_low_partials(audio, window) for audio in (reference, estimate))
        for band in _LOW_BANDS_HERTZ:
            first, last = (round(hertz * window / sampling_rate) for hertz in band)
            distance, energy = (
                part[..., first : last + 1].square().sum() for part in (target - found, target)
            )
            shares.append(distance / (energy + _LEAST_ENERGY))
    return torch.stack(shares).mean()


def periodicity_loss(reference: torch.Tensor, estimate: torch.Tensor, *, sampling_rate: int) -> torch.Tensor:
    """Return how far normalised autocorrelations are apart, over frames of 50 ms in which the recording does not pause.

    Phase does not count, and neither does level: only whether sound repeats, and after how long. Where the recording
    is voiced, what the estimate lacks at the recording's own period counts once more.

    Args:
        reference: (B, 1, T), T a frame at least; shorter sound gives 0.
        estimate: of the same shape.
        sampling_rate: in Hz.
    """
    if reference.shape[-1] < round(_PITCH_FRAME_SECONDS * sampling_rate):
        return 0.0 * estimate.sum()
    with torch.no_grad():
        target, power = _autocorrelations(reference, sampling_rate)
    found, _ = _autocorrelations(estimate, sampling_rate)
    audible = (power > _QUIET_SHARE * power.amax(-1, keepdim=True)).float()  # (B, N)
    distance = (target - found).abs().mean(-1)
    base = round(_ALL_LAGS_SECONDS[0] * sampling_rate)
    first = round(_SHORTEST_LAG_SECONDS * sampling_rate) - base
    last = round(_LONGEST_LAG_SECONDS * sampling_rate) - base
    peak, lag = target[..., first : last + 1].max(-1)
    there = found[..., first : last + 1].gather(-1, lag[..., None])[..., 0]
    voiced = audible * (peak > _VOICED_ABOVE)
    return _mean(distance, audible) + _PEAK_SHARE * _mean((peak - there).relu(), voiced)


def envelope_loss(reference: torch.Tensor, estimate: torch.Tensor, *, sampling_rate: int) -> torch.Tensor:
    """Return 1 minus the correlation of band envelopes over 0.38 s, the mean over bands that sound: STOI's idea.

    Args:
        reference: (B, 1, T), T 0.4 s at least; shorter sound gives 0.
        estimate: of the same shape.
        sampling_rate: in Hz.
    """
    window = 2 * round(_BAND_WINDOW_SECONDS * sampling_rate / 2)
    if reference.shape[-1] < (_STRETCH_WINDOWS + 1) * window // 2:
        return 0.0 * estimate.sum()
    target, found = (_envelopes(audio, window, sampling_rate) for audio in (reference, estimate))
    level = target.square().mean(-1).sqrt()
    return _mean(1 - correlations(target, found, least=1e-5), (level > _LEAST_BAND_LEVEL).float())


def correlations(target: torch.Tensor, found: torch.Tensor, *, least: float) -> torch.Tensor:
    """Return how the last dimension of two tensors (..., T) correlates, (...); `least` is added to its energies.

    Example:
        >>> rising = torch.tensor([[1.0, 2.0, 3.0]])
        >>> round(float(correlations(rising, 5 - 2 * rising, least=0.0)), 3)
        -1.0
    """
    target, found = (each - each.mean(-1, keepdim=True) for each in (target, found))
    norms = [(each.square().sum(-1) + least).sqrt() for each in (target, found)]
    return (target * found).sum(-1) / (norms[0] * norms[1])


def sound_losses(
    reference: torch.Tensor,
    estimate: torch.Tensor,
    *,
    names: Iterable[str],
    sampling_rate: int,
    mel_sizes: Sequence[int] = (),
) -> dict[str, torch.Tensor]:
    """Return losses by name.

    Args:
        reference: (B, 1, T).
        estimate: of the same shape.
        names: of `losses.SOUND_LOSSES`.
        sampling_rate: in Hz.
        mel_sizes: windows of the mel loss, of DAC's seven; empty for all.

    Raises:
        ConfigError: there is no such loss.
    """
    scales = [scale for scale in DAC_SCALES if not mel_sizes or scale.window_length in mel_sizes]
    known: dict[str, Callable[[], torch.Tensor]] = {
        "mel": lambda: mel_distance(reference, estimate, sampling_rate=sampling_rate, scales=scales),
        "waveform": lambda: waveform_loss(reference, estimate),
        "log_stft": lambda: log_stft_loss(reference, estimate),
        "convergence": lambda: convergence_loss(reference, estimate),
        "low_spectrum": lambda: low_spectrum_loss(reference, estimate, sampling_rate=sampling_rate),
        "periodicity": lambda: periodicity_loss(reference, estimate, sampling_rate=sampling_rate),
        "envelope": lambda: envelope_loss(reference, estimate, sampling_rate=sampling_rate),
    }
    wanted = list(names)
    unknown = sorted(set(wanted) - known.keys())
    if unknown:
        raise ConfigError(f"there are no losses {unknown}; known: {sorted(known)}.")
    return {name: known[name]() for name in wanted}


def _magnitudes(
    reference: torch.Tensor, estimate: torch.Tensor
) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    for window in _STFT_WINDOWS:
        target, found = (
            short_time_spectra(audio[:, 0], window_length=window, hop=window // 4).abs()
            for audio in (reference, estimate)
        )
        yield target, found


def _low_partials(audio: torch.Tensor, window: int) -> torch.Tensor:
    """Return spectra as pairs of reals (2, B, N, F), magnitudes by a power; a tone is as loud at any rate."""
    spectra = short_time_spectra(audio[:, 0], window_length=window, hop=window // 4) / (window / 4)
    pair = torch.stack((spectra.real, spectra.imag))
    power = pair.square().sum(0) + _LEAST_PARTIAL**2
    return pair * power.pow((_LOW_POWER - 1) / 2)


def _norm(values: torch.Tensor) -> torch.Tensor:
    """Return the norm of each row (B, N, F), with a gradient at 0, too."""
    return (values.square().sum((1, 2)) + 1e-12).sqrt()


def _mean(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1)


def _autocorrelations(audio: torch.Tensor, sampling_rate: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what Hann-windowed frames correlate with themselves at lags (B, N, L), 1 at lag 0, and their power (B, N).

    The window's own autocorrelation is divided out: otherwise long periods would always look weak.
    """
    length = round(_PITCH_FRAME_SECONDS * sampling_rate)
    first, last = (round(seconds * sampling_rate) for seconds in _ALL_LAGS_SECONDS)
    size = 1 << (length + last).bit_length()
    window, of_window = _pitch_window(length, size, audio.device)
    frames = audio[:, 0].float().unfold(-1, length, round(_PITCH_HOP_SECONDS * sampling_rate))
    frames = (frames - frames.mean(-1, keepdim=True)) * window
    products = torch.fft.irfft(torch.fft.rfft(frames, size).abs().square(), size)
    power = products[..., 0]
    shares = products[..., first : last + 1] / (power[..., None] + 1e-4) / of_window[first : last + 1]
    return shares, power


@lru_cache(maxsize=8)
def _pitch_window(length: int, size: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    # A tensor made in inference mode could never take part in training afterwards.
    with torch.inference_mode(mode=False):
        window = torch.hann_window(length, device=device)
        products = torch.fft.irfft(torch.fft.rfft(window, size).abs().square(), size)
        return window, products / products[0]


def _envelopes(audio: torch.Tensor, window: int, sampling_rate: int) -> torch.Tensor:
    """Return stretches of the bands' loudness over time, (B, bands, stretches, 30)."""
    spectra = short_time_spectra(audio[:, 0], window_length=window, hop=window // 2, overhang=0)
    bands = spectra.abs().square() @ _third_octaves(window, sampling_rate, audio.device).t()
    return (bands + 1e-6).sqrt().transpose(1, 2).unfold(-1, _STRETCH_WINDOWS, _STRETCH_HOP)


@lru_cache(maxsize=8)
def _third_octaves(window: int, sampling_rate: int, device: torch.device) -> torch.Tensor:
    """Which bins belong to which band, (bands, F); bands above half the rate are empty and never sound."""
    with torch.inference_mode(mode=False):
        bins = torch.linspace(0, sampling_rate / 2, window // 2 + 1, device=device)
        centres = _FIRST_BAND_HERTZ * 2 ** (torch.arange(_NUM_BANDS, device=device) / 3)
        low, high = centres[:, None] * 2 ** (-1 / 6), centres[:, None] * 2 ** (1 / 6)
        return ((bins >= low) & (bins < high)).float()
