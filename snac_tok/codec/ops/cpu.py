"""The operations on a CPU: channels last in memory, dense layers as products with prepacked weights.

Tensors keep their shape (B, C, T), but channels are neighbours in memory (strides of (B, T, C)). A convolution reads
neighbouring positions of all channels, so its input needs no rearrangement: a dense one is then a few steps times a
matrix each, where a step holds all channels of

    one position                   1x1 convolution and linear layer: one step
    one position                   transposed, kernel 2s over stride s: two steps make s positions of output
    s positions, end to end        strided, kernel 2s over stride s: two steps make one position
    all positions of the kernel    without a stride: one step, copied because neighbours share positions
    one position                   to one channel: one step makes a product a tap, and outputs are sums along diagonals

`reference` says what each function computes; results differ from it by rounding only.

Weights of 16 bits: activations are float32 all the same, since passes over memory gain nothing from 16 bits on a CPU
(they are converted to 32 and back). What gains is a wide product, where the CPU has instructions for it: there both
factors are rounded to bfloat16. Everywhere else products are float32's, so that 16 bits are never slower.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.ops import onednn
from snac_tok.codec.ops.weight_cache import prepacked

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snac_tok.codec.ops.weight_cache import Matrices

# oneDNN splits longer sums by itself where there are few rows; their bits would depend on how many there are.
_LONGEST_SUM = 1024
# From here on a product of bfloat16 saves more than it costs to round its input and widen its output.
_WIDE = 128


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Return (B, C, T) as a contiguous (B, T, C); copies only what has another layout."""
    rows = x.transpose(1, 2)
    # Every call into torch releases the interpreter's lock and waits for it again: where nothing is to be done, none.
    return rows if rows.is_contiguous() else rows.contiguous()


def empty_channels_last(like: torch.Tensor, *, length: int) -> torch.Tensor:
    """Return a new (B, C, length) for any values, channels last."""
    return like.new_empty((like.shape[0], length, like.shape[1])).transpose(1, 2)


def extend(
    x: torch.Tensor, alpha: torch.Tensor | None = None, before: torch.Tensor | int = 0, after: int = 0
) -> torch.Tensor:
    """Activate x and put it between what was kept and zeros.

    The activation is written to where the convolution behind it reads, which saves a copy of everything.
    """
    if x.dtype is not torch.float32:
        x = x.float()
    length = before if isinstance(before, int) else before.shape[-1]
    if alpha is None and not length and not after:
        return x
    out = empty_channels_last(x, length=length + x.shape[-1] + after)
    if length:
        out[..., :length] = 0.0 if isinstance(before, int) else before
    if after:
        out[..., -after:] = 0.0
    middle = out[..., length : length + x.shape[-1]] if length or after else out
    if alpha is None:
        middle.copy_(x)
    else:
        _snake_into(middle, x, alpha)
    return out


def _snake_into(out: torch.Tensor, x: torch.Tensor, alpha: torch.Tensor) -> None:
    alpha = _float32(alpha)
    torch.mul(alpha, x, out=out)
    # The sine is most of a Snake. numpy's takes 0.5 ns a value, torch's 1.2. Its error is at most 1.4 units in the last
    # place instead of 0.6, but its root mean square is 0.34 instead of 0.29, which is lost among the other roundings.
    values = out.numpy()
    np.sin(values, out=values)
    torch.addcmul(x, out.square_(), (alpha + 1e-9).reciprocal(), out=out)


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Convolve without padding; depthwise bits are `reference`'s."""
    if groups > 1:
        return _depthwise(x, weight, bias, dilation)
    kernel_size = weight.shape[-1]
    if kernel_size > 1 and weight.shape[0] == stride == 1:
        return _to_one_channel(x, weight, bias, dilation)
    rows = channels_last(x)
    if kernel_size > 1:
        rows = _windows(rows, kernel_size, dilation) if stride == 1 else _cut(rows, stride)
    step = kernel_size if stride == 1 else stride
    return gemm(rows, prepacked(weight, partial(_taps_by_step, step=step)), bias).transpose(1, 2)


def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Convolve transposed, without the ends."""
    repeated = None if bias is None else bias.repeat(weight.shape[-1] // 2)
    out = gemm(channels_last(x), upsampling_matrices(weight), repeated)
    return out.reshape(len(x), -1, weight.shape[1]).transpose(1, 2)


def upsampling_matrices(weight: torch.Tensor) -> Matrices:
    """Return the matrices of a transposed convolution, prepacked."""
    return prepacked(weight, _upsampling_matrices)


def pointwise_matrices(weight: torch.Tensor) -> Matrices:
    """Return the matrix of a 1x1 convolution, prepacked."""
    return prepacked(weight, partial(_taps_by_step, step=1))


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """Multiply (B, T, C_in) with (C_out, C_in), plus a bias (C_out,)."""
    return gemm(x, prepacked(weight, _one_matrix), bias)


def gemm(rows: torch.Tensor, matrices: Matrices, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply every len(matrices) neighbouring rows (B, n, width) with a matrix (width', width) each and add up."""
    if matrices[0][0].dtype is torch.bfloat16:
        return _gemm_of_bfloat16(rows, matrices, bias)
    _, multiply, multiply_add = onednn.products()
    count = rows.shape[1] - len(matrices) + 1
    rows, bias = _float32(rows), None if bias is None else _float32(bias)
    out: torch.Tensor | None = None
    for at, parts in enumerate(matrices):
        shifted = rows[:, at : at + count] if len(matrices) > 1 else rows
        columns = torch.split(shifted, _LONGEST_SUM, dim=-1) if len(parts) > 1 else (shifted,)
        for some, matrix in zip(columns, parts, strict=True):
            dense = some if some.is_contiguous() else some.contiguous()
            if out is None:
                out = multiply(dense, matrix, bias, "none", [], "")
            else:
                out = multiply_add(dense, out, matrix, None, "add")
    assert out is not None
    return out


