"""What the room exports is there."""

from __future__ import annotations

import pytest

import snac_tok.generation


def test_public_names_are_there():
    """Each comes from its module, and what is not there is an AttributeError."""
    assert all(getattr(snac_tok.generation, name).__doc__ for name in snac_tok.generation.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = snac_tok.generation.nothing
