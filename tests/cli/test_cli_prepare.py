"""`snac-tok prepare`."""

import os

import pytest

from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_store import ClipStore


def test_recordings_become_a_folder(run, work):
    """Folders and files in one go; the summary says what was made; exit code 0."""
    result = run("prepare", "clips", "stereo.wav", "-o", "ready", "--sampling-rate", "24000")
    assert result.exit_code == 0, result.stderr
    store = ClipStore.open(work / "ready")
    assert store.clip_ids == ["a.wav", "b.flac", "stereo.wav"]
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["recordings"] == "3, 0 failed"
    assert lines["clips"] == "3 in ready"
    assert lines["sound"] == f"{store.duration_seconds:.2f} s at 24000 Hz, mono"
    assert not result.stderr


def test_options_reach_the_folder(run, work):
    """Length, level and channel."""
    options = ["--min-seconds", "0.5", "--piece-seconds", "1", "--level-db", "-30", "--channels", "right"]
    result = run("prepare", "clips", "-o", "ready", "--sampling-rate", "16000", *options)
    assert result.exit_code == 0, result.stderr
    store = ClipStore.open(work / "ready")
    assert store.sampling_rate == 16_000
    assert all(clip.num_samples <= 16_000 for clip in store.clips)
    assert {clip.level_db for clip in store.clips} == {-30.0}


def test_unusable_recordings_are_listed(run, work):
    """The others are done; exit code 1."""
    (work / "clips" / "bad.wav").write_bytes(b"no sound")
    result = run("prepare", "clips", "-o", "ready", "--sampling-rate", "24000")
    assert result.exit_code == 1
    assert "ready/failed.jsonl" in result.stdout
    assert '"bad.wav"' in (work / "ready" / "failed.jsonl").read_text()


def test_progress_goes_to_stderr(run):
    """Stdout has the summary alone; without a terminal there is no bar unless asked."""
    shown = run("prepare", "clips", "-o", "shown", "--sampling-rate", "24000", "--progress")
    assert "2 recordings" in shown.stderr
    assert "100%" in shown.stderr
    assert "%" not in shown.stdout


def test_a_prepared_folder_is_kept_unless_forced(refused, run):
    """Overwritten only with --force; the same command again says that there is nothing to do."""
    arguments = ["prepare", "clips", "-o", "ready", "--sampling-rate", "24000"]
    assert run(*arguments).exit_code == 0
    assert "2 in ready, finished before: nothing was left to do" in run(*arguments).stdout
    assert "(channels)" in refused(*arguments, "--channels", "left")
    assert run(*arguments, "--channels", "left", "--force").exit_code == 0


def test_an_interrupted_run_goes_on(run, work):
    """The same command says what was done before."""

    def stop(_state):
        raise KeyboardInterrupt

    options = PreparationOptions(sampling_rate=24_000)
    with pytest.raises(KeyboardInterrupt):
        prepare_sound([work / "clips"], work / "ready", options, progress=stop)
    done = run("prepare", "clips", "-o", "ready", "--sampling-rate", "24000")
    assert "2, 0 failed, 1 of them from before" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["clips", "-o", "ready"], "--sampling-rate"),
        (["clips", "--sampling-rate", "24000"], "--out"),
        (["-o", "ready", "--sampling-rate", "24000"], "INPUT"),
        (["nowhere", "-o", "ready", "--sampling-rate", "24000"], "nowhere"),
        (["clips", "-o", "ready", "--sampling-rate", "12"], "1000"),
        (["clips", "-o", "a.wav", "--sampling-rate", "24000"], "a.wav"),
        (
            ["clips", "-o", "ready", "--sampling-rate", "24000", "--min-seconds", "999"],
            "--min-seconds is 999",
        ),
        (["hf:", "-o", "ready", "--sampling-rate", "24000"], "hf:NAME"),
    ],
)
def test_wrong_usage_is_one_sentence(refused, work, arguments, named):
    """Nothing is written."""
    assert named in refused("prepare", *arguments)
    assert not (work / "ready").exists()


def test_full_disk_leaves_nothing(refused, work, monkeypatch):
    """The sentence says so, and no half folder looks whole."""

    def no_space(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    assert "No space left" in refused("prepare", "clips", "-o", "ready", "--sampling-rate", "24000")
    assert list((work / "ready").iterdir()) == []
