"""Streams: ids to sound while a language model generates them, sound to ids while it is recorded, many at once."""

from snac_tok.streaming.batch_decoder import BatchStreamDecoder
from snac_tok.streaming.decoder import StreamDecoder
from snac_tok.streaming.encoder import StreamEncoder

__all__ = ["BatchStreamDecoder", "StreamDecoder", "StreamEncoder"]
