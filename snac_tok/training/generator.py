"""The codec while it learns: sound through encoder, quantizer and decoder, with gradients, and what losses need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import nn

from snac_tok.codec.noise import DrawnNoise
from snac_tok.training.bypass import bypassed
from snac_tok.training.quantization import Quantized, quantize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snac_tok.codec.model import SNAC
    from snac_tok.codec.quantizer import VectorQuantize


class Reconstruction(NamedTuple):
    """What one pass gives: a tuple, which every wrapper for several devices can carry.

    Attributes:
        audio: (B, 1, T).
        codebook, commitment: losses; 0 where codebooks are bypassed.
        codes: per level (B, T_k); none where codebooks are bypassed, and none below.
        projected: per level (B, D, T_k), what was looked up in the codebook.
    """

    audio: torch.Tensor
    codebook: torch.Tensor
    commitment: torch.Tensor
    codes: tuple[torch.Tensor, ...]
    projected: tuple[torch.Tensor, ...]


class Generator(nn.Module):
    """A codec as the generator of a GAN.

    Args:
        codec: its weights are trained in place.
        decoder_only: leave encoder and quantizer as they are.
        codebooks_learn: whether a loss draws codebook entries; without one they have no gradient at all.
        bypass: leave the codebooks out; there are no codes and no codebook losses then.
        bf16: run the convolutions under autocast; the quantizer stays in float32.
        compiled: run encoder and decoder through torch.compile.
    """

    def __init__(
        self,
        codec: SNAC,
        *,
        decoder_only: bool,
        codebooks_learn: bool,
        bf16: bool,
        compiled: bool,
        bypass: bool = False,
    ) -> None:
        super().__init__()
        self.codec = codec
        self.decoder_only, self.bypass = decoder_only, bypass
        self.bf16 = bf16
        codec.requires_grad_(requires_grad=True)  # a stage before may have frozen some
        codec.train()
        if decoder_only:
            # In eval mode a frozen part runs as it does for whoever encodes, which takes a fraction of the time.
            codec.encoder.eval().requires_grad_(requires_grad=False)
            codec.quantizer.eval().requires_grad_(requires_grad=False)
        if bypass or not codebooks_learn:
            # Several processes would wait for ever for the gradients of what is said to want some.
            for level in codec.quantizer.quantizers:
                cast("VectorQuantize", level).codebook.requires_grad_(requires_grad=False)
        # In a dict, so that torch does not take the compiled functions for more submodules.
        self._run: dict[str, Callable[..., Any]] = {"encoder": codec.encoder, "decoder": codec.decoder}
        if compiled:
            self._run = {name: torch.compile(network) for name, network in self._run.items()}

    def forward(
        self, audio: torch.Tensor, noise: Sequence[torch.Tensor], levels: torch.Tensor
    ) -> Reconstruction:
        """Encode and decode (B, 1, T).

        Args:
            audio: T a multiple of the codec's padding.
            noise: of each noise block, (B, 1, n); empty for none.
            levels: (B,) how many levels of each row are decoded.
        """
        kind = audio.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16):
            latents = self._run["encoder"](audio)
        quantized = self._quantized(latents.float(), levels)
        with torch.autocast(kind, torch.bfloat16, enabled=self.bf16):
            source = DrawnNoise(layers=tuple(noise)) if noise else None
            decoded = self._run["decoder"](quantized.latents, source)
        return Reconstruction(
            audio=decoded.float(),
            codebook=quantized.codebook,
            commitment=quantized.commitment,
            codes=tuple(quantized.codes),
            projected=tuple(quantized.projected),
        )

    def _quantized(self, latents: torch.Tensor, levels: torch.Tensor) -> Quantized:
        if not self.bypass:
            return quantize(self.codec.quantizer, latents, levels=levels)
        none = latents.new_zeros(())
        through = bypassed(self.codec.quantizer, latents, levels=levels)
        return Quantized(latents=through, codes=[], projected=[], codebook=none, commitment=none)
