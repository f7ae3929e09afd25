"""Local attention: every window of latents attends to itself alone, with rotary positions.

Windows are absolute (the first starts at the clip's first latent) and do not overlap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from einops import rearrange
from torch import nn

from snac_tok.codec.config import HEAD_DIM

if TYPE_CHECKING:
    from snac_tok.codec.context import StepContext


class RotaryPositions(nn.Module):
    """Angles of the rotary embedding; the frequencies are part of every released checkpoint."""

    inv_freq: torch.Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1.0 / (10_000 ** (torch.arange(0, dim, 2).float() / dim)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Angles of the positions of x (…, length, dim), (length, dim), and the scale of their rotation, 1."""
        positions = torch.arange(x.shape[-2], device=x.device).type_as(self.inv_freq)
        angles = positions[:, None] * self.inv_freq
        return torch.cat((angles, angles), dim=-1), torch.ones(1, device=x.device)


class LocalAttention(nn.Module):
    """Multi-head self-attention inside windows of `window_size` latents, added to its input.

    A length that is not a multiple of the window leaves a shorter last window, which attends to itself; upstream
    crashes there or silently widens every window.
    """

    def __init__(self, dim: int = 1024, window_size: int = 32, dim_head: int = HEAD_DIM) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.heads = dim // dim_head
        self.window_size = window_size
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.rel_pos = RotaryPositions(dim_head)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend within windows: (B, C, T) to (B, C, T)."""
        mixed: torch.Tensor = self.to_out(self._attended(self.to_qkv(self._normed(x))))
        return mixed.transpose(1, 2) + x

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Attend within the windows that the next (B, C, n) of a clip complete; at its end also within what is left."""
        slot, linear = context.next_slot(), context.ops.linear
        before = context.state.read(slot)
        x = x if before is None else torch.cat((before, x), dim=-1)
        count = x.shape[-1] if context.last else x.shape[-1] - x.shape[-1] % self.window_size
        context.state.write(slot, x[..., count:].clone())
        x = x[..., :count]
        if not count:
            return x
        normed = self._normed(x.to(self.norm.weight.dtype))
        attended = self._attended(linear(normed, self.to_qkv.weight))
        return linear(attended, self.to_out.weight).transpose(1, 2) + x

    def _normed(self, x: torch.Tensor) -> torch.Tensor:
        normed: torch.Tensor = self.norm(x.transpose(1, 2))
        return normed

    def _attended(self, qkv: torch.Tensor) -> torch.Tensor:
        """Attend within whole windows of (B, T, 3C), and within the shorter one that may follow: (B, T, C)."""
        rest = qkv.shape[1] % self.window_size
        whole = qkv.shape[1] - rest
        parts = [
            self._attend(part, window)
            for part, window in ((qkv[:, :whole], self.window_size), (qkv[:, whole:], rest))
            if part.shape[1]
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _attend(self, qkv: torch.Tensor, window: int) -> torch.Tensor:
        split = "b (w n) (three h d) -> three b h w n d"
        q, k, v = rearrange(qkv, split, n=window, three=3, h=self.heads)
        angles, _ = self.rel_pos(k)
        out = F.scaled_dot_product_attention(rotate(q, angles), rotate(k, angles), v)
        return rearrange(out, "b h w n d -> b (w n) (h d)")


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotate x (…, length, dim) by angles (length, dim), in pairs of the first and the second half of dim."""
    return x * angles.cos() + half_turned(x) * angles.sin()


def half_turned(x: torch.Tensor) -> torch.Tensor:
    """Return x (…, dim) rotated by 90 degrees, in the same pairs."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
