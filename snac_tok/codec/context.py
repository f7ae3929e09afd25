"""What one chunk carries through the layers: the clip's state, the operations to use, noise, where rows end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from snac_tok.codec.ops.backend import backend_for, kernels_for
from snac_tok.codec.transfers import to_device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.noise import NoiseSource
    from snac_tok.codec.ops.reference import Precision
    from snac_tok.codec.state import StreamState


class StepContext:
    """One chunk's way through the layers; the `step` of every layer takes it.

    Args:
        x: the chunk (B, C, n), as it enters the network.
        state: the clip's; a new `StreamState()` for a new clip.
        last: whether the clip ends with this chunk.
        noise: what noise blocks add; None for nothing.
        valid: where rows are clips of several lengths: how many of the n each row really has.
        precision: of float32 products on a GPU.
    """

    __slots__ = ("_noise_block", "_row_ends", "_slot", "kernels", "last", "noise", "ops", "state")

    def __init__(
        self,
        x: torch.Tensor,
        state: StreamState,
        *,
        last: bool,
        noise: NoiseSource | None = None,
        valid: Sequence[int] | None = None,
        precision: Precision = "fp32",
    ) -> None:
        self.state = state
        self.last = last
        self.noise = noise
        self.kernels = kernels_for(x, precision)
        self.ops = self.kernels or backend_for(x)
        self._row_ends = None if valid is None else RowEnds(x, valid)
        self._slot = self._noise_block = 0

    def next_slot(self) -> int:
        """Return the place in the state of the stateful layer that runs next."""
        self._slot += 1
        return self._slot - 1

    def next_noise_block(self) -> int:
        """Return the number of the noise block that runs next."""
        self._noise_block += 1
        return self._noise_block - 1

    def row_ends(self, length: int) -> torch.Tensor | None:
        """Return where each row ends (B,) int32 in a layer whose input has this length; None if all end with it."""
        return None if self._row_ends is None else self._row_ends.at(length)

    def mask_padding(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (B, C, n) with zeros behind the end of each row."""
        return x if self._row_ends is None else self._row_ends.mask_padding(x)


class RowEnds:
    """Where each row of a padded batch ends, at whatever rate a layer runs."""

    def __init__(self, x: torch.Tensor, valid: Sequence[int]) -> None:
        self.total = x.shape[-1]
        self.valid = to_device(torch.tensor(valid, device="cpu"), x.device)[:, None, None]  # (B, 1, 1)
        self._at: dict[int, torch.Tensor] = {}

    def at(self, length: int) -> torch.Tensor:
        """Return the ends (B,) int32 in a layer whose input has this length."""
        if length not in self._at:
            self._at[length] = (self.valid[:, 0, 0] * length // self.total).to(torch.int32)
        return self._at[length]

    def mask_padding(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (B, C, n) with zeros behind the end of each row."""
        behind = torch.arange(x.shape[-1], device=x.device) >= self.valid * x.shape[-1] // self.total
        return x.masked_fill(behind, 0.0)
