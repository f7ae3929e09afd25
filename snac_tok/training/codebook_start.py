"""Codebooks set where latents lie: k-means on what each level would look up.

Entries drawn at random lie where nothing is, most of them for ever. Set like this all of them are used from the first
step on, and every level takes something off the residual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from snac_tok.training.bypass import expanded, projected_latents

if TYPE_CHECKING:
    from snac_tok.codec.quantizer import ResidualQuantizer, VectorQuantize

# Latents of the coarsest level for each entry of its codebook.
LATENTS_PER_ENTRY = 4
_ROUNDS = 10
# Entries begin around latents, not on them: two in one place would never part.
_JITTER = 0.01


@torch.no_grad()
def start_codebooks(
    quantizer: ResidualQuantizer, latents: torch.Tensor, *, generator: torch.Generator
) -> list[float]:
    """Set every level's codebook by k-means, coarsest first, each on what the ones before leave over.

    Nearest is by direction, as the codec looks up; an entry becomes the mean of what is nearest to it.

    Args:
        quantizer: whose codebooks are set in place.
        latents: (B, C, T) of the encoder, T a multiple of every stride.
        generator: a CPU generator; decides where entries begin.

    Returns:
        per level, the share of its entries that these latents use.
    """
    residual, shares = latents, []
    for each in quantizer.quantizers:
        level = cast("VectorQuantize", each)
        projected = projected_latents(level, residual)  # (B, D, T_k)
        shares.append(_set_entries(level, projected, generator))
        residual = residual - expanded(level, level.codebook(level.search(projected)).transpose(1, 2))
    return shares


def _set_entries(level: VectorQuantize, projected: torch.Tensor, generator: torch.Generator) -> float:
    """Move a level's entries by Lloyd's rounds on (B, D, T_k); return the share that is used after them."""
    columns = projected.transpose(1, 2).flatten(0, 1)  # (N, D)
    entries = level.codebook.weight
    entries.copy_(_drawn(columns, len(entries), generator))
    counts = torch.zeros(len(entries), device=columns.device)
    for turn in range(_ROUNDS):
        codes = level.search(projected).flatten()
        counts = torch.bincount(codes, minlength=len(entries)).to(columns)
        sums = torch.zeros_like(entries).index_add_(0, codes, columns)
        used = counts > 0
        entries[used] = sums[used] / counts[used, None]
        idle = int((~used).sum())
        if idle and turn < _ROUNDS - 1:
            entries[~used] = _drawn(columns, idle, generator)
    return float((counts > 0).float().mean())


def _drawn(columns: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw vectors near columns (N, D), each column once before any is drawn again."""
    order = torch.randperm(len(columns), generator=generator).repeat(-(-count // len(columns)))[:count]
    noise = torch.randn((count, columns.shape[1]), generator=generator)
    spread = columns.std(0, correction=0) * _JITTER
    return columns[order.to(columns.device)] + noise.to(columns) * spread
