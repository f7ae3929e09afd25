"""How loud a recording is where it is not silent."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Speech pauses for a fifth of its time; blocks this long and this far below the loudest one are pauses.
_BLOCK_SECONDS = 0.05
_GATE_DB = 35.0
# What digital silence has, so that it has a level at all: below the last of 16 bits.
SILENCE_DB = -120.0


def active_level_db(samples: npt.NDArray[np.float32], *, sampling_rate: int) -> float:
    """Return the RMS level of the parts that are not pauses, in dB relative to full scale.

    Args:
        samples: (T,), at least one.
        sampling_rate: Hz.

    Example:
        >>> tone = np.sin(np.arange(24000, dtype=np.float32))
        >>> padded = np.concatenate([tone, np.zeros(48000, np.float32)])
        >>> round(active_level_db(tone, sampling_rate=24000), 1), round(active_level_db(padded, sampling_rate=24000), 1)
        (-3.0, -3.0)
    """
    size = min(max(1, round(_BLOCK_SECONDS * sampling_rate)), len(samples))
    whole = samples[: len(samples) // size * size].reshape(-1, size)
    powers = np.square(whole, dtype=np.float64).mean(axis=1)
    active = powers[powers >= powers.max() * 10 ** (-_GATE_DB / 10)]
    return float(max(10 * np.log10(max(active.mean(), 1e-30)), SILENCE_DB))
