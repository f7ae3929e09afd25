"""Every example in a docstring shows what really happens."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import snac_tok

ROOT = Path(snac_tok.__file__).parent
MODULES = [
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in sorted(ROOT.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
# Their examples need a language model, which no test has.
SHOWN_ONLY = {"snac_tok.hf.processor", "snac_tok.serving.local_model"}
# gradio leaves an event loop open, which would fail whatever test runs when Python finds it.
ALONE = {"snac_tok.demo.app"}
RUN = """
import doctest, importlib, sys
result = doctest.testmod(importlib.import_module(sys.argv[1]), optionflags=doctest.ELLIPSIS)
sys.exit(bool(result.failed) or not result.attempted)
"""


def test_the_examples_are_found():
    """An empty search would pass."""
    assert len(MODULES) > 100
    assert {*SHOWN_ONLY, *ALONE} < {*MODULES}


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ALONE])
def test_the_examples_are_true(name, tmp_path, monkeypatch):
    """In a folder of their own, where some write files."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
    assert (result.attempted > 0) == (name not in SHOWN_ONLY)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ALONE))
def test_the_examples_are_true_in_a_process_of_their_own(name, tmp_path):
    """None is left out because its libraries disturb others."""
    subprocess.run([sys.executable, "-c", RUN, name], cwd=tmp_path, check=True, timeout=120)
