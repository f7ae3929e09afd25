"""From a folder to a collection: good files kept, bad ones listed, the same bytes however it is run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from toy_encoder import ToyEncoder, files_of, write_speechlike_folder, write_tone

from snac_tok.audio import read_audio
from snac_tok.corpus import BatchLimits, estimate, merge_shards, shard_folder, verify_collection
from snac_tok.corpus.finishing import read_failures
from snac_tok.errors import AudioFileError, CodesError, ShardError, WaveformError
from snac_tok.shards import open_shards, read_shards
from snac_tok.sources import reading

SPEECH = Path(__file__).parent.parent / "speech"


@pytest.fixture
def source(tmp_path):
    """A folder of nine good files."""
    write_speechlike_folder(tmp_path / "source")
    return tmp_path / "source"


@pytest.fixture
def out(tmp_path):
    """Where shards go; made by the run."""
    return tmp_path / "deep" / "out"


def failed(out):
    """The lines of _failed.jsonl."""
    return [json.loads(line) for line in (out / "_failed.jsonl").read_text().splitlines()]


def test_every_file_becomes_a_record_with_its_own_codes(source, out):
    """Ids are the sorted paths; codes, lengths and rates are those of the file alone."""
    encoder = ToyEncoder()
    summary = shard_folder(source, out, encoder, clips_per_shard=4)
    records = list(read_shards(out, verify=True))
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.*"))
    assert [record.id for record in records] == [record.source for record in records] == names
    for record in records:
        waveform = read_audio(source / record.source)
        (codes,) = encoder.encode_codes([waveform])
        assert record.codes.tolist() == encoder.layout.flatten(codes).tolist()
        assert record.num_samples == encoder.num_samples(waveform)
        assert record.source_sampling_rate == waveform.sampling_rate
    assert (summary.num_clips, summary.num_failures, summary.num_shards) == (9, 0, 3)
    assert summary.num_tokens == sum(record.codes.size for record in records)
    assert summary.hours == sum(record.num_samples for record in records) / 24000 / 3600
    assert summary.elapsed_seconds > 0
    assert not (out / "_failed.jsonl").exists()


def test_real_speech_brings_its_texts(out):
    """The clips that ship with the project and their metadata.csv."""
    shard_folder(SPEECH, out, ToyEncoder())
    texts = {record.id: record.text for record in read_shards(out)}
    assert texts["LJ001-0002.flac"] == "in being comparatively modern."
    assert len(texts) == 3


@pytest.mark.law(7)
@pytest.mark.parametrize(("max_seconds", "max_files"), [(0.001, 1), (0.5, 3), (1e9, 2), (1e9, 1000)])
def test_batches_change_nothing_in_the_bytes(source, tmp_path, max_seconds, max_files):
    """Law 7, small: any batch size gives the same files, failures included."""
    write_tone(source / "b" / "silent.wav", level=0)
    (source / "b" / "broken.wav").write_bytes(b"RIFF")
    shard_folder(source, tmp_path / "usual", ToyEncoder(), clips_per_shard=4)
    limits = BatchLimits(max_seconds=max_seconds, max_files=max_files)
    encoder = ToyEncoder()
    shard_folder(source, tmp_path / "other", encoder, clips_per_shard=4, limits=limits)
    assert files_of(tmp_path / "other") == files_of(tmp_path / "usual")
    assert max(encoder.batches) <= max_files


def test_a_collection_does_not_depend_on_where_its_sources_lie(source, tmp_path):
    """Another mount point, another order on disk: the same bytes, reasons of failures included."""
    (source / "broken.wav").write_bytes(b"RIFF")
    moved = tmp_path / "another" / "place"
    for path in sorted(source.rglob("*.*"), reverse=True):
        target = moved / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shard_folder(source, tmp_path / "one", ToyEncoder())
    shard_folder(moved, tmp_path / "two", ToyEncoder())
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_bad_files_are_listed_with_reasons_and_take_no_neighbour_along(source, out):
    """Cut off, empty, no sound, a dead link, refused by the encoder: nine good ones remain."""
    (source / "cut.flac").write_bytes((source / "b" / "c.flac").read_bytes()[:60])
    (source / "empty.wav").write_bytes(b"")
    (source / "text.wav").write_text("no sound")
    (source / "dead.wav").symlink_to("nowhere.wav")
    write_tone(source / "a-silent.wav", level=0)
    write_tone(source / "none.wav", seconds=0)
    encoder = ToyEncoder()
    summary = shard_folder(source, out, encoder)
    assert (summary.num_clips, summary.num_failures) == (9, 6)
    bad = ["a-silent.wav", "cut.flac", "dead.wav", "empty.wav", "none.wav", "text.wav"]
    assert [row["source"] for row in failed(out)] == bad
    assert all(row["reason"] and str(source) not in row["reason"] for row in failed(out))
    assert [failure.source for failure in open_shards(out).failures()] == bad
    assert encoder.batches == [10, *[1] * 10]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_a_failures_name_may_hold_any_line_end_of_unicode(source, out, mark):
    """The finished collection is still read, found whole, and merged."""
    (source / f"a{mark}b.wav").write_bytes(b"no sound")
    shard_folder(source, out, ToyEncoder())
    assert f"a{mark}b.wav" in [failure.source for failure in read_failures(out)]
    assert shard_folder(source, out, ToyEncoder()).was_finished
    assert verify_collection(out) == []
    assert merge_shards(out).was_finished


@pytest.mark.parametrize(
    "line",
    ['{"source": 3, "reason": "x"}', '{"source": "a"}', "[" * 100_000, "3", '{"source": "a", "rea', "null"],
)
def test_a_damaged_list_of_failures_is_refused(source, out, line):
    """In one sentence with its name; the collection is whole without it."""
    (source / "bad.wav").write_bytes(b"no sound")
    shard_folder(source, out, ToyEncoder())
    (out / "_failed.jsonl").write_text(line + "\n")
    with pytest.raises(ShardError, match=r"_failed\.jsonl cannot be read: .*; remove it and .* stays whole"):
        read_failures(out)


def test_a_name_that_is_no_utf8_is_a_failure_with_a_printable_name(source, out):
    """Parquet text cannot hold it."""
    write_tone(source / "plain.wav").rename(source / os.fsdecode(b"caf\xe9.wav"))
    summary = shard_folder(source, out, ToyEncoder())
    assert (summary.num_clips, summary.num_failures) == (9, 1)
    assert failed(out)[0]["source"] == r"caf\xe9.wav"
    assert failed(out)[0]["reason"].startswith(r"caf\xe9.wav: the file's name is not UTF-8")


def test_a_folder_of_bad_files_gives_an_empty_collection_that_says_so(tmp_path, out):
    """Zero records are a result, too."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.wav").write_bytes(b"RIFF")
    summary = shard_folder(tmp_path / "source", out, ToyEncoder())
    assert (summary.num_clips, summary.num_failures, summary.hours) == (0, 1, 0.0)
    assert list(read_shards(out)) == []


