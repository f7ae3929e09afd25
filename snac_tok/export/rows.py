"""Which records of a collection are exported, and which go into one file together.

Rows are numbered from 0 in the shards' order. A part is what is written, published and resumed as one: the rows of
one shard or of several that follow each other.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError
from snac_tok.frames.arrays import any_integer

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
        ShardError: a row or range that begins behind the last row, a range without a row, or what are no whole numbers
            from 0.

    >>> merged([(5, 6), (0, 2), (1, 4)], total=9, limit=None)
    [range(0, 4), range(5, 6)]
    """
    if limit is not None:
        limit = any_integer(limit, what="limit", error=ShardError)
        if limit < 0:
            raise ShardError(f"limit is {limit}; a number of records, 0 or more, is needed.")
    found: list[range] = []
    for first, stop in [(0, None)] if rows is None else sorted(_pairs(rows), key=lambda pair: pair[0]):
        if rows and first >= total:
            raise ShardError(f"there is no row {first}: the shards hold {total} records, counted from 0.")
        wanted = range(first, total if stop is None else min(stop, total))
        if found and wanted.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, wanted.stop))
        elif wanted:
            found.append(wanted)
    return _first(found, limit)


def _pairs(rows: Any) -> list[tuple[int, int | None]]:
    """Return the first and the row behind the last of each range, checked."""
    if not isinstance(rows, (list, tuple)) or not all(map(_is_pair, rows)):
        raise ShardError(
            f"rows is {reprlib.repr(rows)}; a list of pairs is needed, the first row and the one behind the last, "
            "as in [(0, 10)]."
        )
    return [_pair(first, stop) for first, stop in rows]


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, (list, tuple)) and len(pair) == 2  # noqa: PLR2004 - a pair


def _pair(first: Any, stop: Any) -> tuple[int, int | None]:
    first = _row(first)
    if stop is None:
        return first, None
    stop = _row(stop)
    if stop <= first:
        raise ShardError(
            f"there is no record in these rows: from {first} to {stop}; the second number is the row behind the last."
        )
    return first, stop


def _row(number: Any) -> int:
    row = any_integer(number, what="a row", error=ShardError)
    if row < 0:
        raise ShardError(f"there is no row {row}: rows are counted from 0, and none from the end.")
    return row


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
