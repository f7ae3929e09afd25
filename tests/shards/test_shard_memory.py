"""A few kilobytes that stand for gigabytes are refused before memory is taken for them."""

from __future__ import annotations

import io
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_samples import fields, make_record, shard_info, write_collection

from snac_tok.errors import ShardError
from snac_tok.shards import SCHEMA, ShardFile, page_sizes, read_shards, write_shard, writer
from snac_tok.shards.footer import ColumnChunk
from snac_tok.shards.info import FOOTER_KEY

NAME = "train-00000-of-00001.parquet"
MANY = 2_000_000


def table(*, codes, texts):
    """A shard's table: codes shared out to as many rows as there are texts."""
    rows = len(texts)
    offsets = np.linspace(0, len(codes), rows + 1).astype(np.int32)
    columns = [
        pa.array([f"{row}.wav" for row in range(rows)]),
        pa.array(["x.wav"] * rows),
        pa.array([1] * rows, pa.int64()),
        pa.array([24_000] * rows, pa.int32()),
        pa.array(texts, pa.string()),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes)),
    ]
    return pa.table(columns, schema=SCHEMA).replace_schema_metadata({FOOTER_KEY: shard_info().to_json()})


def collection(folder, content, *, num_records=1, num_tokens=7, **options):
    """A collection whose one shard is this table, and whose manifest tells of so many records and codes."""
    write_collection(folder, [[make_record("0.wav", num_frames=1)]])
    pq.write_table(content, folder / NAME, compression="zstd", write_page_checksum=True, **options)
    told(folder, num_records=num_records, num_tokens=num_tokens)
    return folder


