"""Recordings read in other processes: the same bytes, and whatever a decoder does, only its own file is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.audio import OpenAudio
from snac_tok.corpus import BatchLimits, shard_folder
from snac_tok.errors import ShardError, SourceError, TooManyFailuresError, WaveformError
from snac_tok.shards import open_shards
from snac_tok.sources import read_ahead
from snac_tok.sources.clips import ReadOptions, read_clips
from snac_tok.sources.processes import ProcessOptions
from snac_tok.sources.read_ahead import ReadingPool
from snac_tok.sources.recording import Recording

HERE = Path(__file__).parent


@pytest.fixture
def source(tmp_path):
    """Good files of many kinds, and bad ones of every kind."""
    source = tmp_path / "source"
    write_speechlike_folder(source)
    write_tone(source / "stereo.wav", channels=2)
    write_tone(source / "b" / "silent.wav", level=0)
    (source / "broken.wav").write_bytes(b"RIFF")
    (source / "empty.wav").write_bytes(b"")
    (source / "text.wav").write_text("no sound at all")
    (source / "dead.wav").symlink_to("nowhere.wav")
    (source / "cut.wav").write_bytes((source / "a.wav").read_bytes()[:3000])
    write_tone(source / "plain.wav").rename(source / os.fsdecode(b"caf\xe9.wav"))
    write_tone(source / "none.wav", seconds=0)
    write_tone(source / "short.wav", seconds=0.01)
    return source


@pytest.fixture
def deadly(monkeypatch, tmp_path):
    """Recordings whose names say so crash, hang or eat memory in the processes that read them."""
    path = [str(HERE / "deadly"), str(HERE.parent.parent)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    (tmp_path / "flags").mkdir()
    monkeypatch.setenv("DEADLY_FLAGS", str(tmp_path / "flags"))


def codes_of(out):
    """The reasons of _failed.jsonl by source."""
    rows = [json.loads(line) for line in (out / "_failed.jsonl").read_text().splitlines()]
    return {row["source"]: row["code"] for row in rows}


@pytest.mark.law(7)
@pytest.mark.parametrize(("jobs", "channels"), [(1, "mean"), (3, "each")])
def test_the_number_of_processes_changes_no_byte(source, tmp_path, jobs, channels):
    """Law 7: records, failures, their reasons and their order are those of one process."""
    options = {"clips_per_shard": 4, "channels": channels, "min_duration": 0.05}
    shard_folder(source, tmp_path / "here", ToyEncoder(), **options)
    limits = BatchLimits(long_seconds=0.4)
    for name, more in {"whole": {}, "long": {"limits": limits}}.items():
        shard_folder(source, tmp_path / name, ToyEncoder(), **options, **more, jobs=jobs)
        assert files_of(tmp_path / name) == files_of(tmp_path / "here")
    assert codes_of(tmp_path / "here") == {
        "b/silent.wav": "samples",
        "broken.wav": "not-sound",
        r"caf\xe9.wav": "not-sound",
        "cut.wav": "truncated",
        "dead.wav": "missing",
        "empty.wav": "not-sound",
        "none.wav": "too-short",
        "short.wav": "too-short",
        "text.wav": "not-sound",
    }


@pytest.mark.usefixtures("deadly")
def test_a_decoder_that_crashes_hangs_or_eats_memory_loses_its_own_file_alone(tmp_path):
    """Each is tried twice, listed with a code of its own, and the run goes on; so do three more runs."""
    source, out = tmp_path / "source", tmp_path / "out"
    for name in ("a", "b-crash", "c", "d-hang", "e", "f-bomb", "g-killed", "h-strange", "i"):
        write_tone(source / f"{name}.wav")
    summary = shard_folder(source, out, ToyEncoder(), jobs=2, decode_timeout=0.7)
    assert (summary.num_clips, summary.num_failures) == (4, 5)
    assert codes_of(out) == {
        "b-crash.wav": "crashed",
        "d-hang.wav": "timeout",
        "f-bomb.wav": "memory",
        "g-killed.wav": "crashed",
        "h-strange.wav": "not-sound",
    }
    reasons = {failure.source: failure.reason for failure in open_shards(out).failures()}
    assert "SIGSEGV" in reasons["b-crash.wav"]
    assert "SIGKILL" in reasons["g-killed.wav"]
    assert "bad packet" in reasons["h-strange.wav"]


@pytest.mark.usefixtures("deadly")
def test_a_process_that_dies_once_costs_nothing(tmp_path):
    """The file is read by the next one: a crash that was the machine's is none of the file's."""
    source = tmp_path / "source"
    for name in ("a", "b-crash-once", "c-killed-once", "d-bomb-once", "e"):
        write_tone(source / f"{name}.wav")
    summary = shard_folder(source, tmp_path / "out", ToyEncoder(), jobs=1)
    assert (summary.num_clips, summary.num_failures) == (5, 0)


@pytest.mark.usefixtures("deadly")
def test_a_long_file_goes_on_in_the_next_process_where_the_first_one_died(tmp_path):
    """No block twice and none lost; where the next one dies, too, the file is listed."""
    source = tmp_path / "source"
    write_tone(source / "a.wav", seconds=1)
    write_tone(source / "halfway.wav", seconds=100, sampling_rate=1000)
    write_tone(source / "long.wav", seconds=100, sampling_rate=1000)
    limits = BatchLimits(long_seconds=50)
    encoder = ToyEncoder()
    summary = shard_folder(source, tmp_path / "out", encoder, jobs=1, limits=limits)
    assert (summary.num_clips, codes_of(tmp_path / "out")) == (2, {"halfway.wav": "crashed"})
    assert encoder.blocks == [4]


@pytest.mark.usefixtures("deadly")
def test_a_long_file_that_is_read_to_its_end_elsewhere_may_take_longer_than_the_timeout(tmp_path):
    """As long as it goes on: a digest, one loudness and a part send nothing before they are done."""
    path = write_tone(tmp_path / "slow.wav", seconds=2)
    recording = Recording(name="slow.wav", sound=path)
    options = ReadOptions(only_digest=True, long_seconds=0.1)
    here = read_clips(Recording(name="x.wav", sound=path), options)
    with ReadingPool(ProcessOptions(jobs=1, timeout_seconds=2.0)) as pool:
        (found,) = pool.read([recording], options)
    assert found.digest == here.digest


def test_sound_is_ready_before_it_is_asked_for(tmp_path):
    """Reading overlaps with whatever the caller does, and is bounded by what waits."""
    paths = [write_tone(tmp_path / f"{number}.wav") for number in range(6)]
    recordings = [Recording(name=path.name, sound=path) for path in paths]
    given = []

    def noted():
        for recording in recordings:
            given.append(recording)
            yield recording

    with ReadingPool(ProcessOptions(jobs=1)) as pool:
        sounds = pool.read(noted(), ReadOptions())
        assert next(sounds).waveform.num_samples == 7200
        deadline = time.monotonic() + 10
        while len(given) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(given) == 6
        assert [sound.waveform.num_samples for sound in sounds] == [7200] * 5


def test_no_more_waits_than_memory_allows(tmp_path, monkeypatch):
    """With room for one file, the next but two is not begun."""
    monkeypatch.setattr(read_ahead, "_AHEAD_FILES", 1)
    paths = [write_tone(tmp_path / f"{number}.wav") for number in range(9)]
    given = []

    def noted():
        for path in paths:
            given.append(path)
            yield Recording(name=path.name, sound=path)

    with ReadingPool(ProcessOptions(jobs=1)) as pool:
        sounds = pool.read(noted(), ReadOptions())
        next(sounds)
        time.sleep(0.3)
        assert len(given) <= 3
        assert len(list(sounds)) == 8


def test_encoded_bytes_parts_and_errors_of_the_callers_own_iterator(tmp_path):
    """Bytes travel to the process, a part is cut there, and what the iterator raises is raised to the caller."""
    path = write_tone(tmp_path / "a.wav", seconds=1)

    def recordings():
        yield Recording(name="bytes", sound=path.read_bytes())
        yield Recording(name="part", sound=path, part=(0.25, 0.5))
        yield Recording(name="nothing", sound=b"")
        raise WaveformError("the list is broken.")

    with ReadingPool(ProcessOptions(jobs=2)) as pool:
        sounds = pool.read(recordings(), ReadOptions())
        whole, part, nothing = (next(sounds) for _ in range(3))
        with pytest.raises(WaveformError, match="the list is broken"):
            next(sounds)
    assert np.array_equal(part.waveform.samples, whole.waveform.samples[:, 6000:12000])
    assert "empty" in str(nothing)


@pytest.mark.usefixtures("deadly")
def test_closing_ends_processes_that_hang(tmp_path):
    """At once, though they would sleep for minutes."""
    path = write_tone(tmp_path / "hang.wav")
    started = time.monotonic()
    with ReadingPool(ProcessOptions(jobs=1)) as pool:
        sounds = pool.read([Recording(name="hang.wav", sound=path)], ReadOptions())
        waiting = threading.Thread(target=lambda: next(sounds, None), daemon=True)
        waiting.start()
        time.sleep(1.0)
    waiting.join(5)
    assert time.monotonic() - started < 5


@pytest.mark.usefixtures("deadly")
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    """Even those whose decoder hangs."""
    path = write_tone(tmp_path / "hang.wav")
    script = f"""
