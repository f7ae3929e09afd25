"""What the layers of a network keep between two chunks of a clip, so that chunks join without a seam.

A chunk may have any length. Each convolution sees its input continued, not cut: zeros stand only before the
clip's true start and after its true end, at every layer, as they do when the whole clip is run at once. The
outputs are therefore those of the whole clip, each computed once, as soon as all of its context is there:

    chunk 1          |aaaaaaaaaaaa|
    chunk 2                  tail>|bbbbbbbbbbbb|
    conv input  zeros|aaaaaaaaaaaa|
                           |aaaaaa|bbbbbbbbbbbb|               tail of a, then b
                                         |bbbbb|zeros          at the end of the clip
    output           |AAAAAAAAA|BBBBBBBBBBBB|BBB|              lags by the padding until the end

Long clips, streams and many streams at once run this way; memory does not grow with the clip.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


@dataclass
class StreamState:
    """What the layers of one network keep between chunks, in the order in which they run.

    Attributes:
        kept: per stateful layer, the end of its input (B, C, n); None before its first input.
        positions: per noise block, the absolute position of its next output.
    """

    kept: list[torch.Tensor | None] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def read(self, slot: int) -> torch.Tensor | None:
        """Return what a layer has kept; layers ask in their order."""
        self.kept += [None] * (slot + 1 - len(self.kept))
        return self.kept[slot]

    def write(self, slot: int, kept: torch.Tensor | None) -> None:
        """Keep this for the layer's next chunk."""
        self.kept[slot] = kept

    def advance(self, noise_block: int, length: int) -> int:
        """Return the position of a noise block's next output, and count `length` outputs."""
        if noise_block == len(self.positions):
            self.positions.append(0)
        self.positions[noise_block] += length
        return self.positions[noise_block] - length

    def advance_all(self, lengths: Sequence[int]) -> None:
        """Count the outputs of all noise blocks."""
        before = self.positions or [0] * len(lengths)
        self.positions = [position + length for position, length in zip(before, lengths, strict=True)]

    def fork(self) -> StreamState:
        """Return an independent continuation; cheap, because kept tensors are replaced and never written to."""
        return StreamState(kept=copy.copy(self.kept), positions=copy.copy(self.positions))

    def signature(self) -> tuple[int, ...]:
        """Return the lengths of what is kept: clips of one signature can be advanced in one call."""
        return tuple(-1 if kept is None else kept.shape[-1] for kept in self.kept)


def rows_like(kept: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Return zeros (num_rows, C, n) of the dtype and the order in memory of (B, C, n)."""
    _, channels, length = kept.shape
    if kept.stride(1) == 1:  # channels last, as layers keep it
        return kept.new_zeros((num_rows, length, channels)).transpose(1, 2)
    return kept.new_zeros((num_rows, channels, length))
