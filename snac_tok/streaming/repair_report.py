"""What a repair of ids found and did: a report that programs read, and one sentence for people."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OnError: TypeAlias = Literal["strict", "resync", "conceal"]

# A stream may run for days: faults and frames behind the first thousand are counted, not listed.
MOST_LISTED = 1000
# How many rows of a batch a warning names.
_ROWS_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class RepairedFault:
    """One place where ids were not what they must be.

    Attributes:
        position: of the first wrong id among all ids that came; of the first id behind what is missing.
        frame: in which frame, counted from 0 with lost ones.
        reason: what was found, as half a sentence.
    """

    position: int
    frame: int
    reason: str

    def __str__(self) -> str:
        return f"position {self.position}, frame {self.frame}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class RepairReport:
    """What a repair found and did. Frames are numbered from 0, lost ones included.

    Attributes:
        num_frames: frames that sound, concealed ones included.
        num_faults: places where ids were wrong.
        num_lost: frames left out.
        num_concealed: frames in which codes of a neighbour stand in place of missing ones.
        num_ids_left_out: ids that belong to no frame.
        faults: the first of the faults.
        lost: the first of the frames left out.
        concealed: the first of the concealed frames.
        is_counted: whether no id of the table tells its slot: slots were counted, and lost or doubled ids cannot be
            noticed.

    Example:
        >>> print(RepairReport(num_frames=9, num_faults=1, num_concealed=1, concealed=(3,)))
        1 fault among the ids: 1 of 9 frames concealed
    """

    num_frames: int = 0
    num_faults: int = 0
    num_lost: int = 0
    num_concealed: int = 0
    num_ids_left_out: int = 0
    faults: tuple[RepairedFault, ...] = ()
    lost: tuple[int, ...] = ()
    concealed: tuple[int, ...] = ()
    is_counted: bool = False

    def __bool__(self) -> bool:
        """Whether there is something to say."""
        return self.num_faults > 0 or self.is_counted

    def __str__(self) -> str:
        done = []
        if self.num_concealed:
            done.append(f"{self.num_concealed:,} of {counted(self.num_frames, 'frame')} concealed")
        if self.num_lost:
            done.append(f"{counted(self.num_lost, 'frame')} lost")
        if self.num_ids_left_out:
            done.append(f"{counted(self.num_ids_left_out, 'id')} left out")
        found = f"{counted(self.num_faults, 'fault')} among the ids"
        sentence = f"{found}: {', '.join(done)}" if done else found
        if self.faults:
            sentence += f"; the first at {self.faults[0]}"
        if self.is_counted:
            sentence += "; these ids do not tell their slots, so lost or doubled ids cannot be noticed"
        return sentence

    def with_fault(self, fault: RepairedFault, *, num_ids_left_out: int) -> RepairReport:
        """Return the report with one fault more."""
        return replace(
            self,
            num_faults=self.num_faults + 1,
            num_ids_left_out=self.num_ids_left_out + num_ids_left_out,
            faults=(*self.faults, fault) if len(self.faults) < MOST_LISTED else self.faults,
        )

    def with_frames(
        self, num_frames: int, *, lost: Sequence[int] = (), concealed: Sequence[int] = ()
    ) -> RepairReport:
        """Return the report with more frames that sound, and the numbers of those lost and concealed."""
        return replace(
            self,
            num_frames=self.num_frames + num_frames,
            num_lost=self.num_lost + len(lost),
            num_concealed=self.num_concealed + len(concealed),
            lost=(*self.lost, *lost)[:MOST_LISTED],
            concealed=(*self.concealed, *concealed)[:MOST_LISTED],
        )


def warn_of_repairs(reports: Mapping[str, RepairReport]) -> None:
    """Warn once of what was repaired, for a whole call or stream.

    Args:
        reports: by the name of the row or stream, "" where there is but one.
    """
    said = [f"{name}: {report}" if name else str(report) for name, report in reports.items() if report]
    if not said:
        return
    more = len(said) - _ROWS_NAMED
    sentences = ". ".join(said[:_ROWS_NAMED]) + (f". {more} more repaired" if more > 0 else "")
    warnings.warn(f"{sentences}.", LostSpeechWarning, stacklevel=3)


def checked_on_error(on_error: OnError) -> OnError:
    """Return the option if it is one of the three words.

    Raises:
        TokenError: it is not.
    """
    if on_error not in get_args(OnError):
        raise TokenError(f'on_error is {on_error!r}; it must be "strict", "resync" or "conceal".')
    return on_error
