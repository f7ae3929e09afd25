"""The smallest run of training that has everything in it."""

import json

import numpy as np
from prepared_sound import RATE, tone, write_store

from snac_tok.training import TrainingConfig

NUM_SAMPLES = 8_192  # of a clip: longer than any crop
CODEC = {
    "sampling_rate": RATE,
    "encoder_dim": 4,
    "encoder_rates": [8],
    "decoder_dim": 16,
    "decoder_rates": [8],
    "attn_window_size": None,
    "codebook_size": 16,
    "codebook_dim": 4,
    "vq_strides": [2, 1],
    "noise": True,
    "depthwise": True,
}
DISCRIMINATORS = {"periods": [2], "fft_sizes": [64], "width": 4}
ADVERSARIAL = {"discriminator", "discriminator_gradient_norm", "adversarial", "feature_matching"}


def write_sound(folder):
    """Prepare a few clips of tones in noise."""
    noise = np.random.default_rng(0)
    clips = {
        f"clip-{k}": tone(NUM_SAMPLES, hertz=200.0 * (k + 1), level=0.3)
        + noise.uniform(-0.1, 0.1, NUM_SAMPLES)
        for k in range(3)
    }
    return write_store(folder / "ready", clips)


def settings(sound, **changes):
    """Return a config as plain values."""
    values = {
        "data": {
            "train": [{"folder": str(sound.folder)}],
            "validation": str(sound.folder),
            "crop_samples": 1024,
        },
        "codec": CODEC,
        "discriminators": DISCRIMINATORS,
        "mel_sizes": [64, 256],
        "batch_size": 2,
        "steps": 6,
        "log_every": 1,
        "validate_every": 3,
        "checkpoint_every": 3,
        "quantizer": {"restart_after": 2, "restart_every": 2},
    }
    return values | changes


def config(sound, **changes):
    """Return a config."""
    return TrainingConfig.from_dict(settings(sound, **changes))


def told(folder, name="losses.jsonl"):
    """Return the lines of figures that a run wrote."""
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]
