"""Recordings to one loudness, as broadcasters measure it (EBU R128, ITU-R BS.1770-4), by the package pyloudnorm.

A single factor a recording: nothing is compressed, limited or clipped.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.audio.optional import import_optional
from snac_tok.audio.waveform import Waveform
from snac_tok.errors import AudioError

if TYPE_CHECKING:
    from types import ModuleType

# The standard's gating block. A shorter recording is one block.
_BLOCK_SECONDS = 0.4
_SOFTEST, _LOUDEST = -70.0, 0.0


def check_loudness(lufs: float) -> float:
    """Return a valid loudness in LUFS, and see that it can be measured.

    Raises:
        AudioError: it is outside of -70 to 0.
        MissingDependencyError: pyloudnorm is not installed.

    >>> check_loudness(-23)
    -23.0
    """
    if not _SOFTEST <= lufs <= _LOUDEST:
        raise AudioError(
            f"a loudness of {lufs} LUFS was asked for; it must be from {_SOFTEST:g} to {_LOUDEST:g}, "
            "-23 for broadcasting."
        )
    _pyloudnorm()
    return float(lufs)


def with_loudness(waveform: Waveform, lufs: float) -> Waveform:
    """Return a recording (1, T) at a loudness in LUFS, or as near to it as a peak of 1 allows.

    Silence stays as it is. The measured loudness is rounded to 0.01 LU, so that the result does not depend on the last
    bits of a measurement.

    >>> hum = np.sin(np.arange(24000) * 0.2).astype(np.float32)[None] / 100
    >>> louder = with_loudness(Waveform(samples=hum, sampling_rate=24000), -23.0)
    >>> round(float(np.abs(louder.samples).max()), 2)
    0.11
    """
    peak = float(np.abs(waveform.samples).max(initial=0.0))
    found = _measured(waveform) if peak else -math.inf
    if not math.isfinite(found):
        return waveform
    factor = min(10 ** ((lufs - round(found, 2)) / 20), 1 / peak)
    return Waveform(samples=waveform.samples * np.float32(factor), sampling_rate=waveform.sampling_rate)


def _measured(waveform: Waveform) -> float:
    samples = waveform.samples[0].astype(np.float64)
    block = min(_BLOCK_SECONDS, len(samples) / waveform.sampling_rate)
    meter = _pyloudnorm().Meter(waveform.sampling_rate, block_size=block)
    with np.errstate(all="ignore"):
        return float(meter.integrated_loudness(samples))


def _pyloudnorm() -> ModuleType:
    return import_optional("pyloudnorm", extra="loudness", purpose="measuring loudness")
