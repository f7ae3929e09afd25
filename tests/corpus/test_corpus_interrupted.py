"""Law 6 for runs: killed anywhere and run again == never interrupted, byte for byte."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.corpus import shard_folder
from snac_tok.errors import ShardError
from snac_tok.shards import ShardFile, open_shards

HERE = Path(__file__).parent

RUN = """
import contextlib, os, signal, sys
sys.path.insert(0, {here!r})
from toy_encoder import ToyEncoder
from snac_tok.corpus import shard_folder
source, out = sys.argv[1:]
def run(out):
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
"""
# Forks before the nth call of one function of the operating system and dies there without any clean-up, before the call
# or after it, until a run gets through: one process, one import.
KILLED = (
    RUN
    + """
with contextlib.suppress(ImportError):
    import pandas  # pyarrow loads it for its first file, and every child would load it anew
for name in ("link", "fsync", "dup", "replace"):
    for after in (False, True):
        for count in range(99):
            if os.fork() == 0:
                real, left = getattr(os, name), [count]
                def deadly(*args, **options):
                    left[0] -= 1
                    if left[0] < 0:
                        if after:
                            real(*args, **options)
                        os.kill(os.getpid(), signal.SIGKILL)
                    return real(*args, **options)
                setattr(os, name, deadly)
                run(f"{{out}}/{{name}}-{{count}}-{{after}}")
                os._exit(0)
            if os.wait()[1] == 0:
                break
"""
)


@pytest.fixture
def source(tmp_path):
    """Nine good files and two bad ones: three shards."""
    write_speechlike_folder(tmp_path / "source")
    write_tone(tmp_path / "source" / "b" / "silent.wav", level=0)
    (tmp_path / "source" / "a-broken.wav").write_bytes(b"RIFF")
    return tmp_path / "source"


def command(script, source, out):
    """The arguments and options of a process that runs a script."""
    arguments = [sys.executable, "-c", script.format(here=str(HERE)), str(source), str(out)]
    return arguments, {**os.environ, "PYTHONPATH": str(HERE.parent.parent)}


def interrupt(source, out):
    """Run until the second shard is begun, as Control-C would end it."""

    def stop(state):
        if state.done_files > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4, progress=stop)
    assert len(list(out.glob("*.parquet"))) == 1


@pytest.mark.slow
def test_killed_anywhere_and_run_again_equals_uninterrupted(source, tmp_path):
    """Kill −9 before and after names appear: no half file has a final name; then the same bytes.

    Nothing hidden is left either.
    """
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    (tmp_path / "outs").mkdir()
    arguments, environment = command(KILLED, source, tmp_path / "outs")
    done = subprocess.run(arguments, check=False, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    outs = sorted((tmp_path / "outs").iterdir())
    assert len(outs) > 40
    for out in outs:
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


@pytest.mark.law(6)
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
    assert [state.done_files for state in seen] == [4, 7, 11]
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
    interrupt(source, out)
    with pytest.raises(ShardError, match=rf"\({named}\)"):
        shard_folder(source, out, ToyEncoder(**changes), clips_per_shard=clips_per_shard)


def test_sources_that_changed_are_refused(source, tmp_path):
    """A file that was added or grew since the plan was made."""
    out = tmp_path / "out"
    interrupt(source, out)
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
    interrupt(source, out)
    (out / "_plan.json").write_bytes((out / "_plan.json").read_bytes()[:-30])
    with pytest.raises(ShardError, match=r"_plan\.json"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)


@pytest.mark.law(7)
def test_two_runs_into_one_folder_make_one_collection(source, tmp_path):
    """Begun together by two processes: both end well, with the bytes of one run alone and nothing hidden."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    arguments, environment = command(RUN + "\nrun(out)\n", source, tmp_path / "out")
    runs = [subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE) for _ in range(2)]
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


