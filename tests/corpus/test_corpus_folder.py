"""Where a collection goes: apart from its recordings, and in place of an earlier one only when asked."""

from __future__ import annotations

import json

import pytest
from toy_encoder import ToyEncoder, files_of, write_tone

from snac_tok.corpus import remove_collection, shard_folder
from snac_tok.errors import ShardError, SourceError
from snac_tok.shards import open_shards


@pytest.fixture
def source(tmp_path):
    """Three recordings."""
    for name in ("a.wav", "b.wav", "c.wav"):
        write_tone(tmp_path / "source" / name)
    return tmp_path / "source"


@pytest.fixture
def out(source, tmp_path):
    """A finished collection of three shards, with a failure."""
    (source / "bad.wav").write_bytes(b"RIFF")
    shard_folder(source, tmp_path / "out", ToyEncoder(), clips_per_shard=2)
    (source / "bad.wav").unlink()
    return tmp_path / "out"


@pytest.mark.parametrize("place", [".", "shards", "b/deep", "../alias"])
def test_shards_do_not_go_among_their_recordings(source, place):
    """Equal, inside, or inside by a link: one sentence, and nothing is written."""
    (source.parent / "alias").symlink_to(source, target_is_directory=True)
    before = sorted(source.rglob("*"))
    with pytest.raises(ShardError, match="choose one outside") as caught:
        shard_folder(source, source / place, ToyEncoder())
    assert str(source) in str(caught.value)
    assert sorted(source.rglob("*")) == before


def test_a_folder_beside_whose_name_begins_alike_is_outside(source, tmp_path):
    """source-shards is not in source."""
    assert shard_folder(source, tmp_path / "source-shards", ToyEncoder()).num_clips == 3


@pytest.mark.parametrize("missing", [None, "_manifest.json", "_plan.json"])
def test_replacing_leaves_what_a_new_run_makes_and_other_files(source, out, tmp_path, missing):
    """A finished collection, a begun one and one without its plan are taken away whole."""
    (out / "notes.txt").write_text("mine")
    if missing:
        (out / missing).unlink()
    shard_folder(source, out, ToyEncoder(), replace=True)
    shard_folder(source, tmp_path / "fresh", ToyEncoder())
    assert files_of(out) == files_of(tmp_path / "fresh") | {"notes.txt": b"mine"}


def test_replacing_needs_something_to_put_in_its_place(out, tmp_path):
    """No audio, no such folder, broken metadata: the old collection stays."""
    before = files_of(out)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    write_tone(tmp_path / "broken" / "a.wav")
    (tmp_path / "broken" / "metadata.jsonl").write_text("{")
    for name in ("empty", "missing", "broken"):
        with pytest.raises(SourceError):
            shard_folder(tmp_path / name, out, ToyEncoder(), replace=True)
    assert files_of(out) == before


def test_other_peoples_files_are_not_replaced(source, tmp_path):
    """A _manifest.json of another kind, and shards that no plan of ours knows, stay and are named."""
    other = tmp_path / "site"
    other.mkdir()
    (other / "_manifest.json").write_text("{}")
    (other / "train-00000-of-00001.parquet").write_bytes(b"theirs")
    before = files_of(other)
    with pytest.raises(ShardError, match="site"):
        shard_folder(source, other, ToyEncoder(), replace=True)
    assert files_of(other) == before


def test_a_foreign_shard_among_ours_stops_the_replacing(source, out):
    """Before anything is removed."""
    (out / "old.parquet").write_bytes(b"theirs")
    before = files_of(out)
    with pytest.raises(ShardError, match=r"old\.parquet"):
        shard_folder(source, out, ToyEncoder(), replace=True)
    assert files_of(out) == before


def test_removing_takes_what_attempts_left_along(out):
    """Hidden files of an interrupted run as well; without a collection nothing is done."""
    (out / ".train-00000-of-00002.parquet.1-dead.tmp").write_bytes(b"half")
    assert len(open_shards(out)) == 3
    remove_collection(out)
    assert files_of(out) == {}
    remove_collection(out)
    remove_collection(out / "absent")
    assert not (out / "absent").exists()


def test_replacing_lists_the_sources_once(source, out, caplog):
    """So that a warning about them is told once."""
    (source / "metadata.csv").write_text("file_name,text\ngone.wav,x\n")
    shard_folder(source, out, ToyEncoder(), replace=True)
    assert len(caplog.records) == 1


def damaged(path, how):
    """Cut a JSON file short, or make it one of another version."""
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    else:
        fields = json.loads(path.read_text())
        fields["plan_version" if "plan" in path.name else "format_version"] = how
        path.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [
        ("_manifest.json", "cut", "not valid JSON"),
        ("_manifest.json", 99, "newer"),
        ("_manifest.json", 1, "older"),
        ("_plan.json", "cut", "not valid JSON"),
        ("_plan.json", 99, "no plan of version"),
    ],
)
def test_a_damaged_or_foreign_manifest_or_plan_is_named_and_nothing_is_encoded(source, out, name, how, words):
    """One sentence; whatever lies there stays."""
    (source / "bad.wav").write_bytes(b"RIFF")
    damaged(out / name, how)
    if name == "_plan.json":
        (out / "_manifest.json").unlink()
    before, encoder = files_of(out), ToyEncoder()
    with pytest.raises(ShardError, match=f"{name}.*{words}"):
        shard_folder(source, out, encoder, clips_per_shard=2)
    assert files_of(out) == before
    assert encoder.batches == []


def test_a_finished_run_needs_no_plan_to_be_known(source, out):
    """The manifest has the plan's fingerprint; only what differs is named less exactly."""
    (out / "_plan.json").unlink()
    with pytest.raises(ShardError, match="clips_per_shard, source files or texts"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2)
    (source / "bad.wav").write_bytes(b"RIFF")
    assert shard_folder(source, out, ToyEncoder(), clips_per_shard=2).was_finished


@pytest.mark.parametrize("state", ["is missing", "has 9 bytes"])
def test_a_finished_collection_that_lost_a_shard_is_not_called_finished(source, out, state):
    """The file is named."""
    (source / "bad.wav").write_bytes(b"RIFF")
    shard = out / "train-00001-of-00002.parquet"
    shard.unlink() if state == "is missing" else shard.write_bytes(b"x" * 9)
    with pytest.raises(ShardError, match=rf"{shard.name} {state}"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2)


def test_an_out_that_is_a_link_round_in_a_circle_is_one_sentence(source, tmp_path):
    """No error of the path's own."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ShardError, match="loop: cannot be written"):
        shard_folder(source, tmp_path / "loop", ToyEncoder())
