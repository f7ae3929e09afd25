"""Any mix of recordings becomes one folder of mono samples at one rate, whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from prepared_sound import RATE, contents, prepared, write_tone

from snac_tok.audio import read_audio, resample, to_mono
from snac_tok.errors import ConfigError, SamplingRateError, SourceError, TrainingError
from snac_tok.evaluation import Identity, evaluate, find_clips
from snac_tok.training.clip_making import PreparationOptions, prepare_sound
from snac_tok.training.clip_store import ClipStore

HERE = Path(__file__).parent
SPEECH = HERE.parent / "speech"
OPTIONS = PreparationOptions(sampling_rate=24_000)


def test_mixed_rates_become_one(source, tmp_path):
    """Each clip is what the audio room makes of its file, to the last of 16 bits."""
    state = prepare_sound([source], tmp_path / "ready", OPTIONS)
    store = ClipStore.open(tmp_path / "ready")
    assert store.sampling_rate == 24_000
    assert store.clip_ids == ["a.wav", "b.flac", "more/c.ogg"]
    assert (state.num_recordings, state.num_clips, state.num_failures) == (3, 3, 0)
    assert state.num_samples == len(store.samples) == 36_000
    assert state.num_bytes == state.total_bytes == sum(p.stat().st_size for p in source.rglob("*.*"))
    for index, name in enumerate(store.clip_ids):
        expected = resample(to_mono(read_audio(source / name)), 24_000).samples[0]
        assert store.clip(index).numpy() == pytest.approx(expected, abs=0.51 / 32_768)


def test_16_bits_of_the_right_rate_come_through_untouched(tmp_path):
    """Full scale both ways included."""
    samples = np.array([0, 1, -1, 32_767, -32_768] * 100, np.int16)
    sf.write(tmp_path / "a.wav", samples, 24_000, subtype="PCM_16")
    assert prepared([tmp_path / "a.wav"], tmp_path / "ready").samples.numpy().tolist() == samples.tolist()


def test_what_goes_beyond_full_scale_is_turned_down(tmp_path):
    """A float recording of twice full scale keeps its shape."""
    write = 2 * np.sin(np.arange(24_000) / 10)
    sf.write(tmp_path / "a.wav", write, 24_000, subtype="FLOAT")
    clip = prepared([tmp_path / "a.wav"], tmp_path / "ready").clip(0).numpy()
    assert clip == pytest.approx(write / np.abs(write).max(), abs=1e-4)


def test_levels_stay_unless_asked_for(tmp_path):
    """Loudness changes tokens, so it is off by default; with it pauses do not count."""
    write_tone(tmp_path / "in" / "quiet.wav", level=0.01)
    write_tone(tmp_path / "in" / "loud.wav", level=0.9)
    plain = prepared([tmp_path / "in"], tmp_path / "plain")
    assert [clip.level_db for clip in plain.clips] == pytest.approx([-3.9, -43.0], abs=0.1)
    level = prepared([tmp_path / "in"], tmp_path / "level", level_db=-20.0)
    assert [clip.level_db for clip in level.clips] == [-20.0, -20.0]
    rms = [float(level.clip(k).square().mean().log10() * 10) for k in range(2)]
    assert rms == pytest.approx([-20.0, -20.0], abs=0.1)
    loudest = prepared([tmp_path / "in"], tmp_path / "loudest", level_db=0.0)
    assert float(loudest.clip(1).abs().max()) == pytest.approx(1.0, abs=1e-4)


def test_channels(tmp_path):
    """The policy picks."""
    path = write_tone(tmp_path / "a.wav", channels=2)
    left, right = (prepared([path], tmp_path / side, channels=side).clip(0) for side in ("left", "right"))
    assert int((left[:-1] * left[1:] < 0).sum()) * 2 == pytest.approx(
        int((right[:-1] * right[1:] < 0).sum()), abs=3
    )


def test_a_source_that_means_a_channel_gets_it(tmp_path):
    """As in shards, whatever the policy for others is: two speakers of one file are no mean of both; in eval, too."""
    samples = np.stack([np.full(24_000, 0.25), np.full(24_000, -0.5)], axis=1)
    sf.write(tmp_path / "call.wav", samples, 24_000)
    cuts = [
        {
            "id": f"speaker{channel}",
            "start": 0,
            "duration": 1.0,
            "channel": channel,
            "supervisions": [],
            "recording": {
                "sources": [{"type": "file", "channels": [0, 1], "source": str(tmp_path / "call.wav")}],
                "duration": 1.0,
                "channel_ids": [0, 1],
            },
        }
        for channel in (0, 1)
    ]
    (tmp_path / "cuts.jsonl").write_text("\n".join(map(json.dumps, cuts)))
    store = prepared([tmp_path / "cuts.jsonl"], tmp_path / "ready")
    assert [float(store.clip(number)[0]) for number in range(2)] == pytest.approx([0.25, -0.5])
    heard = {}
    clips = find_clips([tmp_path / "cuts.jsonl"])
    evaluate(
        clips, [Identity()], measures=["mel"], on_sound=lambda clip, _, sound: heard.setdefault(clip, sound)
    )
    assert [float(sound.samples[0, 0]) for sound in heard.values()] == pytest.approx([0.25, -0.5])


def test_long_recordings_become_pieces_that_join(tmp_path):
    """Nothing is lost between them, and resampling does not start anew."""
    path = write_tone(tmp_path / "a.wav", seconds=3.3, rate=22_050)
    whole = prepared([path], tmp_path / "whole")
    pieces = prepared([path], tmp_path / "pieces", piece_seconds=1.0)
    assert pieces.clip_ids == ["a.wav#0", "a.wav#1", "a.wav#2", "a.wav#3"]
    assert [clip.num_samples for clip in pieces.clips] == [24_000, 24_000, 24_000, 7_200]
    assert pieces.samples.tolist() == whole.samples.tolist()
    assert prepared([path], tmp_path / "exact", piece_seconds=3.3).clip_ids == ["a.wav"]


@pytest.mark.parametrize(
    ("seconds", "options", "names", "lengths"),
    [
        (2 + 1 / RATE, {}, ["a.wav#0", "a.wav#1"], [RATE, RATE + 1]),
        (2.24, {}, ["a.wav#0", "a.wav#1"], [RATE, RATE + 5_760]),
        (2.25, {}, ["a.wav#0", "a.wav#1", "a.wav#2"], [RATE, RATE, 6_000]),
        (1.1, {}, ["a.wav"], [RATE + 2_400]),
        (0.1, {}, ["a.wav"], [2_400]),
        (2.2, {"min_seconds": 0.1}, ["a.wav#0", "a.wav#1"], [RATE, RATE + 4_800]),
        (2.2, {"min_seconds": 0.5}, ["a.wav#0", "a.wav#1"], [RATE, RATE]),
    ],
)
def test_a_rest_of_nearly_nothing_is_no_clip(tmp_path, seconds, options, names, lengths):
    """It stays with the piece before, unless shorter clips are to be left out."""
    path = write_tone(tmp_path / "a.wav", seconds=seconds)
    found = prepared([path], tmp_path / "ready", piece_seconds=1.0, **options)
    assert found.clip_ids == names
    assert [clip.num_samples for clip in found.clips] == lengths


def test_short_clips_are_left_out_and_counted(tmp_path):
    """min_seconds is of the clip, whatever the recording's rate."""
    for name, seconds in [("a.wav", 0.3), ("b.wav", 0.29), ("c.wav", 1.0)]:
        write_tone(tmp_path / "in" / name, seconds=seconds, rate=16_000)
    options = PreparationOptions(sampling_rate=24_000, min_seconds=0.3)
    state = prepare_sound([tmp_path / "in"], tmp_path / "ready", options)
    assert ClipStore.open(tmp_path / "ready").clip_ids == ["a.wav", "c.wav"]
    assert (state.num_short, state.num_failures) == (1, 0)


