"""What every comparison of two sounds asks of them, checked in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import WaveformError

if TYPE_CHECKING:
    import numpy.typing as npt


def check_pair(
    reference: npt.NDArray[np.floating],
    estimate: npt.NDArray[np.floating],
    *,
    sampling_rate: int,
    least_seconds: float = 0.0,
) -> None:
    """See that two sounds can be compared, and that there is something to compare with.

    Args:
        reference: (T,) samples of the original.
        estimate: (T,) samples of what became of it.
        sampling_rate: of both, in Hz.
        least_seconds: what the measure needs.

    Raises:
        WaveformError: other shapes, lengths that differ, NaN, too short a sound, or a silent reference.

    >>> check_pair(np.zeros(100), np.ones(100), sampling_rate=16_000)
    Traceback (most recent call last):
    snac_tok.errors.WaveformError: the reference is silent; nothing can be compared with it.
    """
    if reference.ndim != 1 or reference.shape != estimate.shape:
        raise WaveformError(
            f"two sounds (T,) of one length are compared, got shapes {reference.shape} and {estimate.shape}."
        )
    if reference.size == 0 or reference.size < least_seconds * sampling_rate:
        raise WaveformError(
            f"the sound lasts {reference.size / sampling_rate:.3f} s; at least {least_seconds:g} s are needed."
        )
    if not (np.isfinite(reference).all() and np.isfinite(estimate).all()):
        raise WaveformError("a sound with NaN or infinite samples cannot be compared.")
    if not reference.any():
        raise WaveformError("the reference is silent; nothing can be compared with it.")


def check_audible(estimate: npt.NDArray[np.floating]) -> None:
    """See that something came out at all; some measures have no value for silence.

    Raises:
        WaveformError: nothing but zeros.

    >>> check_audible(np.array([0.0, 0.1]))
    """
    if not estimate.any():
        raise WaveformError("the estimate is silent; this measure has no value for silence.")
