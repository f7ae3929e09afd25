"""Dense layers over values laid out by time: products of matrices, with the weight arranged once.

Every output is then a few neighbouring steps times a matrix each, where a step holds all channels of

    one time                       1x1 convolution and linear layer: one step
    one time                       transposed, kernel 2s over stride s: two steps make s times of output
    s times, end to end            strided, kernel 2s over stride s: two steps make one time
    all times of the kernel        without a stride: one step, copied because neighbours share times
    one time                       to one channel: one step makes a product a tap, and outputs are sums along diagonals

oneDNN multiplies at the speed of the processor if the matrix has an order of its choice, which torch would bring it
into on every call: 5 to 40 ms for the widest layers of the speech model, as long as a whole frame takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch.utils.weak import WeakTensorKeyDictionary

from snac_tok.codec.convolution import conv1d, conv_transpose1d
from snac_tok.codec.derived import versions
from snac_tok.codec.layout import by_time, runs_by_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    # For each step, a matrix for each part of its columns.
    Matrices = tuple[tuple[torch.Tensor, ...], ...]

# How many steps oneDNN chooses an order for; it is as fast with fewer and with more.
_ARRANGED_FOR = 256

# Longer sums oneDNN splits by itself, where there are few steps; their bits would depend on how many there are.
_LONGEST_SUM = 1024

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

# Arranged weights, each with the version of the plain one it was made from, live as long as that.
_arranged: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _runs_arranged(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return runs_by_time(x) and weight.dtype is torch.float32


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """`torch.nn.functional.linear` of (B, T, C_in) without a bias; the weight is (C_out, C_in)."""
    if not _runs_arranged(x, weight):
        return F.linear(x, weight)
    return _sum_of_products(x, _matrices(weight, lambda: (weight,)), None)


def pointwise(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """1x1 convolution of (B, C_in, T); weights as in `convolve`."""
    if not _runs_arranged(x, weight):
        return conv1d(x, weight, bias)
    matrices = _matrices(weight, lambda: (weight[:, :, 0],))
    return _sum_of_products(by_time(x), matrices, bias).transpose(1, 2)


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *, stride: int, dilation: int
) -> torch.Tensor:
    """`torch.nn.functional.conv1d` without padding.

    Args:
        x: (B, C_in, T).
        weight: (C_out, C_in, K); arranged once for each tensor, so it had better be the same one on every call.
        bias: (C_out,) or None.
        stride: 1, or half of K.
        dilation: of the kernel.
    """
    if not _runs_arranged(x, weight):
        return conv1d(x, weight, bias, stride=stride, dilation=dilation)
    if weight.shape[0] == stride == 1:
        return _to_one_channel(x, weight, bias, dilation)
    kernel_size = weight.shape[-1]
    step = kernel_size if stride == 1 else stride
    matrices = _matrices(
        weight, lambda: (taps.transpose(1, 2).flatten(1) for taps in torch.split(weight, step, dim=-1))
    )
    times = by_time(x)
    steps = _windows(times, kernel_size, dilation) if stride == 1 else _cut(times, stride)
    return _sum_of_products(steps, matrices, bias).transpose(1, 2)


def _to_one_channel(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, dilation: int
) -> torch.Tensor:
    taps = _matrices(weight, lambda: (weight[0].t(),))
    products = _sum_of_products(by_time(x), taps, None).transpose(1, 2).contiguous()  # (B, K, T)
    length = x.shape[-1] - dilation * (weight.shape[-1] - 1)
    out = products[:, :1, :length].clone()
    for tap in range(1, weight.shape[-1]):
        out += products[:, tap : tap + 1, tap * dilation : tap * dilation + length]
    return out if bias is None else out.add_(bias)


def _windows(times: torch.Tensor, kernel_size: int, dilation: int) -> torch.Tensor:
    """Copy from (B, T, C) what each output of a convolution sees: (B, T', K * C)."""
    batch, length, channels = times.shape
    shape = batch, length - dilation * (kernel_size - 1), kernel_size, channels
    return times.as_strided(shape, (length * channels, channels, dilation * channels, 1)).flatten(2)


def _cut(times: torch.Tensor, size: int) -> torch.Tensor:
    """Put every `size` times of (B, T, C) end to end: (B, T // size, size * C)."""
    count = times.shape[1] // size
    return times[:, : count * size].reshape(len(times), count, -1)


def upsample(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Transposed convolution whose kernel is two strides, of what lies between the times of x.

    Args:
        x: (B, C_in, T).
        weight: (C_in, C_out, 2 * stride), as in `convolve`.
        bias: (C_out,) or None.

    Returns:
        (B, C_out, (T - 1) * stride): `torch.nn.functional.conv_transpose1d` less one stride at either end.
    """
    stride = weight.shape[-1] // 2
    if not _runs_arranged(x, weight):
        return conv_transpose1d(x, weight, bias, stride=stride)[..., stride:-stride]
    matrices = _matrices(weight, lambda: _upsampling_matrices(weight))
    out = _sum_of_products(by_time(x), matrices, None if bias is None else bias.repeat(stride))
    return out.reshape(len(x), -1, weight.shape[1]).transpose(1, 2)


def _upsampling_matrices(weight: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what a time gives to the stride behind the next one, and to the stride behind itself."""
    # Transposed as a matrix, which takes half as long as a permutation of three dimensions.
    taps = (
        weight.flatten(1).t().contiguous().view(*weight.shape[1:], weight.shape[0])
    )  # (C_out, 2 * stride, C_in)
    for part in reversed(torch.split(taps, taps.shape[1] // 2, dim=1)):
        yield part.transpose(0, 1).flatten(0, 1)


def _matrices(weight: torch.Tensor, plain: Callable[[], Iterable[torch.Tensor]]) -> Matrices:
    # Another thread may forget the weight meanwhile: what was found is kept here.
    found: tuple[tuple[int, ...], Matrices] | None = _arranged.get(weight)  # type: ignore[no-untyped-call]
    version = versions((weight,))
    if found is None or found[0] != version:
        with torch.no_grad():
            arranged = tuple(
                tuple(_arrange(part.contiguous()) for part in torch.split(matrix, _LONGEST_SUM, dim=1))
                for matrix in plain()
            )
        _arranged[weight] = found = version, arranged
    return found[1]


def forget(weight: torch.Tensor) -> None:
    """Arrange this weight anew when it is used next: it may have been written to unseen."""
    _arranged.pop(weight, None)  # type: ignore[no-untyped-call]


def _arrange(matrix: torch.Tensor) -> torch.Tensor:
    if not _HAS_ONEDNN:
        return matrix.clone()  # a view would keep its weight alive, and that the view
    arranged: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(matrix, _ARRANGED_FOR)  # noqa: SLF001 - has no public name
    return arranged


def _sum_of_products(steps: torch.Tensor, matrices: Matrices, bias: torch.Tensor | None) -> torch.Tensor:
    """Multiply every len(matrices) neighbouring steps (B, n, width) with a matrix (width', width) each and add up."""
    if len(matrices) == len(matrices[0]) == 1:
        return _product(steps, matrices[0][0], bias, onto=None)
    count = steps.shape[1] - len(matrices) + 1
    out = None
    for at, parts in enumerate(matrices):
        columns = torch.split(steps[:, at : at + count], _LONGEST_SUM, dim=-1)
        for some, matrix in zip(columns, parts, strict=True):
            out = _product(some, matrix, bias if out is None else None, onto=out)
    assert out is not None
    return out


def _product(
    steps: torch.Tensor, matrix: torch.Tensor, bias: torch.Tensor | None, *, onto: torch.Tensor | None
) -> torch.Tensor:
    out: torch.Tensor
    if not _HAS_ONEDNN:
        out = F.linear(steps, matrix, bias)
        return out if onto is None else out.add_(onto)
    dense = steps if steps.is_contiguous() else steps.contiguous()
    if onto is None:
        out = torch.ops.mkldnn._linear_pointwise(dense, matrix, bias, "none", [], "")  # noqa: SLF001 - as above
    else:
        out = torch.ops.mkldnn._linear_pointwise.binary(dense, onto, matrix, bias, "add")  # noqa: SLF001
    return out
