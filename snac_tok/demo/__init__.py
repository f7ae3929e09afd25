"""A page in a browser that shows what a codec does: a recording's tokens, its sound with fewer levels, pasted tokens.

Names are loaded when they are first used; they need the extra `demo`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snac_tok.demo.app import create_demo

__all__ = ["create_demo"]


# A type checker that saw this function would take any misspelt name for one of the package.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(importlib.import_module(f"{__name__}.app"), name)
        return globals()[name]
