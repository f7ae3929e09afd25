"""`SnacTokenizer`, the one class most users need: waveforms to token ids and back."""

from snac_tok.tokenizer.batch import AudioTokens
from snac_tok.tokenizer.tokenizer import SnacTokenizer

__all__ = ["AudioTokens", "SnacTokenizer"]
