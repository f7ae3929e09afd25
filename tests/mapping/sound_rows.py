"""Sound for the mapping tests: seeded clips, in every form that a dataset's column may hold."""

from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import soundfile
import torch

CODEC_RATE = 24_000


def noise(seconds: float, *, seed: int = 0, rate: int = CODEC_RATE) -> np.ndarray:
    """Quiet noise (T,) float32."""
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate))
    return samples.clip(-0.9, 0.9).astype(np.float32)


def encoded(samples: np.ndarray, rate: int, *, subtype: str = "FLOAT") -> bytes:
    """The bytes of a WAV file with samples (T,) or (C, T)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples.T, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


class Decoder:
    """What torchcodec's AudioDecoder looks like from outside; torchcodec itself does not load next to a CPU torch."""

    def __init__(self, samples: np.ndarray, rate: int) -> None:
        self._found = SimpleNamespace(data=torch.from_numpy(np.atleast_2d(samples)), sample_rate=rate)

    def get_all_samples(self) -> SimpleNamespace:
        """All of it, as AudioSamples."""
        return self._found


def hostile_rows() -> dict[str, list]:
    """Audio dicts, good and bad, with their names: the bad ones hold what real collections hold."""
    stereo = np.stack([noise(0.3, seed=3), noise(0.3, seed=4)])
    rows = {
        "good": encoded(noise(0.3, seed=1), CODEC_RATE),
        "corrupt": b"RIFF\x00\x00\x00\x00WAVEjunk" * 8,
        "empty": encoded(noise(0.0), CODEC_RATE),
        "no bytes": b"",
        "stereo": encoded(stereo, CODEC_RATE),
        "telephone": encoded(noise(0.3, seed=5, rate=8_000), 8_000),
        "studio": encoded(noise(0.3, seed=6, rate=48_000), 48_000),
        "one sample": encoded(noise(1 / CODEC_RATE, seed=7), CODEC_RATE),
        "nan": encoded(np.full(4_000, np.nan, np.float32), CODEC_RATE),
        "missing": None,
    }
    audio = [None if content is None else {"bytes": content, "path": None} for content in rows.values()]
    return {"audio": audio, "name": list(rows)}


BAD_ROWS = {"corrupt", "empty", "no bytes", "nan", "missing"}
