"""Clips and streams go on with the weights that they began with, or stop with an error."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from snac_tok.codec.ops.weight_cache import versions, weights_of

if TYPE_CHECKING:
    import torch

    from snac_tok.codec.chunked import ChunkedNetwork
    from snac_tok.codec.folding import Foldable
    from snac_tok.errors import SnacTokError

    Version = tuple[int, ...]


class Unchanged:
    """Notices that a network was moved or trained on while clips or streams were under way.

    One weight stands for all where weights are moved or replaced; where they are written to, each counts.

    Args:
        codec: whose codebooks count, too.
        network: its encoder or decoder.
        error: what is raised.
    """

    def __init__(self, codec: Foldable, network: ChunkedNetwork, error: type[SnacTokError]) -> None:
        self._codec, self._network, self._error = codec, network, error
        self._place: Version = ()
        self._counting: list[torch.Tensor] = []

    def check(self, *begun: Version | None) -> Version:
        """Return the version of the weights, for later checks.

        Args:
            begun: with which version clips or streams began; None for one that begins now.

        Raises:
            SnacTokError: one of them is another; of the kind that was asked for.
        """
        now = self._now(anew=None in begun)
        if any(version not in {None, now} for version in begun):
            raise self._error(
                "the codec was moved, or its weights were changed, in the middle of the clip; "
                "what follows would not join what came before: begin it again."
            )
        return now

    def _now(self, *, anew: bool) -> Version:
        place = versions(itertools.islice(self._network.parameters(), 1))
        if anew or place != self._place:
            weights = weights_of(self._network, self._codec.get_submodule("quantizer"))
            # Those made in inference mode do not count what is written to them.
            self._place, self._counting = place, [each for each in weights if not each.is_inference()]
        # Reading the counters of a hundred weights takes some microseconds; walking through the modules does not.
        return *place, sum([weight._version for weight in self._counting])  # noqa: SLF001
