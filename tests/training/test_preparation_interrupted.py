"""A preparation that is refused or killed: the folder of before, the new one, or none; never half a one."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys

import pytest
from prepared_sound import contents, prepared

from snac_tok.errors import AudioFileError, TrainingError
from snac_tok.sources import reading
from snac_tok.training import clip_writing
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_store import ClipStore

OPTIONS = PreparationOptions(sampling_rate=24_000)


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_keeps_the_old_folder(source, tmp_path, monkeypatch, call, code):
    """One sentence with the folder and the reason."""
    out = tmp_path / "ready"
    prepared([source], out)
    before = contents(out)

    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(call, refuse)
    with pytest.raises(TrainingError, match=rf"ready: cannot be written \({os.strerror(code)}\)"):
        prepare_sound([source / "a.wav"], out, OPTIONS, replace=True)
    assert contents(out) == before


@pytest.mark.parametrize("limit", [0, 1000, 60_000])
def test_a_full_disk_leaves_nothing(source, tmp_path, limit):
    """A real refusal of the kernel in the first, a middle and a late write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(TrainingError, match="cannot be written"):
            prepare_sound([source], tmp_path / "ready", OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert contents(tmp_path / "ready") == {}


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_a_failing_machine_is_no_bad_file(source, tmp_path, monkeypatch, code):
    """It stops the preparation instead of counting out every recording that follows."""

    def read(path, **_options):
        raise AudioFileError(f"{path} cannot be read.") from OSError(code, os.strerror(code))

    monkeypatch.setattr(reading, "open_audio", read)
    with pytest.raises(TrainingError, match=r"a\.wav could not be read"):
        prepare_sound([source], tmp_path / "ready", OPTIONS)
    assert contents(tmp_path / "ready") == {}


# Forks before each call of the operating system that matters and dies there: one process, one import.
KILLED = """
import os, signal, sys
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
source, *outs = sys.argv[1:]
for out, (name, count) in zip(outs, {points}, strict=True):
    if os.fork() == 0:
        real, left = getattr(os, name), [count]
        def deadly(*args, **options):
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return real(*args, **options)
        setattr(os, name, deadly)
        prepare_sound([source], out, PreparationOptions(sampling_rate=24_000), replace=True)
        os._exit(0)
    assert os.wait()[1] == signal.SIGKILL, (name, count)
"""
# Three files are synced, the list of before is removed, two files are named, the folder is synced.
POINTS = [("fsync", 0), ("fsync", 2), ("unlink", 0), ("replace", 0), ("replace", 1), ("fsync", 3)]


def test_killed_anywhere_no_half_folder_looks_whole(source, tmp_path):
    """Old or new or none; run again, the folder is that of an uninterrupted run, and nothing hidden is left."""
    prepare_sound([source], tmp_path / "whole", OPTIONS)
    outs = [tmp_path / f"{name}-{count}" for name, count in POINTS]
    for out in outs:
        prepare_sound([source / "a.wav"], out, OPTIONS)
    command = [sys.executable, "-c", KILLED.format(points=POINTS), str(source), *map(str, outs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    old, new = ["a.wav"], ["a.wav", "b.flac", "more/c.ogg"]
    assert [clips_or_none(out) for out in outs] == [old, old, old, None, None, new]
    for out in outs:
        prepare_sound([source], out, OPTIONS, replace=True)
        assert contents(out) == contents(tmp_path / "whole")


def clips_or_none(out):
    """Return the clips of a whole folder."""
    try:
        return ClipStore.open(out).clip_ids
    except TrainingError:
        return None


def test_two_preparations_do_not_share_a_folder(source, tmp_path):
    """The samples of one would end beside the list of the other; what the living one has written stays."""
    out, seen = tmp_path / "ready", []

    def begin_another(state):
        if state.num_recordings == 2:
            with pytest.raises(TrainingError, match="another process is preparing sound in") as refused:
                prepare_sound([source / "a.wav"], out, OPTIONS, replace=True)
            seen.append(refused)

    prepare_sound([source], out, OPTIONS, progress=begin_another)
    assert len(seen) == 1
    prepare_sound([source], tmp_path / "whole", OPTIONS)
    assert contents(out) == contents(tmp_path / "whole")


def test_samples_without_a_list_are_replaced_only_when_asked(source, tmp_path):
    """They may be another program's."""
    prepared([source], tmp_path / "ready")
    (tmp_path / "ready" / "clips.json").unlink()
    with pytest.raises(TrainingError, match="--force"):
        prepare_sound([source], tmp_path / "ready", OPTIONS)


def test_the_files_are_named_in_an_order_that_is_safe():
    """The list last."""
    assert clip_writing._FILES[-1] == "clips.json"
