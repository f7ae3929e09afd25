"""What the repair of ids found and did: a report that programs read, and one sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from snac_tok.errors import TokenError
from snac_tok.wording import counted

OnError: TypeAlias = Literal["strict", "resync", "conceal"]

# A stream may run for days; counts go on behind this many listed faults and frames.
MOST_LISTED = 1000


@dataclass(frozen=True, kw_only=True)
class RepairedFault:
    """One place where ids were not what they must be.

    Attributes:
        position: of the first wrong id among all ids of the stream, or of the recording.
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
    """What a repair found and did. Frames are counted from 0, lost ones included.

    Attributes:
        num_frames: frames that sound, concealed ones included.
        num_faults: places where ids were wrong.
        num_lost: frames left out.
        num_concealed: frames with codes of a neighbour in place of missing ones.
        num_ids_left_out: ids that came and make no sound.
        faults: the first of the faults.
        lost: the first of the frames left out.
        concealed: the first of the concealed frames.
        is_counted: whether no id of the table tells its slot: places were counted, and lost or doubled ids cannot
            be noticed.

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


def checked_on_error(on_error: OnError) -> OnError:
    """Return the option if it is one of the three words.

    Raises:
        TokenError: it is not.
    """
    if on_error not in get_args(OnError):
        raise TokenError(f'on_error is {on_error!r}; it must be "strict", "resync" or "conceal".')
    return on_error
