"""The examples of the docstrings run as they are, and integer work needs no torch."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import snac_tok.frames

MODULES = [f"snac_tok.frames.{module.name}" for module in pkgutil.iter_modules(snac_tok.frames.__path__)]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_are_true(name) -> None:
    """Every `>>>` line gives what the docstring says."""
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_there_are_examples() -> None:
    """The runner above really finds them."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 20


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
