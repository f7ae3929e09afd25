"""A codec run by calling its parts, as upstream runs it: for training, compilers, and parts that somebody changed.

Whatever was put in takes part: hooks, wrappers, layers and decoders of other kinds. Parts that were left alone still
run in chunks, because calling them does that (`network`).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import torch

from snac_tok.codec.as_built import is_as_built
from snac_tok.codec.layers import noise_blocks
from snac_tok.codec.network import Decoder
from snac_tok.codec.noise import checked_noise
from snac_tok.codec.tracing import is_traced
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from torch import nn

    from snac_tok.codec.network import Network
    from snac_tok.codec.noise import Noise


def is_needed(codec: Network, *parts: nn.Module) -> bool:
    """Say whether parts of a codec must be called: in training, in a graph, or because they were changed."""
    in_graph = is_traced() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return codec.training or in_graph or not all(map(is_as_built, parts))


def quantized(codec: Network, audio: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Encode checked audio (B, 1, T) to latents (B, C, T') and codes [(B, T_k)]."""
    latents, codes = codec.quantizer(codec.encoder(codec.preprocess(audio)))
    return latents, codes


def sound(codec: Network, latents: torch.Tensor, noise: Noise) -> torch.Tensor:
    """Decode latents (B, C, T) to audio (B, 1, T').

    Raises:
        NetworkError: the decoder has noise blocks and takes no noise, and it is not "random".
    """
    decoder: nn.Module = codec.decoder
    audio: torch.Tensor
    # Upstream's one argument wherever that is what is meant: other decoders take no more.
    if checked_noise(noise) == "random" or not noise_blocks(decoder):
        audio = decoder(latents)
    elif _takes_noise(decoder):
        audio = decoder(latents, noise=noise)
    else:
        raise NetworkError(
            f"the codec's decoder is a {type(decoder).__name__}, whose forward takes no noise=, but its noise blocks "
            'make some; use noise="random", or hand noise= on to the decoder inside.'
        )
    return audio


def _takes_noise(decoder: nn.Module) -> bool:
    if isinstance(decoder, Decoder):
        return "forward" not in decoder.__dict__ or _accepts(decoder.forward)
    return _accepts(decoder.forward)


def _accepts(forward: object) -> bool:
    parameters = inspect.signature(forward).parameters.values()  # type: ignore[arg-type]
    return any(each.name == "noise" or each.kind is each.VAR_KEYWORD for each in parameters)
