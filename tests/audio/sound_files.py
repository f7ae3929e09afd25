"""Sound files in memory, for the tests that join, cut and damage them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile as sf

CLIP = Path(__file__).parents[1] / "speech" / "LJ001-0002.flac"
NUM_SAMPLES = 20_000


def speech(num_channels=1) -> np.ndarray:
    """Real speech, (20000, C)."""
    one = sf.read(CLIP, dtype="float32")[0][:NUM_SAMPLES]
    return np.stack([np.roll(one, 500 * k) / (k + 1) for k in range(num_channels)], axis=1)


def encoded(file_format, subtype, *, rate=24_000, num_channels=1, samples=None) -> bytes:
    """The speech as a file; in pieces, since libsndfile's Opus encoder overflows its stack on one long write."""
    file = io.BytesIO()
    values = speech(num_channels) if samples is None else samples
    with sf.SoundFile(file, "w", rate, num_channels, subtype, format=file_format) as sound:
        for start in range(0, len(values), 4096):
            sound.write(values[start : start + 4096])
    return file.getvalue()


def mp3(**options) -> bytes:
    """An MP3 with a Xing frame, as LAME writes it."""
    return encoded("MP3", "MPEG_LAYER_III", **options)


def without_xing(content: bytes) -> bytes:
    """An MP3 at 24 kHz as a writer to a pipe leaves it; a frame of MPEG-2 has 72 bits over the rate."""
    kbps = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[(content[2] >> 4) - 1]
    return content[72_000 * kbps // 24_000 + (content[2] >> 1 & 1) :]


def patched(content: bytes, offset: int, data: bytes) -> bytes:
    """Other bytes in one place."""
    return content[:offset] + data + content[offset + len(data) :]
