"""How much memory a row group takes, read from its pages' headers before pyarrow reads it.

A few kilobytes of Parquet can unpack to gigabytes: pages are compressed, and repeated values are stored once. pyarrow
trusts each page's header, even where it contradicts the footer:

    column chunk   | header | dictionary page | header | data page | header | data page |
                     └ type, uncompressed size, number of values, encoding: Thrift's compact protocol

So the headers (not the pages) are read here and compared with the footer, whose numbers were checked against the
manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError
from snac_tok.shards.thrift import INTEGER, Wanted, read_struct

if TYPE_CHECKING:
    from typing import IO

    from snac_tok.shards.footer import ColumnChunk

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
_HEADER: dict[int, Wanted] = {
    **dict.fromkeys((_TYPE, _UNCOMPRESSED_SIZE, _COMPRESSED_SIZE), INTEGER),
    **{field: {_NUM_VALUES: INTEGER, encoding: INTEGER} for field, encoding in _DESCRIBED.values()},
}
_DICTIONARY_PAGE = 2


@dataclass(frozen=True, kw_only=True)
class _Page:
    """A page header: the page's type, its sizes, its number of values and their encoding."""

    kind: int
    num_bytes: int
    num_compressed_bytes: int
    num_values: int
    encoding: int


def check_chunk(file: IO[bytes], chunk: ColumnChunk) -> None:
    """Check that a column's pages in a row group hold what the footer says, in encodings that do not multiply.

    Args:
        file: the Parquet file.
        chunk: where the pages are, and what the footer says of them.

    Raises:
        ShardError: they hold more, so that reading them could take any amount of memory.
    """
    file.seek(chunk.offset)
    data = file.read(chunk.num_bytes)
    most = MAX_STRING_BYTES if chunk.is_string else _BYTES_PER_VALUE * chunk.num_values + _SLACK_BYTES
    place = num_values = 0
    while num_values < chunk.num_values:
        page, place = _page_header(data, place)
        most -= page.num_bytes
        if most < 0 or page.num_values > chunk.num_values - num_values or page.encoding not in _ENCODINGS:
            raise ShardError(
                f"damaged: a page of {chunk.column} holds more than the footer says, and unpacking it could "
                "take any amount of memory"
            )
        num_values += 0 if page.kind == _DICTIONARY_PAGE else page.num_values
        place += page.num_compressed_bytes


def _page_header(data: bytes, place: int) -> tuple[_Page, int]:
    """Return the header at an offset, and the offset of its page."""
    try:
        fields, place = read_struct(data, place, _HEADER)
        description, encoding = _DESCRIBED[fields[_TYPE]]
        page = _Page(
            kind=fields[_TYPE],
            num_bytes=fields[_UNCOMPRESSED_SIZE],
            num_compressed_bytes=fields[_COMPRESSED_SIZE],
            num_values=fields[description][_NUM_VALUES],
            encoding=fields[description][encoding],
        )
    except KeyError:
        raise ShardError("damaged: it holds a page without a whole header") from None
    if min(page.num_bytes, page.num_compressed_bytes, page.num_values) < 0:
        raise ShardError("damaged: it holds a page of a negative size")
    return page, place
