"""What the layers of a chunk compute, in the form that a CPU runs fastest; elsewhere, and compiled, in torch's own.

Inference only: gradients are not recorded. Each function says in what it differs from torch's own form, if at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

if TYPE_CHECKING:
    from snac_tok.codec.layers import Snake


def extended(
    snake: Snake | None, x: torch.Tensor, start: torch.Tensor | int, *, end: int, quick_sine: bool = False
) -> torch.Tensor:
    """Return (B, C, start + T + end): x activated, continuing what was kept.

    The activation is written to where the convolution behind it reads, which saves a copy of everything.

    Args:
        snake: the activation; None leaves x as it is.
        x: (B, C, T).
        start: what stands before x, or how many zeros.
        end: how many zeros stand behind it.
        quick_sine: take numpy's, which is half as exact.
    """
    length = start if isinstance(start, int) else start.shape[-1]
    if snake is None and not length and not end:
        return x
    if not _on_plain_cpu(x):
        before = x.new_zeros((*x.shape[:-1], start)) if isinstance(start, int) else start
        middle = x if snake is None else snake(x)
        return torch.cat((before, middle, x.new_zeros((*x.shape[:-1], end))), dim=-1)
    out = x.new_empty((*x.shape[:-1], length + x.shape[-1] + end))
    out[..., :length] = 0.0 if isinstance(start, int) else start
    out[..., length + x.shape[-1] :] = 0.0
    _activate_into(out[..., length : length + x.shape[-1]], snake, x, quick_sine=quick_sine)
    return out


def _activate_into(out: torch.Tensor, snake: Snake | None, x: torch.Tensor, *, quick_sine: bool) -> None:
    if snake is None:
        out.copy_(x)
        return
    torch.mul(snake.alpha, x, out=out)
    if quick_sine:
        # The sine is most of a Snake. numpy's takes 0.5 ns a value, torch's 1.2; it may be 1.5 units in the last
        # place off where torch's is 0.6.
        values = out.numpy()
        np.sin(values, out=values)
    else:
        out.sin_()
    out.square_().mul_((snake.alpha + 1e-9).reciprocal()).add_(x)


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


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """1x1 convolution of (B, C_in, T).

    One clip's is a product of two matrices: oneDNN, which torch takes with several threads, rearranges all values
    twice and sums in an order that depends on T.
    """
    if x.shape[0] != 1 or not _on_plain_cpu(x):
        return F.conv1d(x, weight, bias)
    matrix, columns = weight[:, :, 0], x[0]
    product = torch.mm(matrix, columns) if bias is None else torch.addmm(bias[:, None], matrix, columns)
    return product[None]


def _on_plain_cpu(x: torch.Tensor) -> bool:
    plain = x.device.type == "cpu" and x.dtype == torch.float32
    return plain and not torch.compiler.is_compiling() and not torch.is_autocast_enabled("cpu")