def test_channels_become_records_of_their_own_when_asked(tmp_path, out):
    """Ids carry the channel where there are several; a mono file keeps its plain name."""
    write_tone(tmp_path / "source" / "mono.wav")
    write_tone(tmp_path / "source" / "stereo.wav", channels=2)
    shard_folder(tmp_path / "source", out, ToyEncoder(channels="each"))
    records = list(read_shards(out))
    assert [record.id for record in records] == ["mono.wav", "stereo.wav#0", "stereo.wav#1"]
    assert [record.source for record in records] == ["mono.wav", "stereo.wav", "stereo.wav"]
    assert records[0].codes.tolist() == records[1].codes.tolist() != records[2].codes.tolist()


@pytest.mark.parametrize("channels", ["each", "left", 1, "mean", None])
def test_the_channels_that_are_asked_for_go_before_the_encoders_own(tmp_path, out, channels):
    """The shards are those of an encoder that has this policy itself, and record it; None leaves it its own."""
    write_tone(tmp_path / "source" / "stereo.wav", channels=2)
    shard_folder(tmp_path / "source", out, ToyEncoder(channels="right"), channels=channels)
    own = ToyEncoder(channels=str("right" if channels is None else channels))
    shard_folder(tmp_path / "source", tmp_path / "own", own)
    assert files_of(out) == files_of(tmp_path / "own")


def test_an_unknown_channel_policy_is_refused_first(source, out):
    """Before the output folder is made."""
    with pytest.raises(WaveformError, match="got 'both'"):
        shard_folder(source, out, ToyEncoder(), channels="both")
    assert not out.exists()


@pytest.mark.parametrize("long_seconds", [600.0, 0.0])
def test_a_file_is_opened_once(source, out, monkeypatch, long_seconds):
    """For its header and its samples together, whether it is long or short."""
    real, opened = open, []

    def counting(file, *args, **options):
        opened.append(str(file))
        return real(file, *args, **options)

    monkeypatch.setattr("builtins.open", counting)
    shard_folder(source, out, ToyEncoder(), limits=BatchLimits(long_seconds=long_seconds))
    assert sorted(opened) == sorted(map(str, source.rglob("*.*")))


