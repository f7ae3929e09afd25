"""The examples in the docstrings of the evaluation room run."""

import doctest
import importlib
import pkgutil

import pytest

from snac_tok import evaluation

MODULES = [f"{evaluation.__name__}.{module.name}" for module in pkgutil.iter_modules(evaluation.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """No example fails; one writes a folder."""
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    """An empty search would pass every module."""
    finder = doctest.DocTestFinder()
    found = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(found) >= 8
