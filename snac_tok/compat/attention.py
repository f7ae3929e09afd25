"""Upstream's `snac.attention`; positions are rotary, without the xpos scale that no released model uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.codec.attention import LocalAttention as LocalMHA
from snac_tok.codec.attention import RotaryPositions as SinusoidalEmbeddings
from snac_tok.codec.attention import half_turned as rotate_half
from snac_tok.codec.attention import rotate

if TYPE_CHECKING:
    import torch

__all__ = ["LocalMHA", "SinusoidalEmbeddings", "apply_rotary_pos_emb", "rotate_half"]


def apply_rotary_pos_emb(
    q: torch.Tensor, k: torch.Tensor, freqs: torch.Tensor, scale: torch.Tensor | float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotate queries and keys (…, length, dim) by freqs (length, dim); queries times `scale`, keys divided by it."""
    return rotate(q, freqs[..., -q.shape[-2] :, :]) * scale, rotate(k, freqs) / scale
