"""Job arrays: tasks side by side, in any order, then a merge: the same bytes as one run."""

from __future__ import annotations

import pytest
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder

from snac_tok.corpus import collection_status, merge_shards, shard_folder
from snac_tok.errors import ShardError
from snac_tok.shards import open_shards


@pytest.fixture
def source(tmp_path):
    """Nine good files and a bad one: five shards."""
    write_speechlike_folder(tmp_path / "source")
    (tmp_path / "source" / "broken.wav").write_bytes(b"RIFF")
    return tmp_path / "source"


@pytest.mark.law(7)
@pytest.mark.parametrize("merged_by", ["merge", "one run"])
@pytest.mark.parametrize(("count", "order"), [(2, (1, 0)), (3, (2, 0, 1)), (7, (6, 5, 4, 3, 2, 1, 0))])
def test_an_array_makes_the_files_of_one_run(source, tmp_path, count, order, merged_by):
    """In any order, with more tasks than shards, and one of them twice."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=2)
    out, numbers = tmp_path / "out", []
    for number in [*order, order[0]]:
        task = shard_folder(source, out, ToyEncoder(), clips_per_shard=2, array_task=(number, count))
        assert not task.is_complete
        numbers.append(task.num_shards)
    assert not (out / "_manifest.json").exists()
    assert sum(numbers[:-1]) == 5
    encoder = ToyEncoder()
    if merged_by == "merge":
        for was_finished in (False, True):
            merged = merge_shards(out)
            assert (merged.num_clips, merged.num_failures) == (9, 1)
            assert merged.was_finished == was_finished
    else:
        assert shard_folder(source, out, encoder, clips_per_shard=2).num_adopted_shards == 5
    assert encoder.batches == []
    assert files_of(out) == files_of(tmp_path / "whole")
    assert open_shards(out).verify() == []


def test_a_merge_with_shards_missing_names_one(source, tmp_path):
    """And the status names them all; a task that was interrupted is run again."""
    out = tmp_path / "out"
    for number in (0, 2):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2, array_task=(number, 3))
    with pytest.raises(ShardError, match=r"lacks 2 of 5 shards, train-00001-of-00005\.parquet for one"):
        merge_shards(out)
    assert collection_status(out).missing == (
        "train-00001-of-00005.parquet",
        "train-00004-of-00005.parquet",
    )
    shard_folder(source, out, ToyEncoder(), clips_per_shard=2, array_task=(1, 3))
    assert merge_shards(out).is_complete


def test_progress_and_error_rate_are_the_tasks_own(source, tmp_path):
    """Files and bytes of its shards."""
    seen = []
    options = {"clips_per_shard": 2, "array_task": (0, 2), "progress": seen.append}
    shard_folder(source, tmp_path / "out", ToyEncoder(), **options)
    assert seen[-1].done_files == seen[-1].total_files == 6
    assert seen[-1].done_bytes == seen[-1].total_bytes


@pytest.mark.parametrize("task", [(2, 2), (-1, 2), (0, 0)])
def test_a_task_that_is_none_is_refused(source, tmp_path, task):
    """In one sentence."""
    with pytest.raises(ShardError, match="tasks are numbered from 0"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), array_task=task)


def test_a_task_does_not_replace_what_the_others_made(source, tmp_path):
    """Every task would remove the whole collection."""
    out = tmp_path / "out"
    for number in range(2):
        shard_folder(source, out, ToyEncoder(), array_task=(number, 2))
    before = files_of(out)
    with pytest.raises(ShardError, match="begin anew once, without tasks"):
        shard_folder(source, out, ToyEncoder(), array_task=(0, 2), replace=True)
    assert files_of(out) == before


def test_a_damaged_shard_stops_the_merge(source, tmp_path):
    """Nothing is written."""
    out = tmp_path / "out"
    for number in range(2):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2, array_task=(number, 2))
    path = out / "train-00003-of-00005.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(content)
    with pytest.raises(ShardError, match=path.name):
        merge_shards(out)
    assert not any(path.name.startswith("_man") for path in out.iterdir())
