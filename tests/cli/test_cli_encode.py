"""`snac-tok encode`."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from snac_tok import SnacTokenizer, read_audio
from snac_tok.shards import open_shards, read_code_file


def test_npz_holds_the_tokenizers_codes(run, tokenizer):
    """An .npz holds exactly the codes of the tokenizer, as uint16, and all that decoding needs."""
    assert run("encode", "a.wav", "-o", "a.npz").exit_code == 0
    waveform = read_audio("a.wav")
    expected = tokenizer.encode_codes([waveform])[0]
    with np.load("a.npz", allow_pickle=False) as arrays:
        levels = [arrays[f"level_{place}"] for place in range(3)]
        assert [level.dtype for level in levels] == [np.uint16] * 3
        assert all(np.array_equal(found, level) for found, level in zip(levels, expected, strict=True))
        assert int(arrays["num_samples"]) == tokenizer.num_samples(waveform)
        assert int(arrays["sampling_rate"]) == 24_000
        settings = json.loads(str(arrays["settings"]))
    assert settings["weights_sha256"] == tokenizer.codec.weights_sha256()
    assert settings["codec_id"] == "tiny"
    assert settings["codec_config"] == tokenizer.codec.config.to_dict()


def test_weights_are_read_through_once_for_many_sounds(run, tokenizer, monkeypatch):
    """The digest takes longer than a short clip; each file has it, and its own rate."""
    asked, describe = [], SnacTokenizer.describe
    monkeypatch.setattr(SnacTokenizer, "describe", lambda tok: asked.append(1) or describe(tok))
    Path("other.wav").write_bytes(Path("a.wav").read_bytes())
    assert run("encode", "a.wav", "other.wav", "-o", "codes/").exit_code == 0
    assert len(asked) == 1
    for name in ("a", "other"):
        settings = read_code_file(Path(f"codes/{name}.npz")).settings
        assert settings["weights_sha256"] == tokenizer.codec.weights_sha256()
        assert settings["source_sampling_rate"] == 22_050


def test_resampling_is_said_and_recorded(run):
    """A recording at another rate is resampled; the message and the file say from what and how."""
    result = run("encode", "a.wav", "-o", "a.npz")
    assert "resampled from 22050 to 24000 Hz (soxr HQ)" in result.stderr
    settings = read_code_file(Path("a.npz")).settings
    assert settings["source_sampling_rate"] == 22_050
    assert settings["resampler"]["backend"] == "soxr"


@pytest.mark.parametrize("name", ["a.json", "a.txt"])
def test_ids_are_the_tokenizers(run, work, tokenizer, name):
    """With a preset the ids of the tokenizer are written, as JSON or as numbers between spaces."""
    assert run("encode", "a.wav", "-o", name, "--preset", "orpheus").exit_code == 0
    text = (work / name).read_text(encoding="utf-8")
    ids = json.loads(text) if name.endswith("json") else [int(word) for word in text.split()]
    assert ids == tokenizer.encode("a.wav")


def test_ids_go_to_stdout(run, tokenizer):
    """--ids without -o prints nothing but the ids on stdout."""
    result = run("encode", "a.wav", "--ids", "--preset", "orpheus")
    assert json.loads(result.stdout) == tokenizer.encode("a.wav")


@pytest.mark.parametrize("preset", ["orpheus", "per-level-separated", "mini-omni"])
def test_the_ids_written_are_counted(run, preset):
    """Of fewer levels there are fewer; separators and delayed rows are ids, too."""
    for options in ([], ["--levels", "2"]):
        result = run("encode", "a.wav", "-o", "a.json", "--preset", preset, "--force", *options)
        assert result.exit_code == 0, result.stderr
        number = np.asarray(json.loads(Path("a.json").read_text())).size
        assert f", {number} ids, " in result.stderr
        assert " codes" not in result.stderr


def test_levels_keep_the_coarse_codes(run, tokenizer):
    """--levels 1 leaves the coarsest level's codes alone."""
    result = run("encode", "a.wav", "--ids", "--preset", "plain", "--levels", "1")
    coarse = tokenizer.encode_codes([read_audio("a.wav")])[0][0]
    assert json.loads(result.stdout) == coarse.tolist()


def test_several_sounds_go_into_a_folder(run, work):
    """Several inputs make a folder with one .npz each, the same as alone."""
    assert run("encode", "a.wav", "b.flac", "-o", "codes").exit_code == 0
    assert run("encode", "b.flac", "-o", "alone.npz").exit_code == 0
    assert sorted(path.name for path in (work / "codes").iterdir()) == ["a.npz", "b.npz"]
    together, alone = read_code_file(work / "codes" / "b.npz"), read_code_file(work / "alone.npz")
    assert all(np.array_equal(a, b) for a, b in zip(together.levels, alone.levels, strict=True))


def test_channels_choose_what_is_encoded(run):
    """--channels left and right give the codes of that channel; the mix is another."""
    for policy in ("left", "right", "mean"):
        result = run("encode", "stereo.wav", "-o", f"{policy}.npz", "--channels", policy)
        assert f"{policy} of 2 channels" in result.stderr
    left, right, mean = (
        read_code_file(Path(f"{name}.npz")).levels[2].tolist() for name in ("left", "right", "mean")
    )
    assert left != right != mean != left


