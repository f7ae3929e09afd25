"""A recording as a player in a notebook: what `Waveform` shows of itself there."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A notebook keeps what it shows: two minutes at 48 kHz are about 8 MB of FLAC.
_MOST_SECONDS = 120


def player_html(samples: NDArray[np.float32], *, sampling_rate: int, words: str) -> str:
    """Return an HTML player that holds the sound itself, of a long recording its first two minutes, and words below.

    Args:
        samples: (C, T); values beyond full scale are clipped.
        sampling_rate: in Hz.
        words: plain text.

    >>> player_html(np.zeros((1, 12000), np.float32), sampling_rate=24000, words="hum")[:15]
    '<audio controls'
    """
    words = html.escape(words)
    if not samples.shape[1]:
        return f"<div>{words}</div>"
    heard = samples[:, : _MOST_SECONDS * sampling_rate]
    if heard.shape[1] < samples.shape[1]:
        words += f"; the player has the first {_MOST_SECONDS} s"
    sound = base64.b64encode(_flac(heard, sampling_rate)).decode("ascii")
    player = f'<audio controls preload="metadata" src="data:audio/flac;base64,{sound}"></audio>'
    return f"{player}<div>{words}</div>"


def _flac(samples: NDArray[np.float32], sampling_rate: int) -> bytes:
    """Return (C, T) as a FLAC file of 16 bits; of more than 8 channels, which FLAC cannot hold, the first 8."""
    file = io.BytesIO()
    sf.write(file, np.clip(samples[:8], -1, 1).T, sampling_rate, format="FLAC", subtype="PCM_16")
    return file.getvalue()
