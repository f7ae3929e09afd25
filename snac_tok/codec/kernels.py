"""What the layers of a chunk compute, in the form that a CPU runs fastest; elsewhere, and compiled, in torch's own.

Inference only: gradients are not recorded. Each function says in what it differs from torch's own form, if at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.convolution import conv1d
from snac_tok.codec.layout import by_time, empty_by_time, runs_by_time

if TYPE_CHECKING:
    from snac_tok.codec.layers import Snake


def extended(snake: Snake | None, x: torch.Tensor, start: torch.Tensor | int, *, end: int) -> torch.Tensor:
    """Return (B, C, start + T + end): x activated, continuing what was kept.

    The activation is written to where the convolution behind it reads, which saves a copy of everything.

    Args:
        snake: the activation; None leaves x as it is.
        x: (B, C, T).
        start: what stands before x, or how many zeros.
        end: how many zeros stand behind it.
    """
    length = start if isinstance(start, int) else start.shape[-1]
    if snake is None and not length and not end:
        return x
    if not runs_by_time(x):
        before = x.new_zeros((*x.shape[:-1], start)) if isinstance(start, int) else start
        middle = x if snake is None else snake(x)
        return torch.cat((before, middle, x.new_zeros((*x.shape[:-1], end))), dim=-1)
    out = empty_by_time(x, length=length + x.shape[-1] + end)
    if length:
        out[..., :length] = 0.0 if isinstance(start, int) else start
    if end:
        out[..., -end:] = 0.0
    _activate_into(out[..., length : length + x.shape[-1]] if length or end else out, snake, x)
    return out


def _activate_into(out: torch.Tensor, snake: Snake | None, x: torch.Tensor) -> None:
    if snake is None:
        out.copy_(x)
        return
    torch.mul(snake.alpha, x, out=out)
    # The sine is most of a Snake. numpy's takes 0.5 ns a value, torch's 1.2. Its error is at most 1.4 units in the last
    # place instead of 0.6, but its root mean square is 0.34 instead of 0.29, which is lost among the other roundings.
    values = out.numpy()
    np.sin(values, out=values)
    torch.addcmul(x, out.square_(), (snake.alpha + 1e-9).reciprocal(), out=out)


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


def depthwise(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: int
) -> torch.Tensor:
    """Convolution of (B, C, T), a channel of its own for each of the weight's (C, 1, K), as torch's without padding.

    The dilated convolution of a whole clip, which is padded, goes through another kernel on the CPU: six times slower,
    and it adds the bias last. Adding it last here, too, gives its bits.
    """
    if bias is not None and dilation > 1:
        return depthwise(x, weight, None, dilation).add_(bias[:, None])
    groups = weight.shape[0]
    if not runs_by_time(x):
        return conv1d(x, weight, bias, dilation=dilation, groups=groups)
    # As images, because torch knows this layout of them alone.
    image = by_time(x).transpose(1, 2).unsqueeze(2)
    return F.conv2d(image, weight.unsqueeze(2), bias, 1, 0, (1, dilation), groups)[:, :, 0]
