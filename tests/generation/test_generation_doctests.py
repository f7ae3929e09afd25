"""The examples of the docstrings run as they are."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import snac_tok.generation

# Imports vLLM, which is not installed.
MODULES = [
    module.name for module in pkgutil.iter_modules(snac_tok.generation.__path__) if module.name != "vllm"
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_the_docstrings_are_true(name):
    """Every `>>>` line gives what the docstring says."""
    assert doctest.testmod(importlib.import_module(f"snac_tok.generation.{name}")).failed == 0


def test_public_names_are_there():
    """Each comes from its module, and what is not there is an AttributeError."""
    assert all(getattr(snac_tok.generation, name).__doc__ for name in snac_tok.generation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = snac_tok.generation.nothing
