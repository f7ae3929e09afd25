"""Distances between two sounds sample by sample and spectrum by spectrum, as torchmetrics and auraloss define them.

Nothing is aligned or resampled here; a delay of one sample already lowers the SI-SDR.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from snac_tok.audio import check_sampling_rate
from snac_tok.audio.optional import import_optional
from snac_tok.metrics.pairs import check_audible, checked_pair

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.floating]

# auraloss's largest window reflects half of its 2048 samples at each end.
_LEAST_STFT_SAMPLES = 1025


def si_sdr(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return the scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019); higher is better.

    Identical sounds have no upper bound; float64's smallest step leaves about 150 to 200 dB.

    Args:
        reference: (T,) samples.
        estimate: (T,) samples, aligned with it.
        sampling_rate: of both, in Hz.

    Raises:
        WaveformError: the sounds do not fit each other, or one is silent.
        MissingDependencyError: torchmetrics is not installed.

    >>> import numpy as np
    >>> tone = np.sin(np.arange(1000) / 10)
    >>> round(si_sdr(tone, tone + 0.1 * np.cos(np.arange(1000) / 10), sampling_rate=16_000))
    20
    """
    import torch

    reference, estimate = checked_pair(reference, estimate, sampling_rate=sampling_rate)
    check_audible(estimate)
    audio = import_optional("torchmetrics.functional.audio", extra="eval", purpose="the SI-SDR")
    # A copy: of arrays that cannot be written to torch warns.
    target, found = (torch.tensor(samples).double() for samples in (reference, estimate))
    return float(audio.scale_invariant_signal_distortion_ratio(found, target))


def stft_distance(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return the multi-resolution STFT distance (Yamamoto et al. 2020); lower is better, 0 for identical sounds.

    Spectral convergence plus the mean distance of log magnitudes, over windows of 240, 600 and 1200 samples.

    Args:
        reference: (T,) samples, T at least 1025.
        estimate: (T,) samples, aligned with it.
        sampling_rate: of both, in Hz; the windows do not follow it, so compare figures of one rate only.

    Raises:
        WaveformError: the sounds do not fit each other or are too short, or the reference is silent.
        MissingDependencyError: auraloss is not installed.

    >>> import numpy as np
    >>> tone = np.sin(np.arange(2000) / 10)
    >>> stft_distance(tone, tone, sampling_rate=16_000)
    0.0
    """
    import torch

    reference, estimate = checked_pair(
        reference,
        estimate,
        sampling_rate=sampling_rate,
        least_seconds=_LEAST_STFT_SAMPLES / check_sampling_rate(sampling_rate),
    )
    pair = [torch.tensor(samples).float()[None, None] for samples in (estimate, reference)]  # (1, 1, T)
    with torch.no_grad():
        return float(_stft_loss()(*pair))


@cache
def _stft_loss() -> Any:
    freq = import_optional("auraloss.freq", extra="eval", purpose="the STFT distance")
    return freq.MultiResolutionSTFTLoss()
