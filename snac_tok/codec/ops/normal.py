"""Seeded noise as one Triton kernel: what `codec.noise` computes in plain torch, in thirty passes.

float64 as there, so that both round to the same float32, but for a value in millions. It is cheap beside the layers:
one value a position, for all of its channels.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from snac_tok.codec.ops.launch import launch

_BLOCK = 1024


def normal_rows(
    seeds_and_starts: torch.Tensor, layer_key: int, length: int, dtype: torch.dtype
) -> torch.Tensor:
    """Return the standard normal values (rows, length) of each row's seed, from its start on.

    Args:
        seeds_and_starts: (rows, 2) int64.
        layer_key: the hashed number of the noise block, 32 bits.
        length: positions of each row.
        dtype: of the result.
    """
    rows = len(seeds_and_starts)
    out = torch.empty((rows, length), device=seeds_and_starts.device, dtype=dtype)
    # Grids are long in their first dimension only: 65,535 in the second.
    grid = (triton.cdiv(length, _BLOCK), rows)
    launch(normal_kernel, grid, out, seeds_and_starts.contiguous(), layer_key, length, BLOCK=_BLOCK)
    return out


@triton.jit
def mix(x):
    """Return the hash of 32 bits."""
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def uniform(bits):
    """Return 32 bits as a float64 between 0 and 1, both excluded."""
    return (bits.to(tl.float64) + 0.5) / 4294967296.0


@triton.jit(do_not_specialize=["layer_key", "length"])
def normal_kernel(out, seeds_and_starts, layer_key, length, BLOCK: tl.constexpr):
    """Write BLOCK values of a row."""
    row = tl.program_id(1)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    # Loaded once a position: the interpreter warns where a single number overflows, as these are meant to.
    pair = seeds_and_starts + row * 2 + at * 0
    seed, position = tl.load(pair), tl.load(pair + 1) + at
    layer_bits = (at * 0 + layer_key).to(tl.uint32)
    key = mix(mix(seed.to(tl.uint32)) ^ mix((seed >> 32).to(tl.uint32)) ^ layer_bits)
    bits = mix(position.to(tl.uint32) ^ key)
    bits = mix(bits ^ (position >> 32).to(tl.uint32) ^ 0x9E3779B9)
    radius = tl.sqrt(-2.0 * tl.log(uniform(mix(bits ^ 0x2545F491))))
    value = radius * tl.cos(6.283185307179586 * uniform(mix(bits ^ 0x6C078965)))
    tl.store(out + row.to(tl.int64) * length + at, value.to(out.dtype.element_ty), mask=at < length)
