"""`SnacTokenizer`, the one class most users need: waveforms to token ids and back; and streams of both."""

from snac_tok.tokenizer.batch import AudioTokens
from snac_tok.tokenizer.batch_streaming import BatchStreamDecoder
from snac_tok.tokenizer.stream_encoder import StreamEncoder
from snac_tok.tokenizer.streaming import StreamDecoder
from snac_tok.tokenizer.tokenizer import SnacTokenizer

__all__ = ["AudioTokens", "BatchStreamDecoder", "SnacTokenizer", "StreamDecoder", "StreamEncoder"]
