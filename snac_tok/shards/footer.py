"""Where a shard's records lie and how many there are: the row groups of its footer, checked as they are read.

    shard | pages of each column, row group by row group | footer | the footer's length | "PAR1"

pyarrow reads the same footer. It takes any numbers for its own, and on some damaged ones it ends the process.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError
from snac_tok.shards.thrift import INTEGER, Wanted, read_struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

_TAIL_BYTES = 8
# Fields by their ids in parquet.thrift: of the footer, of a row group, of a chunk and of what it says of itself.
_NUM_ROWS, _ROW_GROUPS = 3, 4
_CHUNKS, _GROUP_ROWS = 1, 3
_DESCRIPTION = 3
_NUM_VALUES, _NUM_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET = 5, 7, 9, 11
_CHUNK: dict[int, Wanted] = {
    _DESCRIPTION: dict.fromkeys((_NUM_VALUES, _NUM_BYTES, _DATA_OFFSET, _DICTIONARY_OFFSET), INTEGER)
}
_FOOTER: dict[int, Wanted] = {
    _NUM_ROWS: INTEGER,
    _ROW_GROUPS: ({_CHUNKS: (_CHUNK,), _GROUP_ROWS: INTEGER},),
}


@dataclass(frozen=True, kw_only=True)
class ColumnChunk:
    """A column's pages in one row group.

    Attributes:
        column: its name.
        is_string: whether its values are strings.
        num_values: how many there are; an empty list counts as one.
        offset: where the first page begins in the file.
        num_bytes: size of the pages there.
    """

    column: str
    is_string: bool
    num_values: int
    offset: int
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class RowGroup:
    """Records that are read at once.

    Attributes:
        num_records: how many.
        chunks: their columns' pages, in the order of the schema.
    """

    num_records: int
    chunks: tuple[ColumnChunk, ...]


def read_row_groups(file: IO[bytes], columns: Sequence[Any]) -> tuple[RowGroup, ...]:
    """Return a shard's row groups.

    Args:
        file: the shard.
        columns: of its schema, `pyarrow.parquet.ColumnSchema`, in order.

    Raises:
        ShardError: negative numbers, pages outside the file, numbers that contradict each other.
    """
    end = file.seek(0, os.SEEK_END) - _TAIL_BYTES
    file.seek(end)
    start = end - int.from_bytes(file.read(4), "little")
    file.seek(max(start, 0))
    fields, _ = read_struct(file.read(end - start), 0, _FOOTER)
    try:
        groups = tuple(_row_group(group, columns, end=start) for group in fields.get(_ROW_GROUPS, []))
        num_records = fields[_NUM_ROWS]
    except (KeyError, TypeError, ValueError):
        raise ShardError("damaged: its footer lacks numbers") from None
    if num_records != sum(group.num_records for group in groups):
        raise ShardError("damaged: its footer counts other records than its parts")
    return groups


def _row_group(fields: dict[int, Any], columns: Sequence[Any], *, end: int) -> RowGroup:
    num_records = fields[_GROUP_ROWS]
    pairs = zip(fields[_CHUNKS], columns, strict=True)
    chunks = tuple(_chunk(chunk[_DESCRIPTION], column) for chunk, column in pairs)
    for chunk, column in zip(chunks, columns, strict=True):
        if min(num_records, chunk.num_values, chunk.num_bytes, chunk.offset) < 0:
            raise ShardError("damaged: its footer holds a negative number")
        if chunk.offset + chunk.num_bytes > end:
            raise ShardError(f"damaged: its footer says that {chunk.column} goes on behind the file's pages")
        if column.max_repetition_level == 0 and chunk.num_values != num_records:
            raise ShardError(
                f"damaged: its footer says {chunk.num_values} values of {chunk.column} for {num_records} records"
            )
    return RowGroup(num_records=num_records, chunks=chunks)


def _chunk(fields: dict[int, int], column: Any) -> ColumnChunk:
    offset = fields[_DATA_OFFSET]
    # Some writers say 0 where there is no dictionary.
    if 0 < fields.get(_DICTIONARY_OFFSET, 0) < offset:
        offset = fields[_DICTIONARY_OFFSET]
    return ColumnChunk(
        column=column.path,
        is_string=column.physical_type == "BYTE_ARRAY",
        num_values=fields[_NUM_VALUES],
        num_bytes=fields[_NUM_BYTES],
        offset=offset,
    )
