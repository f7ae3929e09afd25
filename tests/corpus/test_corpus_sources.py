"""Manifests, archives and patterns to shards: parts, columns and channels go through, and the laws hold."""

from __future__ import annotations

import io
import tarfile

import pandas as pd
import pytest
from toy_encoder import ToyEncoder, files_of, write_tone

from snac_tok.corpus import shard_folder
from snac_tok.errors import ShardError, SourceError
from snac_tok.shards import open_shards, read_shards


@pytest.fixture
def folder(tmp_path):
    """A recording of two seconds, a table that names parts of it, and a tar with it."""
    path = write_tone(tmp_path / "in" / "wavs" / "a.wav", seconds=2, channels=2)
    rows = [
        "path,start,end,text,speaker,gender,channel",
        "wavs/a.wav,0.5,1.5,one,Ann,F,",
        "wavs/a.wav,1.5,,two,Ben,,",
    ]
    (tmp_path / "in" / "m.csv").write_text("\n".join([*rows, "gone.wav,,,three,Ann,F,"]))
    with tarfile.open(tmp_path / "in" / "s.tar", "w") as archive:
        for name, content in {"1.wav": path.read_bytes(), "1.txt": b"one", "2.wav": b"no sound"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return tmp_path / "in"


@pytest.mark.parametrize("jobs", [0, 2])
def test_parts_with_their_columns(folder, tmp_path, jobs):
    """A record a part; speaker is kept by itself, other columns when asked; every reader sees them."""
    shard_folder(folder / "m.csv", tmp_path / "out", ToyEncoder(), jobs=jobs)
    first, second = read_shards(tmp_path / "out", verify=True)
    assert [(each.text, each.columns) for each in (first, second)] == [
        ("one", {"speaker": "Ann"}),
        ("two", {"speaker": "Ben"}),
    ]
    assert (first.source, first.num_samples, second.num_samples) == ("wavs/a.wav", 24_000, 12_000)
    assert first.id == "wavs/a.wav@00000.500000-00001.500000"
    assert [failure.code for failure in open_shards(tmp_path / "out").failures()] == ["missing"]
    assert pd.read_parquet(tmp_path / "out")["speaker"].tolist() == ["Ann", "Ben"]


def test_columns_by_name_and_none(folder, tmp_path):
    """They are part of the plan; a column that nobody has is refused, and so is one that every shard has."""
    shard_folder(folder / "m.csv", tmp_path / "out", ToyEncoder(), keep_columns=["gender", "speaker"])
    assert [dict(each.columns) for each in read_shards(tmp_path / "out")] == [
        {"gender": "F", "speaker": "Ann"},
        {"gender": None, "speaker": "Ben"},
    ]
    with pytest.raises(ShardError, match="columns that are kept"):
        shard_folder(folder / "m.csv", tmp_path / "out", ToyEncoder())
    shard_folder(folder / "m.csv", tmp_path / "bare", ToyEncoder(), keep_columns=[])
    assert [dict(each.columns) for each in read_shards(tmp_path / "bare")] == [{}, {}]
    with pytest.raises(SourceError, match=r"no recording has a column 'speeker'.*Did you mean 'speaker'"):
        shard_folder(folder / "m.csv", tmp_path / "other", ToyEncoder(), keep_columns=["speeker"])
    with pytest.raises(ShardError, match="'codes' is one that every shard has"):
        shard_folder(folder / "m.csv", tmp_path / "other", ToyEncoder(), keep_columns=["codes"])


def test_a_source_without_columns_gives_shards_as_ever(folder, tmp_path):
    """The same columns as those that all shards have."""
    shard_folder(folder, tmp_path / "out", ToyEncoder())
    assert pd.read_parquet(tmp_path / "out").columns.tolist() == [
        "id",
        "source",
        "num_samples",
        "source_sampling_rate",
        "text",
        "codes",
    ]


@pytest.mark.law(7)
def test_an_archive_a_pattern_and_a_folder_give_the_same_codes(folder, tmp_path):
    """Read here or in another process, whole or long."""
    shard_folder(folder / "s.tar", tmp_path / "tar", ToyEncoder())
    shard_folder(folder / "s.tar", tmp_path / "tar-2", ToyEncoder(), jobs=1)
    assert files_of(tmp_path / "tar") == files_of(tmp_path / "tar-2")
    shard_folder(f"{folder}/**/*.wav", tmp_path / "pattern", ToyEncoder())
    records = [next(read_shards(tmp_path / name)) for name in ("tar", "pattern")]
    assert records[0].codes.tolist() == records[1].codes.tolist()
    assert [record.id for record in records] == ["s.tar/1.wav", "wavs/a.wav"]
    assert records[0].text == "one"


def test_one_file_and_one_recording_twice_are_refused(folder, tmp_path):
    """In one sentence."""
    with pytest.raises(SourceError, match="is one file"):
        shard_folder(folder / "wavs" / "a.wav", tmp_path / "out", ToyEncoder())
    (folder / "m.txt").write_text("wavs/a.wav\nwavs/a.wav\n")
    with pytest.raises(ShardError, match=r"two recordings are called 'wavs/a\.wav'"):
        shard_folder(folder / "m.txt", tmp_path / "out", ToyEncoder())


def test_a_recording_that_changed_between_two_runs_of_one_process(folder, tmp_path):
    """Its size is looked up anew."""
    (folder / "m.txt").write_text("wavs/a.wav\n")
    shard_folder(folder / "m.txt", tmp_path / "one", ToyEncoder())
    write_tone(folder / "wavs" / "a.wav", seconds=0.5)
    assert shard_folder(folder / "m.txt", tmp_path / "two", ToyEncoder()).num_failures == 0
