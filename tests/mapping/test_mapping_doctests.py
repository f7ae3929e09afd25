"""The examples of the docstrings run as they are; importing the package loads neither datasets nor transformers."""

import doctest
import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import snac_tok.mapping

MODULES = [f"snac_tok.mapping.{module.name}" for module in pkgutil.iter_modules(snac_tok.mapping.__path__)]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_are_true(name):
    """Every `>>>` line gives what the docstring says."""
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    """The runner above really finds them."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert (
        sum(bool(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
        >= 3
    )


def test_the_import_is_light():
    """The libraries are imported when they are needed, so that a mapper works on plain dicts without them."""
    code = (
        "import sys, snac_tok.mapping, numpy as np;"
        "snac_tok.mapping.SnacMapper('tiny', sampling_rate=24_000)({'audio': [np.zeros(99, np.float32)]});"
        "sys.exit(bool({'datasets', 'transformers', 'multiprocess'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
