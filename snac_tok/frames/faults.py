"""Every way in which ids are not what a vocabulary would have made: listed as `Fault`s, never raised.

It compares, position by position, with what must stand there. It does not guess what a damaged line was
meant to be: after one lost id every later position is a fault, and finding the way back is another job.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import integers, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.frames.id_table import IdTable

# Parallel rows are two-dimensional: (slots, steps).
ROWS_NDIM = 2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One place where ids are not what they must be.

    Args:
        position: Index in the last dimension: place in the line, or step of a parallel row.
        reason: What is wrong, as half a sentence.
        token_id: The id found; None where ids are missing or cannot be read.
        slot: The slot that stands here; None for a separator, or when the shape is wrong.
        expected: The ids allowed here; None when the shape is wrong.
        batch: Index in the leading dimensions.

    Example:
        >>> print(Fault(position=3, token_id=9, slot=0, expected=range(8), reason="id 9 is a special"))
        position 3: id 9 is a special; slot 0 takes 0..7
    """

    position: int
    reason: str
    token_id: int | None = None
    slot: int | None = None
    expected: range | None = None
    batch: tuple[int, ...] = ()

    def __str__(self) -> str:
        place = f"position {self.position}" + (f" of row {self.batch}" if self.batch else "")
        if self.expected is None:
            return f"{place}: {self.reason}"
        first, last = self.expected[0], self.expected[-1]
        owner = "a separator" if self.slot is None else f"slot {self.slot}"
        return f"{place}: {self.reason}; {owner} takes {first}" + (f"..{last}" if last > first else " here")


def find_faults(vocabulary: IdTable, ids: Any) -> list[Fault]:
    """List every fault in order; empty when `decode` takes the ids.

    Example:
        >>> from snac_tok.frames import preset
        >>> [fault.token_id for fault in find_faults(preset("orpheus"), [128266, 7, 136458])][:1]
        [7]
    """
    return list(iter_faults(vocabulary, ids))


def first_fault(vocabulary: IdTable, ids: Any) -> str:
    """Say what is wrong first and where to see the rest: the message of a strict refusal."""
    fault = next(iter_faults(vocabulary, ids))
    hint = ""
    if vocabulary.size - 1 > _largest(ids):
        # Stored too narrow, ids have wrapped silently; no repair of single ids will bring them back.
        hint = (
            f" {ids.dtype} cannot hold the ids of this vocabulary (up to {vocabulary.size - 1}): store int32."
        )
    return f"{fault} (vocabulary {vocabulary.name!r}); validate(ids) lists every fault.{hint}"


def _largest(ids: Any) -> int:
    """Return the largest number that ids of this type can be: 32767 for int16, numpy's or torch's."""
    name = str(getattr(ids, "dtype", "int64")).removeprefix("torch.")
    try:
        return int(np.iinfo(np.dtype(name.lower())).max)
    except (TypeError, ValueError):  # a type that numpy does not have
        return int(np.iinfo(np.int64).max)


def iter_faults(vocabulary: IdTable, ids: Any) -> Iterator[Fault]:
    """Yield faults in order; whoever needs only the first does not wait for the rest."""
    try:
        array = to_numpy(integers(ids, what="ids", error=TokenError))
    except TokenError as error:
        yield Fault(position=0, reason=str(error).removesuffix("."))
        return
    wrong_shape = _shape_fault(vocabulary, array)
    if wrong_shape is not None:
        yield wrong_shape
        return
    first, width, slots = _expected(vocabulary, array.shape[-1])
    for index in np.argwhere((array < first) | (array - first >= width)).tolist():
        here = tuple(index[array.ndim - first.ndim :])
        low = int(first[here])
        yield Fault(
            position=index[-1],
            token_id=int(array[tuple(index)]),
            slot=None if slots[here] < 0 else int(slots[here]),
            expected=range(low, low + int(width[here])),
            reason=_what_it_is(vocabulary, int(array[tuple(index)])),
            batch=tuple(index[: array.ndim - first.ndim]),
        )
    yield from _partial_frame(vocabulary, array.shape[-1])


def _shape_fault(vocabulary: IdTable, array: np.ndarray[Any, Any]) -> Fault | None:
    if vocabulary.delays is None:
        return None
    num_slots, shortest = vocabulary.layout.slots_per_frame, vocabulary.length_of(0)
    if array.ndim < ROWS_NDIM or array.shape[-2] != num_slots:
        return Fault(position=0, reason=f"got shape {array.shape}, need (…, {num_slots}, steps)")
    if array.shape[-1] < shortest:
        return Fault(
            position=array.shape[-1], reason=f"{array.shape[-1]} steps; even no frames take {shortest}"
        )
    return None


def _expected(vocabulary: IdTable, length: int) -> tuple[Any, Any, Any]:
    """Return what must stand at each place of a line or of the rows: first id, how many ids, slot or −1."""
    if vocabulary.delays is None:
        lead = vocabulary.ids_per_frame - vocabulary.layout.slots_per_frame
        marks = [vocabulary.specials[vocabulary.separator]] if vocabulary.separator is not None else []
        first = np.resize([*marks, *vocabulary.slot_bases], length)
        slots = np.resize(np.arange(-lead, vocabulary.layout.slots_per_frame), length)
        return first, np.where(slots < 0, 1, vocabulary.codebook_size), slots
    shape = (vocabulary.layout.slots_per_frame, length)
    first = np.repeat(np.array(vocabulary.slot_bases)[:, None], length, axis=1)
    width = np.full(shape, vocabulary.codebook_size)
    for place, special in vocabulary.marks(length - vocabulary.length_of(0)):
        first[place], width[place] = special, 1
    return first, width, np.repeat(np.arange(shape[0])[:, None], length, axis=1)


def _partial_frame(vocabulary: IdTable, length: int) -> Iterator[Fault]:
    rest = 0 if vocabulary.delays is not None else length % vocabulary.ids_per_frame
    if rest:
        slot = rest - vocabulary.ids_per_frame + vocabulary.layout.slots_per_frame
        reason = f"the last frame is partial, {rest} of {vocabulary.ids_per_frame} ids"
        yield Fault(position=length, slot=slot, expected=vocabulary.id_range(slot), reason=reason)


def _what_it_is(vocabulary: IdTable, token_id: int) -> str:
    special = vocabulary.special_of(token_id)
    if special is not None:
        return f"id {token_id} is the special {special!r}"
    slots = vocabulary.slots_of(token_id)
    if not slots:
        return f"id {token_id} is not an id of this vocabulary"
    owner = f"slot {slots[0]}" if len(slots) == 1 else f"slots {', '.join(map(str, slots))}"
    return f"id {token_id} is code {vocabulary.code_of(token_id)} of {owner}"
