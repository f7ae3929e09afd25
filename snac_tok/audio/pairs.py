"""Refuses a pair of samples and a rate, as `librosa.load`, `soundfile.read` and `torchaudio.load` return it.

A list of clips and a list of numbers look much like it, so each public call asks here first and names what takes both.
"""

from __future__ import annotations

import numbers
from typing import Any

from snac_tok.errors import WaveformError


def refuse_pair(audio: Any, *, call: str = "as_waveform") -> None:
    """Refuse (samples, rate).

    Args:
        audio: of any kind.
        call: what takes the samples with `sampling_rate=`.

    Raises:
        WaveformError: saying how to pass them apart.

    Example:
        >>> import numpy as np
        >>> refuse_pair((np.zeros(100), 24_000))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        snac_tok.errors.WaveformError: this is a pair of samples and a rate; pass them apart: samples, rate = pair, ...
    """
    if not is_pair(audio):
        return
    samples = audio[0]
    # soundfile puts channels last.
    is_turned = samples.ndim == 2 and samples.shape[0] > samples.shape[1]  # noqa: PLR2004 - (T, C)
    name = "samples.T" if is_turned else "samples"
    raise WaveformError(
        "this is a pair of samples and a rate; pass them apart: samples, rate = pair, then "
        f"{call}({name}, sampling_rate=rate)."
    )


def is_pair(audio: Any) -> bool:
    """Say whether this is an array or tensor of samples with a number behind it.

    Example:
        >>> import numpy as np
        >>> is_pair((np.zeros(100), 24_000)), is_pair([0.5, 0.25])
        (True, False)
    """
    if not isinstance(audio, (list, tuple)) or len(audio) != 2:  # noqa: PLR2004 - samples and rate
        return False
    samples, rate = audio
    return getattr(samples, "ndim", 0) > 0 and isinstance(rate, numbers.Real)
