"""Sounds for the tests of evaluation, and codecs that do something known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from snac_tok.audio import Waveform, read_audio
from snac_tok.errors import AudioError
from snac_tok.evaluation import Reconstruction

SPEECH = Path(__file__).parents[1] / "speech"
CLIP = SPEECH / "LJ001-0008.flac"


def noise(seconds=1.0, *, rate=24_000, channels=1, seed=0):
    """Noise at a tenth of full scale."""
    samples = np.random.default_rng(seed).normal(0, 0.1, (channels, int(seconds * rate)))
    return Waveform(samples=samples.astype(np.float32), sampling_rate=rate)


def speech():
    """Return 1.8 s of real speech at 22,050 Hz."""
    return read_audio(CLIP)


@dataclass
class Late:
    """A codec that comes late, once a seed, and spends 1000 bits a second."""

    seconds: float = 0.0
    name: str = "late"
    num_seeds: int = 1
    loudness: float = 1.0
    nominal_bits_per_second: float | None = 1000.0
    codebook_size: int | None = None
    delays: bool = True

    def run(self, waveform):
        """Put silence before the clip, and each seed's noise over it."""
        delay = int(self.seconds * waveform.sampling_rate)
        sounds = []
        for seed in range(self.num_seeds):
            rng = np.random.default_rng(seed)
            late = np.pad(waveform.samples * self.loudness, ((0, 0), (delay, 0)))
            drawn = 0.001 * seed * rng.normal(size=late.shape)
            sounds.append(
                Waveform(samples=(late + drawn).astype(np.float32), sampling_rate=waveform.sampling_rate)
            )
        return Reconstruction(
            sounds=tuple(sounds),
            num_bits=1000 * waveform.duration_seconds,
            encode_seconds=0.5,
            decode_seconds=0.25,
        )


class Broken(Late):
    """A codec that takes nothing."""

    def run(self, waveform):
        """Refuse."""
        raise AudioError(f"it refuses {waveform.num_samples} samples.")
