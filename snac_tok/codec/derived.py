"""What is derived from weights once: folded, arranged or compiled ones, and how to tell that they are out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch


class Deriving(nn.Module):
    """A layer that derives something from its weights and keeps it."""

    def fold(self) -> None:
        """Derive what can be derived now; nothing happens where that is up to date."""

    def unfold(self) -> None:
        """Forget what was derived."""


def versions(weights: Iterable[torch.Tensor]) -> tuple[int, ...]:
    """Return what changes whenever one of these is replaced, moved or written to in place; `.data` hides a write."""
    # Inference tensors cannot be written to outside inference mode and keep no counter.
    return tuple(
        value
        for weight in weights
        for value in (weight.data_ptr(), 0 if weight.is_inference() else weight._version)  # noqa: SLF001
    )
