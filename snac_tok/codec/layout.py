"""How a chunk's values lie in a CPU's memory: channels next to each other, time after time.

Tensors keep their shape (B, C, T); only their strides are those of (B, T, C). A convolution reads neighbouring times of
all channels, so that its input lies ready: a product with one matrix where it is dense, and nothing to rearrange where
it is depthwise. Other devices, precisions and compilers have layouts of their own.
"""

from __future__ import annotations

import torch


def runs_by_time(x: torch.Tensor) -> bool:
    """Say whether a chunk like x is laid out by time: float32 on a CPU, nothing compiled or traced, no autocast."""
    return (
        x.dtype is torch.float32
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )


def by_time(x: torch.Tensor) -> torch.Tensor:
    """Return (B, C, T) as a contiguous (B, T, C), which copies only what does not lie so."""
    times = x.transpose(1, 2)
    # Where nothing has to be done, calls are spared: each gives other threads the interpreter, and waits for it again.
    return times if times.is_contiguous() else times.contiguous()


def empty_by_time(like: torch.Tensor, *, length: int) -> torch.Tensor:
    """Return a new (B, C, length) for any values, laid out by time."""
    return like.new_empty((like.shape[0], length, like.shape[1])).transpose(1, 2)
