"""Convolutions on a CPU with their weight arranged once.

oneDNN wants a weight in an order of its own, and torch rearranges it on every call. For the widest layers of the speech
model (18 and 32 MiB) that is 5 to 40 ms a call, where the convolution of one frame takes 0.5 to 1.5. For short inputs
of transposed convolutions torch leaves oneDNN aside altogether. Arranged beforehand, the transposed kernel gives the
same bits; the strided one sums in another order.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch.utils.weak import WeakTensorKeyDictionary

# The length that oneDNN chooses the order for. It accepts any input afterwards; orders chosen for long inputs can be
# ones that short inputs have no fast kernel for (100 ms instead of 2).
_PACKED_FOR = 32

# Strided convolutions: the fewest weights that are worth a second copy, and up to how many outputs. Up to some 80 the
# arranged kernel is 1.2 to 12 times as fast as torch's; beyond, it can be 20 times slower.
_FEWEST_WEIGHTS = 1_000_000
_MOST_OUTPUTS = 64

_HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

# Arranged weights live as long as the plain ones they were made from.
_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def conv1d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int) -> torch.Tensor:
    """`torch.nn.functional.conv1d` without padding, for a weight that nobody writes to.

    Args:
        x: (B, C_in, T).
        weight: (C_out, C_in, K); it is rearranged once for each tensor, so it must be the same one on every call.
        bias: (C_out,) or None.
        stride: of the input.
    """
    few = (x.shape[-1] - weight.shape[-1]) // stride < _MOST_OUTPUTS and weight.numel() >= _FEWEST_WEIGHTS
    # A compiler arranges weights by itself.
    if not few or not _can_pack(x, weight) or torch.compiler.is_compiling():
        return F.conv1d(x, weight, bias, stride)
    if weight not in _packed:
        size = [1, weight.shape[1], 1, _PACKED_FOR * stride]
        _packed[weight] = torch.ops.mkldnn._reorder_convolution_weight(  # noqa: SLF001 - has no public name
            weight.detach()[:, :, None], [0, 0], [1, stride], [1, 1], 1, size
        )
    out: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(  # noqa: SLF001 - as above
        x.contiguous()[:, :, None],
        _packed[weight],
        bias,
        [0, 0],
        [1, stride],
        [1, 1],
        1,
        "none",
        [],
        "",
    )
    return out[:, :, 0].contiguous()


def conv_transpose1d(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int
) -> torch.Tensor:
    """`torch.nn.functional.conv_transpose1d` without padding, for a weight that nobody writes to.

    Args:
        x: (B, C_in, T).
        weight: (C_in, C_out, K); it is rearranged once for each tensor, so it must be the same one on every call.
        bias: (C_out,) or None.
        stride: of the output.
    """
    if not _can_pack(x, weight):
        return F.conv_transpose1d(x, weight, bias, stride)
    return (_opaque if torch.compiler.is_compiling() else _convolve)(x, weight, bias, stride)


def _can_pack(x: torch.Tensor, weight: torch.Tensor) -> bool:
    plain = all(each.device.type == "cpu" and each.dtype == torch.float32 for each in (x, weight))
    return plain and not torch.is_autocast_enabled("cpu") and _HAS_ONEDNN


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int) -> torch.Tensor:
    if weight not in _packed:
        size = [1, weight.shape[0], 1, _PACKED_FOR]
        _packed[weight] = torch.ops.mkldnn._reorder_convolution_transpose_weight(  # noqa: SLF001 - has no public name
            weight.detach()[:, :, None], [0, 0], [0, 0], [1, stride], [1, 1], 1, size
        )
    out: torch.Tensor = torch.ops.mkldnn._convolution_transpose_pointwise(  # noqa: SLF001 - as above
        x.contiguous()[:, :, None],
        _packed[weight],
        bias,
        [0, 0],
        [0, 0],
        [1, stride],
        [1, 1],
        1,
        "none",
        [],
        "",
    )
    # The kernel writes channels last; every other layer expects, and is fast with, time last.
    return out[:, :, 0].contiguous()


# What a compiled graph calls: an arranged weight cannot be traced.
_opaque = torch.library.custom_op("snac_tok::conv_transpose1d", _convolve, mutates_args=())


@_opaque.register_fake
def _shape(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, stride: int) -> torch.Tensor:  # noqa: ARG001 - the op's signature
    return x.new_empty((x.shape[0], weight.shape[1], (x.shape[-1] - 1) * stride + weight.shape[-1]))
