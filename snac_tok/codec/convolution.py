"""Convolutions as torch's, but never in TF32 where no gradient is recorded.

On a GPU cuDNN rounds float32 to TF32 unless a setting of the whole process forbids it. A single call can forbid it for
itself, which disturbs nobody who trains in another thread.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

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
    if not _is_inference_on_gpu(x):
        return F.conv1d(x, weight, bias, stride, padding, dilation, groups)
    return torch._convolution(  # noqa: SLF001 - the only form that takes these settings
        x,
        weight,
        bias,
        _sizes(stride),
        _sizes(padding),
        _sizes(dilation),
        False,  # noqa: FBT003 - not transposed
        [0],
        groups,
        *_settings(),
    )


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
    if not _is_inference_on_gpu(x):
        return F.conv_transpose1d(x, weight, bias, stride, padding, output_padding, groups, dilation)
    return torch._convolution(  # noqa: SLF001 - as above
        x,
        weight,
        bias,
        _sizes(stride),
        _sizes(padding),
        _sizes(dilation),
        True,  # noqa: FBT003 - transposed
        _sizes(output_padding),
        groups,
        *_settings(),
    )


def _sizes(size: Size) -> list[int]:
    return [size] if isinstance(size, int) else list(size)


def _is_inference_on_gpu(x: torch.Tensor) -> bool:
    return (
        x.is_cuda
        and x.dtype is torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
    )


def _settings() -> tuple[bool, bool, bool, bool]:
    """Return benchmark, deterministic, cudnn_enabled and allow_tf32.

    cuDNN's benchmark would choose how to add up by a stopwatch. The others are the program's wish.
    """
    cuda = torch._C  # noqa: SLF001 - torch.backends.cudnn reads these as properties, which take ten times as long
    deterministic = cuda._get_cudnn_deterministic() or torch.are_deterministic_algorithms_enabled()  # noqa: SLF001
    return False, deterministic, cuda._get_cudnn_enabled(), False  # noqa: SLF001
