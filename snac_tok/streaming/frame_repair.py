"""Damaged ids in any pieces to ids of whole frames: the one state machine that decoding and streams repair with.

Where ids tell their slots, they tell how the frames go on after a fault. Ids that fit are taken as they come. From
the first one that does not, ids are held until two in a row fit each other; those say where the line goes on, and
the held ones are placed between:

    due        2   3   4   5   6   0        due        2   3   4   5
    came       3   4   5   6                came       3   2   4   5
               └───┴─ 2 is missing                     └───┴─ held, and both are placed when 4 and 5 agree

A frame with all its codes is whole, whatever came with them; of any other the missing codes are taken from the frame
before it ("conceal"), or the frame is left out ("resync"). What comes out depends on the ids alone, not on the
pieces: state changes id by id.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.prompts.edges import edge_ids
from snac_tok.streaming.places import Places
from snac_tok.streaming.repair_report import (
    MOST_LISTED,
    OnError,
    RepairedFault,
    RepairReport,
    checked_on_error,
)
from snac_tok.streaming.resync import Gap, gap_between
from snac_tok.wording import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

    Ids = npt.NDArray[np.int64]

_logger = logging.getLogger(__name__)

# A code that is not known.
_MISSING = -1
# The special ids that end speech, by the names that vocabularies give them.
_ENDS = ("end_of_speech", "eos")
# Ids looked at in one go where all fit.
_BLOCK = 1 << 14
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
    ids: Ids, vocabulary: Vocabulary, *, on_error: OnError = "conceal", drop_partial: bool = False
) -> RepairedIds:
    """Return whole frames of a recording's ids, with its damaged frames left out or concealed.

    Args:
        ids: int64 (n,); special ids may stand around the codes.
        vocabulary: of one line of ids.
        on_error: "resync" leaves damaged frames out, "conceal" keeps the time.
        drop_partial: leave out a last frame that is not whole, instead of repairing it.

    Raises:
        TokenError: parallel rows, or "strict", which repairs nothing.

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
    whole = repair.push(ids)
    rest = repair.end(drop_partial=drop_partial)
    return RepairedIds(ids=np.concatenate((whole, rest)), report=repair.report)


def log_repairs(report: RepairReport, *, name: str = "") -> None:
    """Warn once, for a whole call or stream, of what was repaired."""
    if report:
        _logger.warning("%s%s.", f"stream {name}: " if name else "", report)


