"""Prepared folders for tests, made without any audio file."""

import json

import numpy as np

from snac_tok.training.clip_store import ClipStore
from snac_tok.training.clip_writing import making_folder
from snac_tok.training.level import active_level_db

RATE = 24_000


def write_store(folder, clips):
    """Write clips (name → float samples) as a prepared folder and open it."""
    with making_folder(folder, replace=True) as making:
        for name, samples in clips.items():
            level = active_level_db(np.asarray(samples, np.float32), sampling_rate=RATE)
            making.add_clip(name, np.rint(samples * 32_767).astype("<i2"), level_db=level)
        making.describe(sampling_rate=RATE, made_with={})
    return ClipStore.open(folder)


def tone(num_samples, *, level=0.5, hertz=440.0):
    """A sine."""
    return level * np.sin(2 * np.pi * hertz / RATE * np.arange(num_samples))


def constant(num_samples, value):
    """Samples that tell where they come from."""
    return np.full(num_samples, value)


def change_list(folder, **changes):
    """Write other values into clips.json."""
    path = folder / "clips.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
