"""Where a damaged line of ids goes on: how many places a fault covers, and which of its ids belong to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from snac_tok.frames import Vocabulary
    from snac_tok.streaming.places import Places

# How many left-out ids a reason names.
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Gap:
    """What lies between ids that fit and those from which the line goes on.

    Attributes:
        length: how many places, negative where codes come again.
        strays: ids that belong to none of the places.
        placed: the codes of those that do, by place from 0 on.
    """

    length: int
    strays: tuple[int, ...]
    placed: Mapping[int, int]

    def reason(self, vocabulary: Vocabulary, *, dropped: int) -> str:
        """Say what was found, as half a sentence; `dropped` ids stood in front of the strays."""
        missing = max(self.length - len(self.placed), 0)
        found = []
        if missing:
            found.append(f"{counted(missing, 'id')} missing")
        if self.length < 0:
            found.append(f"{counted(-self.length, 'id')} too many or twice")
        if self.placed:
            found.append(f"{counted(len(self.placed), 'id')} out of order")
        if dropped:
            found.append(f"{counted(dropped, 'id')} that do not fit each other")
        found += [what_it_is(vocabulary, token_id) for token_id in self.strays[:_SHOWN]]
        if len(self.strays) > _SHOWN:
            found.append(f"{len(self.strays) - _SHOWN} more")
        return ", ".join(found)


def gap_between(
    places: Places,
    place: int,
    held: Sequence[int],
    *,
    due: int,
    before: Sequence[int] = (),
    again: Sequence[int] = (),
) -> Gap:
    """Return the gap that explains the held ids with the fewest faults.

    Args:
        places: of the vocabulary.
        place: the one that is due.
        held: ids that do not fit.
        due: the place from which the line goes on.
        before: codes in front of the gap, of places up to the one that is due.
        again: the first ids from which the line goes on.

    Example:
        >>> from snac_tok.frames import preset
        >>> from snac_tok.streaming.places import Places
        >>> orpheus = Places(preset("orpheus"))
        >>> gap_between(orpheus, 2, [], due=3).length
        1
        >>> gap_between(orpheus, 2, [orpheus.first[3], orpheus.first[2]], due=4).placed
        {1: 0, 0: 0}
    """
    size = len(places)
    fits = [places.of(int(token_id)) for token_id in held]
    shortest = (due - place) % size
    costs = {
        length: _distance(fits, place, length, size) for length in range(shortest, len(held) + size, size)
    }
    length = min(costs, key=costs.__getitem__)
    if shortest and 0 < size - shortest <= len(before):
        back = size - shortest
        if len(held) + _cost_of_repeat(places, due, back, before, again) < costs[length]:
            length = -back
    placed = _placed(places, place, held, max(length, 0))
    used = {index for index, _ in placed.values()}
    strays = tuple(int(token_id) for index, token_id in enumerate(held) if index not in used)
    return Gap(length=length, strays=strays, placed={at: code for at, (_, code) in placed.items()})


def what_it_is(vocabulary: Vocabulary, token_id: int) -> str:
    """Say what an id is that stands where none like it may."""
    special = vocabulary.special_of(token_id)
    if special is not None:
        return f"the special id {token_id}, {special!r}"
    slots = vocabulary.slots_of(token_id)
    if not slots:
        return f"id {token_id}, which is no code"
    if len(slots) > 1:
        return f"id {token_id} out of place"
    return f"id {token_id} of slot {slots[0]} out of place"


def _cost_of_repeat(places: Places, due: int, back: int, before: Sequence[int], again: Sequence[int]) -> int:
    """Return how unlikely it is that codes came again: one a code, two where another one came."""
    codes = [int(token_id) - int(places.first[(due + at) % len(places)]) for at, token_id in enumerate(again)]
    old = list(before[len(before) - back :])
    is_same = all(one in (other, -1) for other, one in zip(codes, old, strict=False))
    return back if is_same else 2 * back


def _distance(fits: Sequence[tuple[int, ...]], place: int, length: int, size: int) -> int:
    """Return how many ids must be added, taken out, exchanged or replaced to fill `length` places from `place` on."""
    due = [(place + at) % size for at in range(length)]
    older: list[int] = []
    row = list(range(length + 1))
    for i, own in enumerate(fits, 1):
        new = [i]
        for j, wanted in enumerate(due, 1):
            best = min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (wanted not in own))
            is_swap = i > 1 and j > 1 and wanted in fits[i - 2] and due[j - 2] in own
            new.append(min(best, older[j - 2] + 1) if is_swap else best)
        older, row = row, new
    return row[length]


def _placed(places: Places, place: int, held: Sequence[int], length: int) -> dict[int, tuple[int, int]]:
    """Return which held id belongs to which place of the gap, (index, code), where only one can."""
    if not places.all_differ:
        return {}
    own = [places.of(int(token_id)) for token_id in held]
    found = {}
    for index, token_id in enumerate(held):
        if len(own[index]) != 1 or own.count(own[index]) > 1:
            continue
        at = (own[index][0] - place) % len(places)
        if at < length <= at + len(places):
            found[at] = (index, int(token_id) - int(places.first[own[index][0]]))
    return found