def _gemm_of_bfloat16(rows: torch.Tensor, matrices: Matrices, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply as `gemm` does; each product is rounded to bfloat16, and their sum is float32's."""
    multiply, count = onednn.products().linear, rows.shape[1] - len(matrices) + 1
    rows = rows.to(torch.bfloat16)
    bias = None if bias is None else bias.to(torch.bfloat16)
    out: torch.Tensor | None = None
    for at, parts in enumerate(matrices):
        columns = torch.split(rows[:, at : at + count], _LONGEST_SUM, dim=-1)
        for some, matrix in zip(columns, parts, strict=True):
            product = multiply(
                some.contiguous(), matrix, bias if out is None else None, "none", [], ""
            ).float()
            out = product if out is None else out.add_(product)
    assert out is not None
    return out


def _float32(weight: torch.Tensor) -> torch.Tensor:
    return weight if weight.dtype is torch.float32 else weight.float()


def _depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: int
) -> torch.Tensor:
    # As images, because torch knows this memory layout of them alone.
    image = channels_last(x).transpose(1, 2).unsqueeze(2)
    kernel, groups = _float32(weight).unsqueeze(2), weight.shape[0]
    bias = None if bias is None else _float32(bias)
    if bias is not None and dilation > 1:
        # Bias is added last, as in `reference`.
        return F.conv2d(image, kernel, None, 1, 0, (1, dilation), groups)[:, :, 0].add_(bias[:, None])
    return F.conv2d(image, kernel, bias, 1, 0, (1, dilation), groups)[:, :, 0]


def _to_one_channel(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: int
) -> torch.Tensor:
    taps = gemm(channels_last(x), prepacked(weight, _one_matrix_of_taps), None)
    taps = taps.transpose(1, 2).contiguous()  # (B, K, T)
    length = x.shape[-1] - dilation * (weight.shape[-1] - 1)
    out = taps[:, :1, :length].clone()
    for tap in range(1, weight.shape[-1]):
        out += taps[:, tap : tap + 1, tap * dilation : tap * dilation + length]
    return out if bias is None else out.add_(bias)


def _windows(rows: torch.Tensor, kernel_size: int, dilation: int) -> torch.Tensor:
    """Copy from (B, T, C) what each output of a convolution sees: (B, T', K * C)."""
    batch, length, channels = rows.shape
    shape = batch, length - dilation * (kernel_size - 1), kernel_size, channels
    return rows.as_strided(shape, (length * channels, channels, dilation * channels, 1)).flatten(2)


def _cut(rows: torch.Tensor, size: int) -> torch.Tensor:
    """Put every `size` positions of (B, T, C) end to end: (B, T // size, size * C)."""
    count = rows.shape[1] // size
    return rows[:, : count * size].reshape(len(rows), count, -1)


def _taps_by_step(weight: torch.Tensor, *, step: int) -> Matrices:
    return _prepack(taps.transpose(1, 2).flatten(1) for taps in torch.split(weight, step, dim=-1))


def _one_matrix(weight: torch.Tensor) -> Matrices:
    return _prepack((weight,))


def _one_matrix_of_taps(weight: torch.Tensor) -> Matrices:
    return _prepack((weight[0].t(),))


def _upsampling_matrices(weight: torch.Tensor) -> Matrices:
    """Return the kernel's second half, then its first."""
    # Transposed as a matrix, which takes half as long as a permutation of three dimensions.
    taps = weight.flatten(1).t().contiguous()
    taps = taps.view(*weight.shape[1:], weight.shape[0])  # (C_out, 2 * stride, C_in)
    halves = reversed(torch.split(taps, taps.shape[1] // 2, dim=1))
    return _prepack(half.transpose(0, 1).flatten(0, 1) for half in halves)


@torch.no_grad()
def _prepack(matrices: Iterable[torch.Tensor]) -> Matrices:
    return tuple(
        tuple(onednn.prepack(part) for part in torch.split(_for_product(matrix), _LONGEST_SUM, dim=1))
        for matrix in matrices
    )


def _for_product(matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix (C_out, C_in) in the type that its products take."""
    wide = min(matrix.shape) >= _WIDE
    if matrix.dtype is torch.bfloat16 and wide and onednn.multiplies_bfloat16():
        return matrix
    return _float32(matrix)
