"""Streams: ids to sound while a language model generates them, sound to ids while it is recorded, many at once."""

from snac_tok.streaming.batch_decoder import BatchStreamDecoder
from snac_tok.streaming.batch_encoder import BatchStreamEncoder
from snac_tok.streaming.decoder import StreamDecoder
from snac_tok.streaming.encoder import StreamEncoder
from snac_tok.streaming.frame_repair import RepairedIds, repair_ids
from snac_tok.streaming.repair_report import RepairReport

__all__ = [
    "BatchStreamDecoder",
    "BatchStreamEncoder",
    "RepairReport",
    "RepairedIds",
    "StreamDecoder",
    "StreamEncoder",
    "repair_ids",
]
