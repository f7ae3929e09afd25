"""Products of float32 rows with one or two matrices in TF32, as one Triton kernel; `gpu` says why not cuBLAS's.

rows (B, n, width)   x[t] · first  (+ x[t + 1] · second)  (+ bias)   →   (B, m, out_width)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from snac_tok.codec.ops import launch

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from snac_tok.codec.ops.reference import Precision

# Of one program.
TILE = {"BLOCK_T": 128, "BLOCK_K": 32, "BLOCK_N": 64, "num_warps": 8, "num_stages": 2}
# What Triton calls the precisions.
TRITON_NAMES = {"fp32": "ieee", "tf32x3": "tf32x3", "tf32": "tf32"}


def products(
    rows: torch.Tensor,
    matrices: Sequence[torch.Tensor],
    bias: torch.Tensor | None,
    *,
    precision: Precision,
) -> torch.Tensor:
    """Multiply each of (B, n, width) and, with a second matrix, what follows it; add up (B, m, out_width).

    Args:
        rows: float32.
        matrices: (width, out_width) each, one or two.
        bias: (out_width,) or None.
        precision: of the products.
    """
    out = launch.new_rows(rows, rows.shape[1] - len(matrices) + 1, matrices[0].shape[1])
    write_products(out, rows, matrices, bias, precision=precision)
    return out


def write_products(
    out: torch.Tensor,
    rows: torch.Tensor,
    matrices: Sequence[torch.Tensor],
    bias: torch.Tensor | None,
    *,
    precision: Precision,
    adds: bool = False,
) -> None:
    """Write what `products` returns, or add it to what is there."""
    (batch, count, out_width), width = out.shape, rows.shape[2]
    if rows.stride()[1:] != (width, 1):
        rows = rows.contiguous()
    tiles, out_tiles = -(-count // TILE["BLOCK_T"]), -(-out_width // TILE["BLOCK_N"])
    launch.launch(
        products_kernel,
        (batch * tiles * out_tiles,),
        out,
        rows,
        matrices[0],
        matrices[-1],
        out if bias is None else bias,
        count,
        rows.stride(0),
        width,
        out_width,
        tiles,
        out_tiles,
        STEPS=len(matrices),
        HAS_BIAS=bias is not None,
        ADDS=adds,
        PRECISION=TRITON_NAMES[precision],
        **TILE,
    )


@triton.jit(do_not_specialize=["count", "row_stride", "tiles"])
def products_kernel(
    out,
    x,
    first,
    second,
    bias,
    count,
    row_stride,
    width,
    out_width,
    tiles,
    out_tiles,
    STEPS: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    ADDS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_N: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Write a tile of x[t] · first + x[t + 1] · second + bias (STEPS = 2) or of x[t] · first + bias (STEPS = 1).

    ADDS adds it to what is there.
    """
    program = tl.program_id(0)
    out_channels = (program % out_tiles) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    inside = out_channels < out_width
    at = ((program // out_tiles) % tiles) * BLOCK_T + tl.arange(0, BLOCK_T)[:, None]
    row = (program // out_tiles // tiles).to(tl.int64)
    rows = x + row * row_stride + at * width
    total = tl.full((BLOCK_T, BLOCK_N), 0.0, tl.float32)
    for step in tl.static_range(STEPS):
        matrix = first
        if step == 1:
            matrix = second
        for begin in range(0, width, BLOCK_K):
            column = begin + tl.arange(0, BLOCK_K)
            mask = (at < count) & (column < width)[None, :]
            part = tl.load(rows + step * width + column[None, :], mask=mask, other=0.0)
            mask = (column < width)[:, None] & inside
            weights = tl.load(matrix + column[:, None] * out_width + out_channels, mask=mask, other=0.0)
            total = tl.dot(part, weights, total, input_precision=PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + out_channels, mask=inside, other=0.0)
    to = out + (row * count + at) * out_width + out_channels
    if ADDS:
        total += tl.load(to, mask=(at < count) & inside, other=0.0)
    tl.store(to, total, mask=(at < count) & inside)