def test_left_takes_the_first_channel(tmp_path, out):
    """The codes are those of a mono file of that channel."""
    write_tone(tmp_path / "source" / "mono.wav")
    write_tone(tmp_path / "source" / "stereo.wav", channels=2)
    shard_folder(tmp_path / "source", out, ToyEncoder(channels="left"))
    mono, stereo = read_shards(out)
    assert mono.codes.tolist() == stereo.codes.tolist()


def test_progress_counts_up_to_the_whole(source, out):
    """Files and bytes grow and end at their totals."""
    (source / "broken.wav").write_bytes(b"RIFF")
    seen = []
    limits = BatchLimits(max_files=2)
    shard_folder(source, out, ToyEncoder(), clips_per_shard=5, limits=limits, progress=seen.append)
    assert [state.done_files for state in seen] == [2, 4, 5, 7, 9, 10]
    assert seen[-1].done_bytes == seen[-1].total_bytes == sum(p.stat().st_size for p in source.rglob("*.*"))
    assert (seen[-1].total_files, seen[-1].num_failures) == (10, 1)
    assert seen[-1].duration_seconds == pytest.approx(sum(0.1 + 0.13 * k for k in range(9)), rel=0.01)


def test_a_finished_collection_is_never_written_over(source, out):
    """The same run again has nothing to do, and says so; with other options it is refused, and they are named."""
    first = shard_folder(source, out, ToyEncoder())
    before, encoder = files_of(out), ToyEncoder()
    again = shard_folder(source, out, encoder)
    assert (first.was_finished, again.was_finished) == (False, True)
    assert (again.num_clips, again.num_tokens, again.hours) == (
        first.num_clips,
        first.num_tokens,
        first.hours,
    )
    assert again.num_adopted_shards == again.num_shards == 1
    with pytest.raises(
        ShardError, match=r"already holds a finished collection, made with other.*\(weights_sha256\)"
    ):
        shard_folder(source, out, ToyEncoder(weights_sha256="11" * 32))
    with pytest.raises(ShardError, match=r"\(clips_per_shard\)"):
        shard_folder(source, out, ToyEncoder(), clips_per_shard=2)
    (source / "a.wav").unlink()
    with pytest.raises(ShardError, match=r"\(source files or texts\)"):
        shard_folder(source, out, encoder)
    assert files_of(out) == before
    assert encoder.batches == []


@pytest.mark.parametrize("long_seconds", [600.0, 0.0])
@pytest.mark.parametrize("change", ["grown", "cut", "replaced"])
def test_a_source_that_changes_while_the_run_goes_on_is_a_failure(source, out, long_seconds, change):
    """It would be a record of something that the plan has not seen; its neighbours are not touched."""
    path, size = source / "y.wav", (source / "y.wav").stat().st_size

    def rewrite(_state):
        if change == "grown":
            with path.open("ab") as file:
                file.write(b"more")
        elif path.stat().st_size == size:
            path.write_bytes(path.read_bytes()[:-2000]) if change == "cut" else write_tone(path, seconds=0.7)

    limits = BatchLimits(max_files=1, long_seconds=long_seconds)
    summary = shard_folder(source, out, ToyEncoder(), limits=limits, progress=rewrite)
    assert (summary.num_clips, summary.num_failures) == (8, 1)
    (failure,) = failed(out)
    assert failure["source"] == "y.wav"
    assert failure["reason"].startswith(f"y.wav had {size} bytes when the run was planned and has ")


@pytest.mark.parametrize("long_seconds", [600.0, 0.0])
def test_a_source_that_changes_while_it_is_read_is_a_failure(source, out, monkeypatch, long_seconds):
    """Whether it is read at once or in blocks: what was read is neither the old file nor the new one."""
    opened = reading.open_audio

    @contextlib.contextmanager
    def growing(path, **options):
        with opened(path, **options) as audio:
            if path.name == "y.wav":
                with path.open("ab") as file:
                    file.write(b"more")
            yield audio

    monkeypatch.setattr(reading, "open_audio", growing)
    summary = shard_folder(source, out, ToyEncoder(), limits=BatchLimits(long_seconds=long_seconds))
    assert (summary.num_clips, summary.num_failures) == (8, 1)
    assert "changed while the run went on" in failed(out)[0]["reason"]


