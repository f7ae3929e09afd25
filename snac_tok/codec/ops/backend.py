"""Which operations a chunk takes: CPU-optimised ones, or torch's own.

Inference only: gradients are not recorded. All tensors have the shape (B, C, T), whatever a backend's memory layout is.
"""

from __future__ import annotations

from typing import Protocol

import torch

from snac_tok.codec.ops import cpu, reference


class Backend(Protocol):
    """The operations; `reference` says what each computes."""

    def extend(
        self,
        x: torch.Tensor,
        alpha: torch.Tensor | None = None,
        before: torch.Tensor | int = 0,
        after: int = 0,
    ) -> torch.Tensor:
        """Activate x and put it between what was kept and zeros."""

    def conv1d(
        self,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> torch.Tensor:
        """Convolve without padding."""

    def upsample(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Convolve transposed, without the ends."""

    def linear(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Multiply (B, T, C_in) with (C_out, C_in)."""


def backend_for(x: torch.Tensor) -> Backend:
    """Return the operations for a chunk like x: CPU-optimised ones, or torch's own.

    Other devices and dtypes, compiled and traced graphs and autocast use torch's.
    """
    optimised = (
        x.dtype is torch.float32
        and x.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        and not torch.is_autocast_enabled("cpu")
    )
    return cpu if optimised else reference
