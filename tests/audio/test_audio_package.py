"""The folder as a whole: what importing it loads, and what it exports."""

from __future__ import annotations

import subprocess
import sys

import snac_tok.audio


def test_importing_it_loads_nothing_heavy():
    """torch, torchaudio and torchcodec stay out, also while a file is read and resampled."""
    code = (
        "import sys, numpy as np, snac_tok.audio as a\n"
        "wave = a.as_waveform(np.zeros(100, np.int16), sampling_rate=8000)\n"
        "a.resample(wave, 24000)\n"
        "print([m for m in ('torch', 'torchaudio', 'torchcodec', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_are_the_exported_ones():
    """`__all__` is sorted as ruff likes it, complete, and every name exists."""
    names = snac_tok.audio.__all__
    assert len(set(names)) == len(names)
    assert all(hasattr(snac_tok.audio, name) for name in names)
    assert {"Waveform", "as_waveform", "read_audio", "iter_audio", "write_audio", "resample"} <= set(names)
