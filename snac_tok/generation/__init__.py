"""Around a language model that writes speech: which ids it may write, and sound while it writes them.

Names are loaded when they are first used: those for transformers import it, the others do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snac_tok.generation.processor import FrameGrammarProcessor

_HOMES = {"FrameGrammarProcessor": "processor"}

__all__ = ["FrameGrammarProcessor"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
