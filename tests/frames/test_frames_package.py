"""Integer work needs no torch, and what the room exports is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import snac_tok.frames

ROOT = Path(__file__).parents[2]


def test_frames_work_without_torch() -> None:
    """Importing, encoding and decoding numpy codes loads no torch."""
    code = (
        "import sys; from snac_tok.frames import preset; v = preset('orpheus');"
        "v.decode(v.encode([[1], [2, 3], [4, 5, 6, 7]])); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_public_names_are_there() -> None:
    """Everything in __all__ exists and has a docstring or is the default's name."""
    for name in snac_tok.frames.__all__:
        public = getattr(snac_tok.frames, name)
        assert public in snac_tok.frames.preset_names() or public.__doc__


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    """A short run of scripts/bench_frames.py prints eight rows, and help works."""
    script = [sys.executable, str(ROOT / "scripts" / "bench_frames.py")]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    for arguments, words in (
        (["--help"], "one hour of codes"),
        (["--seconds", "20", "--runs", "2"], "ratio"),
    ):
        done = subprocess.run(
            [*script, *arguments], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
        )
        assert words in done.stdout
    assert sum(line.startswith(("FrameLayout", "Vocabulary")) for line in done.stdout.splitlines()) == 8
