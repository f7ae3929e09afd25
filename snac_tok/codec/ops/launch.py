"""How a Triton kernel is started on tensors of any device, and what it writes to."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


def launch(kernel: Any, grid: tuple[int, ...], *values: Any, **constants: Any) -> None:
    """Run a kernel on its tensors' device, which need not be the current one."""
    if not all(grid):
        return
    device = values[0].device
    place: AbstractContextManager[object] = (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext()
    )
    with place:
        kernel[grid](*values, **constants)


def new_rows(rows: torch.Tensor, length: int, width: int | None = None) -> torch.Tensor:
    """Return a new (B, length, width) for any values; as wide as the rows if not said."""
    return rows.new_empty((rows.shape[0], length, width or rows.shape[2]))