def test_bad_files_are_reported_and_the_rest_goes_on(source, tmp_path):
    """No sound, cut off, empty, gone: listed with reasons; none of their samples stay."""
    (source / "bad.wav").write_bytes(b"RIFF")
    (source / "empty.flac").write_bytes(b"")
    (source / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    cut = write_tone(source / "cut.flac", seconds=2.0)
    cut.write_bytes(cut.read_bytes()[:-4000])
    state = prepare_sound([source], tmp_path / "ready", OPTIONS)
    failed = [json.loads(line) for line in (tmp_path / "ready" / "failed.jsonl").read_text().splitlines()]
    assert [failure["source"] for failure in failed] == ["bad.wav", "cut.flac", "empty.flac", "gone.wav"]
    assert all(failure["reason"].endswith(".") for failure in failed)
    assert (state.num_recordings, state.num_failures) == (7, 4)
    assert ClipStore.open(tmp_path / "ready").clip_ids == ["a.wav", "b.flac", "more/c.ogg"]


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    """A folder without a clip could not be opened."""
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(TrainingError, match=r"none of 1 recordings .* 1 failed.*bad\.wav"):
        prepare_sound([tmp_path / "bad.wav"], tmp_path / "ready", OPTIONS)
    assert contents(tmp_path / "ready") == {}


def test_nothing_is_opened_twice(source, tmp_path, monkeypatch):
    """Each file is opened once, and read once."""
    real, seen = open, []

    def counting(file, *args, **options):
        seen.append(str(file))
        return real(file, *args, **options)

    monkeypatch.setattr("builtins.open", counting)
    prepare_sound([source], tmp_path / "ready", OPTIONS)
    assert seen == [str(source / name) for name in ("a.wav", "b.flac", "more/c.ogg")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("m.txt", "more/c.ogg\n\na.wav\n"),
        ("m.csv", "text,file_name\nsaid,more/c.ogg\n,a.wav\n"),
        ("m.csv", "audio_file|text\nmore/c.ogg|one, two\na.wav|three\n"),
        ("m.tsv", "path\ttext\nmore/c.ogg\tone\na.wav\ttwo\n"),
        ("m.jsonl", '{"audio_filepath": "more/c.ogg"}\n{"audio_filepath": "a.wav", "text": "x"}\n'),
    ],
)
def test_manifests(source, tmp_path, name, content):
    """In their order, relative to themselves, beside other inputs."""
    (source / name).write_text(content)
    store = prepared([source / "b.flac", source / name], tmp_path / "ready")
    assert store.clip_ids == ["b.flac", "more/c.ogg", "a.wav"]


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("m.txt", b"", "names no recording"),
        ("m.txt", b"\xff\xfe", "UTF-8"),
        ("m.csv", b"text\nsaid\n", "no column of recordings"),
        ("m.csv", b"", "no column of recordings"),
        ("m.jsonl", b"{\n", "line 1"),
        ("m.jsonl", b'{"file": "a.wav"}\n[]\n', "line 2: needs a JSON object"),
        ("m.jsonl", b'{"text": "a"}\n', "no column of recordings"),
        ("m.jsonl", b'{"file": null}\n', "holds no path"),
    ],
)
def test_broken_manifests_are_refused(tmp_path, name, content, named):
    """Before anything is decoded."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=named):
        prepare_sound([tmp_path / name], tmp_path / "ready", OPTIONS)
    assert not (tmp_path / "ready").exists()


def test_datasets(source, tmp_path):
    """In memory, saved, streamed: decoded here, with one bad row reported like a bad file."""
    datasets = pytest.importorskip("datasets")
    rows = [str(source / "a.wav"), {"bytes": b"RIFF", "path": "bad.wav"}, str(source / "b.flac"), None]
    column = datasets.Dataset.from_dict({"audio": rows[:1] + rows[2:3]}).cast_column(
        "audio", datasets.Audio()
    )
    bad = datasets.Dataset.from_dict({"audio": [rows[1], rows[3]]})
    split = datasets.DatasetDict({"train": column, "test": column})
    column.save_to_disk(tmp_path / "saved")
    split.save_to_disk(tmp_path / "splits")
    (tmp_path / "hub").mkdir()
    column.to_parquet(tmp_path / "hub" / "train-0.parquet")
    expected = ["0/a.wav", "1/b.flac"]
    assert prepared([column], tmp_path / "1").clip_ids == expected
    assert prepared([column.to_iterable_dataset()], tmp_path / "2").clip_ids == expected
    assert prepared([tmp_path / "saved"], tmp_path / "3").clip_ids == expected
    both = [f"{name}/{clip}" for name in ("train", "test") for clip in expected]
    assert prepared([tmp_path / "splits"], tmp_path / "4").clip_ids == both
    assert prepared([f"hf:{tmp_path / 'hub'}:train"], tmp_path / "5").clip_ids == expected
    for at, named in {
        3: tmp_path / "saved",
        4: tmp_path / "splits",
        5: f"hf:{tmp_path / 'hub'}:train",
    }.items():
        assert prepare_sound([named], tmp_path / str(at), OPTIONS).was_finished
    state = prepare_sound([bad, column], tmp_path / "6", OPTIONS)
    assert (state.num_failures, state.num_clips, state.total_bytes) == (2, 2, None)


def test_datasets_that_cannot_be_used_are_refused(tmp_path):
    """Without a column of sound, without columns, without a name."""
    datasets = pytest.importorskip("datasets")
    with pytest.raises(SourceError, match=r"no column could be the sound.*rename it"):
        prepare_sound([datasets.Dataset.from_dict({"text": ["a"]})], tmp_path / "ready", OPTIONS)
    for source, named in [
        (3, "is not an input"),
        ("hf:", "hf:NAME"),
        (f"hf:{tmp_path / 'nowhere'}", "cannot be loaded"),
    ]:
        with pytest.raises(SourceError, match=named):
            prepare_sound([source], tmp_path / "ready", OPTIONS)


def test_a_missing_input_is_refused_before_any_work(source, tmp_path):
    """Not after hours."""
    with pytest.raises(SourceError, match=r"nowhere.*no such"):
        prepare_sound([source, tmp_path / "nowhere"], tmp_path / "ready", OPTIONS)
    with pytest.raises(SourceError, match="nothing to read"):
        prepare_sound([], tmp_path / "ready", OPTIONS)
    with pytest.raises(SourceError, match="an empty name is not an input"):  # not the current folder
        prepare_sound([source, ""], tmp_path / "ready", OPTIONS)
    assert not (tmp_path / "ready").exists()


def test_a_folder_that_is_taken_is_refused_and_replaced_when_asked(source, tmp_path):
    """Other files in it stay; an old list of failures does not."""
    out = tmp_path / "ready"
    prepared([source], out)
    (out / "notes.txt").write_text("mine")
    (out / "failed.jsonl").write_text("old")
    before = contents(out)
    with pytest.raises(TrainingError, match="already holds prepared sound"):
        prepare_sound([source / "a.wav"], out, OPTIONS)
    assert contents(out) == before
    prepare_sound([source / "a.wav"], out, OPTIONS, replace=True)
    assert ClipStore.open(out).clip_ids == ["a.wav"]
    assert set(contents(out)) == {"samples.s16", "clips.json", "notes.txt"}


def test_names_that_are_no_text_are_reported(source, tmp_path):
    """Neither libsndfile nor JSON can hold such a name."""
    shutil.copy(source / "a.wav", os.fsencode(source) + b"/caf\xe9.wav")
    state = prepare_sound([source], tmp_path / "ready", OPTIONS)
    assert state.num_failures == 1
    assert "caf\\xe9.wav" in (tmp_path / "ready" / "failed.jsonl").read_text().replace("\\\\", "\\")


def test_real_speech(tmp_path):
    """Three clips of 22,050 Hz, at a level that speech has."""
    store = prepared([SPEECH], tmp_path / "ready")
    assert store.num_clips == 3
    assert all(-25 < clip.level_db < -15 for clip in store.clips)


def test_progress_comes_after_each_recording(source, tmp_path):
    """With the bytes that tell how much is left."""
    seen = []
    prepare_sound([source], tmp_path / "ready", OPTIONS, progress=seen.append)
    assert [state.num_recordings for state in seen] == [1, 2, 3]
    assert seen[-1].num_bytes == seen[-1].total_bytes


@pytest.mark.parametrize(
    "options",
    [
        {"min_seconds": -1.0},
        {"min_seconds": 400.0},
        {"piece_seconds": 0.0},
        {"piece_seconds": float("inf")},
        {"level_db": 3.0},
        {"level_db": float("nan")},
    ],
)
def test_impossible_options_are_refused(options):
    """By name."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        PreparationOptions(sampling_rate=24_000, **options)


def test_an_impossible_rate_is_refused():
    """As everywhere."""
    with pytest.raises(SamplingRateError):
        PreparationOptions(sampling_rate=12)


@pytest.mark.parametrize("level_db", [1.0, -90.5, -1e9, float("nan"), float("-inf")])
def test_a_level_that_16_bits_do_not_hold_is_refused(level_db):
    """Sound would end as zeros, or its level as no number."""
    with pytest.raises(ConfigError, match="level_db is"):
        PreparationOptions(sampling_rate=24_000, level_db=level_db)
    assert PreparationOptions(sampling_rate=24_000, level_db=-90.0).level_db == -90.0