def told(folder, **counts):
    """Let the manifest say so, and the bytes that there are."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    manifest["shards"][0].update(counts, num_bytes=(folder / NAME).stat().st_size)
    manifest["totals"].update({name: manifest["shards"][0][name] for name in ("num_records", "num_tokens")})
    manifest["totals"]["num_frames"] = manifest["totals"]["num_tokens"] // 7
    (folder / "_manifest.json").write_text(json.dumps(manifest))


def varint(value, *, width=0):
    """A number as Thrift writes it, in at least so many bytes."""
    out = bytearray()
    while value or len(out) < width or not out:
        out.append(value & 0x7F)
        value >>= 7
    return bytes(byte | 0x80 for byte in out[:-1]) + bytes(out[-1:])


def patched(path, old, new, *, footer):
    """Write another number into the footer, or into all page headers, in as many bytes."""
    data = bytearray(path.read_bytes())
    border = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    part = data[border:] if footer else data[:border]
    mark = varint(2 * old)
    assert mark in part
    part = part.replace(mark, varint(2 * new if new >= 0 else -2 * new - 1, width=len(mark)))
    path.write_bytes(data[:border] + part if footer else part + data[border:])


def test_more_codes_than_the_manifest_says_are_refused_by_the_footer(tmp_path):
    """One silent record of two million codes takes three kilobytes."""
    folder = collection(tmp_path, table(codes=np.zeros(MANY, np.uint16), texts=[None]))
    assert (folder / NAME).stat().st_size < 4000
    with pytest.raises(ShardError, match=f"{NAME} holds {MANY} codes, the manifest says 7"):
        next(read_shards(folder))


def test_more_codes_than_the_footer_says_are_refused_by_the_page_header(tmp_path):
    """The page is what pyarrow believes; the footer may say what the manifest does."""
    folder = collection(tmp_path, table(codes=np.zeros(MANY, np.uint16), texts=[None]))
    patched(folder / NAME, MANY, 7, footer=True)
    told(folder)
    with pytest.raises(ShardError, match=rf"{NAME} cannot be read: damaged: a page of codes.* holds more"):
        next(read_shards(folder))


@pytest.mark.parametrize("new", [-1, MANY + 1])
def test_page_headers_of_impossible_numbers_are_refused(tmp_path, new):
    """A negative count, and more than there are."""
    folder = collection(tmp_path, table(codes=np.zeros(MANY, np.uint16), texts=[None]), num_tokens=MANY)
    assert next(read_shards(folder)).codes.size == MANY
    patched(folder / NAME, MANY, new, footer=False)
    with pytest.raises(ShardError, match=rf"{NAME} cannot be read: damaged: "):
        next(read_shards(folder))


def test_rows_that_share_a_long_text_share_its_memory(tmp_path):
    """A thousand rows of one text of 100 kB: as much memory as one."""
    content = table(codes=np.zeros(7 * 1000, np.uint16), texts=["a" * 100_000] * 1000)
    folder = collection(tmp_path, content, num_records=1000, num_tokens=7000)
    assert (folder / NAME).stat().st_size < 50_000
    next(read_shards(folder))
    tracemalloc.start()
    try:
        records = list(read_shards(folder))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert {record.text for record in records} == {"a" * 100_000}
    assert peak < 5_000_000


@pytest.mark.parametrize("encoding", ["DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_encodings_that_the_writer_does_not_use_are_refused(tmp_path, encoding):
    """One of them makes every text of the one before it, so that kilobytes multiply without any compression."""
    content = table(codes=np.zeros(7, np.uint16), texts=["a" * 1000])
    folder = collection(tmp_path, content, use_dictionary=False, column_encoding={"text": encoding})
    with pytest.raises(ShardError, match="a page of text holds more"):
        next(read_shards(folder))


def test_a_page_that_unpacks_to_more_than_any_text_is_refused(tmp_path, monkeypatch):
    """By what its header says of it."""
    folder = collection(tmp_path, table(codes=np.zeros(7, np.uint16), texts=["a" * 1_000_000]))
    assert next(read_shards(folder)).text == "a" * 1_000_000
    monkeypatch.setattr(page_sizes, "MAX_STRING_BYTES", 900_000)
    with pytest.raises(ShardError, match="a page of text holds more"):
        next(read_shards(folder))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_whatever_parquet_writers_make_of_a_shard_is_read(tmp_path, version, use_dictionary):
    """Both kinds of pages, many pages a column, nulls and empty lists."""
    rng = np.random.default_rng(0)
    texts = [None if row % 3 else f"text {row}" for row in range(500)]
    content = table(codes=rng.integers(0, 4096, 7 * 500 * 40, dtype=np.uint16), texts=texts)
    folder = collection(
        tmp_path,
        content,
        num_records=500,
        num_tokens=7 * 500 * 40,
        data_page_version=version,
        use_dictionary=use_dictionary,
        data_page_size=2000,
    )
    assert [record.text for record in read_shards(folder)] == texts


@given(data=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_in_place_of_pages_are_refused(data):
    """By the sentence for damage, and in the end."""
    chunk = ColumnChunk(column="codes", is_string=False, num_values=1000, offset=0, num_bytes=200)
    with pytest.raises(ShardError, match="damaged"):
        page_sizes.check_chunk(io.BytesIO(data), chunk)


def test_long_texts_make_row_groups_of_their_own_and_come_back(tmp_path, monkeypatch):
    """So that no group holds more than a reader takes."""
    monkeypatch.setattr(writer, "ROW_GROUP_TEXT_BYTES", 1000)
    records = [make_record(str(k), seed=k, text="ä" * 300) for k in range(6)]
    path = write_shard(tmp_path, records, info=shard_info())
    assert pq.read_metadata(path).num_row_groups == 3
    with ShardFile(path) as shard:
        assert [fields(row) for row in shard] == [fields(record) for record in records]


def test_a_text_that_no_reader_would_take_is_not_written(tmp_path, monkeypatch):
    """The sentence names the record."""
    monkeypatch.setattr(writer, "MAX_TEXT_BYTES", 1000)
    with pytest.raises(ShardError, match="record 'a' has a text of 1001 bytes, the most are 1000"):
        write_shard(tmp_path, [make_record("a", text="x" * 1001)], info=shard_info())
