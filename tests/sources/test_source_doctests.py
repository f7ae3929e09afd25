"""The examples in the docstrings of sources really run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from snac_tok import sources

MODULES = [f"snac_tok.sources.{module.name}" for module in pkgutil.iter_modules(sources.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name, tmp_path, monkeypatch):
    """No example fails; some write files."""
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed == 0
