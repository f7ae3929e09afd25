"""Where the decoder's noise comes from: the global generator, a seed and a position, or nowhere.

Seeded noise is a pure function of (seed, layer, absolute position): whole clips, windows and streams that
decode the same position draw the same value, on every device, whatever else is in the batch.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar, runtime_checkable

import torch

from snac_tok.codec.ops.backend import kernels_for
from snac_tok.codec.transfers import to_device
from snac_tok.errors import CodesError

if TYPE_CHECKING:
    from collections.abc import Sequence

# What decode(noise=…) takes.
Noise = Literal["random", "off"] | int

Bits = TypeVar("Bits", int, torch.Tensor)

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9


@runtime_checkable
class NoiseSource(Protocol):
    """Gives each noise block its noise."""

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        """Standard normal values for noise block `layer` and its input x (B, C, T), which begins at position `start`.

        Returns:
            (B, 1, T), or (1, 1, T) for the same noise in every row.
        """
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnNoise:
    """Noise drawn beforehand, one (B, 1, T) tensor a layer."""

    layers: tuple[torch.Tensor, ...]

    @classmethod
    def from_global_generator(cls, latents: torch.Tensor, decoder_rates: Sequence[int]) -> DrawnNoise:
        """Draw for a whole clip what upstream draws, in its order, so that torch.manual_seed gives equal sound."""
        return cls.from_generator(latents, decoder_rates, None)

    @classmethod
    def from_generator(
        cls, latents: torch.Tensor, decoder_rates: Sequence[int], generator: torch.Generator | None
    ) -> DrawnNoise:
        """Draw from a generator of latents' device; None is torch's global one."""
        lengths = itertools.accumulate(decoder_rates, operator.mul, initial=latents.shape[-1])
        shapes = [(latents.shape[0], 1, length) for length in lengths][1:]
        device, dtype = latents.device, latents.dtype
        return cls(
            layers=tuple(torch.randn(s, generator=generator, device=device, dtype=dtype) for s in shapes)
        )

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        """Cut out the values of x's positions."""
        return self.layers[layer][..., start : start + x.shape[-1]]

    def row(self, at: int) -> DrawnNoise:
        """Return the noise of one row alone."""
        return DrawnNoise(layers=tuple(layer[at : at + 1] for layer in self.layers))


@dataclass(frozen=True, kw_only=True)
class SeededNoise:
    """Noise that depends on the seed, the layer and the position alone, so every row of a batch gets the same."""

    seed: int

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        """Compute the (1, 1, T) values of x's positions; they broadcast over the batch."""
        return _normal_rows([(_signed(self.seed), start)], layer, x)[:, None]


@dataclass(frozen=True, kw_only=True, eq=False)
class RowNoise:
    """Noise of streams side by side: what each row's seed gives at its own position.

    Attributes:
        seeds: of each row; None for a row without noise.
        positions: of each row, where the noise blocks' next outputs are; none at a stream's start.
    """

    seeds: Sequence[int | None]
    positions: Sequence[Sequence[int]]

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        """Compute the (B, 1, T) values of x's rows, equal ones once."""
        rows = [
            None if seed is None else (_signed(seed), start + (places[layer] if layer < len(places) else 0))
            for seed, places in zip(self.seeds, self.positions, strict=True)
        ]
        wanted = [*dict.fromkeys(filter(None, rows))]
        values = _normal_rows(wanted, layer, x)[:, None]
        if None in rows:
            values = torch.cat((values, torch.zeros_like(values[:1])))
        if len(wanted) == len(rows):
            return values
        at = {row: index for index, row in enumerate((*wanted, None))}
        return values.index_select(
            0, to_device(torch.tensor([at[row] for row in rows], device="cpu"), x.device)
        )


def checked_noise(noise: Noise, *, fresh: bool = True) -> Noise:
    """Return decode's `noise` option if it is one; integers of any kind as an int.

    Args:
        noise: the option.
        fresh: whether "random" is possible.

    Raises:
        CodesError: it is not "random", "off" or an int.
    """
    if isinstance(noise, str) and noise in ("random", "off"):
        if noise == "random" and not fresh:
            raise CodesError(
                'noise is "random", which is drawn for a whole clip at once; '
                'to decode piece by piece take "off" or an int seed.'
            )
        return noise
    if not isinstance(noise, bool):
        with contextlib.suppress(TypeError):
            return operator.index(noise)  # type: ignore[arg-type]
    raise CodesError(f'noise is {noise!r}; it must be "random", "off" or an int seed.')


def _normal_rows(rows: Sequence[tuple[int, int]], layer: int, x: torch.Tensor) -> torch.Tensor:
    """Return the values (rows, T) of rows' seeds and starts for an input x (B, C, T)."""
    kernels, length = kernels_for(x), x.shape[-1]
    if kernels is not None and kernels.takes_normal(x):
        pairs = to_device(torch.tensor(rows, dtype=torch.int64, device="cpu").reshape(-1, 2), x.device)
        return kernels.normal_rows(pairs, layer_key(layer), length, x.dtype)
    if len(rows) == 1:  # numbers are hashed faster than tensors
        ((seed, start),) = rows
        positions = torch.arange(start, start + length, device=x.device)
        return normal_at(positions, seed=seed, layer=layer).to(x.dtype)[None]
    pairs = to_device(torch.tensor(rows, dtype=torch.int64, device="cpu").reshape(-1, 2), x.device)
    positions = pairs[:, 1:] + torch.arange(length, device=x.device)
    return normal_at(positions, seed=pairs[:, :1], layer=layer).to(x.dtype)


def normal_at(positions: torch.Tensor, *, seed: Bits, layer: int) -> torch.Tensor:
    """Standard normal float64 values of int64 `positions`, any shape: hashed bits through Box-Muller.

    Seeds may be a tensor that broadcasts with the positions.

    float64 on purpose: vectorised and scalar loops round log and cos differently in the last place, which
    would make the value depend on where in a tensor a position stands; rounded to float32 they agree.
    Of the seed the lowest 64 bits count.
    """
    key = _mix(_mix(seed) ^ _mix(seed >> 32) ^ layer_key(layer))
    bits = _mix((positions & _MASK) ^ key)
    bits = _mix(bits ^ (positions >> 32) ^ _GOLDEN)
    radius = torch.sqrt(-2.0 * torch.log(_uniform(_mix(bits ^ 0x2545F491))))
    return radius * torch.cos(2.0 * math.pi * _uniform(_mix(bits ^ 0x6C078965)))


def layer_key(layer: int) -> int:
    """Return what stands for a noise block in the hash, 32 bits."""
    return _mix(layer + _GOLDEN)


def _signed(seed: int) -> int:
    """Return the lowest 64 bits of a seed as a tensor of int64 holds them."""
    return (seed + 2**63) % 2**64 - 2**63


def _mix(x: Bits) -> Bits:
    """A bijective 32-bit hash with low bias (two multiply-xorshift rounds), on integers holding 32 bits."""
    x = x & _MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _MASK
    return x ^ (x >> 16)


def _uniform(bits: torch.Tensor) -> torch.Tensor:
    """32 random bits to the open interval (0, 1)."""
    return (bits.to(torch.float64) + 0.5) / 2.0**32
