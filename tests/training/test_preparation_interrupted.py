"""A preparation that is refused or killed: the folder of before, the new one, or none; never half a one."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import subprocess
import sys
import zlib

import pytest
from full_disk import no_file_larger_than
from prepared_sound import contents, prepared

from snac_tok.errors import AudioFileError, TrainingError
from snac_tok.sources import reading
from snac_tok.training import clip_making
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_store import ClipStore

OPTIONS = PreparationOptions(sampling_rate=24_000)


def interrupted(source, out):
    """A preparation that its user ended behind the second recording."""

    def interrupt(state):
        if state.num_recordings == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_sound([source], out, OPTIONS, progress=interrupt)


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
def test_a_full_disk_leaves_nothing_that_looks_whole(source, tmp_path, limit):
    """A real refusal of the kernel in the first, a middle and a late write; with room again the run goes on."""
    out = tmp_path / "ready"
    with no_file_larger_than(limit), pytest.raises(TrainingError, match="cannot be written"):
        prepare_sound([source], out, OPTIONS)
    assert set(contents(out)) == ({"_samples.part", "_progress.jsonl"} if limit > 50_000 else set())
    assert prepare_sound([source], out, OPTIONS).num_adopted == (2 if limit > 50_000 else 0)
    prepare_sound([source], tmp_path / "whole", OPTIONS)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOMEM])
def test_a_failing_machine_is_no_bad_file(source, tmp_path, monkeypatch, code):
    """It stops the preparation instead of counting out every recording that follows."""

    def read(path, **_options):
        raise AudioFileError(f"{path} cannot be read.") from OSError(code, os.strerror(code))

    monkeypatch.setattr(reading, "open_audio", read)
    with pytest.raises(TrainingError, match=r"a\.wav could not be read"):
        prepare_sound([source], tmp_path / "ready", OPTIONS)
    assert contents(tmp_path / "ready") == {}


# Forks before each call of the operating system that matters and dies there, until one run gets through: one process,
# one import. Every recording is brought to the disk by itself, as in a long run.
KILLED = """
import os, signal, sys
from snac_tok.training import clip_writing
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
source, single, folder = sys.argv[1:]
options = PreparationOptions(sampling_rate=24_000)
clip_writing._COMMIT_SECONDS = -1
for name, old in [(name, old) for name in ("fsync", "replace", "unlink") for old in ("", single)]:
    for count in range(99):
        out = f"{folder}/{name}-{count}{'-old' if old else ''}"
        if old:
            prepare_sound([old], out, options)
        if os.fork() == 0:
            real, left = getattr(os, name), [count]
            def deadly(*args, **options):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return real(*args, **options)
            setattr(os, name, deadly)
            prepare_sound([source], out, options, replace=bool(old))
            os._exit(0)
        if os.wait()[1] == 0:
            break
