"""An HTTP server that speaks: a language model's tokens to sound over HTTP and WebSocket, sound to ids and back.

Names are loaded when they are first used; they need the extra `serve`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snac_tok.serving.app import create_app
    from snac_tok.serving.completions import CompletionsSource
    from snac_tok.serving.limits import Limits
    from snac_tok.serving.local_model import LocalModelSource
    from snac_tok.serving.server import listening_socket, run_server
    from snac_tok.serving.sources import SpeechRequest, TokenSource

_HOMES = {
    "CompletionsSource": "completions",
    "Limits": "limits",
    "LocalModelSource": "local_model",
    "SpeechRequest": "sources",
    "TokenSource": "sources",
    "create_app": "app",
    "listening_socket": "server",
    "run_server": "server",
}

__all__ = [
    "CompletionsSource",
    "Limits",
    "LocalModelSource",
    "SpeechRequest",
    "TokenSource",
    "create_app",
    "listening_socket",
    "run_server",
]


# A type checker that saw this function would take any misspelt name for one of the package.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
        except ModuleNotFoundError as error:
            from snac_tok.serving.requirements import missing

            raise missing(error) from error
        globals()[name] = getattr(module, name)
        return globals()[name]
