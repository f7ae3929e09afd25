"""Recordings with the same sound, and recordings brought to one loudness: the same shards whoever makes them."""

import json
import sys

import numpy as np
import pytest
import soundfile
from toy_encoder import ToyEncoder, files_of, write_tone

from snac_tok import open_shards, shard_folder
from snac_tok.audio import Waveform
from snac_tok.audio.loudness import with_loudness
from snac_tok.cli.progress import LongProgress
from snac_tok.corpus import BatchLimits, Progress, merge_shards
from snac_tok.errors import AudioError, MissingDependencyError, ShardError, SnacTokError


def left_out(out):
    """Code and reason by name, of _failed.jsonl."""
    rows = map(json.loads, (out / "_failed.jsonl").read_text().splitlines())
    return {row["source"]: (row["code"], row["reason"]) for row in rows}


def ids_of(out):
    """The records' names."""
    return [record.id for record in open_shards(out)]


@pytest.fixture
def source(tmp_path):
    """Two sounds in four files: one of them as WAV and FLAC, one at another level, one that is no sound."""
    folder = tmp_path / "source"
    for name, level in (("b.wav", 0.25), ("d.wav", 0.5), ("e.wav", 0.25)):
        write_tone(folder / name, level=level)
    samples, rate = soundfile.read(folder / "b.wav", dtype="int16")
    (folder / "a").mkdir()
    soundfile.write(folder / "a" / "c.flac", samples, rate)
    (folder / "broken.wav").write_bytes(b"text")
    return folder


@pytest.mark.parametrize("jobs", [0, 2])
def test_the_first_by_name_is_kept(source, tmp_path, jobs):
    """Others are listed, and are no failures; what cannot be read is."""
    result = shard_folder(source, tmp_path / "out", ToyEncoder(), dedupe=True, jobs=jobs)
    assert ids_of(tmp_path / "out") == ["a/c.flac", "d.wav"]
    assert (result.num_clips, result.num_left_out, result.num_failures) == (2, 2, 1)
    found = left_out(tmp_path / "out")
    assert found["b.wav"] == ("duplicate", "its sound is that of a/c.flac.")
    assert found["broken.wav"][0] == "not-sound"


@pytest.mark.parametrize(
    "fault", [OSError(5, "Input/output error"), MemoryError(), MissingDependencyError("no")]
)
def test_a_fault_of_the_machine_is_no_difference_in_sound(source, tmp_path, monkeypatch, fault):
    """It ends the run, and no plan says for good that nothing is a duplicate."""

    def broken(*_args, **_options):
        raise fault

    monkeypatch.setattr("snac_tok.corpus.loading.read_clips", broken)
    with pytest.raises((SnacTokError, OSError, MemoryError)):
        shard_folder(source, tmp_path / "out", ToyEncoder(), dedupe=True, jobs=0)
    assert not list(tmp_path.glob("out/*"))
    monkeypatch.undo()
    assert shard_folder(source, tmp_path / "out", ToyEncoder(), dedupe=True, jobs=0).num_left_out == 2


def test_workers_tasks_and_blocks_agree(source, tmp_path):
    """Also where the two are in different shards and tasks."""
    options = {"dedupe": True, "clips_per_shard": 1}
    shard_folder(source, tmp_path / "one", ToyEncoder(), jobs=2, **options)
    for number in (2, 0, 1):
        shard_folder(source, tmp_path / "array", ToyEncoder(), array_task=(number, 3), **options)
    merge_shards(tmp_path / "array")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "array")
    limits = BatchLimits(long_seconds=0.1)
    shard_folder(source, tmp_path / "blocks", ToyEncoder(), limits=limits, **options)
    assert ids_of(tmp_path / "blocks") == ids_of(tmp_path / "one")


def test_a_resumed_run_compares_nothing_again(source, tmp_path):
    """The plan knows; a run without the option is another run."""
    out, seen = tmp_path / "out", []
    shard_folder(source, out, ToyEncoder(), dedupe=True, progress=seen.append)
    assert [state.is_comparing for state in seen] == [True] * 5 + [False]
    again = []
    assert shard_folder(source, out, ToyEncoder(), dedupe=True, progress=again.append).was_finished
    assert again == []
    with pytest.raises(ShardError, match="duplicates"):
        shard_folder(source, out, ToyEncoder())