from snac_tok.sources.processes import *
from snac_tok.sources.read_ahead import *
from snac_tok.sources.clips import ReadOptions
from snac_tok.sources.recording import Recording
with ReadingPool(ProcessOptions(jobs=1)) as pool:
    process = pool._processes[0]
    process._started()
    print(process._process.pid, flush=True)
    list(pool.read([Recording(name="hang.wav", sound={str(path)!r})], ReadOptions()))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    deadline = time.monotonic() + 10
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(child, 0)
            if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
                return
            time.sleep(0.05)
        os.kill(child, signal.SIGKILL)
        raise AssertionError("the process is still there")


def test_a_python_that_cannot_start_is_one_sentence(source, tmp_path, monkeypatch):
    """Not a failure of every recording."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SourceError, match="cannot be started"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), jobs=1)


def test_too_many_failures_stop_the_run_and_finished_shards_stay(tmp_path):
    """The sentence counts the reasons; with a higher rate the same call goes on."""
    source, out = tmp_path / "source", tmp_path / "out"
    for number in range(4):
        write_tone(source / f"a{number}.wav")
        (source / f"b{number}.wav").write_bytes(b"RIFF")
    options = {"clips_per_shard": 2, "limits": BatchLimits(max_files=1)}
    with pytest.raises(TooManyFailuresError, match=r"3 of 8 recordings could not be used \(3 not-sound"):
        shard_folder(source, out, ToyEncoder(), max_error_rate=0.25, **options)
    assert len(list(out.glob("*.parquet"))) == 3
    summary = shard_folder(source, out, ToyEncoder(), max_error_rate=0.5, **options)
    assert (summary.num_failures, summary.num_adopted_shards) == (4, 3)
    with pytest.raises(ShardError, match="max_error_rate is 2"):
        shard_folder(source, tmp_path / "other", ToyEncoder(), max_error_rate=2)


def test_recordings_outside_the_limits_are_left_out_counted_and_listed(tmp_path):
    """They are no failures; other limits make another plan."""
    source, out = tmp_path / "source", tmp_path / "out"
    write_tone(source / "a.wav", seconds=0.1)
    write_tone(source / "b.wav", seconds=0.5)
    write_tone(source / "c.wav", seconds=2)
    write_tone(source / "d.wav", seconds=1, sampling_rate=96_000)
    limits = {"min_duration": 0.2, "max_duration": 1, "max_file_bytes": 100_000}
    for _ in range(2):
        summary = shard_folder(source, out, ToyEncoder(), **limits)
        assert (summary.num_clips, summary.num_failures, summary.num_left_out) == (1, 0, 3)
    assert codes_of(out) == {"a.wav": "too-short", "c.wav": "too-long", "d.wav": "too-large"}
    with pytest.raises(ShardError, match="limits on duration or file size"):
        shard_folder(source, out, ToyEncoder())
    with pytest.raises(SourceError, match="recordings of 2 s to 1 s"):
        shard_folder(source, out, ToyEncoder(), min_duration=2, max_duration=1)


def test_the_longest_recording_is_not_decoded_to_its_end(tmp_path, monkeypatch):
    """What its header says is enough."""
    write_tone(tmp_path / "source" / "a.wav", seconds=3)
    monkeypatch.setattr(OpenAudio, "read", lambda _: pytest.fail("it was read"))
    monkeypatch.setattr(OpenAudio, "blocks", lambda _: pytest.fail("it was read"))
    for limits in (BatchLimits(), BatchLimits(long_seconds=0)):
        shard_folder(
            tmp_path / "source", tmp_path / "out", ToyEncoder(), max_duration=2, limits=limits, replace=True
        )
        assert codes_of(tmp_path / "out") == {"a.wav": "too-long"}


def test_poisoned_files_become_failures_or_records_and_nothing_else(tmp_path):
    """What scrapes and broken disks leave in corpora: each is told apart, the same here and in other processes."""
    source = tmp_path / "source"
    good = write_tone(source / "good.wav").read_bytes()
    soundfile.write(source / "nan.wav", np.full(2400, np.nan, np.float32), 24_000, subtype="FLOAT")
    soundfile.write(source / "loud.wav", np.full(2400, 30_000, np.float32), 24_000, subtype="FLOAT")
    (source / "lying.wav").write_bytes(good[:40] + (99_998).to_bytes(4, "little") + good[44:])
    (source / "rate.wav").write_bytes(good[:24] + (2**31).to_bytes(4, "little") + good[28:])
    (source / "flac.wav").write_bytes(write_tone(tmp_path / "x.flac").read_bytes())
    (source / "page.mp3").write_text("<html>404</html>")
    (source / "zeros.flac").write_bytes(bytes(5000))
    write_tone(source / "tiny.wav", seconds=0.01)
    soundfile.write(source / "hours.flac", np.ones(3 * 3600 * 1000, np.int16), 1000)
    for name, jobs in (("here", 0), ("there", 1)):
        shard_folder(source, tmp_path / name, ToyEncoder(), jobs=jobs, max_duration=7200)
    assert files_of(tmp_path / "here") == files_of(tmp_path / "there")
    assert [record.id for record in open_shards(tmp_path / "here")] == ["flac.wav", "good.wav", "tiny.wav"]
    codes = codes_of(tmp_path / "here")
    assert codes["hours.flac"] == "too-long"
    assert codes["nan.wav"] == codes["loud.wav"] == "samples"
    assert codes["lying.wav"] == "truncated"
    assert codes.keys() == {
        "hours.flac",
        "nan.wav",
        "loud.wav",
        "lying.wav",
        "rate.wav",
        "page.mp3",
        "zeros.flac",
    }
