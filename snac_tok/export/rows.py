"""Which records of a collection are exported, and which go into one file together.

Rows are numbered from 0 in the shards' order. A part is what is written, published and resumed as one: the rows of
one shard or of several that follow each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, kw_only=True)
class ShardRows:
    """The rows of one shard that are wanted.

    Attributes:
        shard: its number.
        first_row: of the collection, that this shard begins with.
        wanted: rows of the collection, in order, none twice.
    """

    shard: int
    first_row: int
    wanted: tuple[range, ...]


def merged(rows: Sequence[tuple[int, int | None]] | None, *, total: int, limit: int | None) -> list[range]:
    """Return rows as ranges in order, none twice.

    Args:
        rows: the first and the one behind the last, None for the end; several of them. None is all, [] none.
        total: rows there are.
        limit: keep only so many, the first ones.

    Raises:
        ShardError: a row or range that begins behind the last row, ranges without a row, or a negative number.

    >>> merged([(5, 6), (0, 2), (1, 4)], total=9, limit=None)
    [range(0, 4), range(5, 6)]
    """
    _check_counts(rows or (), limit)
    found: list[range] = []
    for first, stop in sorted([(0, None)] if rows is None else rows, key=lambda pair: pair[0]):
        if rows and first >= total:
            raise ShardError(f"there is no row {first}: the shards hold {total} records, counted from 0.")
        wanted = range(first, total if stop is None else min(stop, total))
        if found and wanted.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, wanted.stop))
        elif wanted:
            found.append(wanted)
    if rows and not found:
        raise ShardError(
            "there is no record in these rows; the row behind the last comes after the colon, as in 0:10."
        )
    return _first(found, limit)


def _check_counts(rows: Sequence[tuple[int, int | None]], limit: int | None) -> None:
    negative = [number for pair in rows for number in pair if number is not None and number < 0]
    if negative:
        raise ShardError(f"there is no row {negative[0]}: rows are counted from 0, and none from the end.")
    if limit is not None and limit < 0:
        raise ShardError(f"limit is {limit}; a number of records, 0 or more, is needed.")


def _first(rows: Iterable[range], limit: int | None) -> list[range]:
    kept, left = [], limit
    for each in rows:
        cut = each if left is None else each[:left]
        if cut:
            kept.append(cut)
        left = None if left is None else left - len(cut)
    return kept


def of_shards(rows: Sequence[range], counts: Sequence[int]) -> list[ShardRows]:
    """Return what is wanted of each shard that holds wanted rows.

    Args:
        rows: of the collection, in order.
        counts: records of each shard.

    >>> [each.wanted for each in of_shards([range(1, 4)], [2, 0, 3])]
    [(range(1, 2),), (range(2, 4),)]
    """
    found, first = [], 0
    for shard, count in enumerate(counts):
        cut = [range(max(each.start, first), min(each.stop, first + count)) for each in rows]
        if wanted := tuple(each for each in cut if each):
            found.append(ShardRows(shard=shard, first_row=first, wanted=wanted))
        first += count
    return found


def parts_of(shards: Sequence[ShardRows], *, shards_per_file: int) -> list[tuple[ShardRows, ...]]:
    """Return the parts; without any rows a single empty one, so that there is a file that says so."""
    starts = range(0, len(shards), shards_per_file)
    return [tuple(shards[start : start + shards_per_file]) for start in starts] or [()]