def test_begun_anew_sound_is_compared_anew(source, tmp_path):
    """A file whose sound changed and whose size did not."""
    out = tmp_path / "out"
    shard_folder(source, out, ToyEncoder(), dedupe=True)
    write_tone(source / "e.wav", level=0.3)
    shard_folder(source, out, ToyEncoder(), dedupe=True, replace=True)
    assert ids_of(out) == ["a/c.flac", "d.wav", "e.wav"]


def test_two_channels_are_not_the_sound_of_one(tmp_path):
    """Nor is another rate."""
    write_tone(tmp_path / "in" / "a.wav")
    write_tone(tmp_path / "in" / "b.wav", channels=2)
    write_tone(tmp_path / "in" / "c.wav", sampling_rate=8000, seconds=0.9)
    assert shard_folder(tmp_path / "in", tmp_path / "out", ToyEncoder(), dedupe=True).num_left_out == 0


def hum(*, level, seconds=1.0, rate=16000):
    """A tone of 440 Hz."""
    times = np.arange(int(seconds * rate)) / rate
    samples = (level * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    return Waveform(samples=samples[None], sampling_rate=rate)


def test_one_loudness_whatever_the_level():
    """As the standard measures it; a sine of 997 Hz and a peak of 1 would have -3.01 LUFS."""
    loud, soft = (with_loudness(hum(level=level), -23.0).samples for level in (0.5, 0.02))
    assert np.allclose(loud, soft, atol=3e-4)
    assert 0.09 < np.abs(loud).max() < 0.12


def test_short_silent_and_peaky_recordings():
    """A block of the standard is 0.4 s; silence has no loudness; nothing is clipped."""
    assert np.abs(with_loudness(hum(level=0.02, seconds=0.1), -23.0).samples).max() > 0.08
    silence = Waveform(samples=np.zeros((1, 8000), np.float32), sampling_rate=16000)
    assert with_loudness(silence, -23.0) is silence
    assert np.abs(with_loudness(hum(level=0.5), 0.0).samples).max() == pytest.approx(1.0)


@pytest.mark.parametrize("jobs", [0, 1])
def test_shards_of_one_loudness(tmp_path, jobs):
    """Also of long files; the toy's codes tell the level."""
    source = tmp_path / "source"
    source.mkdir()
    for name, level in (("a.wav", 0.5), ("b.wav", 0.02)):
        clip = hum(level=level, seconds=3)
        samples = clip.samples[0]
        samples[0] = samples[1]
        soundfile.write(source / name, samples, clip.sampling_rate, subtype="FLOAT")
    heard = []

    class Listening(ToyEncoder):
        def encode_codes(self, waveforms):
            heard.extend(np.abs(waveform.samples).max() for waveform in waveforms)
            return super().encode_codes(waveforms)

    limits = BatchLimits(long_seconds=1)
    result = shard_folder(source, tmp_path / "out", Listening(), loudness=-20, jobs=jobs, limits=limits)
    assert result.num_clips == 2
    assert heard[0] == pytest.approx(heard[1], rel=5e-3)
    with pytest.raises(ShardError, match="loudness"):
        shard_folder(source, tmp_path / "out", Listening())


def test_an_impossible_loudness_and_a_missing_package(source, tmp_path, monkeypatch):
    """Before anything is written."""
    with pytest.raises(AudioError, match="from -70 to 0"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), loudness=3)
    monkeypatch.setitem(sys.modules, "pyloudnorm", None)
    with pytest.raises(MissingDependencyError, match="pyloudnorm"):
        shard_folder(source, tmp_path / "out", ToyEncoder(), loudness=-23)
    assert not (tmp_path / "out").exists()


def test_a_comparison_is_shown_as_one(capsys):
    """Neither encoding nor sound is told of."""
    with LongProgress("encoding", bar=False, line_seconds=0) as shown:
        shown.show(Progress(done_files=1, total_files=2, done_bytes=1, total_bytes=2, is_comparing=True))
    assert "1/2 clips compared\n" in capsys.readouterr().err
