"""Damaged, missing, swapped and foreign files: one sentence that names the file, never wrong records."""

from __future__ import annotations

import dataclasses
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shard_samples import fields, make_record, shard_info, write_collection

from snac_tok.errors import ShardError
from snac_tok.shards import (
    FORMAT_VERSION,
    Manifest,
    ShardFile,
    check_shard,
    open_shards,
    read_manifest,
    read_shards,
    write_manifest,
    write_shard,
)

FIRST, SECOND = "train-00000-of-00002.parquet", "train-00001-of-00002.parquet"
RECORDS = [[make_record("a"), make_record("b", seed=1)], [make_record("c", seed=2)]]


@pytest.fixture
def folder(tmp_path):
    """A finished collection of two shards."""
    return write_collection(tmp_path, RECORDS)


def test_a_shard_cut_off_anywhere_is_refused_by_name(folder):
    """From nothing to one byte short, in steps: never a record, always the name."""
    whole = (folder / FIRST).read_bytes()
    for size in [0, 1, 4, *range(11, len(whole), 97), len(whole) - 1]:
        (folder / FIRST).write_bytes(whole[:size])
        with pytest.raises(ShardError, match=FIRST):
            next(read_shards(folder))


def test_verify_notices_any_changed_byte(folder):
    """Wherever it is: both the check and reading with verify name the file."""
    whole = (folder / SECOND).read_bytes()
    for place in range(0, len(whole), 53):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        (folder / SECOND).write_bytes(damaged)
        assert [fault.name for fault in open_shards(folder).verify()] == [SECOND]
        with pytest.raises(ShardError, match=f"{SECOND}.*sha256"):
            list(read_shards(folder, verify=True))


@pytest.mark.parametrize("column", range(6))
def test_changed_column_data_is_noticed_even_without_verify(folder, column):
    """Every page carries its own checksum."""
    chunk = pq.ParquetFile(folder / SECOND).metadata.row_group(0).column(column)
    first = chunk.dictionary_page_offset or chunk.data_page_offset
    damaged = bytearray((folder / SECOND).read_bytes())
    damaged[first + chunk.total_compressed_size - 1] ^= 0x10
    (folder / SECOND).write_bytes(damaged)
    with pytest.raises(ShardError, match=SECOND):
        list(read_shards(folder))


def test_no_changed_bit_gives_other_records(folder):
    """In pages, their headers and the footer, without the manifest's checksum: the records, or a refusal."""
    whole, expected = (folder / SECOND).read_bytes(), [fields(record) for record in RECORDS[1]]
    num_refused = 0
    for place in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (folder / SECOND).write_bytes(damaged)
        try:
            with ShardFile(folder / SECOND) as shard:
                assert [fields(record) for record in shard] == expected
        except ShardError:
            num_refused += 1
    assert num_refused > len(whole) // 20


def test_verify_lists_every_bad_file_and_every_stranger(folder):
    """One fault does not hide the next."""
    (folder / FIRST).unlink()
    (folder / SECOND).write_bytes(b"PAR1")
    (folder / "train-00000-of-00009.parquet").write_bytes(b"")
    faults = open_shards(folder).verify()
    assert [fault.name for fault in faults] == [FIRST, SECOND, "train-00000-of-00009.parquet"]
    assert "missing" in faults[0].reason
    assert "sha256" in faults[1].reason
    assert "not in the manifest" in faults[2].reason


def test_a_missing_shard_is_named_when_its_turn_comes(folder):
    """Records before it are still given."""
    (folder / SECOND).unlink()
    reader = read_shards(folder)
    assert [next(reader).id, next(reader).id] == ["a", "b"]
    with pytest.raises(ShardError, match=f"{SECOND} is missing"):
        next(reader)


def test_a_shard_of_another_collection_under_the_right_name_is_refused(folder):
    """The footer tells; the sentence says in what it differs."""
    (folder / SECOND).unlink()
    write_shard(folder, RECORDS[1], info=shard_info(1, 2, weights_sha256="ef" * 32))
    with pytest.raises(ShardError, match="differs in weights_sha256"):
        list(read_shards(folder))


