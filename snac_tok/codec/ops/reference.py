"""The operations in plain torch, and what they mean: for GPUs, other dtypes, autocast, compiled and traced graphs."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.ops import convolution

# How float32 products are made on a GPU: in full; each from three products of TF32, nearly as good; or from one, whose
# factors have 10 bits behind the point.
Precision: TypeAlias = Literal["fp32", "tf32x3", "tf32"]


class UnitWeights(NamedTuple):
    """The weights of a residual unit, as the layers hold them.

    Attributes:
        first_alpha: (1, C, 1), of the Snake in front.
        taps: (C, 1, 7), of the depthwise convolution.
        taps_bias: (C,).
        second_alpha: (1, C, 1), of the Snake behind it.
        matrix: (C, C, 1), of the 1x1 convolution.
        matrix_bias: (C,).
    """

    first_alpha: torch.Tensor
    taps: torch.Tensor
    taps_bias: torch.Tensor
    second_alpha: torch.Tensor
    matrix: torch.Tensor
    matrix_bias: torch.Tensor


class Kept(NamedTuple):
    """What a residual unit keeps between chunks: the convolution's activated input, and x that is not added yet."""

    conv: torch.Tensor | None = None
    added: torch.Tensor | None = None


def snake(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """The activation x + sin²(αx) / α of (B, C, T), each channel with its own alpha (1, C, 1)."""
    inverse = (alpha + 1e-9).reciprocal()
    if torch.is_grad_enabled():
        return x + inverse * torch.sin(alpha * x).pow(2)
    # One buffer instead of four: these passes are memory bound, and close to half of the codec's time.
    return (alpha * x).sin_().square_().mul_(inverse).add_(x)


def extend(
    x: torch.Tensor, alpha: torch.Tensor | None = None, before: torch.Tensor | int = 0, after: int = 0
) -> torch.Tensor:
    """Return the input of a convolution, (B, C, before + T + after): x activated, continuing what was kept.

    Args:
        x: (B, C, T).
        alpha: of the Snake in front of the convolution; None leaves x as it is.
        before: what stands before x (activated already), or how many zeros.
        after: how many zeros stand behind it.
    """
    middle = x if alpha is None else snake(x, alpha)
    if isinstance(before, int) and not before and not after:
        return middle
    start = x.new_zeros((*x.shape[:-1], before)) if isinstance(before, int) else before
    return torch.cat((start, middle, x.new_zeros((*x.shape[:-1], after))), dim=-1)


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> torch.Tensor:
    """`torch.nn.functional.conv1d` without padding.

    Args:
        x: (B, C_in, T).
        weight: (C_out, C_in / groups, K). A backend may prepack it, so it should be the same tensor on every call.
        bias: (C_out,) or None.
        stride: 1, or half of K.
        dilation: of the kernel.
        groups: 1, or as many as channels (depthwise).
    """
    if groups > 1 and dilation > 1 and bias is not None:
        # torch runs the padded convolution of a whole clip through a kernel that adds the bias last. Adding it last
        # here too matches that kernel bit for bit.
        return convolution.conv1d(x, weight, None, dilation=dilation, groups=groups).add_(bias[:, None])
    return convolution.conv1d(x, weight, bias, stride=stride, dilation=dilation, groups=groups)


def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Transposed convolution whose kernel is two strides, of what lies between the positions of x.

    Args:
        x: (B, C_in, T).
        weight: (C_in, C_out, 2 * stride), as in `conv1d`.
        bias: (C_out,) or None.

    Returns:
        (B, C_out, (T - 1) * stride): `torch.nn.functional.conv_transpose1d` less one stride at either end.
    """
    stride = weight.shape[-1] // 2
    return convolution.conv_transpose1d(x, weight, bias, stride=stride)[..., stride:-stride]


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`torch.nn.functional.linear` of (B, T, C_in) with (C_out, C_in)."""
    return F.linear(x, weight, bias)


def residual_unit(x: torch.Tensor, weights: UnitWeights, *, dilation: int) -> torch.Tensor:
    """Return what a residual unit makes of whole clips (B, C, T). The layers do this chunk by chunk."""
    first, taps, taps_bias, second, matrix, bias = weights
    padding = dilation * (taps.shape[-1] // 2)
    padded = extend(x, first, padding, padding)
    middle = conv1d(padded, taps, taps_bias, dilation=dilation, groups=len(taps))
    return x + conv1d(snake(middle, second), matrix, bias)


def add_delayed(out: torch.Tensor, before: torch.Tensor | None, x: torch.Tensor) -> torch.Tensor:
    """Add to out (B, C, n), in place, the first n values of `before` continued with x; return those left over."""
    if before is None:
        before = x[..., :0]
    held, count = before.shape[-1], out.shape[-1]
    if held > count:
        out.add_(before[..., :count])
        return torch.cat((before[..., count:], x), dim=-1)
    out[..., :held].add_(before)
    out[..., held:].add_(x[..., : count - held])
    return x[..., count - held :].clone()
