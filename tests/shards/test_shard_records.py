"""Records and infos say at once what cannot be stored."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from shard_samples import COLLECTION, make_record, shard_info

from snac_tok.errors import CodesError, ShardError
from snac_tok.frames import FrameLayout
from snac_tok.shards import CollectionInfo, Record, ShardInfo, ShardWriter, raw_codes, shard_name


@pytest.mark.parametrize("bad", [[-1], [4096], [65536 + 5], [0, 70000]])
def test_codes_outside_the_codebook_are_refused_instead_of_wrapping(bad):
    """65541 would become code 5 in uint16."""
    with pytest.raises(CodesError, match=r"0…4095"):
        raw_codes(bad, codebook_size=4096)


@pytest.mark.parametrize("bad", [[[1, 2]], [0.5], ["a"]])
def test_codes_must_be_flat_integers(bad):
    """Anything but a line of integers is refused."""
    with pytest.raises(CodesError, match="flat integers"):
        raw_codes(bad, codebook_size=4096)


def test_the_largest_codebook_uint16_can_hold_is_accepted_and_the_next_refused():
    """65536 entries fit, 65537 do not."""
    assert raw_codes([65535], codebook_size=65536).tolist() == [65535]
    assert dataclasses.replace(COLLECTION, codebook_size=65536).codebook_size == 65536
    with pytest.raises(ShardError, match="65537"):
        dataclasses.replace(COLLECTION, codebook_size=65537)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"id": ""}, ShardError, "id"),
        ({"source": ""}, ShardError, "source"),
        ({"num_samples": -1}, ShardError, "-1 samples"),
        ({"source_sampling_rate": 0}, ShardError, "0 Hz"),
        ({"codes": np.zeros(7, np.int64)}, CodesError, "uint16"),
        ({"codes": np.zeros((7, 1), np.uint16)}, CodesError, "uint16"),
        ({"codes": [1, 2]}, CodesError, "uint16"),
    ],
)
def test_an_impossible_record_is_refused(changes, error, words):
    """Each field is checked where the record is made."""
    good = {field.name: getattr(make_record("a"), field.name) for field in dataclasses.fields(Record)}
    with pytest.raises(error, match=words):
        Record(**{**good, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"channels": "right please"}, "channels"),
        ({"layout": {"strides": [4, 3]}}, "divide"),
        ({"layout": {}}, "strides"),
        ({"layout": {"strides": [4, 2, 1], "order": "breadth-first"}}, "depth-first"),
        ({"layout": {"strides": [4, 2, 1], "levels": 2}}, "all levels"),
        ({"codec_config": {"noise": float("nan")}}, "JSON"),
        ({"codec_config": {"noise": object()}}, "JSON"),
    ],
)
def test_an_impossible_collection_is_refused(changes, words):
    """What could not be decoded later is refused before anything is written."""
    with pytest.raises(ShardError, match=words):
        dataclasses.replace(COLLECTION, **changes)


def test_infos_survive_json_and_tuples_equal_lists():
    """A config with tuples is equal to itself read back from JSON."""
    made = dataclasses.replace(COLLECTION, codec_config={"vq_strides": (4, 2, 1)})
    assert CollectionInfo.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    info = shard_info(2, 5)
    assert ShardInfo.from_json(info.to_json()) == info
    assert dataclasses.replace(COLLECTION, layout={"strides": (4, 2, 1)}) == COLLECTION
    assert COLLECTION.frame_layout() == FrameLayout(strides=(4, 2, 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format_version": 99}, "newer"),
        ({"format_version": "1"}, "newer"),
        ({"sampling_rate": "24000"}, "sampling_rate is '24000'; a value of type int"),
        ({"sampling_rate": True}, "sampling_rate is True; a value of type int"),
        ({"layout": [1]}, r"layout is \[1\]; a mapping"),
        ({"surprise": 1}, "surprise"),
        (
            {"precision": "banana"},
            "precision must be one of fp32, tf32x3, tf32, bf16, fp16, fp64, got 'banana'",
        ),
        ({"precision": None}, "precision is None"),
    ],
)
def test_stored_infos_are_checked_field_by_field(change, words):
    """A newer format, a wrong type or an unknown field is named."""
    with pytest.raises(ShardError, match=words):
        CollectionInfo.from_dict({**COLLECTION.to_dict(), **change})


def test_a_precision_is_written_down_unless_it_is_full():
    """So shards from before it was written are read as before, and equal ones are equal to the byte."""
    assert "precision" not in COLLECTION.to_dict()
    assert b"precision" not in shard_info(0, 1).to_json()
    info = shard_info(0, 1, precision="tf32")
    assert info.collection.to_dict()["precision"] == "tf32"
    assert CollectionInfo.from_dict(info.collection.to_dict()) == info.collection
    assert ShardInfo.from_json(info.to_json()) == info
    assert COLLECTION.differences(info.collection) == ["precision"]
    assert info.collection.differences(COLLECTION) == ["precision"]


def test_differences_name_the_fields():
    """Two infos are told apart by name."""
    other = dataclasses.replace(COLLECTION, weights_sha256="cd" * 32, package_version="0.2.0")
    assert COLLECTION.differences(other) == ["weights_sha256", "package_version"]


def test_shard_names_sort_in_shard_order():
    """Also past 100,000 shards, where five digits are too few."""
    names = [shard_name(index, 1_000_000) for index in (0, 9, 99_999, 100_000, 999_999)]
    assert names == sorted(names)
    with pytest.raises(ShardError, match="index 3"):
        shard_info(3, 3)


@pytest.mark.parametrize(
    ("codes", "words"),
    [(np.zeros(8, np.uint16), "per frame"), (np.full(7, 4096, np.uint16), "code 4096")],
)
def test_the_writer_refuses_codes_that_are_not_the_codecs(tmp_path, codes, words):
    """Partial frames and codes beyond the codebook stop the shard; nothing is published."""
    record = dataclasses.replace(make_record("a"), codes=codes)
    with pytest.raises(CodesError, match=words), ShardWriter(tmp_path, info=shard_info()) as shard:
        shard.add(record)
    assert list(tmp_path.iterdir()) == []


def test_an_id_may_come_once_in_a_shard(tmp_path):
    """The second record of one id is refused."""
    with ShardWriter(tmp_path, info=shard_info()) as shard:
        shard.add(make_record("a"))
        with pytest.raises(ShardError, match="twice"):
            shard.add(make_record("a", seed=1))


def test_a_layout_of_another_kind_is_quoted_in_part():
    """One sentence, however much a manifest holds there."""
    with pytest.raises(ShardError, match=r"the stored layout .* cannot be used") as refused:
        dataclasses.replace(COLLECTION, layout={"strides": "x" * 5000})
    assert len(str(refused.value)) < 800
