"""Hugging Face faces: the codec as a transformers model, and language models with audio tokens.

Importing this package imports transformers and makes its Auto classes know "snac".
"""

from __future__ import annotations

from snac_tok.hf.collation import AudioTextCollator, pack_sequences
from snac_tok.hf.configuration import SnacConfig
from snac_tok.hf.export import export_remote_code
from snac_tok.hf.feature_extraction import SnacFeatureExtractor
from snac_tok.hf.modeling import SnacModel
from snac_tok.hf.processor import SnacProcessor
from snac_tok.hf.registration import register
from snac_tok.hf.tokens import add_audio_tokens

__all__ = [
    "AudioTextCollator",
    "SnacConfig",
    "SnacFeatureExtractor",
    "SnacModel",
    "SnacProcessor",
    "add_audio_tokens",
    "export_remote_code",
    "pack_sequences",
]

register()
