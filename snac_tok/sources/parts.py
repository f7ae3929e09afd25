"""A part of a recording, given in seconds, as manifests of long recordings do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from snac_tok.audio import Waveform
from snac_tok.errors import SourceError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable

# Start and end in seconds; an end of None is that of the recording.
Part: TypeAlias = "tuple[float, float | None]"

# More samples than any recording has.
_ENDLESS = 1 << 62


def checked_part(start: float, end: float | None, *, name: object) -> Part | None:
    """Return the part, or None if it is the whole recording.

    Raises:
        SourceError: it ends before it begins, or is not a number of seconds.

    >>> checked_part(0.0, None, name="a.wav"), checked_part(1.5, 3.0, name="a.wav")
    (None, (1.5, 3.0))
    """
    if not (math.isfinite(start) and start >= 0 and (end is None or start < end < math.inf)):
        raise SourceError(
            f"{name}: a part from {start} s to {end} s was asked for; it must begin at 0 or later, and end after that."
        )
    return (start, end) if start or end is not None else None


def cut_part(blocks: Iterable[Waveform], part: Part) -> Waveform:
    """Return a part of a recording that comes in blocks; those behind its end are not taken.

    Samples are those between round(start · rate) and round(end · rate), whatever the blocks are.

    Raises:
        WaveformError: the recording ends before the part begins.

    >>> second = Waveform(samples=np.zeros((1, 24000), np.float32), sampling_rate=24000)
    >>> cut_part([second, second, second], (0.5, 1.25)).num_samples
    18000
    """
    start, end = part
    kept: list[Waveform] = []
    place = 0
    for block in blocks:
        first, last = _samples(start, block.sampling_rate), _samples(end, block.sampling_rate)
        samples = block.samples[:, max(first - place, 0) : max(last - place, 0)]
        if samples.shape[1]:
            kept.append(Waveform(samples=np.ascontiguousarray(samples), sampling_rate=block.sampling_rate))
        place += block.num_samples
        if place >= last:
            break
    if not kept:
        raise WaveformError(f"it ends before {start:g} s, where the part begins.")
    joined = np.concatenate([piece.samples for piece in kept], axis=1)
    return Waveform(samples=joined, sampling_rate=kept[0].sampling_rate)


def _samples(seconds: float | None, rate: int) -> int:
    return _ENDLESS if seconds is None else round(min(seconds * rate, _ENDLESS))
