"""Short-time spectra, cheap enough for training on a CPU; no scaling and no choice of window beyond Hann."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it


def short_time_spectra(
    audio: torch.Tensor, *, window_length: int, hop: int, overhang: int | None = None
) -> torch.Tensor:
    """Return the spectra of Hann-windowed stretches of audio, mirrored at its ends.

        mirrored  |--------------- audio ---------------|  mirrored
        [== window ==]                             [== window ==]
            [== window ==]  hop later ...
        <------> overhang

    Args:
        audio: (..., T) float; computed in float32 whatever autocast says.
        window_length: samples in a window, even.
        hop: samples between two windows.
        overhang: how far windows reach over each end; half a window if None, which centres the first window on
            the first sample.

    Returns:
        (..., N, window_length // 2 + 1) complex64, N = 1 + (T + 2 overhang - window_length) // hop.

    Example:
        >>> short_time_spectra(torch.zeros(2, 1, 100), window_length=32, hop=8).shape
        torch.Size([2, 1, 13, 17])
    """
    overhang = window_length // 2 if overhang is None else overhang
    with torch.autocast(audio.device.type, enabled=False):
        frames = mirrored(audio.float(), overhang, overhang).unfold(-1, window_length, hop)
        # Not torch.stft: this is a little faster backward and gives (N, F), the order that filters multiply.
        spectra: torch.Tensor = torch.fft.rfft(frames * _hann(window_length, audio.device))
    return spectra


def mirrored(audio: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """Lengthen (..., T) to (..., left + T + right) by its mirror image; silence follows audio too short for that.

    Example:
        >>> mirrored(torch.tensor([1.0, 2.0, 3.0]), 2, 1).tolist()
        [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
        >>> mirrored(torch.tensor([1.0]), 2, 1).tolist()
        [0.0, 0.0, 1.0, 0.0]
    """
    num_samples = audio.shape[-1]
    filled = F.pad(audio, (0, max(0, max(left, right) + 1 - num_samples)))
    # Reflection wants two or three dimensions.
    rows = F.pad(filled.reshape(1, -1, filled.shape[-1]), (left, right), mode="reflect")
    return rows[..., : left + num_samples + right].reshape(*audio.shape[:-1], -1)


@lru_cache(maxsize=64)
def _hann(length: int, device: torch.device) -> torch.Tensor:
    # A tensor made in inference mode could never take part in training afterwards.
    with torch.inference_mode(mode=False):
        return torch.hann_window(length, device=device)
