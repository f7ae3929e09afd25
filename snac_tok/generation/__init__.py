"""Around a language model that writes speech: which ids it may write, and sound while it writes them.

Names are loaded when they are first used: those for transformers import it, the others do not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from snac_tok.generation.generated import GeneratedSpeech, read_generated, read_generated_batch
    from snac_tok.generation.growth import new_parts
    from snac_tok.generation.processor import FrameGrammarProcessor
    from snac_tok.generation.responses import ResponsePiece, ResponseReader, response_tokens
    from snac_tok.generation.sound_bytes import pcm16, wav_header
    from snac_tok.generation.speech_stream import SpeechStream, astream_audio, stream_audio
    from snac_tok.generation.streamer import SnacStreamer
    from snac_tok.generation.timing import StreamTiming

_HOMES = {
    "FrameGrammarProcessor": "processor",
    "GeneratedSpeech": "generated",
    "ResponsePiece": "responses",
    "ResponseReader": "responses",
    "SnacStreamer": "streamer",
    "SpeechStream": "speech_stream",
    "StreamTiming": "timing",
    "astream_audio": "speech_stream",
    "new_parts": "growth",
    "pcm16": "sound_bytes",
    "read_generated": "generated",
    "read_generated_batch": "generated",
    "response_tokens": "responses",
    "stream_audio": "speech_stream",
    "wav_header": "sound_bytes",
}

__all__ = [
    "FrameGrammarProcessor",
    "GeneratedSpeech",
    "ResponsePiece",
    "ResponseReader",
    "SnacStreamer",
    "SpeechStream",
    "StreamTiming",
    "astream_audio",
    "new_parts",
    "pcm16",
    "read_generated",
    "read_generated_batch",
    "response_tokens",
    "stream_audio",
    "wav_header",
]


# A type checker that saw this function would take any misspelt name for one of the package.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
