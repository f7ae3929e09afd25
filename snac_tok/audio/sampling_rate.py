"""Checks sampling rates: whole numbers of Hz, of any numeric type, that sound can have."""

from __future__ import annotations

import numbers
import operator

from snac_tok.errors import SamplingRateError

# Recordings below 1 kHz do not exist, and a header that claims one could turn a small file into gigabytes when
# resampled; 768 kHz is the fastest converter sold.
MIN_SAMPLING_RATE = 1_000
MAX_SAMPLING_RATE = 768_000


def check_sampling_rate(sampling_rate: object) -> int:
    """Return `sampling_rate` (Hz) as an int; 24000.0 is a whole number, too.

    Raises:
        SamplingRateError: it is not a whole number, or outside 1,000…768,000 Hz.

    >>> check_sampling_rate(24000), check_sampling_rate(24000.0)
    (24000, 24000)
    """
    if sampling_rate is None:
        raise SamplingRateError(
            "no sampling rate was given: samples alone do not say it, pass sampling_rate=."
        )
    rate = _whole_number(sampling_rate)
    if rate is None or not MIN_SAMPLING_RATE <= rate <= MAX_SAMPLING_RATE:
        raise SamplingRateError(
            f"a sampling rate is a whole number of Hz from {MIN_SAMPLING_RATE} to {MAX_SAMPLING_RATE}, "
            f"got {sampling_rate!r}."
        )
    return rate


def _whole_number(value: object) -> int | None:
    """Return an integer of any type, or a float of any width without a fraction, as an int; None for the rest."""
    if isinstance(value, bool):
        return None
    # Data frames hold rates as floats if a row has none.
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        number = float(value)
        return int(number) if number.is_integer() else None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        return None
