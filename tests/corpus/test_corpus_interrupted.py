"""Law 6 for runs: killed anywhere and run again == never interrupted, byte for byte."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.corpus import shard_folder
from snac_tok.errors import ShardError
from snac_tok.shards import ShardFile, open_shards

HERE = Path(__file__).parent

# Dies without any clean-up on the nth call of one function of the operating system.
KILLED_RUN = """
import os, signal, sys
sys.path.insert(0, {here!r})
from toy_encoder import ToyEncoder
from snac_tok.corpus import shard_folder
real, left = os.{name}, [{count}]
def deadly(*args, **options):
    left[0] -= 1
    if left[0] < 0:
        if {after}:
            real(*args, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)
os.{name} = deadly
shard_folder({source!r}, {out!r}, ToyEncoder(), clips_per_shard=4)
"""


@pytest.fixture
def source(tmp_path):
    """Nine good files and two bad ones: three shards."""
    write_speechlike_folder(tmp_path / "source")
    write_tone(tmp_path / "source" / "b" / "silent.wav", level=0)
    (tmp_path / "source" / "a-broken.wav").write_bytes(b"RIFF")
    return tmp_path / "source"


def kill(source, out, *, name, count, after=False):
    """Run until the kill; True when the run was killed."""
    script = KILLED_RUN.format(
        here=str(HERE), name=name, count=count, after=after, source=str(source), out=str(out)
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    done = subprocess.run([sys.executable, "-c", script], check=False, env=environment, capture_output=True)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode == -9


# plan, three shards, manifest are linked; each is fsynced twice (file, folder), _failed.jsonl as well; of every file a
# hidden one is begun.
@pytest.mark.parametrize(
    ("name", "count", "after"),
    [
        ("link", 0, False),
        ("link", 1, False),
        ("link", 2, True),
        ("link", 3, True),
        ("link", 4, False),
        ("link", 4, True),
        ("fsync", 4, False),
        ("fsync", 7, False),
        ("fsync", 8, False),
        ("fsync", 10, False),
        ("fsync", 11, False),
        ("dup", 2, True),
        ("dup", 5, True),
    ],
)
def test_killed_and_run_again_equals_uninterrupted(source, tmp_path, name, count, after):
    """Kill −9 before and after names appear: no half file has a final name; then the same bytes.

    Nothing hidden is left either.
    """
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    out = tmp_path / "out"
    assert kill(source, out, name=name, count=count, after=after)
    for path in out.glob("*.parquet"):
        with ShardFile(path) as shard:
            shard.describe()
    was_finished = (out / "_manifest.json").exists()
    encoder = ToyEncoder()
    assert shard_folder(source, out, encoder, clips_per_shard=4).was_finished == was_finished
    assert open_shards(out).verify() == []
    assert files_of(out) == files_of(tmp_path / "whole")
    if was_finished:
        assert encoder.batches == []


def test_published_shards_are_adopted_not_encoded_again(source, tmp_path):
    """The rerun encodes the missing shard alone and still knows the failures of the others."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    whole = files_of(out)
    for name in ("_manifest.json", "_failed.jsonl", "train-00001-of-00003.parquet"):
        (out / name).unlink()
    encoder, seen = ToyEncoder(), []
    summary = shard_folder(source, out, encoder, clips_per_shard=4, progress=seen.append)
    assert files_of(out) == whole
    assert (summary.num_adopted_shards, summary.num_failures) == (2, 2)
    assert encoder.batches == [4, 1, 1, 1, 1]  # its silent clip makes them go one by one
    assert [state.done_files for state in seen] == [4, 8, 11]
    assert seen[-1].done_bytes == seen[-1].total_bytes


@pytest.mark.parametrize(
    ("changes", "clips_per_shard", "named"),
    [
        ({"weights_sha256": "11" * 32}, 4, "weights_sha256"),
        ({"resampler": {"name": "soxr"}, "package_version": "9"}, 4, "resampler, package_version"),
        ({}, 5, "clips_per_shard"),
    ],
)
def test_other_options_are_refused_by_name(source, tmp_path, changes, clips_per_shard, named):
    """Shards of two kinds never mix."""
    out = tmp_path / "out"
    assert kill(source, out, name="link", count=2)
    with pytest.raises(ShardError, match=rf"\({named}\)"):
        shard_folder(source, out, ToyEncoder(**changes), clips_per_shard=clips_per_shard)


def test_sources_that_changed_are_refused(source, tmp_path):
    """A file that was added or grew since the plan was made."""
    out = tmp_path / "out"
    assert kill(source, out, name="link", count=1)
    write_tone(source / "late.wav")
    with pytest.raises(ShardError, match="source files or texts"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)


def test_a_leftover_shard_that_was_damaged_is_refused_by_name(source, tmp_path):
    """It is neither adopted nor silently made again."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    (out / "_manifest.json").unlink()
    damaged = out / "train-00001-of-00003.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(ShardError, match=damaged.name):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)


def test_a_plan_that_was_damaged_is_refused_by_name(source, tmp_path):
    """What it would have said cannot be known."""
    out = tmp_path / "out"
    assert kill(source, out, name="link", count=1)
    (out / "_plan.json").write_bytes((out / "_plan.json").read_bytes()[:-30])
    with pytest.raises(ShardError, match=r"_plan\.json"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)


def test_two_runs_into_one_folder_make_one_collection(source, tmp_path):
    """Begun together by two processes: both end well, with the bytes of one run alone and nothing hidden."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    script = KILLED_RUN.format(
        here=str(HERE), name="link", count=99, after=False, source=str(source), out=str(tmp_path / "out")
    )
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}
    runs = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for run in runs:
        assert run.communicate()[1] == b""
        assert run.returncode == 0
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_any_write_is_one_sentence_and_the_run_goes_on_later(
    source, tmp_path, monkeypatch, code
):
    """No half file, nothing hidden; with room again the same bytes come of it."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    real, left = os.fsync, [0]

    def fsync(handle):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        real(handle)

    for count in range(12):
        out, left[0] = tmp_path / f"out-{count}", count
        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(ShardError, match=os.strerror(code)):
            shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
        assert not any(name.startswith(".") for name in files_of(out))
        monkeypatch.undo()
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
        assert files_of(out) == files_of(tmp_path / "whole")
