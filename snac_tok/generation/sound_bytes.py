"""Samples as the bytes that players and HTTP clients take: 16-bit PCM, and WAV whose length nobody knows yet."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import WaveformError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    import numpy.typing as npt

_FULL_SCALE = 1 << 15
# What ffmpeg writes into a pipe: readers go on to the end of the file.
_UNKNOWN_LENGTH = 0xFFFFFFFF
_BYTES_A_SAMPLE = 2
# Bytes of the header behind the field with the file's size.
_HEAD_BEHIND_SIZE = 36


def pcm16(samples: npt.NDArray[np.floating[Any]]) -> bytes:
    """Return samples of ±1 as signed 16-bit little-endian integers; louder ones are clipped.

    Raises:
        WaveformError: some samples are masked.

    Example:
        >>> pcm16(np.array([0.0, 0.5, -1.0, 1.0])).hex(" ", 2)
        '0000 0040 0080 ff7f'
    """
    refuse_masked(samples, what="samples", error=WaveformError)
    scaled = np.round(np.asarray(samples, dtype=np.float64) * _FULL_SCALE)
    return np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2").tobytes()


def wav_header(sampling_rate: int, *, num_samples: int | None = None) -> bytes:
    """Return the 44 bytes in front of 16-bit mono PCM, whose length may not be known yet.

    Example:
        >>> wav_header(24_000)[:4], len(wav_header(24_000))
        (b'RIFF', 44)
    """
    size = _UNKNOWN_LENGTH if num_samples is None else _BYTES_A_SAMPLE * num_samples
    form = struct.pack("<4sI4s", b"RIFF", min(size + _HEAD_BEHIND_SIZE, _UNKNOWN_LENGTH), b"WAVE")
    # Size of this part, PCM, one channel, Hz, bytes a second, bytes a sample, bits a sample.
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sampling_rate, 2 * sampling_rate, 2, 16)
    return form + kind + struct.pack("<4sI", b"data", size)
