"""The speech in parallel rows, each delayed by its own number of steps, as a language model wrote them.

        prompt     delays 1, 2, 3      the model ended, or was stopped anywhere
row 0   input pad  pad c0  c0  END pad
row 1   input pad  pad pad c1  c1  END
row 2   input pad  pad pad pad c2  c2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import integers, to_numpy
from snac_tok.wording import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

    Rows = npt.NDArray[np.int64]

_ROWS_NDIM = 2


def cut_rows(ids: Any, table: Vocabulary) -> tuple[Rows, bool, tuple[str, ...]]:
    """Return the frames that all rows have, as `Vocabulary.decode` takes them; whether they ended; what was left out.

    Raises:
        TokenError: rows of another number or length, or no frame that is whole.
    """
    rows = np.asarray(to_numpy(integers(ids, what="the ids", error=TokenError)))
    slots = table.layout.slots_per_frame
    if rows.ndim != _ROWS_NDIM or rows.shape[0] != slots:
        raise TokenError(
            f"the ids of {table.name!r} are {slots} parallel rows ({slots}, steps), got {rows.shape}."
        )
    codes = rows.astype(np.int64) - np.array(table.slot_bases)[:, None]
    is_code = (codes >= 0) & (codes < table.codebook_size)
    delays = np.array(table.delays)
    starts = np.flatnonzero(is_code[0]) - delays[0]
    if not starts.size:
        raise TokenError(
            f"there is no speech of {table.name!r} in it: no code stands in its first row; name the preset of the "
            "model that wrote it."
        )
    first = int(starts[0])
    lengths = [_run(is_code[slot, max(first + delay, 0) :]) for slot, delay in enumerate(delays)]
    frames = min(lengths)
    if not frames:
        raise TokenError(
            f"the rows hold no whole frame: the last row begins {delays.max() - delays[0]} steps behind the first; let "
            "the model write more."
        )
    wanted = np.zeros((slots, table.length_of(frames)), np.int64)
    for place, special in table.marks(frames):
        wanted[place] = special
    for slot, delay in enumerate(delays):
        begin = first + delay
        wanted[slot, delay : delay + frames] = rows[slot, begin : begin + frames]
    over = int(is_code.sum()) - frames * slots
    said = (f"left out {counted(over, 'id')} of frames that are not whole in all rows.",) if over else ()
    ends = first + delays[0] + frames
    ended = ends < rows.shape[1] and int(rows[0, ends]) == table.special_id("end", slot=0)
    return wanted, bool(ended), said


def _run(is_code: npt.NDArray[np.bool_]) -> int:
    """Return how many codes stand at the beginning."""
    others = np.flatnonzero(~is_code)
    return int(others[0]) if others.size else len(is_code)
