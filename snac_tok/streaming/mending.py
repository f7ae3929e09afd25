"""Frames with missing codes: filled from a neighbour ("conceal"), or left out ("resync")."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]

# A code that is not known.
MISSING = -1


class Mended(NamedTuple):
    """Frames without missing codes.

    Attributes:
        frames: int64 (n, places).
        lost: the numbers of frames left out.
        concealed: the numbers of frames that were filled.
    """

    frames: Ids
    lost: list[int]
    concealed: list[int]


class FrameMender:
    """Mends the frames of one line, in pieces of any size.

    Missing codes are taken from the frame before. Those in front of the first whole frame wait for it and take its
    codes. A shallow copy goes on by itself from where it was made.

    Args:
        size: places in a frame.
        conceal: fill damaged frames, rather than leave them out.

    Attributes:
        next: the number of the next frame.
        last: the last frame given out.
    """

    def __init__(self, size: int, *, conceal: bool) -> None:
        self._conceal = conceal
        self.next = 0
        self.last: Ids | None = None
        self._waiting: Ids = np.zeros((0, size), np.int64)

    def push(self, frames: Ids) -> Mended:
        """Take frames (n, places), `MISSING` where a code is not known, and return those that can be given out."""
        first = self.next - len(self._waiting)
        self.next += len(frames)
        damaged = _are_damaged(frames)
        if damaged.any() or len(self._waiting):
            mended = self._filled(frames, first) if self._conceal else _without(frames, damaged, first)
        else:
            mended = Mended(frames, [], [])
        if len(mended.frames):
            self.last = mended.frames[-1]
        return mended

    def end(self) -> Mended:
        """Return what is left at the end of the line: frames that no whole one followed are lost."""
        lost = list(range(self.next - len(self._waiting), self.next))
        self._waiting = self._waiting[:0]
        return Mended(self._waiting, lost, [])

    def _filled(self, frames: Ids, first: int) -> Mended:
        frames = np.concatenate((self._waiting, frames))
        damaged = _are_damaged(frames)
        before = self.last
        if before is None:
            if damaged.all():
                self._waiting = frames
                return Mended(frames[:0], [], [])
            before = frames[damaged.argmin()]
        self._waiting = frames[:0]
        filled = np.flatnonzero(damaged).tolist()
        for at in filled:
            before = frames[at - 1] if at else before
            frames[at] = np.where(frames[at] == MISSING, before, frames[at])
        return Mended(frames, [], [first + at for at in filled])


def _without(frames: Ids, damaged: npt.NDArray[np.bool_], first: int) -> Mended:
    return Mended(frames[~damaged], [first + at for at in np.flatnonzero(damaged).tolist()], [])


def _are_damaged(frames: Ids) -> npt.NDArray[np.bool_]:
    damaged: npt.NDArray[np.bool_] = (frames == MISSING).any(axis=1)
    return damaged
