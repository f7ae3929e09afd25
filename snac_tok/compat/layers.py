"""Upstream's `snac.layers`."""

from snac_tok.codec.attention import LocalAttention as LocalMHA
from snac_tok.codec.layers import DecoderBlock, EncoderBlock, NoiseBlock, ResidualUnit
from snac_tok.codec.layers import Snake as Snake1d
from snac_tok.codec.network import Decoder, Encoder
from snac_tok.codec.ops.reference import snake
from snac_tok.codec.weight_norm import NormConv1d as WNConv1d
from snac_tok.codec.weight_norm import NormConvTranspose1d as WNConvTranspose1d

__all__ = [
    "Decoder",
    "DecoderBlock",
    "Encoder",
    "EncoderBlock",
    "LocalMHA",
    "NoiseBlock",
    "ResidualUnit",
    "Snake1d",
    "WNConv1d",
    "WNConvTranspose1d",
    "snake",
]
