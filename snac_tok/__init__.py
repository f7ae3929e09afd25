"""Sound to language-model tokens and back, with the SNAC neural audio codec.

Names are loaded when they are first used, so that importing the package, or asking the command line for help,
does not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from snac_tok.audio import Resampler, Waveform, read_audio, write_audio
    from snac_tok.codec import SNAC
    from snac_tok.corpus import shard_folder
    from snac_tok.errors import SnacTokError
    from snac_tok.frames import FrameLayout, Vocabulary, preset
    from snac_tok.mapping import SnacMapper, tokenize_dataset
    from snac_tok.shards import open_shards, read_shards
    from snac_tok.streaming import BatchStreamDecoder, BatchStreamEncoder, StreamDecoder, StreamEncoder
    from snac_tok.tokenizer import SnacTokenizer

_HOMES = {
    "BatchStreamDecoder": "streaming",
    "BatchStreamEncoder": "streaming",
    "Resampler": "audio",
    "SNAC": "codec",
    "FrameLayout": "frames",
    "SnacMapper": "mapping",
    "SnacTokError": "errors",
    "SnacTokenizer": "tokenizer",
    "StreamDecoder": "streaming",
    "StreamEncoder": "streaming",
    "Vocabulary": "frames",
    "Waveform": "audio",
    "open_shards": "shards",
    "preset": "frames",
    "read_audio": "audio",
    "read_shards": "shards",
    "shard_folder": "corpus",
    "tokenize_dataset": "mapping",
    "write_audio": "audio",
}

__all__ = [
    "SNAC",
    "BatchStreamDecoder",
    "BatchStreamEncoder",
    "FrameLayout",
    "Resampler",
    "SnacMapper",
    "SnacTokError",
    "SnacTokenizer",
    "StreamDecoder",
    "StreamEncoder",
    "Vocabulary",
    "Waveform",
    "open_shards",
    "preset",
    "read_audio",
    "read_shards",
    "shard_folder",
    "tokenize_dataset",
    "write_audio",
]


# A type checker that saw this function would take any misspelt name for one of the package.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
