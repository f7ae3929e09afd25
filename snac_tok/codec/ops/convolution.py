"""Convolutions as torch's, but never in TF32 where no gradient is recorded.

On a GPU cuDNN rounds float32 to TF32 unless a setting of the whole process forbids it. A single call can forbid it for
itself, which disturbs nobody who trains in another thread.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.tracing import is_traced

# Of one dimension: a number, or as torch's modules keep it.
Size: TypeAlias = "int | tuple[int, ...]"


def conv1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> torch.Tensor:
    """Convolve (B, C_in, T) as `torch.nn.functional.conv1d` does."""
    if _is_inference_on_gpu(x):
        sizes = [_list(size) for size in (stride, padding, dilation)]
        return _without_tf32(x, weight, bias, sizes, None, groups=groups)
    return F.conv1d(x, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> torch.Tensor:
    """Convolve (B, C_in, T) as `torch.nn.functional.conv_transpose1d` does."""
    if _is_inference_on_gpu(x):
        sizes = [_list(size) for size in (stride, padding, dilation)]
        return _without_tf32(x, weight, bias, sizes, _list(output_padding), groups=groups)
    return F.conv_transpose1d(x, weight, bias, stride, padding, output_padding, groups, dilation)


def _is_inference_on_gpu(x: torch.Tensor) -> bool:
    return x.is_cuda and x.dtype is torch.float32 and not torch.is_grad_enabled() and not is_traced()


def _without_tf32(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    sizes: list[list[int]],
    output_padding: list[int] | None,
    *,
    groups: int,
) -> torch.Tensor:
    """Convolve with [stride, padding, dilation], transposed if there is an output padding."""
    stride, padding, dilation = sizes
    transposed = output_padding is not None
    cuda = torch._C  # noqa: SLF001 - torch.backends.cudnn reads these as properties, which take ten times as long
    # cuDNN's benchmark would choose how to add up by a stopwatch. Determinism and cuDNN are the program's wish.
    benchmark, allow_tf32 = False, False
    deterministic = cuda._get_cudnn_deterministic() or torch.are_deterministic_algorithms_enabled()  # noqa: SLF001
    settings = (benchmark, deterministic, cuda._get_cudnn_enabled(), allow_tf32)  # noqa: SLF001
    padded = output_padding or [0]
    # The only form that takes these settings:
    return torch._convolution(  # noqa: SLF001
        x, weight, bias, stride, padding, dilation, transposed, padded, groups, *settings
    )


def _list(size: Size) -> list[int]:
    return [size] if isinstance(size, int) else list(size)
