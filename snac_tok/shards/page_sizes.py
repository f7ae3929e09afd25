"""How much memory a row group takes, read from its pages' headers before pyarrow reads it.

A few kilobytes of Parquet can unpack to gigabytes: pages are compressed, and repeated values are stored once. pyarrow
trusts each page's header, even where it contradicts the footer:

    column chunk   | header | dictionary page | header | data page | header | data page |
                     └ type, uncompressed size, number of values, encoding: Thrift's compact protocol

So the headers (not the pages) are read here and compared with the footer, whose numbers were checked against the
manifest. They are parsed here because pyarrow does not expose page headers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from typing import IO

# The limit for a row group's texts and for each other column of strings; the writer starts a new group long before.
MAX_STRING_BYTES = 1 << 26
# A code takes four bytes, its list levels less than one more; other numbers take eight.
_BYTES_PER_VALUE = 16
_SLACK_BYTES = 1 << 16
# PLAIN, PLAIN_DICTIONARY, RLE, RLE_DICTIONARY: the writer's encodings. Others build long strings from short ones.
_ENCODINGS = {0, 2, 3, 8}

# Fields of a page header, by their ids in parquet.thrift.
_TYPE, _UNCOMPRESSED_SIZE, _COMPRESSED_SIZE = 1, 2, 3
_NUM_VALUES = 1
# For each page type: the field of its own header, and in that header the field of the encoding.
_DESCRIBED = {0: (5, 2), 2: (7, 2), 3: (8, 4)}
_DICTIONARY_PAGE = 2
# Thrift's compact types.
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I64, _BINARY, _STRUCT = 0, 1, 2, 3, 4, 6, 8, 12
_MAX_DEPTH = 4
_MAX_SHIFT = 63


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page header: the page's type, its sizes, its number of values and their encoding."""

    kind: int
    num_bytes: int
    num_compressed_bytes: int
    num_values: int
    encoding: int


def check_row_group(file: IO[bytes], group: Any) -> None:
    """Check that a row group's pages hold what its footer says, in encodings that do not multiply.

    Args:
        file: the Parquet file.
        group: its metadata, a `pyarrow.parquet.RowGroupMetaData`.

    Raises:
        ShardError: they hold more, so that reading them could take any amount of memory.
    """
    for index in range(group.num_columns):
        _check_chunk(file, group.column(index))


def _check_chunk(file: IO[bytes], column: Any) -> None:
    start = column.data_page_offset
    if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
        start = column.dictionary_page_offset
    file.seek(start)
    chunk = file.read(column.total_compressed_size)
    is_string = column.physical_type == "BYTE_ARRAY"
    most = MAX_STRING_BYTES if is_string else _BYTES_PER_VALUE * column.num_values + _SLACK_BYTES
    place = num_values = 0
    while num_values < column.num_values:
        page, place = _page_header(chunk, place)
        most -= page.num_bytes
        if most < 0 or page.num_values > column.num_values - num_values or page.encoding not in _ENCODINGS:
            raise ShardError(
                f"damaged: a page of {column.path_in_schema} holds more than the footer says, and unpacking it could "
                "take any amount of memory"
            )
        num_values += 0 if page.kind == _DICTIONARY_PAGE else page.num_values
        place += page.num_compressed_bytes


def _page_header(data: bytes, place: int) -> tuple[_Page, int]:
    """Return the header at an offset, and the offset of its page."""
    try:
        fields, place = _struct(data, place, depth=0)
        description, encoding = _DESCRIBED[fields[_TYPE]]
        page = _Page(
            kind=fields[_TYPE],
            num_bytes=fields[_UNCOMPRESSED_SIZE],
            num_compressed_bytes=fields[_COMPRESSED_SIZE],
            num_values=fields[description][_NUM_VALUES],
            encoding=fields[description][encoding],
        )
    except (IndexError, KeyError, TypeError):
        raise ShardError("damaged: it holds a page without a whole header") from None
    if min(page.num_bytes, page.num_compressed_bytes, page.num_values) < 0:
        raise ShardError("damaged: it holds a page of a negative size")
    return page, place


def _struct(data: bytes, place: int, *, depth: int) -> tuple[dict[int, Any], int]:
    """Return a Thrift struct's integers and structs by field id, and the offset behind it."""
    if depth > _MAX_DEPTH:
        raise ShardError("damaged: a page header is nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while True:
        step, kind = divmod(data[place], 16)
        place += 1
        if kind == _STOP:
            return fields, place
        if step:
            number += step
        else:
            number, place = _integer(data, place)
        if kind == _STRUCT:
            fields[number], place = _struct(data, place, depth=depth + 1)
        elif _I16 <= kind <= _I64:
            fields[number], place = _integer(data, place)
        else:
            place = _skipped(data, place, kind)


def _skipped(data: bytes, place: int, kind: int) -> int:
    """Return the offset behind a value that is skipped; page headers hold no doubles, lists, sets or maps."""
    if kind in (_TRUE, _FALSE):
        return place
    if kind == _BYTE:
        return place + 1
    if kind == _BINARY:
        length, place = _varint(data, place)
        return place + length
    raise ShardError(f"damaged: a page header holds a value of type {kind}")


def _integer(data: bytes, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while shift <= _MAX_SHIFT:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the highest bit says that more follows
            return value, place
        shift += 7
    raise ShardError("damaged: a number in a page header has no end")
