"""Law 6 for shards: read(write(x)) == x, and equal records give equal bytes."""

from __future__ import annotations

import hashlib
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_samples import COLLECTION, fields, make_record, shard_info, write_collection

from snac_tok.errors import LayoutError, ShardError
from snac_tok.frames import FrameLayout, Vocabulary, preset, vocabulary_to_json
from snac_tok.shards import (
    Failure,
    Record,
    ShardFile,
    open_shards,
    read_shards,
    write_shard,
    writer,
)

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
codes = st.lists(st.integers(0, 4095), max_size=21).map(
    lambda values: np.array(values[: len(values) // 7 * 7], dtype=np.uint16)
)
records = st.builds(
    Record,
    id=names,
    source=names,
    num_samples=st.integers(0, 2**63 - 1),
    source_sampling_rate=st.integers(1, 2**31 - 1),
    text=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    codes=codes,
)
shards = st.lists(st.lists(records, max_size=6, unique_by=lambda record: record.id), min_size=1, max_size=3)


@pytest.mark.law(6)
@given(shards=shards)
@settings(max_examples=40, deadline=None)
def test_reading_gives_back_what_was_written(shards):
    """Any records in any number of shards, empty ones included, come back equal and in order."""
    with tempfile.TemporaryDirectory() as folder:
        write_collection(Path(folder), shards)
        found = [fields(record) for record in read_shards(folder, verify=True)]
    assert found == [fields(record) for shard in shards for record in shard]


@pytest.mark.law(6)
@given(shard=st.lists(records, max_size=5, unique_by=lambda record: record.id))
@settings(max_examples=20, deadline=None)
def test_equal_records_give_equal_bytes(shard):
    """Written twice, in two folders, a shard has one checksum."""
    digests = set()
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            path = write_shard(Path(folder), shard, info=shard_info())
            digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_failures_are_sorted_so_that_their_order_of_arrival_leaves_no_trace(tmp_path):
    """The footer does not tell which file was read first."""
    failures = [Failure(source=name, reason="cut off") for name in ("b.wav", "ä.wav", "a.wav")]
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    one = write_shard(tmp_path / "x", [], info=shard_info(), failures=failures)
    two = write_shard(tmp_path / "y", [], info=shard_info(), failures=failures[::-1])
    assert one.read_bytes() == two.read_bytes()
    with ShardFile(one) as shard:
        assert [failure.source for failure in shard.failures] == ["a.wav", "b.wav", "ä.wav"]


def test_the_footer_makes_a_single_file_self_describing(tmp_path):
    """A shard taken out of its folder still says codec, layout and which shard it was."""
    path = write_shard(tmp_path, [make_record("a")], info=shard_info(1, 4))
    with ShardFile(path.rename(tmp_path / "renamed.parquet")) as shard:
        assert shard.info == shard_info(1, 4)
        assert len(shard) == 1


def test_long_shards_are_read_one_row_group_at_a_time(tmp_path, monkeypatch):
    """Iterating 16 MB of codes holds a small part of them."""
    monkeypatch.setattr(writer, "ROW_GROUP_TOKENS", 100_000)
    long = [make_record(f"{index}", num_frames=15_000, seed=index) for index in range(80)]
    write_collection(tmp_path, [long])
    del long
    tracemalloc.start()
    total = sum(record.codes.size for record in read_shards(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 80 * 15_000 * 7
    assert peak < 3_000_000


def test_a_record_that_is_kept_holds_its_own_codes_only(tmp_path):
    """A view would keep the whole row group in memory."""
    records = [make_record("a"), make_record("b", num_frames=1000)]
    kept = next(read_shards(write_collection(tmp_path, [records])))
    assert kept.codes.base is None
    assert kept.codes.flags.owndata


def test_a_collection_knows_its_totals(tmp_path):
    """Counts, hours and failures come from the manifest and the footers."""
    failures = [Failure(source="bad.wav", reason="damaged")]
    shards = [[make_record("a"), make_record("b", num_frames=5)], [make_record("c")]]
    collection = open_shards(write_collection(tmp_path, shards, failures=failures))
    samples = 3 * 2048 - 17 + 5 * 2048 - 17 + 3 * 2048 - 17
    assert len(collection) == 3
    assert collection.hours == samples / 24000 / 3600
    assert collection.manifest.num_tokens == 77
    assert collection.manifest.num_frames == 11
    assert list(collection.failures()) == failures
    assert collection.info == COLLECTION
    assert collection.verify() == []
    assert "3 records" in repr(collection)


def test_ids_of_a_preset_are_a_view_made_on_reading(tmp_path):
    """Orpheus: 128266 + slot·4096 + code, slots in stored order."""
    record = make_record("a", num_frames=2)
    collection = open_shards(write_collection(tmp_path, [[record]]))
    ((found, ids),) = collection.ids(preset("orpheus"))
    slots = np.arange(14) % 7
    assert fields(found) == fields(record)
    assert ids.dtype == np.int64
    assert ids.tolist() == (128266 + slots * 4096 + record.codes).tolist()


def test_ids_follow_the_vocabularys_own_order_and_levels(tmp_path):
    """Breadth-first and a subset of levels are made from the same stored codes."""
    record = make_record("a", num_frames=1)
    collection = open_shards(write_collection(tmp_path, [[record]]))
    a, b1, c1, c2, b2, c3, c4 = record.codes.tolist()
    breadth = Vocabulary(layout=FrameLayout(strides=(4, 2, 1), order="breadth-first"), codebook_size=4096)
    coarse = Vocabulary(layout=FrameLayout(strides=(4, 2, 1), levels=2), codebook_size=4096)
    for vocabulary, raw in ((breadth, [a, b1, b2, c1, c2, c3, c4]), (coarse, [a, b1, b2])):
        ((_, ids),) = collection.ids(vocabulary)
        assert [level.tolist() for level in vocabulary.decode(ids)] == [
            level.tolist() for level in vocabulary.layout.unflatten(raw)
        ]


def test_a_vocabulary_for_another_codec_is_refused(tmp_path):
    """15-slot frames cannot be made of 7-slot ones."""
    collection = open_shards(write_collection(tmp_path, [[make_record("a")]]))
    other = Vocabulary(layout=FrameLayout(strides=(8, 4, 2, 1)), codebook_size=4096)
    with pytest.raises(LayoutError, match=r"\(1, 2, 4\)"):
        collection.ids(other)


def test_ids_by_a_presets_name_or_file(tmp_path):
    """A name, a .json file and a table give the same ids."""
    collection = open_shards(write_collection(tmp_path, [[make_record("a"), make_record("b")]]))
    expected = [ids.tolist() for _, ids in collection.ids(preset("orpheus"))]
    assert [ids.tolist() for _, ids in collection.ids("orpheus")] == expected
    (tmp_path / "mine.json").write_text(vocabulary_to_json(preset("orpheus")))
    assert [ids.tolist() for _, ids in collection.ids(str(tmp_path / "mine.json"))] == expected


@pytest.mark.parametrize(
    ("wanted", "words"), [("orfeus", "orpheus"), ("absent.json", "absent.json"), (3, "a preset's name")]
)
def test_what_is_no_vocabulary_is_refused_at_once(tmp_path, wanted, words):
    """In one sentence, before anything is read."""
    collection = open_shards(write_collection(tmp_path, [[make_record("a")]]))
    with pytest.raises(LayoutError, match=words):
        collection.ids(wanted)


def test_codebook_usage_counts_every_level_over_all_shards(tmp_path):
    """Two shards are one distribution."""
    shards = [[make_record("a")], [make_record("b", seed=1)]]
    statistics = open_shards(write_collection(tmp_path, shards)).statistics()
    assert [level.total for level in statistics.usage.levels()] == [6, 12, 24]


def test_datasets_reads_the_shards(tmp_path, monkeypatch):
    """`load_dataset("parquet", …)` gives the same rows, codes as uint16."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "out"
    out.mkdir()
    shards = [[make_record("a b.wav", text="Grüße"), make_record("ü.wav")], [], [make_record("c", seed=2)]]
    write_collection(out, shards)
    files = sorted(str(path) for path in out.glob("*.parquet"))
    found = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [(row["id"], row["text"], row["codes"]) for row in found] == [
        (record.id, record.text, record.codes.tolist()) for shard in shards for record in shard
    ]
    assert found.features["codes"].feature.dtype == "uint16"


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.integers(1, 7),
    st.integers(1, 4),
)
@settings(max_examples=30, deadline=None)
def test_parts_are_together_all_records_each_once(sizes, count, group):
    """Whatever the shards' sizes and the number of readers; records stay in order."""
    shards = [[make_record(f"{at}-{k}", seed=k) for k in range(size)] for at, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "ROW_GROUP_RECORDS", group)
        folder = write_collection(Path(name), shards)
        collection = open_shards(folder)
        parts = [list(read_shards(folder, part=(index, count))) for index in range(count)]
        whole = [record.id for record in collection]
        assert sorted(record.id for part in parts for record in part) == sorted(whole)
        assert all(
            [record.id for record in part] == [name for name in whole if name in {r.id for r in part}]
            for part in parts
        )
        ids = [[record.id for record, _ in collection.ids("plain", part=(at, count))] for at in range(count)]
        assert ids == [[record.id for record in part] for part in parts]


@pytest.mark.parametrize("part", [(2, 2), (-1, 2), (0, 0), (0.5, 2), 3, (1,), "01", None])
def test_a_part_that_there_is_not_is_refused_at_once(tmp_path, part):
    """Before anything is read."""
    collection = open_shards(write_collection(tmp_path, [[make_record("a")]]))
    with pytest.raises(ShardError, match="part"):
        collection.records(part=part)
    with pytest.raises(ShardError, match="part"):
        collection.ids("plain", part=part)
