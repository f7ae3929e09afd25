"""Residual vector quantization over several time scales: latents to codes, and codes back to latents.

Level k averages the residual over `stride` latents, looks the result up in a codebook of unit vectors, and
repeats the found entry over the same stretch (SNAC paper, section 2.1; factorised lookup as in ViT-VQGAN).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from einops import rearrange
from torch import nn

from snac_tok.codec.as_built import structures
from snac_tok.codec.weight_norm import NormConv1d

if TYPE_CHECKING:
    from collections.abc import Sequence

# Rows of the distance matrix held at once: 8192 x 4096 float32 values are 128 MiB. An hour at once would be 2.8 GB.
_SEARCH_ROWS = 8192


class VectorQuantize(nn.Module):
    """One codebook at one time scale."""

    def __init__(self, input_dim: int, codebook_size: int, codebook_dim: int, stride: int = 1) -> None:
        super().__init__()
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.stride = stride
        self.in_proj = NormConv1d(input_dim, codebook_dim, kernel_size=1)
        self.out_proj = NormConv1d(codebook_dim, input_dim, kernel_size=1)
        entries = torch.empty(codebook_size, codebook_dim)
        if not entries.is_meta:  # torch would load its compiler to draw no values: more than a second
            nn.init.normal_(entries)
        self.codebook = nn.Embedding(codebook_size, codebook_dim, _weight=entries)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize (B, C, T) to (B, C, T), with straight-through gradients, and codes (B, T/stride)."""
        return self.quantize(z)[:2]

    def quantize(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Quantize (B, C, T) and tell what was looked up.

        Returns:
            quantized and codes as `forward` does, and the projected latents and codebook entries (B, D, T/stride)
            that training's commitment and codebook losses compare.
        """
        if self.stride > 1:
            z = F.avg_pool1d(z, self.stride, self.stride)
        projected = self.in_proj(z)  # (B, D, T/stride)
        entries, codes = self.decode_latents(projected)
        # Forward this is `entries`; backward the gradient goes to `projected` as if nothing had been quantized.
        # The sum stays in inference too: it rounds, and equality with upstream's codes includes that rounding.
        straight_through = projected + (entries - projected).detach()
        return self._repeated(self.out_proj(straight_through)), codes, projected, entries

    def decode_latents(self, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Look projected latents (B, D, T) up: the nearest entries (B, D, T) and their codes (B, T)."""
        codes = self.search(latents)
        return self.decode_code(codes), codes

    @torch.no_grad()
    def search(self, projected: torch.Tensor) -> torch.Tensor:
        """Nearest codebook entry, by direction alone, of each column: (B, D, T) to (B, T) int64."""
        rows = F.normalize(rearrange(projected, "b d t -> (b t) d"))
        codebook = F.normalize(self.codebook.weight)
        norms = codebook.pow(2).sum(1, keepdim=True).t()
        found = [_nearest(part, codebook, norms) for part in torch.split(rows, _SEARCH_ROWS)]
        return rearrange(torch.cat(found), "(b t) -> b t", b=projected.shape[0])

    def embed_code(self, embed_id: torch.Tensor) -> torch.Tensor:
        """Codebook entries of codes: (B, T) to (B, T, D)."""
        return F.embedding(embed_id, self.codebook.weight)

    def decode_code(self, embed_id: torch.Tensor) -> torch.Tensor:
        """Codebook entries of codes: (B, T) to (B, D, T)."""
        return self.embed_code(embed_id).transpose(1, 2)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """Latents of codes: (B, T) to (B, C, T * stride)."""
        return self._repeated(self.out_proj(self.decode_code(codes)))

    def _repeated(self, out: torch.Tensor) -> torch.Tensor:
        return out.repeat_interleave(self.stride, dim=-1) if self.stride > 1 else out


class ResidualQuantizer(nn.Module):
    """The levels, coarsest first; each quantizes what the ones before it left over."""

    def __init__(
        self,
        input_dim: int = 512,
        codebook_size: int = 1024,
        codebook_dim: int = 8,
        vq_strides: Sequence[int] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.n_codebooks = len(vq_strides)
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.quantizers = nn.ModuleList(
            VectorQuantize(input_dim, codebook_size, codebook_dim, stride) for stride in vq_strides
        )
        self.structures = structures(self)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Quantize latents (B, C, T) to their sum over levels (B, C, T) and codes [(B, T_k)]."""
        z = z.contiguous()  # a chunk's can lie otherwise, which is ten times slower here
        total = torch.zeros_like(z)
        residual = z
        codes = []
        for quantizer in self.quantizers:
            quantized, level_codes = quantizer(residual)
            total = total + quantized
            residual = residual - quantized
            codes.append(level_codes)
        return total, codes

    def from_codes(self, codes: Sequence[torch.Tensor]) -> torch.Tensor:
        """Sum the latents of codes [(B, T_k)] to (B, C, T); fewer levels than codebooks leave the finest out."""
        total: torch.Tensor | None = None
        # From the coarsest on, as upstream adds: float addition is not associative.
        for quantizer, level in zip(self.quantizers, codes, strict=False):
            latents = cast("VectorQuantize", quantizer).decode(level)
            total = latents if total is None else total + latents
        assert total is not None
        return total


def _nearest(rows: torch.Tensor, codebook: torch.Tensor, norms: torch.Tensor) -> torch.Tensor:
    distances = rows.pow(2).sum(1, keepdim=True) - 2 * rows @ codebook.t()
    return distances.add_(norms).min(1).indices