def test_the_folder_of_a_model_says_which_channel(run, work):
    """Without --channels its saved channel is taken, and --channels overrules it; shards do the same."""
    SnacTokenizer.from_pretrained("tiny", channels="right").save_pretrained(work / "model")
    assert "right of 2 channels" in run("encode", "stereo.wav", "-o", "a.npz", "--model", "model").stderr
    given = run("encode", "stereo.wav", "-o", "b.npz", "--model", "model", "--channels", "left")
    assert "left of 2 channels" in given.stderr
    assert run("shard", "clips", "shards", "--model", "model").exit_code == 0
    assert open_shards(work / "shards").info.channels == "right"


def test_several_sounds_have_a_bar(run, work):
    """With --progress, or on a terminal: bytes and the time left on stderr, lines whole; a bad sound counts as done."""
    (work / "bad.wav").write_bytes(b"no sound" * 1000)
    result = run("encode", "a.wav", "bad.wav", "b.flac", "-o", "codes", "--progress")
    assert result.exit_code == 1
    assert "encoding: 100%" in result.stderr
    assert "<00:00" in result.stderr
    assert not result.stdout
    lines = result.stderr.replace("\r", "\n").splitlines()
    said = [line.strip() for line in lines if "snac-tok: " in line]
    assert len(said) == 3
    assert all(line.startswith("snac-tok: ") for line in said)
    assert "100%" not in run("encode", "a.wav", "b.flac", "-o", "quiet").stderr


def test_a_bad_sound_among_good_ones(run, work):
    """One unusable recording is named; the others are done, and the exit code is 1."""
    (work / "bad.wav").write_bytes(b"no sound")
    result = run("encode", "bad.wav", "a.wav", "-o", "codes")
    assert result.exit_code == 1
    assert "bad.wav" in result.stderr.splitlines()[0]
    assert [path.name for path in (work / "codes").iterdir()] == ["a.npz"]


@pytest.mark.parametrize("content", [None, b"", b"RIFF\x00\x00\x00\x00WAVE", b"\x00" * 100])
def test_unusable_sound(refused, work, content):
    """A missing, empty or corrupt file is refused by name, and nothing is written."""
    if content is not None:
        (work / "bad.wav").write_bytes(content)
    assert "bad.wav" in refused("encode", "bad.wav", "-o", "bad.npz")
    assert not (work / "bad.npz").exists()


def test_a_wav_cut_off(refused, work):
    """A recording that ends before its header says is refused."""
    (work / "cut.wav").write_bytes((work / "a.wav").read_bytes()[:20_000])
    assert "cut.wav" in refused("encode", "cut.wav", "-o", "cut.npz")


def test_existing_output_is_kept(run, refused, work):
    """What exists is only replaced with --force, and the refusal comes before the work."""
    (work / "a.npz").write_bytes(b"precious")
    assert "--force" in refused("encode", "a.wav", "-o", "a.npz")
    assert (work / "a.npz").read_bytes() == b"precious"
    assert run("encode", "a.wav", "-o", "a.npz", "--force").exit_code == 0
    assert read_code_file(Path("a.npz")).num_samples > 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a.wav"], "-o"),
        (["a.wav", "--ids"], "--preset"),
        (["a.wav", "-o", "a.npz", "--preset", "orpheus"], ".json"),
        (["a.wav", "-o", "a.json"], "--preset"),
        (["a.wav", "-o", "a.xyz"], ".npz"),
        (["a.wav", "-o", "a.npz", "--levels", "2"], "--levels"),
        (["a.wav", "b.flac", "-o", "both.npz"], "folder"),
        (["a.wav", "clips/a.wav", "-o", "codes"], "same name"),
        (["a.wav", "-o", "nowhere/a.npz"], "no folder nowhere"),
        (["a.wav", "-o", "a.json", "--preset", "orfeus"], "orpheus"),
        (["a.wav", "-o", "a.json", "--preset", "mine.json"], "mine.json"),
        (["a.wav", "-o", "a.npz", "--device", "abacus"], "abacus"),
        (["a.wav", "-o", "a.npz", "--device", "meta:x"], "meta:x"),
        (["a.wav", "-o", "a.npz", "--model", "no-such-folder"], "no-such-folder"),
        ([], "SOUND"),
    ],
)
def test_wrong_usage(refused, arguments, reason):
    """What cannot be meant is refused in one sentence that names what is wrong."""
    assert reason in refused("encode", *arguments)


def test_unknown_model_offline(refused, monkeypatch):
    """The default model without a network is one sentence that says what can be done, quickly."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    sentence = refused("encode", "a.wav", "-o", "a.npz", "--model", "nobody/has-this-codec")
    assert "nobody/has-this-codec" in sentence
    assert "tiny" in sentence


def test_full_disk_leaves_nothing(refused, work, monkeypatch):
    """When the disk refuses, the sentence says so and no half file stays."""
    import os

    def no_space(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    before = sorted(work.iterdir())
    result = refused("encode", "b.flac", "-o", "b.npz")
    assert "No space left" in result
    assert sorted(work.iterdir()) == before


def test_a_name_that_is_no_utf8_stands_once_in_its_sentence(refused, work):
    """The command adds a recording's name only where the library has not spelled it."""
    name = os.fsdecode(b"caf\xe9.wav")
    (work / "a.wav").rename(work / name)
    said = refused("encode", name, "-o", "x.npz")
    assert said == r"snac-tok: caf\udce9.wav: the file's name is not UTF-8; rename the file."