class FrameRepair:
    """Takes ids in any pieces and gives ids of whole frames.

    A shallow copy goes on by itself from where it was made: what one holds is replaced, never written into.

    Args:
        vocabulary: of one line of ids.
        on_error: "resync" or "conceal".

    Attributes:
        report: what was found and done so far.

    Raises:
        TokenError: parallel rows, whose ids cannot slip, or another word.
    """

    def __init__(self, vocabulary: Vocabulary, on_error: OnError) -> None:
        if checked_on_error(on_error) == "strict":
            raise TokenError('on_error is "strict", which repairs nothing; "resync" and "conceal" do.')
        if vocabulary.is_parallel:
            raise TokenError(
                f"the ids of {vocabulary.name!r} are parallel rows, which are not repaired; decode them with "
                'on_error="strict".'
            )
        self.vocabulary, self.on_error = vocabulary, on_error
        self._places = Places(vocabulary)
        self._edges = frozenset(edge_ids(vocabulary).tolist())
        self._ends = [vocabulary.specials[name] for name in _ENDS if name in vocabulary.specials]
        self.report = RepairReport(is_counted=not self._places.some_differ)
        self._position = 0  # of the next id
        self._frame = 0  # the number of the first frame in _open
        self._open: list[int] = []  # codes of frames that are not whole, separators as 0
        self._again: list[int | None] = []  # codes that come a second time; None for those of frames given out
        self._held: list[int] = []
        self._num_dropped = 0  # ids that were held for too long
        self._last: Ids | None = None  # the codes of the last frame given out
        self._waiting: list[Ids] = []  # damaged frames in front of the first whole one
        self._has_begun = self._has_ended = False
        self._late = 0  # ids after the end of speech

    @property
    def is_between_frames(self) -> bool:
        """Whether the last id completed a frame."""
        return not (self._open or self._held)

    def push(self, line: Ids) -> Ids:
        """Take the next ids (n,) and return ids of the frames that are whole now."""
        self._open, self._held, self._again = list(self._open), list(self._held), list(self._again)
        found, at = [], 0
        while at < len(line) and not self._has_ended:
            taken = 0 if self._held or self._again else self._take_fitting(line[at : at + _BLOCK])
            at += taken
            if not taken:
                self._take(int(line[at]))
                at += 1
            found.append(self._whole_frames())
        self._leave_out_late(line[at:])
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def end(self, *, drop_partial: bool = False) -> Ids:
        """End the line and return ids of the frames that are left.

        Args:
            drop_partial: leave out a last frame that is not whole, instead of repairing it.
        """
        self._open, self._held, self._again = list(self._open), list(self._held), list(self._again)
        # What a model writes behind the speech, padding above all, is no fault of it.
        while self._held and self._held[-1] in self._edges:
            self._held.pop()
        held = len(self._held)
        if held or self._place:
            gap = gap_between(self._places, self._place, self._held, due=0)
            self._write_gap(gap, position=self._position - held, partial=not gap.strays)
        if drop_partial and _MISSING in self._open:
            self._lose(1)
            self._open = []
        found = self._whole_frames()
        if self._late:
            self._note(f"{counted(self._late, 'id')} after the end of speech", left_out=self._late)
        if self._waiting:
            self._lose(len(self._waiting), first=self._frame - len(self._waiting))
            self._waiting = []
        return found

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
        places = self._places.of(token_id)
        if not places and token_id in self._ends and (self._has_begun or self._held_codes()):
            self._has_ended = True
        elif not places and token_id in self._edges and not self._has_begun and not self._held:
            pass  # in front of the speech
        elif not self._held and self._place in places:
            self._write(token_id)
        else:
            self._held.append(token_id)
            self._resync()

    def _held_codes(self) -> bool:
        return any(self._places.of(token_id) for token_id in self._held)

    def _resync(self) -> None:
        """Go on from the last two held ids if they fit each other, from the last one where places are counted."""
        last = self._places.of(self._held[-1])
        if self.report.is_counted:
            if last:
                strays = self._held[:-1] if self._has_begun else []
                self._go_on(Gap(length=len(strays), strays=tuple(strays), placed={}), num_ids=1)
            return
        due = self._places.of(self._held[-2]) if len(self._held) > 1 else ()
        if len(due) == 1 and (due[0] + 1) % len(self._places) in last:
            before = self._given()
            self._go_on(
                gap_between(
                    self._places, self._place, self._held[:-2], due=due[0], before=before, again=self._held[-2:]
                ),
                num_ids=2,
            )
        elif len(self._held) > _FRAMES_HELD * len(self._places):
            half = len(self._held) // 2
            self._num_dropped += half
            self._held = self._held[half:]

    def _given(self) -> list[int]:
        """Return the codes that may come again: of the unfinished frame and of the one before."""
        last = [] if self._last is None else self._last.tolist()
        return last + self._open if not self._again else []

    def _go_on(self, gap: Gap, *, num_ids: int) -> None:
        going_on, num_held = self._held[-num_ids:], len(self._held)
        self._write_gap(gap, position=self._position - num_held - self._num_dropped)
        self._held, self._num_dropped = [], 0
        for token_id in going_on:
            self._write(token_id)

    def _write_gap(self, gap: Gap, *, position: int, partial: bool = False) -> None:
        """Fill what lies between the ids that fit and the ids from which the line goes on."""
        left_out = len(gap.strays) + self._num_dropped
        self._note(
            gap.reason(self.vocabulary, dropped=self._num_dropped, partial=partial),
            position=position,
            left_out=left_out,
        )
        if gap.length < 0:
            self._step_back(-gap.length)
        elif not self._places.all_differ and self._place and gap.length:
            # A code that came too early stands in another's place, and nothing tells which.
            self._forget_frame()
        for at in range(gap.length):
            self._write_code(gap.placed.get(at, _MISSING))

    def _forget_frame(self) -> None:
        begin = len(self._open) - self._place
        self._open[begin:] = [_MISSING] * self._place

    def _step_back(self, count: int) -> None:
        back = 0 if None in self._again else min(count, len(self._open))
        self._again = [None] * (count - back) + self._open[len(self._open) - back :] + self._again
        self._open = self._open[: len(self._open) - back]

    def _write(self, token_id: int) -> None:
        self._has_begun = True
        self._write_code(token_id - int(self._places.first[self._place]))

    def _write_code(self, code: int) -> None:
        if not self._again:
            self._open.append(code)
            return
        old = self._again.pop(0)
        if old is not None:
            # Two codes for one slot: nothing tells which is right.
            self._open.append(code if old in (code, _MISSING) else _MISSING)

    def _whole_frames(self) -> Ids:
        """Return ids of the open frames that are whole, repaired."""
        size = len(self._places)
        count = 0 if self._again else len(self._open) // size
        if not count:
            return np.zeros(0, np.int64)
        frames = np.array(self._open[: count * size], dtype=np.int64).reshape(count, size)
        self._open = self._open[count * size :]
        frames[:, : self._places.num_marks] = 0
        damaged = (frames < 0).any(axis=1)
        if damaged.any() or self._waiting:
            frames = self._concealed(frames) if self.on_error == "conceal" else self._without(frames, damaged)
        self._frame += count
        if len(frames):
            self._last = frames[-1]
            self.report = replace(self.report, num_frames=self.report.num_frames + len(frames))
        ids: Ids = (frames + self._places.first).reshape(-1)
        return ids

    def _without(self, frames: Ids, damaged: npt.NDArray[np.bool_]) -> Ids:
        for at in np.flatnonzero(damaged).tolist():
            self._lose(1, first=self._frame + at)
        return frames[~damaged]

    def _concealed(self, frames: Ids) -> Ids:
        """Fill missing codes from the frame before; those in front of the first whole frame, from that one."""
        found, last, waiting = [], self._last, [*self._waiting]
        for at, frame in enumerate(frames, self._frame - len(waiting)):
            del at
            is_whole = bool((frame >= 0).all())
            if last is None and not is_whole:
                waiting.append(frame)
                continue
            for early in waiting:
                found.append(np.where(early < 0, frame, early))
            waiting = []
            found.append(frame if is_whole else np.where(frame < 0, last, frame))
            last = found[-1]
        self._waiting = waiting
        return np.array(found, dtype=np.int64).reshape(-1, frames.shape[1])

    def _note(self, reason: str, *, left_out: int = 0, position: int | None = None) -> None:
        fault = RepairedFault(
            position=self._position if position is None else position,
            frame=self._frame + len(self._open) // len(self._places),
            reason=reason,
        )
        report = self.report
        self.report = replace(
            report,
            num_faults=report.num_faults + 1,
            num_ids_left_out=report.num_ids_left_out + left_out,
            faults=(*report.faults, fault) if len(report.faults) < MOST_LISTED else report.faults,
        )

    def _lose(self, count: int, *, first: int | None = None) -> None:
        first = self._frame if first is None else first
        report = self.report
        lost = (*report.lost, *range(first, first + count))[:MOST_LISTED]
        self.report = replace(report, num_lost=report.num_lost + count, lost=lost)

    def _leave_out_late(self, line: Ids) -> None:
        """Count what follows the end of speech, special ids apart."""
        self._position += len(line)
        self._late += sum(token_id not in self._edges for token_id in line.tolist())
