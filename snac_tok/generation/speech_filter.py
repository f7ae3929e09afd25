"""Of the ids that a language model writes, those of its speech, as they come.

prompt, text …  SOA SOS | codes … | EOS EOA, pads, text …
                        |  kept   |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import as_int64
from snac_tok.frames.grammar import frame_places, speech_edges
from snac_tok.generation.token_source import integer_line

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.frames.grammar import EdgeIds

    Ids = npt.NDArray[np.int64]


class SpeechFilter:
    """Lets the ids between the start and the end of speech through.

    Speech begins after the first start of speech, or with the first id of a frame where the start stood in the prompt
    and was not handed on. It ends at the first id that may stand after speech; what follows is left out. It does not
    judge the ids in between: a decoder does. Ids may come in pieces of any size: the same ids are let through.

    Attributes:
        num_seen: ids taken.
        started: whether speech has begun.
        ended: whether an end of speech came.

    Example:
        >>> from snac_tok.frames import preset
        >>> speech = SpeechFilter(preset("orpheus"))
        >>> speech.take([9906, 128261, 128257, 128266]).tolist(), speech.take([132362, 128258, 5]).tolist()
        ([128266], [132362])
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        before_speech: EdgeIds | None = None,
        after_speech: EdgeIds | None = None,
    ) -> None:
        before, after = speech_edges(vocabulary, before_speech=before_speech, after_speech=after_speech)
        self.vocabulary = vocabulary
        self.num_seen = 0
        self.started = False
        self.ended = False
        self._is_behind_starts = False
        self._starts = np.array(before[-1:], dtype=np.int64)
        self._ends = np.array(after, dtype=np.int64)
        self._places = [(place.start, place.stop) for place in frame_places(vocabulary)]

    def take_prompt(self, ids: Any) -> Ids:
        """Take what the model is given and return the ids of speech that it goes on with: those of a speech not ended.

        Speech that came to its end (a voice to go on with) is none of the answer, and neither is text.
        """
        line = self._line(ids)
        starts = np.flatnonzero(np.isin(line, self._starts))
        if not starts.size:
            return line[:0]
        speech = line[starts[-1] + 1 :]
        if np.isin(speech, self._ends).any():
            return speech[:0]
        self.started = True
        return speech

    def take(self, ids: Any) -> Ids:
        """Take the next ids and return those of them that are speech.

        Raises:
            TokenError: it is not a line of integers, or one is beyond int64.
        """
        line = self._line(ids)
        if self.ended:
            return line[:0]
        if not self.started:
            line = self._from_start(line)
        if self.started and not self._is_behind_starts:
            line = self._behind_starts(line)
        ends = np.flatnonzero(np.isin(line, self._ends))
        if not self.started or not ends.size:
            return line
        self.ended = True
        return line[: ends[0]]

    def _line(self, ids: Any) -> Ids:
        line = integer_line(ids)
        numbers = as_int64(line, error=TokenError)
        self.num_seen += line.size
        return numbers

    def _from_start(self, line: Ids) -> Ids:
        """Return the ids from the first start or the first id of a frame, whichever comes first."""
        is_start = np.isin(line, self._starts)
        is_in_frame = np.any([(line >= first) & (line < stop) for first, stop in self._places], axis=0)
        begins = np.flatnonzero(is_start | is_in_frame)
        self.started = bool(begins.size)
        return line[begins[0] :] if begins.size else line[:0]

    def _behind_starts(self, line: Ids) -> Ids:
        """Return the ids behind the starts with which speech begins: some models write several."""
        others = np.flatnonzero(~np.isin(line, self._starts))
        self._is_behind_starts = bool(others.size)
        return line[others[0] :] if others.size else line[:0]
