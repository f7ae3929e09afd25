"""The operations for GPUs: Triton kernels where one pass over memory replaces many, products for the dense layers.

Tensors keep their shape (B, C, T), but channels are neighbours in memory (strides of (B, T, C)), as in `cpu`. What the
layers keep between chunks is what the other backends keep, so the next chunk of a clip may take another backend.

A kernel is used for a device, dtype and width only after a trial (`trials`). float32 products are cuBLAS's, in full
float32: Triton's own take no tensor core and are slower than all the passes that they save. Who asks for TF32 gets them
from Triton (`in_precision`): what cuBLAS may do is a setting of the whole process, in which others compute codes.
"""

from __future__ import annotations

from functools import cache, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.ops import reference, trials
from snac_tok.codec.ops.cpu import channels_last
from snac_tok.codec.ops.launches import (
    MAX_TF32_WIDTH,
    TAPS,
    extended,
    input_first,
    last_layers,
    noise_block,
    residual_unit,
)
from snac_tok.codec.ops.normal import normal_rows
from snac_tok.codec.ops.products import products
from snac_tok.codec.ops.weight_cache import prepacked

if TYPE_CHECKING:
    from snac_tok.codec.ops.backend import Kernels
    from snac_tok.codec.ops.reference import Precision
    from snac_tok.codec.ops.trials import Trial
    from snac_tok.codec.ops.weight_cache import Matrices

__all__ = [
    "conv1d",
    "extend",
    "in_precision",
    "last_layers",
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

# What a tensor core multiplies at least, and what a program's registers hold at most.
_MIN_WIDTH, _MAX_WIDTH = 16, 1024
# A program of the last layers holds all channels of its positions. For an H100 a kernel of 256 compiles for 5.5 s, one
# of 768 for 48 s, with 7 KB of stack. Released codecs have 64 or 96.
_MAX_LAST_WIDTH = 128


@cache
def in_precision(precision: Precision) -> Kernels:
    """Return these operations for float32, with products in this precision."""
    changed = (conv1d, linear, noise_block, residual_unit, takes_noise, takes_unit, upsample)
    operations = {name: globals()[name] for name in __all__}
    operations |= {each.__name__: partial(each, precision=precision) for each in changed}
    return cast("Kernels", SimpleNamespace(**operations))


def takes_unit(x: torch.Tensor, dilation: int, *, precision: Precision = "fp32") -> bool:
    """Say whether `residual_unit` can be used for inputs like x (B, C, T)."""
    return _usable(trials.try_unit, x, dilation, precision)


def takes_noise(x: torch.Tensor, _weight: torch.Tensor, *, precision: Precision = "fp32") -> bool:
    """Say whether `noise_block` can be used; where cuBLAS multiplies, what is left is one kernel anyway."""
    if x.dtype is torch.float32 and (precision == "fp32" or x.shape[1] > MAX_TF32_WIDTH):
        return False
    return _usable(trials.try_noise, x, precision=precision)


def takes_normal(x: torch.Tensor) -> bool:
    """Say whether `normal_rows` can be used for noise like x."""
    return not x.is_cuda or trials.works(trials.try_normal, x.device, x.dtype, 1)


def takes_last(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Say whether `last_layers` can be used: for one channel of sound."""
    fits = weight.shape[0] == 1 and weight.shape[-1] == TAPS and x.shape[1] <= _MAX_LAST_WIDTH
    return fits and _usable(trials.try_last, x)


def extend(
    x: torch.Tensor, alpha: torch.Tensor | None = None, before: torch.Tensor | int = 0, after: int = 0
) -> torch.Tensor:
    """Activate x and put it between what was kept and zeros, in one pass."""
    if alpha is None or not x.shape[0] or not _usable(trials.try_snake, x):
        return reference.extend(x, alpha, before, after)
    return extended(x, alpha, before, after)


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    precision: Precision = "fp32",
) -> torch.Tensor:
    """Convolve without padding: a 1x1 convolution as a product, a strided one as two, others as torch does."""
    kernel_size = weight.shape[-1]
    if groups == 1 and kernel_size == 1:
        return linear(channels_last(x), weight, bias, precision=precision).transpose(1, 2)
    if groups > 1 or kernel_size != 2 * stride:
        return reference.conv1d(x, weight, bias, stride=stride, dilation=dilation, groups=groups)
    rows = channels_last(x)
    count = x.shape[-1] // stride
    steps = rows[:, : count * stride].reshape(len(rows), count, stride * x.shape[1])
    return _two_products(steps, prepacked(weight, _steps), bias, precision).transpose(1, 2)


def upsample(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, precision: Precision = "fp32"
) -> torch.Tensor:
    """Convolve transposed, without the ends, as two products."""
    repeated = None if bias is None else bias.repeat(weight.shape[-1] // 2)
    out = _two_products(channels_last(x), prepacked(weight, _upsampling_steps), repeated, precision)
    return out.reshape(len(x), -1, weight.shape[1]).transpose(1, 2)


def linear(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    precision: Precision = "fp32",
) -> torch.Tensor:
    """Multiply (B, T, C_in) with (C_out, C_in) or (C_out, C_in, 1), plus a bias (C_out,)."""
    if _takes_products(x, precision):
        ((matrix,),) = prepacked(weight, input_first)
        return products(x, (matrix,), bias, precision=precision)
    return F.linear(x, weight if weight.ndim == 2 else weight[:, :, 0], bias)  # noqa: PLR2004 - the two shapes


def _takes_products(rows: torch.Tensor, precision: Precision) -> bool:
    """Say whether products of (B, n, width) are made in a precision that cuBLAS is not asked for."""
    if precision == "fp32" or rows.shape[2] % _MIN_WIDTH:
        return False
    # One kernel for all widths.
    tried = _MIN_WIDTH, 1, precision
    return not rows.is_cuda or trials.works(trials.try_products, rows.device, rows.dtype, *tried)


def _two_products(
    steps: torch.Tensor, matrices: Matrices, bias: torch.Tensor | None, precision: Precision
) -> torch.Tensor:
    """Multiply every two neighbouring rows of (B, n, width) with a matrix (width, width') each and add up."""
    (first,), (second,) = matrices
    if _takes_products(steps, precision):
        return products(steps, (first, second), bias, precision=precision)
    batch = len(steps)
    start = steps.new_zeros(()) if bias is None else bias
    out = torch.baddbmm(start, steps[:, :-1], first.expand(batch, -1, -1), beta=0.0 if bias is None else 1.0)
    return out.baddbmm_(steps[:, 1:], second.expand(batch, -1, -1))


def _steps(weight: torch.Tensor) -> Matrices:
    """Return (stride * C_in, C_out) for the kernel's first half and its second."""
    halves = torch.split(weight.detach(), weight.shape[-1] // 2, dim=-1)
    return tuple((half.permute(2, 1, 0).flatten(0, 1).contiguous(),) for half in halves)


def _upsampling_steps(weight: torch.Tensor) -> Matrices:
    """Return (C_in, stride * C_out) for the kernel's second half, then its first."""
    halves = reversed(torch.split(weight.detach(), weight.shape[-1] // 2, dim=-1))
    return tuple((half.transpose(1, 2).flatten(1).contiguous(),) for half in halves)


def _usable(trial: Trial, x: torch.Tensor, dilation: int = 1, precision: Precision = "fp32") -> bool:
    channels = x.shape[1]
    if channels % _MIN_WIDTH or channels > _MAX_WIDTH:
        return False
    # In the interpreter, on a CPU, the tests are the trial.
    return not x.is_cuda or trials.works(trial, x.device, x.dtype, channels, dilation, precision)
