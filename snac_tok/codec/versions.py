"""Telling whether weights are still what something was derived from: folded, arranged or compiled weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch


def versions(weights: Iterable[torch.Tensor]) -> tuple[int, ...]:
    """Return what changes whenever one of these is replaced, moved or written to in place; `.data` hides a write."""
    # Inference tensors cannot be written to outside inference mode and keep no counter.
    return tuple(
        value
        for weight in weights
        for value in (weight.data_ptr(), 0 if weight.is_inference() else weight._version)  # noqa: SLF001
    )
