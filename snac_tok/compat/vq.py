"""Upstream's `snac.vq`."""

from snac_tok.codec.quantizer import ResidualQuantizer as ResidualVectorQuantize
from snac_tok.codec.quantizer import VectorQuantize

__all__ = ["ResidualVectorQuantize", "VectorQuantize"]
