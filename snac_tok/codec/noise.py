"""Where the decoder's noise comes from: the global generator, a seed and a position, or nowhere.

Seeded noise is a pure function of (seed, layer, absolute position): whole clips, windows and streams that
decode the same position draw the same value, on every device, whatever else is in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch

from snac_tok.errors import CodesError

# What decode(noise=…) takes.
Noise = Literal["random", "off"] | int

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


class NoiseSource(Protocol):
    """Gives each noise block its noise."""

    def draw(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Standard normal values (B, 1, T) for noise block number `layer` and its input x (B, C, T)."""
        ...


class GlobalNoise:
    """Fresh noise from torch's global generator, drawn as upstream draws it, so torch.manual_seed governs it."""

    def draw(self, layer: int, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002 - the stream knows no layers
        """Draw (B, 1, T) values on x's device, in its dtype."""
        return torch.randn((x.shape[0], 1, x.shape[-1]), device=x.device, dtype=x.dtype)


@dataclass(frozen=True, kw_only=True)
class SeededNoise:
    """Noise that depends on the seed, the layer and the position alone, so every row of a batch gets the same."""

    seed: int

    def draw(self, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Compute the (1, 1, T) values of positions 0 to T-1; they broadcast over the batch."""
        positions = torch.arange(x.shape[-1], device=x.device)
        return normal_at(positions, seed=self.seed, layer=layer).to(x.dtype)[None, None]


def noise_source(noise: Noise) -> NoiseSource | None:
    """Turn decode's `noise` option into a source; None means that noise blocks do nothing.

    Raises:
        CodesError: the option is none of "random", "off" and an int.
    """
    if noise == "off":
        return None
    if noise == "random":
        return GlobalNoise()
    if isinstance(noise, bool) or not isinstance(noise, int):
        raise CodesError(f'noise is {noise!r}; it must be "random", "off" or an int seed.')
    return SeededNoise(seed=noise)


def normal_at(positions: torch.Tensor, *, seed: int, layer: int) -> torch.Tensor:
    """Standard normal float64 values of int64 `positions`, any shape: hashed bits through Box-Muller.

    float64 on purpose: vectorised and scalar loops round log and cos differently in the last place, which
    would make the value depend on where in a tensor a position stands; rounded to float32 they agree.
    """
    key = _mix_int(_mix_int(seed) ^ _mix_int(seed >> 32) ^ _mix_int(layer + _GOLDEN))
    bits = _mix((positions & _MASK) ^ key)
    bits = _mix(bits ^ (positions >> 32) ^ _GOLDEN)
    radius = torch.sqrt(-2.0 * torch.log(_uniform(_mix(bits ^ 0x2545F491))))
    return radius * torch.cos(2.0 * math.pi * _uniform(_mix(bits ^ 0x6C078965)))


def _mix(x: torch.Tensor) -> torch.Tensor:
    """A bijective 32-bit hash with low bias (two multiply-xorshift rounds), on int64 holding 32 bits."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def _mix_int(x: int) -> int:
    return int(_mix(torch.tensor(x & _MASK)))


def _uniform(bits: torch.Tensor) -> torch.Tensor:
    """32 random bits to the open interval (0, 1)."""
    return (bits.to(torch.float64) + 0.5) / 2.0**32
