"""Damaged footers: one sentence, never other records, and never the end of the process."""

from __future__ import annotations

import contextlib
from dataclasses import asdict

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_samples import fields, make_record, shard_info, write_collection

from snac_tok.errors import ShardError
from snac_tok.shards import ShardFile, open_shards, read_shards, write_shard
from snac_tok.shards.footer import read_row_groups
from snac_tok.shards.thrift import INTEGER, read_struct

NAME = "train-00000-of-00001.parquet"
RECORDS = [make_record(f"{name}.wav", seed=seed, text=name) for seed, name in enumerate("ab")]


@pytest.fixture
def folder(tmp_path):
    """A collection of one shard with two records."""
    write_collection(tmp_path, [RECORDS])
    return tmp_path


def damage(folder, old, new, *, all_places=False):
    """Replace bytes of the shard that stand there once, or each time."""
    path = folder / NAME
    data = path.read_bytes()
    assert len(old) == len(new)
    assert data.count(old) >= 1 if all_places else data.count(old) == 1
    path.write_bytes(data.replace(old, new))


def test_the_footer_as_pyarrow_reads_it(folder):
    """Row groups and their columns' places, sizes and numbers of values."""
    metadata = pq.read_metadata(folder / NAME)
    schema = metadata.schema
    with (folder / NAME).open("rb") as file:
        groups = read_row_groups(file, [schema.column(index) for index in range(len(schema))])
    for index, group in enumerate(groups):
        theirs = metadata.row_group(index)
        assert group.num_records == theirs.num_rows
        for place, chunk in enumerate(group.chunks):
            column = theirs.column(place)
            assert asdict(chunk) == {
                "column": column.path_in_schema,
                "is_string": column.physical_type == "BYTE_ARRAY",
                "num_values": column.num_values,
                "offset": column.dictionary_page_offset or column.data_page_offset,
                "num_bytes": column.total_compressed_size,
            }


@pytest.mark.parametrize(("number", "told"), [(3, "holds a negative|counts other"), (6, "counts other")])
def test_a_number_of_records_that_cannot_be(folder, number, told):
    """Field 3 of the footer, behind the schema's last column: an odd number is a negative one."""
    damage(folder, b"\x12\x00\x00\x00\x16\x04", bytes([0x12, 0, 0, 0, 0x16, number]))
    with pytest.raises(ShardError, match=f"{NAME} cannot be read: damaged: its footer {told}"):
        next(read_shards(folder))
    assert len(open_shards(folder).verify(read_data=False)) == 1


def test_statistics_at_which_pyarrow_ends_the_process(folder):
    """Histograms of more entries than the column has levels: nothing asks pyarrow for them before it reads."""
    damage(folder, b"\x19\x06\x19\x06", b"\x19\x26\x19\x06", all_places=True)
    with contextlib.suppress(ShardError):
        assert [fields(row) for row in read_shards(folder)] == [fields(record) for record in RECORDS]


@pytest.mark.parametrize("count", [0, 2])
def test_rows_that_refer_to_strings_that_are_not_there(folder, count):
    """The first dictionary page's header says that it holds fewer."""
    path = folder / NAME
    data = path.read_bytes()
    place = data.index(b"\x3c\x15\x04\x15\x00")
    path.write_bytes(data[: place + 2] + bytes([count]) + data[place + 3 :])
    with pytest.raises(ShardError, match=f"{NAME} cannot be read: "):
        list(read_shards(folder))


def test_a_footer_that_points_behind_the_pages(folder):
    """And one whose columns hold more values than there are records."""
    path = folder / NAME
    metadata = pq.read_metadata(path).row_group(0).column(0)
    size = bytes([0x16, 2 * metadata.num_values, 0x16])
    damage(folder, size, bytes([0x16, 2 * metadata.num_values + 2, 0x16]), all_places=True)
    with pytest.raises(ShardError, match="its footer says 3 values of id for 2 records"):
        next(read_shards(folder))


def test_a_bit_of_each_byte_of_a_footer(folder):
    """Flipped alone: the same records or one sentence; `scripts/fuzz --every-bit` tries all."""
    path = folder / NAME
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    # The texts in it, the collection's description, are not what this is about.
    described = range(data.index(b"snac_tok"), len(data) - 8)
    expected = [fields(record) for record in RECORDS]
    places = [place for place in range(start, len(data)) if place not in described]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with contextlib.suppress(ShardError), ShardFile(path) as shard:
            assert [fields(row) for row in shard] == expected


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_struct_or_refused(data):
    """In time that follows their number."""
    with contextlib.suppress(ShardError):
        found, place = read_struct(data, 0, {1: INTEGER, 2: (INTEGER,), 3: {1: (INTEGER,)}})
        assert place <= len(data)
        assert set(found) <= {1, 2, 3}


def test_a_struct_nested_without_end_is_refused():
    """As deep as the bytes reach."""
    for nested in (b"\x1c" * 5000, b"\x19" + b"\x19" * 5000):
        with pytest.raises(ShardError, match="nested too deep"):
            read_struct(nested, 0, {})


def test_a_shard_without_records(tmp_path):
    """Its footer has no row group."""
    with ShardFile(write_shard(tmp_path, [], info=shard_info())) as shard:
        assert (len(shard), list(shard), shard.num_samples()) == (0, [], 0)
