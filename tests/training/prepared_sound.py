"""Prepared folders for tests, and recordings to prepare."""

import json

import numpy as np
import soundfile as sf

from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_plan import ClipPlan
from snac_tok.training.clip_store import ClipStore
from snac_tok.training.clip_writing import writing_clips
from snac_tok.training.level import active_level_db

RATE = 24_000


def write_store(folder, clips):
    """Write clips (name → float samples) as a prepared folder and open it."""
    plan = ClipPlan(sampling_rate=RATE, made_with={}, made_from="clips of a test")
    with writing_clips(folder, plan, replace=True) as writer:
        for name, samples in clips.items():
            level = active_level_db(np.asarray(samples, np.float32), sampling_rate=RATE)
            writer.add_clip(name, np.rint(samples * 32_767).astype("<i2"), level_db=level)
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


def write_tone(path, *, seconds=0.5, rate=RATE, channels=1, level=0.4, hertz=440.0):
    """Write a file in which channel k is k + 1 times as high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = np.arange(round(seconds * rate)) / rate
    sf.write(
        path,
        np.stack([level * np.sin(2 * np.pi * hertz * (k + 1) * times) for k in range(channels)], 1),
        rate,
    )
    return path


def prepared(inputs, out, **options):
    """Prepare and open."""
    prepare_sound(inputs, out, PreparationOptions(sampling_rate=RATE, **options))
    return ClipStore.open(out)


def contents(folder):
    """Return every file's bytes, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
