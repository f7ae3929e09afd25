"""The quantizer in training: straight-through latents, the two codebook losses, and levels left out at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from snac_tok.training.losses import codebook_loss, commitment_loss

if TYPE_CHECKING:
    from snac_tok.codec.quantizer import ResidualQuantizer, VectorQuantize


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """What quantizing a batch of latents gives.

    Attributes:
        latents: (B, C, T), the sum of the levels kept, with straight-through gradients.
        codes: per level (B, T_k) int64, of all levels.
        projected: per level (B, D, T_k), what was looked up in the codebook.
        codebook: loss that draws entries to what was looked up.
        commitment: loss that draws what was looked up to the entries.
    """

    latents: torch.Tensor
    codes: list[torch.Tensor]
    projected: list[torch.Tensor]
    codebook: torch.Tensor
    commitment: torch.Tensor


def quantize(quantizer: ResidualQuantizer, latents: torch.Tensor, *, levels: torch.Tensor) -> Quantized:
    """Quantize (B, C, T), of row i only the first `levels[i]` levels.

    Every level runs on every row, so that codes are complete and no parameter is without a gradient; what a row
    leaves out counts neither in its latents nor in its losses.
    """
    total, residual = torch.zeros_like(latents), latents
    codebook, commitment = latents.new_zeros(()), latents.new_zeros(())
    codes, looked_up = [], []
    for place, level in enumerate(quantizer.quantizers):
        quantized, found, projected, entries = cast("VectorQuantize", level).quantize(residual)
        kept = (levels > place).to(latents.dtype)  # (B,)
        total = total + quantized * kept[:, None, None]
        residual = residual - quantized
        codebook = codebook + (codebook_loss(projected, entries) * kept).mean()
        commitment = commitment + (commitment_loss(projected, entries) * kept).mean()
        codes.append(found)
        looked_up.append(projected.detach())
    return Quantized(
        latents=total, codes=codes, projected=looked_up, codebook=codebook, commitment=commitment
    )


def drawn_levels(batch: int, *, num_levels: int, dropout: float, generator: torch.Generator) -> torch.Tensor:
    """Draw how many levels each row keeps (B,): all, or with probability `dropout` any number from 1 on."""
    some = torch.randint(1, num_levels + 1, (batch,), generator=generator)
    left_out = torch.rand(batch, generator=generator) < dropout
    return torch.where(left_out, some, num_levels)