def test_failed_recordings_are_tried_again_when_asked(source, tmp_path):
    """Repaired in the meantime: only their shards are made again, and the collection is that of good files."""
    good = tmp_path / "good" / "a-broken.wav"
    write_tone(good, seconds=0.2)
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    before = files_of(out)
    assert shard_folder(source, out, ToyEncoder(), clips_per_shard=4, rerun_errors=True).num_failures == 2
    assert files_of(out) == before

    (source / "a-broken.wav").write_bytes(good.read_bytes())
    (source / "b" / "silent.wav").write_bytes(good.read_bytes())
    encoder = ToyEncoder()
    summary = shard_folder(source, out, encoder, clips_per_shard=4, rerun_errors=True)
    assert (summary.num_clips, summary.num_failures) == (11, 0)
    assert (encoder.batches, summary.num_adopted_shards) == ([4, 4], 1)
    assert not (out / "_failed.jsonl").exists()
    assert open_shards(out).verify() == []
    assert (out / "train-00002-of-00003.parquet").read_bytes() == before["train-00002-of-00003.parquet"]


@pytest.mark.parametrize("is_finished", [True, False])
def test_a_repaired_recording_is_no_reason_to_begin_anew(source, tmp_path, is_finished):
    """Whoever forgets to say so is told how to keep the collection, before and after it was mended."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    if not is_finished:
        (out / "_manifest.json").unlink()
    for name in ("a-broken.wav", "b/silent.wav"):
        write_tone(source / name, seconds=0.2)
    for _ in range(2):
        with pytest.raises(
            ShardError, match=r"a-broken\.wav and 1 other had.*rerun_errors=True keeps"
        ) as raised:
            shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
        assert "--force" not in str(raised.value)
        again = shard_folder(source, out, ToyEncoder(), clips_per_shard=4, rerun_errors=True)
        assert again.num_failures == 0
    with pytest.raises(ShardError, match="clips_per_shard, source files"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2)


def test_made_anew_a_file_may_have_changed(source, tmp_path):
    """With `replace` nothing is tried again: sizes are those of today."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder())
    write_tone(source / "a-broken.wav", seconds=0.4)
    names = [path for path in source.rglob("*.wav") if path.stat().st_size > 1000]
    write_tone(names[0], seconds=0.7)
    summary = shard_folder(source, out, ToyEncoder(), rerun_errors=True, replace=True)
    assert summary.num_failures == shard_folder(source, tmp_path / "new", ToyEncoder()).num_failures
    assert files_of(out) == files_of(tmp_path / "new")


def test_trying_again_that_was_interrupted_goes_on(source, tmp_path):
    """What failed stays in its shard until a better one takes its place."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    for name in ("a-broken.wav", "b/silent.wav"):
        write_tone(source / name, seconds=0.2)

    def stop(state):
        if state.done_files > 7:
            raise KeyboardInterrupt

    options = {"clips_per_shard": 4, "rerun_errors": True}
    with pytest.raises(KeyboardInterrupt):
        shard_folder(source, out, ToyEncoder(), progress=stop, **options)
    assert len(list(out.glob("*.parquet"))) == 3
    encoder = ToyEncoder()
    assert shard_folder(source, out, encoder, **options).num_failures == 0
    assert len(encoder.batches) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own with room for some pages, where this user may make one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(source, tmp_path, small_disk):
    """The kernel refuses; what fitted is whole, nothing hidden is left, and with room the run goes on."""
    shard_folder(source, tmp_path / "whole", ToyEncoder(), clips_per_shard=4)
    out = small_disk / "out"
    with pytest.raises(ShardError, match="No space left on device"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    assert not (out / "_manifest.json").exists()
    assert not any(name.startswith(".") for name in files_of(out))
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    summary = shard_folder(source, out, ToyEncoder(), clips_per_shard=4)
    assert 0 < summary.num_adopted_shards < 3
    assert files_of(out) == files_of(tmp_path / "whole")
