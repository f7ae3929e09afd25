"""Triton's kernels on tensors: what a chunk gives and keeps, how it is cut into tiles, and how weights must lie.

Tensors have the shape (B, C, T) with channels as neighbours in memory (strides of (B, T, C)), as in `cpu`. Nothing here
asks whether a kernel works: `trials` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton.language as tl

from snac_tok.codec.ops import kernels, launch
from snac_tok.codec.ops.cpu import channels_last
from snac_tok.codec.ops.products import TRITON_NAMES, write_products
from snac_tok.codec.ops.reference import Kept
from snac_tok.codec.ops.weight_cache import prepacked

if TYPE_CHECKING:
    from snac_tok.codec.ops.reference import Precision, UnitWeights
    from snac_tok.codec.ops.weight_cache import Matrices

# Of the wide convolution of a residual unit, and of the last one.
TAPS = 7
# What one program can hold of all channels of a product with TF32; beyond it spills registers.
MAX_TF32_WIDTH = 512


def residual_unit(
    x: torch.Tensor,
    weights: UnitWeights,
    *,
    dilation: int,
    kept: Kept = Kept(),  # noqa: B008 - immutable
    last: bool = False,
    ends: torch.Tensor | None = None,
    precision: Precision = "fp32",
) -> tuple[torch.Tensor, Kept]:
    """Refine the next (B, C, n) of a clip: Snake, depthwise convolution, Snake, 1x1 convolution, plus x.

    Args:
        x: the clip's next values; n may be 0.
        weights: of the unit.
        dilation: of the depthwise convolution.
        kept: what the chunk before left; nothing at the clip's start.
        last: whether the clip ends here.
        ends: (B,) int32, where whole clips of several lengths are rows: behind its end a row counts as zero, and its
            output there is left unwritten.
        precision: of float32 products.

    Returns:
        what is final, (B, C, m), and what is kept; nothing if the clip ends.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    before, added = (None if each is None else channels_last(each) for each in kept)
    padding = dilation * (TAPS // 2)
    kept_length = padding if before is None else before.shape[1]
    held_length = 0 if added is None else added.shape[1]
    count, kept_count = _counts(kept_length + length, padding, last=last)
    held_count = 0 if last else held_length + length - count
    out, kept_out, held_out = (launch.new_rows(rows, size) for size in (count, kept_count, held_count))
    on_tensor_cores = precision != "fp32" and channels <= MAX_TF32_WIDTH
    multiplies = x.dtype is not torch.float32 or on_tensor_cores
    middle = out if multiplies else launch.new_rows(rows, count)
    block = _block_of_tf32(channels) if on_tensor_cores else _block(channels, x.dtype)
    tiles = -(-count // block["BLOCK_T"])
    programs = tiles + -(-kept_count // block["BLOCK_T"])
    ((taps,),), ((matrix,),) = prepacked(weights.taps, _taps_first), prepacked(weights.matrix, input_first)
    launch.launch(
        kernels.residual_unit,
        (batch * programs,),
        out,
        middle,
        kept_out,
        held_out,
        rows,
        rows if before is None else before,
        rows if added is None else added,
        rows if ends is None else ends,
        weights.first_alpha,
        taps,
        weights.taps_bias,
        weights.second_alpha,
        matrix,
        weights.matrix_bias,
        length,
        kept_length,
        held_length,
        count,
        kept_count,
        held_count,
        tiles,
        programs,
        dilation,
        C=channels,
        TAPS=TAPS,
        HAS_KEPT=before is not None,
        HAS_ENDS=ends is not None,
        MULTIPLIES=multiplies,
        PRODUCT=_product_type(x),
        PRECISION=TRITON_NAMES[precision],
        APPROXIMATE=_approximate(x),
        **block,
    )
    if not multiplies and count:
        if precision == "fp32":
            out.view(-1, channels).addmm_(middle.view(-1, channels), matrix)
        else:
            write_products(out, middle, (matrix,), None, precision=precision, adds=True)
    left = Kept() if last else Kept(kept_out.transpose(1, 2), held_out.transpose(1, 2))
    return out.transpose(1, 2), left


def noise_block(
    x: torch.Tensor,
    weight: torch.Tensor,
    noise: torch.Tensor,
    *,
    ends: torch.Tensor | None = None,
    precision: Precision = "fp32",
) -> torch.Tensor:
    """Return x + (x times a matrix) · noise.

    Args:
        x: (B, C, T).
        weight: (C, C, 1), of the 1x1 convolution.
        noise: (B, 1, T) or (1, 1, T).
        ends: as of `residual_unit`.
        precision: of float32 products.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    block = _block(channels, x.dtype) if precision == "fp32" else _block_of_tf32(channels)
    out = launch.new_rows(rows, length)
    ((matrix,),) = prepacked(weight, input_first)
    tiles = -(-length // block["BLOCK_T"])
    launch.launch(
        kernels.noise_block,
        (batch * tiles,),
        out,
        rows,
        matrix,
        noise.contiguous(),
        rows if ends is None else ends,
        length,
        0 if noise.shape[0] == 1 else length,
        tiles,
        C=channels,
        HAS_ENDS=ends is not None,
        PRODUCT=_product_type(x),
        PRECISION=TRITON_NAMES[precision],
        **block,
    )
    return out.transpose(1, 2)


def last_layers(
    x: torch.Tensor,
    alpha: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    *,
    kept: torch.Tensor | None = None,
    last: bool = False,
    ends: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the sound (B, 1, m) of the next (B, C, n): Snake, convolution to one channel, tanh; and what is kept.

    Args:
        x: the clip's next values; n may be 0.
        alpha: (1, C, 1).
        weight: (1, C, 7).
        bias: (1,).
        kept: what the chunk before left, activated; None at the clip's start.
        last: whether the clip ends here.
        ends: as of `residual_unit`.
    """
    rows, (batch, channels, length) = channels_last(x), x.shape
    before = None if kept is None else channels_last(kept)
    padding = TAPS // 2
    kept_length = padding if before is None else before.shape[1]
    count, kept_count = _counts(kept_length + length, padding, last=last)
    out, kept_out = launch.new_rows(rows[..., :1], count), launch.new_rows(rows, kept_count)
    ((taps,),) = prepacked(weight, _one_output)
    block_t, block_c = 64, max(16, 1 << (channels - 1).bit_length())
    tiles = -(-count // block_t)
    programs = tiles + -(-kept_count // block_t)
    launch.launch(
        kernels.last_layers,
        (batch * programs,),
        out,
        kept_out,
        rows,
        rows if before is None else before,
        rows if ends is None else ends,
        alpha,
        taps,
        bias,
        length,
        kept_length,
        count,
        kept_count,
        tiles,
        programs,
        C=channels,
        TAPS=TAPS,
        BLOCK_T=block_t,
        BLOCK_C=block_c,
        HAS_KEPT=before is not None,
        HAS_ENDS=ends is not None,
        APPROXIMATE=_approximate(x),
        num_warps=_warps(block_t * block_c, x.dtype),
    )
    return out.transpose(1, 2), None if last else kept_out.transpose(1, 2)


def extended(x: torch.Tensor, alpha: torch.Tensor, before: torch.Tensor | int, after: int) -> torch.Tensor:
    """Activate x and put it between what was kept (or zeros, given their number) and zeros."""
    rows, (batch, channels, length) = channels_last(x), x.shape
    kept = None if isinstance(before, int) else channels_last(before)
    kept_length = before if isinstance(before, int) else before.shape[-1]
    out = launch.new_rows(rows, kept_length + length + after)
    block_t, block_c = 32, min(64, max(16, 1 << (channels - 1).bit_length()))
    tiles = -(-out.shape[1] // block_t)
    launch.launch(
        kernels.extended,
        (batch * tiles, -(-channels // block_c)),
        out,
        rows,
        rows if kept is None else kept,
        alpha,
        length,
        kept_length,
        out.shape[1],
        tiles,
        C=channels,
        BLOCK_T=block_t,
        BLOCK_C=block_c,
        HAS_KEPT=kept is not None,
        APPROXIMATE=_approximate(x),
    )
    return out.transpose(1, 2)


def _counts(length: int, padding: int, *, last: bool) -> tuple[int, int]:
    """Return how many values a convolution gives of so many, those kept before included, and how many it keeps."""
    count = max(0, length + (padding if last else 0) - 2 * padding)
    return count, 0 if last else length - count


def _taps_first(weight: torch.Tensor) -> Matrices:
    return ((weight.detach()[:, 0].t().contiguous(),),)


def _one_output(weight: torch.Tensor) -> Matrices:
    return ((weight.detach()[0].t().contiguous(),),)


def input_first(weight: torch.Tensor) -> Matrices:
    """Return (C_in, C_out) of a product's (C_out, C_in) or a 1x1 convolution's (C_out, C_in, 1)."""
    return ((weight.detach().flatten(1).t().contiguous(),),)


def _block(channels: int, dtype: torch.dtype) -> dict[str, int]:
    """Return the tile of a program that multiplies, measured in float16 where it is 64 x 64 with 4 warps."""
    block_n = 1 << (channels - 1).bit_length()
    block_t = max(16, min(64, 16_384 // block_n))
    block_k = min(32, channels & -channels)
    return {
        "BLOCK_T": block_t,
        "BLOCK_K": block_k,
        "BLOCK_N": block_n,
        "num_warps": _warps(block_t * block_n, dtype),
        "num_stages": 2,
    }


def _block_of_tf32(channels: int) -> dict[str, int]:
    """Return the tile of a program that multiplies with TF32: the largest that spills no register on an H100."""
    block_n = 1 << (channels - 1).bit_length()
    block_t = max(16, min(64, 8_192 // block_n))
    return {"BLOCK_T": block_t, "BLOCK_K": 16, "BLOCK_N": block_n, "num_warps": 8, "num_stages": 2}


def _warps(values: int, dtype: torch.dtype) -> int:
    """Return how many warps make a tile of so many values: with the sine of float32, 4 spill registers for 64 x 64."""
    return 4 if values <= 64 * 64 and dtype is not torch.float32 else 8


def _approximate(x: torch.Tensor) -> bool:
    return x.is_cuda and x.dtype is not torch.float32 and torch.version.hip is None


def _product_type(x: torch.Tensor) -> Any:
    """Return what a product's factors are cast to: the weights' dtype, but Triton's interpreter knows no bfloat16."""
    if x.dtype is torch.bfloat16 and not x.is_cuda:
        return tl.float32
    return {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}[x.dtype]
