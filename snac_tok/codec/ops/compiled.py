"""The operations on a CPU where numba is installed: `cpu`, with compiled loops between its products.

A residual unit reads its input once and writes what the product behind it multiplies, where torch's operators read
and write everything seven times. Layouts, products and what layers keep between chunks are those of `cpu`, so the next
chunk of a clip may take another backend. Results differ from `reference` by rounding only.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from snac_tok.codec.ops import cpu, loops, onednn
from snac_tok.codec.ops.cpu import channels_last, conv1d, linear
from snac_tok.codec.ops.reference import Kept, add_delayed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from snac_tok.codec.ops.reference import UnitWeights

__all__ = [
    "conv1d",
    "extend",
    "linear",
    "noise_block",
    "normal_rows",
    "residual_unit",
    "takes_last",
    "takes_noise",
    "takes_normal",
    "takes_unit",
    "upsample",
]


def takes_unit(_x: torch.Tensor, _dilation: int) -> bool:
    """Say that `residual_unit` can be used for all inputs."""
    return True


def takes_noise(_x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Say whether `noise_block` can be used: for a product of bfloat16; behind float32's one pass is all there is."""
    return _is_bfloat16(cpu.pointwise_matrices(weight)[0])


def takes_normal(_x: torch.Tensor) -> bool:
    """Say that `normal_rows` can be used for all noise."""
    return True


def takes_last(_x: torch.Tensor, _weight: torch.Tensor) -> bool:
    """Say that there is no `last_layers` here: the last layers are a product, too."""
    return False


def extend(
    x: torch.Tensor, alpha: torch.Tensor | None = None, before: torch.Tensor | int = 0, after: int = 0
) -> torch.Tensor:
    """Activate x and put it between what was kept and zeros, in one pass."""
    if alpha is None:
        return cpu.extend(x, None, before, after)
    rows = _rows(x)
    kept = _zeros_before(rows, before) if isinstance(before, int) else _rows(before)
    out = _new(rows, kept.shape[1] + rows.shape[1] + after)
    loops.extend(rows.numpy(), _flat(alpha), kept.numpy(), out.numpy())
    return out.transpose(1, 2)