def test_two_shards_that_were_swapped_are_refused(folder):
    """Right files, wrong names."""
    (folder / FIRST).rename(folder / "x")
    (folder / SECOND).rename(folder / FIRST)
    (folder / "x").rename(folder / SECOND)
    with pytest.raises(ShardError, match="differs in index"):
        list(read_shards(folder))


def test_a_shard_with_fewer_records_than_the_manifest_says_is_refused(folder):
    """A rewritten shard does not pass for the one that was counted."""
    (folder / FIRST).unlink()
    write_shard(folder, RECORDS[0][:1], info=shard_info(0, 2))
    with pytest.raises(ShardError, match="holds 1 records, the manifest says 2"):
        list(read_shards(folder))


def test_a_parquet_file_of_another_kind_is_refused(tmp_path):
    """No footer entry, no shard."""
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(ShardError, match="another kind"):
        ShardFile(path)


def test_other_columns_than_the_formats_are_refused(tmp_path):
    """A right footer over wrong columns is damage."""
    path = tmp_path / "odd.parquet"
    table = pa.table({"id": ["a"]}).replace_schema_metadata({b"snac_tok": shard_info().to_json()})
    pq.write_table(table, path)
    with pytest.raises(ShardError, match="columns"):
        ShardFile(path)


def test_an_unfinished_collection_says_so(folder):
    """Without a manifest the run was interrupted."""
    (folder / "_manifest.json").unlink()
    with pytest.raises(ShardError, match="interrupted"):
        read_shards(folder)


def test_no_folder_and_an_empty_folder_say_so(tmp_path):
    """Before any iteration."""
    with pytest.raises(ShardError, match="is not a folder"):
        open_shards(tmp_path / "absent")
    with pytest.raises(ShardError, match=r"has no _manifest\.json"):
        open_shards(tmp_path)


def test_a_manifest_cut_off_anywhere_is_refused_by_name(folder):
    """Every length but the whole one."""
    whole = (folder / "_manifest.json").read_bytes()
    for size in range(0, len(whole.rstrip()), 41):
        (folder / "_manifest.json").write_bytes(whole[:size])
        with pytest.raises(ShardError, match=r"_manifest\.json"):
            open_shards(folder)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format_version"], FORMAT_VERSION + 1, "newer"),
        (["collection", "format_version"], FORMAT_VERSION + 1, "newer"),
        (["totals", "num_tokens"], 1, "totals"),
        (["shards", 0, "num_records"], 7, "totals"),
        (["shards", 0, "sha256"], 5, r"shards\[0\]\.sha256 is 5; a value of type str"),
        (["shards", 0, "name"], "../../etc/passwd", "in order"),
        (["shards"], 3, "cannot be read"),
        (["collection"], None, "collection is empty; a mapping"),
        (["surprise"], 1, "surprise"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(folder, path, value, words):
    """Newer formats, contradictions and foreign paths each get their sentence."""
    fields_ = json.loads((folder / "_manifest.json").read_text())
    place = fields_
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    (folder / "_manifest.json").write_text(json.dumps(fields_))
    with pytest.raises(ShardError, match=words):
        read_manifest(folder)


def test_a_manifest_round_trips_and_is_never_overwritten_by_another(folder):
    """Writing the same again is fine, another one is refused."""
    manifest = read_manifest(folder)
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest
    with pytest.raises(ShardError, match="other contents"):
        write_manifest(folder, dataclasses.replace(manifest, plan_fingerprint="beef"))


def test_a_manifest_lists_all_shards_in_order(folder):
    """A gap or a wrong order is no manifest."""
    manifest = read_manifest(folder)
    with pytest.raises(ShardError, match="in order"):
        Manifest(collection=manifest.collection, plan_fingerprint="f00d", shards=manifest.shards[::-1])


def test_check_shard_counts_from_the_file_itself(folder):
    """The manifest's figures are those of the file."""
    assert check_shard(folder / FIRST, expected=shard_info(0, 2)).entry == read_manifest(folder).shards[0]
