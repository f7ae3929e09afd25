"""The quantizer without its codebooks: every level's projections as they are, and nothing looked up.

An autoencoder that warms up like this learns what to put into so few dimensions before it has to choose among entries;
`codebook_start` then sets the codebooks where its projected latents lie.

    latents ─ pool ─ in_proj ─ (lookup) ─ out_proj ─ repeat ─┐ sum over levels
        └──────────────── minus what came out ───────────────┴→ next level
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

if TYPE_CHECKING:
    from snac_tok.codec.quantizer import ResidualQuantizer, VectorQuantize


def projected_latents(level: VectorQuantize, latents: torch.Tensor) -> torch.Tensor:
    """Return what a level looks up (B, D, T / stride) of latents (B, C, T)."""
    pooled = F.avg_pool1d(latents, level.stride, level.stride) if level.stride > 1 else latents
    projected: torch.Tensor = level.in_proj(pooled)
    return projected


def expanded(level: VectorQuantize, entries: torch.Tensor) -> torch.Tensor:
    """Return the latents (B, C, T) of what was looked up (B, D, T / stride)."""
    out: torch.Tensor = level.out_proj(entries)
    return out.repeat_interleave(level.stride, dim=-1) if level.stride > 1 else out


def bypassed(
    quantizer: ResidualQuantizer, latents: torch.Tensor, *, levels: torch.Tensor | None = None
) -> torch.Tensor:
    """Send latents (B, C, T) through the projections of all levels.

    Args:
        quantizer: whose projections are used.
        latents: (B, C, T).
        levels: (B,) how many levels of each row count; all if None.

    Returns:
        (B, C, T), the sum of the levels.
    """
    total, residual = torch.zeros_like(latents), latents
    for place, each in enumerate(quantizer.quantizers):
        level = cast("VectorQuantize", each)
        out = expanded(level, projected_latents(level, residual))
        kept = 1.0 if levels is None else (levels > place).to(latents.dtype)[:, None, None]
        total = total + out * kept
        residual = residual - out
    return total
