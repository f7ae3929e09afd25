"""Hugging Face datasets as a source of shards: saved ones, and those of the hub by way of the cache."""

import pytest
from datasets import Audio, Dataset, DatasetDict
from toy_encoder import ToyEncoder, files_of, write_tone

from snac_tok import open_shards, shard_folder
from snac_tok.errors import SourceError


@pytest.fixture
def rows(tmp_path):
    """Three rows of bytes; the last one is no sound."""
    cells = []
    for number, level in enumerate((0.25, 0.5)):
        path = write_tone(tmp_path / f"{number}.wav", level=level)
        cells.append({"bytes": path.read_bytes(), "path": path.name})
    cells.append({"bytes": b"text", "path": "2.wav"})
    told = {"text": ["One.", "Two.", None], "speaker_id": [7, 8, 9], "mood": ["calm", "", "odd"]}
    return Dataset.from_dict({"voice": cells, **told}).cast_column("voice", Audio(decode=False))


def records_of(out):
    """Name, text and columns."""
    return [(record.id, record.text, dict(record.columns)) for record in open_shards(out)]


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_saved_dataset(rows, tmp_path, jobs):
    """Its rows are found again by other processes, in whichever file they lie; the column may have any name."""
    rows.save_to_disk(tmp_path / "rows", num_shards=2)
    result = shard_folder(tmp_path / "rows", tmp_path / "out", ToyEncoder(), jobs=jobs, clips_per_shard=2)
    assert (result.num_clips, result.num_failures) == (2, 1)
    assert records_of(tmp_path / "out") == [
        ("00000000", "One.", {"speaker": "7"}),
        ("00000001", "Two.", {"speaker": "8"}),
    ]


def test_splits_are_told_apart_and_columns_are_kept(rows, tmp_path):
    """By the names of the splits."""
    DatasetDict({"test": rows.select([1]), "train": rows.select([0])}).save_to_disk(tmp_path / "rows")
    shard_folder(tmp_path / "rows", tmp_path / "out", ToyEncoder(), keep_columns=["mood"])
    assert records_of(tmp_path / "out") == [
        ("test/00000000", "Two.", {"mood": None}),
        ("train/00000000", "One.", {"mood": "calm"}),
    ]


def test_a_dataset_by_name(rows, tmp_path, monkeypatch):
    """As the hub's are named: here a folder plays the hub. Shards do not depend on where the cache is."""
    (tmp_path / "speech").mkdir()
    rows.select([0, 1]).to_parquet(tmp_path / "speech" / "train.parquet")
    monkeypatch.chdir(tmp_path)
    for cache in ("one", "two"):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / cache)
        shard_folder("hf:speech:train", tmp_path / f"out-{cache}", ToyEncoder())
    assert records_of(tmp_path / "out-one")[1] == ("00000001", "Two.", {"speaker": "8"})
    assert files_of(tmp_path / "out-one") == files_of(tmp_path / "out-two")


def test_rows_that_name_files(tmp_path):
    """Missing ones are listed."""
    there = write_tone(tmp_path / "a.wav")
    cells = [{"bytes": None, "path": str(there)}, {"bytes": None, "path": str(tmp_path / "no.wav")}]
    Dataset.from_dict({"audio": cells}).save_to_disk(tmp_path / "rows")
    result = shard_folder(tmp_path / "rows", tmp_path / "out", ToyEncoder())
    assert (result.num_clips, result.num_failures) == (1, 1)


def test_what_is_no_dataset_of_sound(tmp_path):
    """One sentence each."""
    Dataset.from_dict({"text": ["x"]}).save_to_disk(tmp_path / "rows")
    with pytest.raises(SourceError, match="no column of sound; the columns are text"):
        shard_folder(tmp_path / "rows", tmp_path / "out", ToyEncoder())
    with pytest.raises(SourceError, match="hf:NAME:SPLIT"):
        shard_folder("hf:", tmp_path / "out", ToyEncoder())
