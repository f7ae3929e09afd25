"""The places of a frame: which ids stand in each, and what an id alone tells about its place."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

    Ids = npt.NDArray[np.int64]


class Places:
    """The slots of a frame in order, behind the separator where there is one.

    Args:
        vocabulary: of one line of ids.

    Attributes:
        first: the first id of each place.
        width: how many ids each place takes.

    Example:
        >>> from snac_tok.frames import preset
        >>> places = Places(preset("orpheus"))
        >>> places.of(132362), places.of(7), places.all_differ
        ((1,), (), True)
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        ranges = [vocabulary.id_range(slot) for slot in range(vocabulary.layout.slots_per_frame)]
        self.num_marks = int(vocabulary.separator is not None)
        if vocabulary.separator is not None:
            separator = vocabulary.specials[vocabulary.separator]
            ranges.insert(0, range(separator, separator + 1))
        self._ranges = ranges
        self.first: Ids = np.array([ids.start for ids in ranges], dtype=np.int64)
        self.width = np.array([len(ids) for ids in ranges], dtype=np.uint64)

    def __len__(self) -> int:
        return len(self.first)

    def codes(self, line: Ids, start: int) -> tuple[Ids, npt.NDArray[np.bool_]]:
        """Return the codes of ids (n,) that follow from a place on, and which of them belong there."""
        at = np.arange(start, start + len(line)) % len(self.first)
        codes: Ids = line - self.first[at]
        # Read as unsigned, a negative number is a huge one.
        return codes, codes.view(np.uint64) < self.width[at]

    def of(self, token_id: int) -> tuple[int, ...]:
        """Return every place an id can stand in: one with offsets per slot, none for what is no code."""
        # In Python's integers: of an id near the end of int64 the difference would not fit.
        return tuple(place for place, ids in enumerate(self._ranges) if token_id in ids)

    @cached_property
    def all_differ(self) -> bool:
        """Whether every id tells its place."""
        return all(len(self.of(first)) == 1 for first in self.first.tolist())

    @cached_property
    def some_differ(self) -> bool:
        """Whether there are ids that tell their place: without them only counting is left."""
        return any(len(self.of(first)) == 1 for first in self.first.tolist())