"""


@pytest.mark.slow
def test_killed_anywhere_and_run_again_equals_uninterrupted(source, tmp_path):
    """Old or new or none, never half a folder; the same call again ends in the same bytes, and nothing is left over.

    What was on the disk is not decoded again.
    """
    (source / "b-bad.wav").write_bytes(b"RIFF")
    prepare_sound([source], tmp_path / "whole", OPTIONS)
    (tmp_path / "outs").mkdir()
    command = [sys.executable, "-c", KILLED, str(source), str(source / "a.wav"), str(tmp_path / "outs")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outs, adopted, new = sorted((tmp_path / "outs").iterdir()), set(), ["a.wav", "b.flac", "more/c.ogg"]
    assert len(outs) > 40
    for out in outs:
        has_old, found = out.name.endswith("-old"), clips_or_none(out)
        assert found in (new, None) or (has_old and found == ["a.wav"])
        state = prepare_sound([source], out, OPTIONS, replace=has_old and found != new)
        assert state.was_finished == (found == new)
        assert (state.num_recordings, state.num_clips, state.num_failures) == (4, 3, 1)
        assert contents(out) == contents(tmp_path / "whole")
        adopted.add(state.num_adopted)
    assert adopted == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("old", "new", "adopted"),
    [
        (b'"num_samples"', b'"num_sample_"', 0),
        (b'"start": 0', b'"start": 0.0', 0),
        (b'"num_clips": 1', b'"num_clips": "1"', 0),
        (b'{"clips": [{', b'{"clips": [3, {', 0),
        (b'"counts": {"num_recordings": 2', b'"count": {"num_recordings": 2', 1),
        (b'"id": "b.flac"', b'"id": "c.flac"', 1),
        (b'"num_samples": ', b'"num_samples":  ', 2),
        (b'"made_from"', b'"made_fron"', None),
        (b'{"sampling_rate"', b'["sampling_rate"', None),
        (b'"crc32": ', b'"crc32": 1', None),
        (b'"crc32"', b'"crc31"', None),
    ],
)
def test_a_journal_with_a_damaged_line_counts_up_to_it(source, tmp_path, old, new, adopted):
    """The rest is prepared again, and ends in the same bytes: each line has a checksum. No plan is refused."""
    out = tmp_path / "ready"
    prepare_sound([source], tmp_path / "whole", OPTIONS)
    interrupted(source, out)
    journal = out / "_progress.jsonl"
    assert old in journal.read_bytes()
    journal.write_bytes(journal.read_bytes().replace(old, new, 1))
    if adopted is None:
        with pytest.raises(
            TrainingError, match=r"_progress\.jsonl in it is damaged; .* begin anew \(--force\)"
        ):
            prepare_sound([source], out, OPTIONS)
    state = prepare_sound([source], out, OPTIONS, replace=adopted is None)
    assert state.num_adopted == (adopted or 0)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("counts", [None, {}, {"num_clips": 1}, 3])
def test_a_finished_folder_without_its_counts_is_damaged(source, tmp_path, counts):
    """It says how to replace it."""
    out = tmp_path / "ready"
    prepare_sound([source], out, OPTIONS)
    described = json.loads((out / "clips.json").read_text())
    (out / "clips.json").write_text(json.dumps({**described, "counts": counts}))
    with pytest.raises(TrainingError, match=r"counts in .*clips\.json .*replace it \(--force\)"):
        prepare_sound([source], out, OPTIONS)


def test_the_same_call_again_goes_on_or_has_nothing_to_do(source, tmp_path):
    """Interrupted by its user: not a recording is read again; finished: nothing is written, and it says so."""
    out, seen = tmp_path / "ready", []
    whole = prepare_sound([source], tmp_path / "whole", OPTIONS)
    interrupted(source, out)
    assert clips_or_none(out) is None
    state = prepare_sound([source], out, OPTIONS, progress=seen.append)
    assert [step.num_recordings for step in seen] == [3]
    assert state == dataclasses.replace(whole, num_adopted=2)
    assert contents(out) == contents(tmp_path / "whole")
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = prepare_sound([source], out, OPTIONS, progress=seen.append)
    assert again == dataclasses.replace(whole, was_finished=True)
    assert len(seen) == 1
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == times


@pytest.mark.parametrize("has_journal", [False, True])
def test_a_finished_folder_may_be_read_only(source, tmp_path, monkeypatch, has_journal):
    """On a file system that takes no writes the same call has nothing to do, as elsewhere."""
    whole = prepare_sound([source], tmp_path / "ready", OPTIONS)
    if has_journal:
        (tmp_path / "ready" / "_progress.jsonl").write_bytes(b"")
    before = contents(tmp_path / "ready")

    def refuse(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    for call in ("unlink", "rename", "replace", "mkdir"):
        monkeypatch.setattr(os, call, refuse)
    again = prepare_sound([source], tmp_path / "ready", OPTIONS)
    assert again == dataclasses.replace(whole, was_finished=True)
    assert contents(tmp_path / "ready") == before


@pytest.mark.parametrize("is_finished", [False, True])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"channels": "left", "min_seconds": 0.1}, r"\(channels, min_seconds\)"),
        ({"sampling_rate": 16_000}, r"\(sampling_rate\)"),
        ({}, r"\(recordings\)"),
    ],
)
def test_other_options_are_refused_by_name(source, tmp_path, is_finished, changes, named):
    """Of a finished folder and of one that was begun; what stands there stays, and can be replaced."""
    out = tmp_path / "ready"

    def interrupt(state):
        if state.num_recordings == 2 and not is_finished:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        prepare_sound([source], out, OPTIONS, progress=interrupt)
    if not changes:
        (source / "a.wav").unlink()
    before, options = contents(out), dataclasses.replace(OPTIONS, **changes)
    with pytest.raises(TrainingError, match=named) as refused:
        prepare_sound([source], out, options)
    assert ("already holds" if is_finished else "was begun") in str(refused.value)
    assert contents(out) == before
    prepare_sound([source], out, options, replace=True)
    prepare_sound([source], tmp_path / "whole", options)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("rules", [None, {"rest_seconds": 0.5}])
def test_what_another_version_began_is_not_gone_on_with(source, tmp_path, monkeypatch, rules):
    """It cut recordings by other rules, or told none: the folder would be a mix. A finished one is whole as it is."""
    out, done = tmp_path / "ready", tmp_path / "done"
    interrupted(source, out)
    plan, *lines = (out / "_progress.jsonl").read_bytes().splitlines(keepends=True)
    values = {name: value for name, value in json.loads(plan).items() if name not in ("rules", "crc32")}
    values |= {} if rules is None else {"rules": rules}
    checksum = zlib.crc32(json.dumps(values, ensure_ascii=False).encode())
    changed = json.dumps(values | {"crc32": checksum}, ensure_ascii=False).encode() + b"\n"
    (out / "_progress.jsonl").write_bytes(changed + b"".join(lines))
    before = contents(out)
    with pytest.raises(TrainingError, match=r"was begun by another version, .* begin anew \(--force\)\.$"):
        prepare_sound([source], out, OPTIONS)
    assert contents(out) == before
    assert prepare_sound([source], out, OPTIONS, replace=True).num_adopted == 0
    prepare_sound([source], done, OPTIONS)
    assert contents(out) == contents(done)
    monkeypatch.setattr(clip_making, "_LEAST_REST_SECONDS", 0.5)
    assert prepare_sound([source], done, OPTIONS).was_finished


def test_a_stream_that_nothing_tells_from_another_is_not_gone_on_with(source, tmp_path):
    """Two halves of two datasets would look like one; a stored dataset is known by its fingerprint."""
    datasets = pytest.importorskip("datasets")
    stored = datasets.Dataset.from_dict({"audio": [str(source / "a.wav"), str(source / "b.flac")]})
    prepare_sound([stored], tmp_path / "stored", OPTIONS)
    assert prepare_sound([stored], tmp_path / "stored", OPTIONS).was_finished
    prepare_sound([stored.to_iterable_dataset()], tmp_path / "stream", OPTIONS)
    with pytest.raises(TrainingError, match=r"\(recordings\)"):
        prepare_sound([stored.to_iterable_dataset()], tmp_path / "stream", OPTIONS)


@pytest.mark.parametrize("lost", [1, 40, 400])
def test_a_journal_that_lost_its_end_is_gone_on_with_from_there(source, tmp_path, lost):
    """As a crash of the whole machine may leave it; samples that no line tells of are cut off."""
    out = tmp_path / "ready"
    interrupted(source, out)
    journal = out / "_progress.jsonl"
    journal.write_bytes(journal.read_bytes()[:-lost])
    assert prepare_sound([source], out, OPTIONS).num_adopted < 2
    prepare_sound([source], tmp_path / "whole", OPTIONS)
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
