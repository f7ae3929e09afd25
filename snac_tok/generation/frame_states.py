"""Where in a frame a language model is after an id, and which ids may come next: tables made once from a vocabulary.

    FREE     text before or after speech: anything
    BEGIN    after a start of speech: the first place of a frame
    BORDER   after a whole frame: the first place of another, or an id after speech
    FULL     after the most frames that are wanted: an id after speech
    4, 5, …  inside a frame: its second place, its third, …

Where each slot has ids of its own, the last id alone tells the state, so nothing has to be remembered: that is what
makes batches, beams and resumed prompts one and the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import LayoutError
from snac_tok.frames import Vocabulary, vocabulary_for
from snac_tok.frames.grammar import checked_frame_counts, frame_places, speech_edges
from snac_tok.frames.presets import RELEASED_CODEBOOK_SIZE, SPEECH_STRIDES

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from snac_tok.frames.grammar import EdgeIds
    from snac_tok.streaming.pairing import CodecWithVocabulary

FREE, BEGIN, BORDER, FULL = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameStates:
    """The states of one vocabulary's speech.

    Attributes:
        after: int64 (n + 1,): the state after each id; the last one stands for every id from n on.
        allowed: per state, the runs of ids that may come next; FREE has none, since anything may.
        ids_per_frame: places of a frame.
        tells_place: whether an id alone tells its place. Without it, `after` has BORDER for every id of speech, and
            the place is the number of ids of speech before it.
        min_frames: the fewest frames.
        max_frames: the most, None for any number.
    """

    after: npt.NDArray[np.int64]
    allowed: tuple[tuple[range, ...], ...]
    ids_per_frame: int
    tells_place: bool
    min_frames: int
    max_frames: int | None

    @property
    def counts_frames(self) -> bool:
        """Whether the number of frames decides what may come next, which the last id does not tell."""
        return self.min_frames > 1 or self.max_frames is not None

    @property
    def largest_id(self) -> int:
        """The largest id that is ever allowed."""
        return max(ids[-1] for runs in self.allowed for ids in runs)

    def banned(self, size: int) -> npt.NDArray[np.bool_]:
        """Return for each state which of `size` ids may not come next: bool (states, size)."""
        banned = np.ones((len(self.allowed), size), dtype=np.bool_)
        banned[FREE] = False
        for state, runs in enumerate(self.allowed):
            for ids in runs:
                banned[state, ids.start : ids.stop] = False
        return banned


def frame_states(
    vocabulary: Vocabulary | str | os.PathLike[str] | CodecWithVocabulary,
    *,
    min_frames: int = 1,
    max_frames: int | None = None,
    before_speech: EdgeIds | None = None,
    after_speech: EdgeIds | None = None,
) -> FrameStates:
    """Return the states of a vocabulary's speech.

    Args:
        vocabulary: a table, a preset's name, a .json file, or a `SnacTokenizer`.
        min_frames: as in `Vocabulary.grammar`, and so are the others.
        max_frames: see there.
        before_speech: see there; only the last one is needed here, after which a frame begins.
        after_speech: see there.

    Raises:
        LayoutError: as there, or there is no id that ends speech.

    Example:
        >>> states = frame_states("orpheus")
        >>> states.after[[128257, 128266, 152842, 128258, 5]].tolist()
        [1, 4, 2, 0, 0]
        >>> states.allowed[BORDER]
        (range(128258, 128259), range(128262, 128263), range(128266, 132362))
    """
    table = table_of(vocabulary)
    least, most = checked_frame_counts(min_frames, max_frames)
    places = frame_places(table)
    before, ends = speech_edges(table, before_speech=before_speech, after_speech=after_speech)
    if not ends:
        raise LayoutError(
            f"{table.name!r} has no special that ends speech, so a model held to it would never stop; name the id at "
            "which generation stops: after_speech=[id]."
        )
    closing = [range(end, end + 1) for end in ends]
    border = [places[0], *closing]
    runs = [[], border if least == 0 else places[:1], border, closing, *([place] for place in places[1:])]
    tells_place = all(one.stop <= other.start for one, other in pairwise(sorted(places, key=_start)))
    return FrameStates(
        after=_states_after(places, before[-1:], ends, tells_place=tells_place),
        allowed=tuple(tuple(sorted(ids, key=_start)) for ids in runs),
        ids_per_frame=len(places),
        tells_place=tells_place,
        min_frames=least,
        max_frames=most,
    )


def table_of(vocabulary: Vocabulary | str | os.PathLike[str] | CodecWithVocabulary) -> Vocabulary:
    """Return the table that a door was given: itself, a preset's or a file's, or a tokenizer's.

    Raises:
        LayoutError: no such preset or file.
    """
    found: Any = getattr(vocabulary, "vocabulary", vocabulary)
    return vocabulary_for(found, strides=SPEECH_STRIDES, codebook_size=RELEASED_CODEBOOK_SIZE)


def _start(ids: range) -> int:
    return ids.start


def _states_after(
    places: list[range], starts: tuple[int, ...], ends: tuple[int, ...], *, tells_place: bool
) -> npt.NDArray[np.int64]:
    size = max(*(place.stop for place in places), *(edge + 1 for edge in (*starts, *ends)))
    after = np.full(size + 1, FREE, dtype=np.int64)
    for number, place in enumerate(places, start=1):
        is_last = number == len(places) or not tells_place
        after[place.start : place.stop] = BORDER if is_last else FULL + number
    after[list(starts)] = BEGIN
    return after
