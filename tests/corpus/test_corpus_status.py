"""How far a collection is, and what is wrong with its files, finished or not."""

from __future__ import annotations

import pytest
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.corpus import collection_status, shard_folder, verify_collection
from snac_tok.errors import ShardError
from snac_tok.shards.publish import PendingFile


@pytest.fixture
def out(tmp_path):
    """A finished collection of three shards: nine records, a failure and a recording left out."""
    write_speechlike_folder(tmp_path / "source")
    (tmp_path / "source" / "a-broken.wav").write_bytes(b"RIFF")
    write_tone(tmp_path / "source" / "z-short.wav", seconds=0.01)
    shard_folder(tmp_path / "source", tmp_path / "out", ToyEncoder(), clips_per_shard=4, min_duration=0.05)
    return tmp_path / "out"


def test_a_finished_collection(out):
    """All that was planned is done; hours are those of the records."""
    before = files_of(out)
    found = collection_status(out)
    assert found.is_finished
    assert (found.num_shards, found.num_done_shards) == (3, 3)
    assert (found.num_recordings, found.num_done_recordings, found.num_records) == (11, 11, 9)
    assert (found.num_failures, found.num_left_out) == (1, 1)
    assert found.codes == {"not-sound": 1, "too-short": 1}
    assert found.hours * 3600 == pytest.approx(sum(0.1 + 0.13 * k for k in range(9)), rel=0.01)
    assert found.missing == found.being_written == ()
    assert verify_collection(out) == verify_collection(out, read_data=True) == []
    assert files_of(out) == before


def test_a_begun_collection(out):
    """What is missing is named, and whether somebody writes it just now."""
    for name in ("_manifest.json", "_failed.jsonl", "train-00002-of-00003.parquet"):
        (out / name).unlink()
    found = collection_status(out)
    assert not found.is_finished
    assert (found.num_done_shards, found.num_done_recordings, found.num_records) == (2, 8, 7)
    assert found.missing == ("train-00002-of-00003.parquet",)
    assert found.being_written == ()
    pending = PendingFile(out / "train-00002-of-00003.parquet")
    assert collection_status(out).being_written == found.missing
    pending.discard()
    assert verify_collection(out, read_data=True) == []


@pytest.mark.parametrize("is_finished", [True, False])
def test_damage_is_named(out, is_finished):
    """A changed byte shows when data are read, a cut at once; shards of others are named, too."""
    (out / "other.parquet").write_bytes(b"theirs")
    path = out / "train-00001-of-00003.parquet"
    if not is_finished:
        (out / "_manifest.json").unlink()
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)
    assert [fault.name for fault in verify_collection(out)] == ["other.parquet"]
    assert [fault.name for fault in verify_collection(out, read_data=True)] == [path.name, "other.parquet"]
    path.write_bytes(content[:-20])
    assert [fault.name for fault in verify_collection(out)] == [path.name, "other.parquet"]


def test_a_list_of_failures_that_lost_lines_is_named(out):
    """Its number is the manifest's."""
    (out / "_failed.jsonl").unlink()
    assert [fault.name for fault in verify_collection(out)] == ["_failed.jsonl"]


@pytest.mark.parametrize("door", [collection_status, verify_collection])
def test_no_collection_is_one_sentence(out, tmp_path, door):
    """No folder, an empty one, and a damaged plan."""
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "nowhere", tmp_path / "empty"):
        with pytest.raises(ShardError, match=folder.name):
            door(folder)
    (out / "_manifest.json").unlink()
    (out / "_plan.json").write_bytes(b'{"plan_version": 3, "fing')
    with pytest.raises(ShardError, match=r"_plan\.json"):
        door(out)