def test_an_out_that_holds_other_shards_or_is_a_file_is_refused(source, tmp_path):
    """Whatever reads *.parquet would mix them."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.parquet").write_bytes(b"")
    with pytest.raises(ShardError, match=r"old\.parquet"):
        shard_folder(source, tmp_path / "out", ToyEncoder())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ShardError, match="file"):
        shard_folder(source, tmp_path / "file", ToyEncoder())


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_a_failing_disk_is_no_data_error(source, out, monkeypatch, code):
    """It stops the run instead of quarantining every file that follows; no manifest appears."""

    def refuse(path, **_options):
        raise AudioFileError(f"{path} cannot be read.") from OSError(code, os.strerror(code))

    monkeypatch.setattr(reading, "open_audio", refuse)
    with pytest.raises(AudioFileError):
        shard_folder(source, out, ToyEncoder())
    assert set(files_of(out)) == {"_plan.json"}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA error: device-side assert")])
def test_memory_and_device_errors_stop_the_run(source, out, error):
    """They say nothing about the clip."""

    class Broken(ToyEncoder):
        def encode_codes(self, _waveforms):
            raise error

    with pytest.raises(type(error)):
        shard_folder(source, out, Broken())
    assert set(files_of(out)) == {"_plan.json"}


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        ([np.array([4096]), np.zeros(2, int), np.zeros(4, int)], r"0…4095"),
        ([np.array([-1]), np.zeros(2, int), np.zeros(4, int)], r"0…4095"),
        ([np.array([1]), np.zeros(3, int), np.zeros(4, int)], "level 1"),
    ],
)
def test_an_encoder_that_breaks_its_promise_stops_the_run(source, out, codes, words):
    """Codes out of range or of wrong lengths are never stored."""

    class Wrong(ToyEncoder):
        def encode_codes(self, waveforms):
            return [codes for _ in waveforms]

    with pytest.raises(CodesError, match=words):
        shard_folder(source, out, Wrong())


def test_an_encoder_that_loses_a_clip_stops_the_run(source, out):
    """Codes must not slide to the next clip's name."""

    class Losing(ToyEncoder):
        def encode_codes(self, waveforms):
            return super().encode_codes(waveforms)[1:]

    with pytest.raises(CodesError, match="8 of 9"):
        shard_folder(source, out, Losing())


def test_a_codec_that_uint16_cannot_hold_is_refused_first(source, out):
    """Before the output folder is made."""
    with pytest.raises(ShardError, match="65537"):
        shard_folder(source, out, ToyEncoder(codebook_size=65537))
    assert not out.exists()


@pytest.mark.parametrize("num_files", [1, 200, 201, 399])
def test_an_estimate_looks_at_recordings_from_the_first_to_the_last(tmp_path, monkeypatch, num_files):
    """At most 200 headers, none farther from the next than the others; the second half counts as the first."""
    seen = []
    monkeypatch.setattr(estimate, "_header_seconds", lambda item, *_, **__: seen.append(item.path))
    monkeypatch.setattr(estimate, "_times_real_time", lambda *_: None)
    (tmp_path / "many").mkdir()
    for number in range(num_files):
        (tmp_path / "many" / f"{number:03d}.wav").write_bytes(b"RIFF")
    found = estimate.estimate_folder(tmp_path / "many", ToyEncoder())
    assert len(seen) == found.num_headers <= 200
    assert int(seen[-1][:3]) >= num_files - 2


def _estimated_seconds(folder, **options):
    return estimate.estimate_folder(folder, ToyEncoder(), **options).hours * 3600


def test_an_estimate_counts_each_channel_that_becomes_a_record(tmp_path):
    """Three stereo clips of 2 s are 12 s with "each", and 6 s otherwise; where a manifest names the channel, one."""
    for number in range(3):
        write_tone(tmp_path / "two" / f"{number}.wav", seconds=2, channels=2)
    assert _estimated_seconds(tmp_path / "two", channels="each") == pytest.approx(12)
    assert _estimated_seconds(tmp_path / "two") == pytest.approx(6)
    listed = tmp_path / "parts.csv"
    listed.write_text("path,start,end\n" + "".join(f"two/{number}.wav,0.5,1.5\n" for number in range(3)))
    assert _estimated_seconds(listed, channels="each") == pytest.approx(6)
    assert _estimated_seconds(listed) == pytest.approx(3)


def test_an_estimate_leaves_out_what_the_limits_do(tmp_path):
    """Too short, too long and too large recordings give no hours, as in a run."""
    for seconds in (1, 2, 4):
        write_tone(tmp_path / "some" / f"{seconds}.wav", seconds=seconds)
    assert _estimated_seconds(tmp_path / "some") == pytest.approx(7, rel=0.01)
    assert _estimated_seconds(tmp_path / "some", min_duration=1.5) == pytest.approx(6, rel=0.01)
    assert _estimated_seconds(tmp_path / "some", min_duration=1.5, max_duration=3) == pytest.approx(
        2, rel=0.01
    )
    assert _estimated_seconds(tmp_path / "some", max_file_bytes=100_000) == pytest.approx(3, rel=0.01)
    assert _estimated_seconds(tmp_path / "some", min_duration=100) == 0