def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolve transposed, without the ends; two products of bfloat16 are added in one pass."""
    matrices = cpu.upsampling_matrices(weight)
    if not all(map(_is_bfloat16, matrices)):
        return cpu.upsample(x, weight, bias)
    rows, ((first,), (second,)) = _rows(x).to(torch.bfloat16), matrices
    repeated = None if bias is None else bias.repeat(weight.shape[-1] // 2)
    one, other = _product(rows[:, :-1], first, repeated), _product(rows[:, 1:], second, None)
    out = one.new_empty(one.shape, dtype=torch.float32)
    loops.add_products(_bits(one), _bits(other), out.numpy())
    return out.reshape(len(x), -1, weight.shape[1]).transpose(1, 2)


def residual_unit(
    x: torch.Tensor,
    weights: UnitWeights,
    *,
    dilation: int,
    kept: Kept = Kept(),  # noqa: B008 - immutable
    last: bool = False,
    ends: torch.Tensor | None = None,
) -> tuple[torch.Tensor, Kept]:
    """Refine the next (B, C, n) of a clip; arguments and results are those of `launches.residual_unit`."""
    rows, padding = _rows(x), dilation * (loops.TAPS // 2)
    before = _zeros_before(rows, padding) if kept.conv is None else _rows(kept.conv)
    length = before.shape[1] + rows.shape[1] + (padding if last else 0)
    count = max(0, length - 2 * padding)
    matrices = cpu.pointwise_matrices(weights.matrix)
    in_16_bits = _is_bfloat16(matrices[0])
    middle = _new(rows, 0 if in_16_bits else count)
    middle16 = _new(rows, count if in_16_bits else 0, dtype=torch.bfloat16)
    left = _new(rows, length - count)
    loops.snake_taps_snake(
        rows.numpy(),
        before.numpy(),
        np.full(len(rows), rows.shape[1]) if ends is None else ends.numpy().astype(np.int64),
        _flat(weights.first_alpha),
        _flat(weights.taps).reshape(-1, loops.TAPS),
        _flat(weights.taps_bias),
        _flat(weights.second_alpha),
        dilation,
        middle.numpy(),
        _bits(middle16),
        left.numpy(),
    )
    if in_16_bits:
        out, added = _add_delayed(_product(middle16, matrices[0][0], weights.matrix_bias), kept.added, rows)
    else:
        out = cpu.gemm(middle, matrices, weights.matrix_bias).transpose(1, 2)
        added = add_delayed(out, kept.added, x)
    return out, Kept(conv=left.transpose(1, 2), added=added)


def noise_block(
    x: torch.Tensor, weight: torch.Tensor, noise: torch.Tensor, *, ends: torch.Tensor | None
) -> torch.Tensor:
    """Return x + (x times a matrix) · noise, behind the ends of rows, too."""
    del ends
    rows, ((matrix,),) = _rows(x), cpu.pointwise_matrices(weight)
    out = torch.empty_like(rows)
    scale = _product(rows.to(torch.bfloat16), matrix, None)
    values = noise[:, 0].to(torch.float32).contiguous()
    loops.add_scaled_noise(rows.numpy(), _bits(scale), values.numpy(), out.numpy())
    return out.transpose(1, 2)


def normal_rows(
    seeds_and_starts: torch.Tensor, layer_key: int, length: int, dtype: torch.dtype
) -> torch.Tensor:
    """Return seeded noise (rows, length) bit for bit as `codec.noise.normal_at` gives it."""
    shape = (2, len(seeds_and_starts), length)
    first, second = seeds_and_starts.new_empty(shape, dtype=torch.float64).unbind()
    loops.uniform_pairs(seeds_and_starts.numpy(), layer_key, first.numpy(), second.numpy())
    radius = first.log_().mul_(-2.0).sqrt_()
    return radius.mul_(second.mul_(2.0 * math.pi).cos_()).to(dtype)


def _add_delayed(
    product: torch.Tensor, before: torch.Tensor | None, rows: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Do what `add_delayed` does to a product of bfloat16; return the sum and what is left over."""
    held = _new(rows, 0) if before is None else _rows(before)
    out = product.new_empty(product.shape, dtype=torch.float32)
    loops.add_delayed(_bits(product), held.numpy(), rows.numpy(), out.numpy())
    used = out.shape[1] - held.shape[1]
    left = rows[:, used:].clone() if used >= 0 else torch.cat((held[:, used:], rows), dim=1)
    return out.transpose(1, 2), left.transpose(1, 2)


def _is_bfloat16(parts: tuple[torch.Tensor, ...]) -> bool:
    """Say whether a step of a product is one matrix of bfloat16."""
    return len(parts) == 1 and parts[0].dtype is torch.bfloat16


def _product(rows: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply rows of bfloat16 (B, n, C_in) with a prepacked matrix, and leave the result in bfloat16."""
    bias = None if bias is None else bias.to(torch.bfloat16)
    return onednn.products().linear(rows.contiguous(), matrix, bias, "none", [], "")


def _bits(x: torch.Tensor) -> NDArray[np.uint16]:
    return x.view(torch.int16).numpy().view(np.uint16)


def _rows(x: torch.Tensor) -> torch.Tensor:
    """Return (B, C, T) as a contiguous (B, T, C) of float32."""
    return channels_last(x if x.dtype is torch.float32 else x.float())


def _new(like: torch.Tensor, length: int, *, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return like.new_empty((like.shape[0], length, like.shape[2]), dtype=dtype)


def _zeros_before(like: torch.Tensor, length: int) -> torch.Tensor:
    return like.new_zeros((like.shape[0], length, like.shape[2]))


def _flat(weight: torch.Tensor) -> NDArray[np.float32]:
    flat = weight.detach().reshape(-1)
    return (flat if flat.dtype is torch.float32 else flat.float()).numpy()
