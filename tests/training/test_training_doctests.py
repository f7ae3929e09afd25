"""The examples in the docstrings of training really run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from snac_tok import training

MODULES = sorted(module.name for module in pkgutil.iter_modules(training.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """No example fails."""
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"snac_tok.training.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_there_are_examples():
    """An empty search would pass every module."""
    finder = doctest.DocTestFinder()
    modules = [importlib.import_module(f"snac_tok.training.{name}") for name in MODULES]
    assert len([test for module in modules for test in finder.find(module) if test.examples]) >= 9
