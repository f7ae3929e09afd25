"""Damaged ids in any pieces to ids of whole frames: the one state machine that decoding and streams repair with.

Where ids tell their slots, they tell how the frames go on after a fault. Ids that fit are taken as they come. From
the first one that does not, ids are held until two in a row fit each other; those say where the line goes on, and
the held ones are placed between:

    due        2   3   4   5   6   0        due        2   3   4   5
    came       3   4   5   6                came       3   2   4   5
               └───┴─ 2 is missing                     └───┴─ held, and both are placed when 4 and 5 agree

Frames with missing codes are then mended (`FrameMender`). What comes out depends on the ids alone, not on the pieces.
Two codes fit each other, too, where ids without a place stand between them.
A special id between codes is one that does not belong there, the end of speech too: codes that go on behind it show
that the speech had not ended.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.prompts.edges import edge_ids
from snac_tok.prompts.prompt_format import as_line, check_is_vocabulary
from snac_tok.streaming.mending import MISSING, FrameMender
from snac_tok.streaming.places import Places
from snac_tok.streaming.repair_report import OnError, RepairedFault, RepairReport, checked_on_error
from snac_tok.streaming.resync import Gap, gap_between

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.streaming.mending import Mended

    Ids = npt.NDArray[np.int64]

# How many ids are looked at in one go behind a fault; twice as many each time all fit.
_FIRST_SPAN = 256
# Frames of ids that are held at most while no two of them fit each other.
_FRAMES_HELD = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class RepairedIds:
    """Ids without faults, and what was done to them.

    Attributes:
        ids: int64 (n,), whole frames, which every strict decoder takes.
        report: faults, lost and concealed frames.
    """

    ids: Ids
    report: RepairReport


def repair_ids(
    ids: Any, vocabulary: Vocabulary, *, on_error: OnError = "conceal", drop_partial: bool = False
) -> RepairedIds:
    """Return whole frames of a recording's ids, with its damaged frames left out or concealed.

    Args:
        ids: integers (n,); special ids may stand around the codes.
        vocabulary: of one line of ids.
        on_error: "resync" leaves damaged frames out, "conceal" keeps the time.
        drop_partial: leave out a last frame that is not whole, instead of repairing it.

    Raises:
        TokenError: parallel rows, "strict", which repairs nothing, or what is no line of integers.
        LayoutError: what is no vocabulary.

    Example:
        >>> from snac_tok.frames import preset
        >>> table = preset("orpheus")
        >>> ids = table.encode([[5, 6], [1, 2, 3, 4], [*range(8)]])
        >>> found = repair_ids(np.delete(ids, 9), table)
        >>> [level.tolist() for level in table.decode(found.ids)]
        [[5, 6], [1, 2, 3, 4], [0, 1, 2, 3, 0, 5, 6, 7]]
        >>> found.report.concealed
        (1,)
    """
    repair = FrameRepair(vocabulary, on_error)
    whole = repair.push(as_line(ids, what="the ids"))
    rest = repair.end(drop_partial=drop_partial)
    return RepairedIds(ids=np.concatenate((whole, rest)), report=repair.report)


class FrameRepair:
    """Takes ids in any pieces and gives ids of whole frames.

    A shallow copy goes on by itself from where it was made.

    Args:
        vocabulary: of one line of ids.
        on_error: "resync" or "conceal".

    Attributes:
        report: what was found and done so far.

    Raises:
        TokenError: parallel rows, whose ids cannot slip, or another word.
        LayoutError: what is no vocabulary.
    """

    def __init__(self, vocabulary: Vocabulary, on_error: OnError) -> None:
        if checked_on_error(on_error) == "strict":
            raise TokenError('on_error is "strict", which repairs nothing; "resync" and "conceal" do.')
        check_is_vocabulary(vocabulary)
        if vocabulary.is_parallel:
            raise TokenError(
                f"the ids of {vocabulary.name!r} are parallel rows, which are not repaired: decode them as they are."
            )
        self.vocabulary = vocabulary
        self._places = Places(vocabulary)
        self._mender = FrameMender(len(self._places), conceal=on_error == "conceal")
        self._edges = frozenset(edge_ids(vocabulary).tolist())
        self.report = RepairReport(is_counted=not self._places.some_differ)
        self._position = 0  # of the next id
        self._open: list[int] = []  # codes of the frame that is not whole, separators as 0
        self._again: list[int | None] = []  # codes that come again; None for those of frames given out
        self._held: list[int] = []
        self._num_dropped = 0  # ids that were held for too long
        self._has_begun = False

    @property
    def is_between_frames(self) -> bool:
        """Whether the last id completed a frame."""
        return not (self._open or self._held)

    def push(self, line: Ids) -> Ids:
        """Take the next ids (n,) and return ids of the frames that are whole now."""
        self._detach()
        found, at, span = [], 0, _FIRST_SPAN
        while at < len(line):
            taken = 0 if self._held or self._again else self._take_fitting(line[at : at + span])
            span = 2 * span if taken == span else _FIRST_SPAN
            if not taken:
                self._take(int(line[at]))
            at += taken or 1
            if len(self._open) >= len(self._places):
                found.append(self._whole_frames())
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def end(self, *, drop_partial: bool = False) -> Ids:
        """End the line and return ids of the frames that are left.

        Args:
            drop_partial: leave out a last frame that is not whole, instead of repairing it.
        """
        self._detach()
        # What came a second time ended before it had all come.
        self._open += [code for code in self._again if code is not None]
        self._again = []
        # What a model writes behind the speech, padding above all, is no fault of it.
        while self._held and self._held[-1] in self._edges:
            self._held.pop()
        held = len(self._held)
        if held or self._place or self._num_dropped:
            self._write_gap(gap_between(self._places, self._place, self._held, due=0), num_held=held)
            self._held, self._num_dropped = [], 0
        size = len(self._places)
        is_cut = drop_partial and MISSING in self._open[-size:]
        if is_cut:
            del self._open[-size:]
        frames = self._whole_frames()
        self._note_frames(self._mender.end())
        if is_cut:
            self.report = self.report.with_frames(0, lost=[self._mender.next])
        return frames

    def _detach(self) -> None:
        """Take lists of one's own, for a copy may hold the same."""
        self._open, self._held, self._again = [*self._open], [*self._held], [*self._again]
        self._mender = copy.copy(self._mender)

    @property
    def _place(self) -> int:
        """The place that is due."""
        return (len(self._open) - self._again.count(None)) % len(self._places)

    def _take_fitting(self, line: Ids) -> int:
        """Take ids up to the first one that does not fit; return how many."""
        codes, fits = self._places.codes(line, self._place)
        taken = len(line) if fits.all() else int(fits.argmin())
        self._open += codes[:taken].tolist()
        self._position += taken
        self._has_begun |= taken > 0
        return taken

    def _take(self, token_id: int) -> None:
        """Take one id: where it does not fit, hold it until it is clear how the line goes on."""
        self._position += 1
        if token_id in self._edges and not (self._has_begun or self._held):
            return  # in front of the speech
        if not self._held and self._place in self._places.of(token_id):
            self._write(token_id)
            return
        self._held.append(token_id)
        self._go_on()
        if len(self._held) > _FRAMES_HELD * len(self._places):
            self._drop_half()

    def _go_on(self) -> None:
        """Go on from the last two held ids if they fit each other, from the last one where places are counted."""
        last = self._places.of(self._held[-1])
        if self.report.is_counted:
            if last:
                strays = tuple(self._held[:-1])
                length = len(strays) if self._has_begun else 0
                self._fill(Gap(length=length, strays=strays, placed={}), going_on=self._held[-1:])
            return
        # Ids without a place may stand between the two.
        at = next((at for at in range(len(self._held) - 2, -1, -1) if self._places.of(self._held[at])), None)
        due = self._places.of(self._held[at]) if last and at is not None else ()
        if len(due) == 1 and (due[0] + 1) % len(self._places) in last:
            held, (again, *between, latest) = self._held[:at], self._held[at:]
            gap = gap_between(
                self._places, self._place, held, due=due[0], before=self._given(), again=(again, latest)
            )
            self._fill(replace(gap, strays=(*gap.strays, *between)), going_on=(again, latest))

    def _drop_half(self) -> None:
        """Give up the older half of the held ids."""
        half = len(self._held) // 2
        self._num_dropped += sum(token_id not in self._edges for token_id in self._held[:half])
        self._held = self._held[half:]

    def _given(self) -> list[int]:
        """Return the codes that may come again: of the unfinished frame and of the one before."""
        last = [] if self._mender.last is None else self._mender.last.tolist()
        return [] if self._again else last + self._open

    def _fill(self, gap: Gap, *, going_on: Iterable[int]) -> None:
        self._write_gap(gap, num_held=len(self._held))
        self._held, self._num_dropped = [], 0
        for token_id in going_on:
            self._write(token_id)

    def _write_gap(self, gap: Gap, *, num_held: int) -> None:
        """Fill what lies between the ids that fit and the ids from which the line goes on."""
        fault = RepairedFault(
            position=self._position - num_held - self._num_dropped,
            frame=self._mender.next + len(self._open) // len(self._places),
            reason=gap.reason(self.vocabulary, dropped=self._num_dropped),
        )
        self.report = self.report.with_fault(
            fault, num_ids_left_out=len(gap.strays) + max(-gap.length, 0) + self._num_dropped
        )
        if gap.length < 0:
            self._step_back(-gap.length)
        elif not self._places.all_differ and self._place and gap.length:
            # A code that came too early stands in another's place, and nothing tells which.
            begin = max(len(self._open) - self._place, 0)
            self._open[begin:] = [MISSING] * self._place
        for at in range(gap.length):
            self._write_code(gap.placed.get(at, MISSING))

    def _step_back(self, count: int) -> None:
        """Take the last codes again; `_given` sees to it that none are being taken again already."""
        kept = max(len(self._open) - count, 0)
        self._again = [None] * (count - len(self._open)) + self._open[kept:]
        self._open = self._open[:kept]

    def _write(self, token_id: int) -> None:
        self._has_begun = True
        self._write_code(token_id - int(self._places.first[self._place]))

    def _write_code(self, code: int) -> None:
        if not self._again:
            self._open.append(code)
            return
        old = self._again.pop(0)
        if old is not None:
            self._open.append(_agreed(old, code))

    def _whole_frames(self) -> Ids:
        """Return ids of the open frames that are whole, mended."""
        size = len(self._places)
        count = 0 if self._again else len(self._open) // size
        frames = np.array(self._open[: count * size], dtype=np.int64).reshape(count, size)
        self._open = self._open[count * size :]
        frames[:, : self._places.num_marks] = 0
        mended = self._mender.push(frames)
        self._note_frames(mended)
        ids: Ids = (mended.frames + self._places.first).reshape(-1)
        return ids

    def _note_frames(self, mended: Mended) -> None:
        self.report = self.report.with_frames(
            len(mended.frames), lost=mended.lost, concealed=mended.concealed
        )


def _agreed(old: int, new: int) -> int:
    """Return the code of a slot that came twice: of two different ones nothing tells which is right."""
    if MISSING in (old, new):
        return max(old, new)
    return old if old == new else MISSING
