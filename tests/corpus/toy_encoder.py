"""A small encoder that needs no model: codes are a plain function of each clip's own samples."""

from __future__ import annotations

import numpy as np
import soundfile

from snac_tok.audio import Waveform
from snac_tok.errors import WaveformError
from snac_tok.frames import FrameLayout

FRAME = 2048


class ToyEncoder:
    """Satisfies `snac_tok.corpus.SoundEncoder`; refuses clips that start with silence."""

    layout = FrameLayout(strides=(4, 2, 1))
    resampler = None
    seconds_per_call = 120.0

    def __init__(self, **changes):
        self.changes = changes
        self.batches = []
        self.blocks = []

    def describe(self):
        """The collection's fields."""
        fields = {
            "codec_id": "toy",
            "weights_sha256": "00" * 32,
            "codec_config": {"vq_strides": [4, 2, 1]},
            "sampling_rate": 24000,
            "layout": {"strides": [4, 2, 1], "order": "depth-first", "levels": 3},
            "codebook_size": 4096,
            "resampler": {"name": "none"},
            "channels": "mean",
            "package_version": "0.1.0",
        }
        return {**fields, **self.changes}

    def num_samples(self, waveform):
        """Samples at 24 kHz."""
        return -(-waveform.num_samples * 24000 // waveform.sampling_rate)

    def encode_codes(self, waveforms):
        """Codes per clip, per level; the sizes of batches are kept in `batches`."""
        self.batches.append(len(waveforms))
        return [self._codes(waveform) for waveform in waveforms]

    def encode_blocks(self, blocks):
        """Codes and length of the joined blocks; how many there were is kept in `blocks`."""
        parts = list(blocks)
        self.blocks.append(len(parts))
        samples = np.concatenate([part.samples for part in parts], axis=1)
        whole = Waveform(samples=samples, sampling_rate=parts[0].sampling_rate)
        return self._codes(whole), self.num_samples(whole)

    def _codes(self, waveform):
        if waveform.num_channels != 1:
            raise AssertionError("clips reach the encoder one channel at a time")
        if waveform.samples[0, 0] == 0:
            raise WaveformError("starts with silence.")
        frames = -(-self.num_samples(waveform) // FRAME)
        key = int(np.abs(waveform.samples).sum(dtype=np.float64) * 1000)
        return [(np.arange(frames * width) * 37 + key + width) % 4096 for width in (1, 2, 4)]


def write_tone(path, *, seconds=0.3, level=0.25, sampling_rate=24000, channels=1):
    """A short WAV whose codes depend on its level and length; channel k is half as loud as k−1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = np.linspace(level, level / 2, int(seconds * sampling_rate), dtype=np.float32)
    soundfile.write(path, np.stack([ramp / 2**channel for channel in range(channels)], axis=1), sampling_rate)
    return path


def write_speechlike_folder(folder):
    """Nine good files of mixed lengths and rates, in folders, with odd names."""
    names = [
        "a.wav",
        "b/ü ber.wav",
        "b/c.flac",
        "b/Z.wav",
        "sp ace.wav",
        "q.ogg",
        "日本.wav",
        "x#1.wav",
        "y.wav",
    ]
    for index, name in enumerate(names):
        rate = (16000, 24000, 44100)[index % 3]
        write_tone(folder / name, seconds=0.1 + 0.13 * index, level=0.9 / (index + 1), sampling_rate=rate)
    return sorted(names)


def files_of(folder):
    """Every visible file below a folder with its bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
