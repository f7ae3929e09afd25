"""Codes that nothing uses: noticed, counted, and started anew where the latents are.

A codebook entry that no latent is nearest to gets no gradient and stays where it is for ever. So the step that used
each entry last is kept, and entries that were idle for long are moved onto latents of the current batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.quantizer import ResidualQuantizer, VectorQuantize

# Restarted entries lie around latents, not on them: two entries in one place would never part.
_JITTER = 0.01


class CodeUse:
    """Which step used each entry of each codebook last.

    Args:
        num_levels: codebooks.
        codebook_size: entries of each.
        device: where codes come from; noting them there makes nobody wait.
    """

    def __init__(
        self, *, num_levels: int, codebook_size: int, device: torch.device | str | None = None
    ) -> None:
        self.last_used = torch.zeros((num_levels, codebook_size), dtype=torch.int64, device=device)

    def observe(self, codes: Sequence[torch.Tensor], *, step: int) -> None:
        """Note the codes (any shape, one tensor a level) of one step."""
        for level, values in enumerate(codes):
            self.last_used[level].index_fill_(0, values.flatten(), step)

    @torch.no_grad()
    def restart(
        self,
        quantizer: ResidualQuantizer,
        projected: Sequence[torch.Tensor],
        *,
        step: int,
        after: int,
        generator: torch.Generator,
    ) -> list[int]:
        """Move every entry that was idle for more than `after` steps to near a latent (B, D, T_k) drawn at random.

        Returns:
            how many entries of each level were moved.
        """
        moved = []
        for level, latents in enumerate(projected):
            idle = (step - self.last_used[level] > after).nonzero()[:, 0]  # (n,), for which the host waits
            moved.append(len(idle))
            if not len(idle):
                continue
            columns = latents.detach().float().cpu().transpose(1, 2).flatten(0, 1)  # (B * T_k, D)
            drawn = columns[torch.randint(len(columns), (len(idle),), generator=generator)]
            spread = columns.std(0, correction=0) * _JITTER
            jitter = torch.randn(drawn.shape, generator=generator) * spread
            codebook = cast("VectorQuantize", quantizer.quantizers[level]).codebook.weight
            codebook[idle] = (drawn + jitter).to(codebook)
            self.last_used[level, idle] = step
        return moved
