"""Sound whose values are wrong, at every door through which sound comes in: the same refusals."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile as sf
import torch
from click.testing import CliRunner

from snac_tok import SNAC, SnacTokenizer
from snac_tok.audio import Waveform, as_waveform, audio_info, read_audio
from snac_tok.cli.program import program
from snac_tok.errors import AudioError, SamplingRateError, WaveformError
from snac_tok.evaluation import Identity, evaluate
from snac_tok.hf import SnacFeatureExtractor
from snac_tok.mapping import SnacMapper
from snac_tok.shards import open_shards, read_shards
from snac_tok.sources.recording import Recording
from snac_tok.streaming import StreamEncoder
from snac_tok.training.clip_making import PreparationOptions, prepare_sound

RATE = 24000
INT16_SCALE = (
    r"the (audio's )?samples reach ±9000, .* look like 16-bit integers kept as floats; divide them by 32768"
)
TONE = np.sin(np.arange(6000) / 7).astype(np.float32)
LOUD = TONE / np.abs(TONE).max() * 9000


@pytest.fixture(scope="module")
def tok():
    """The trial codec with a published table."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus", resample=True)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with clips/: a good file, a float file at int16 scale, swapped wires, and 5.1's centre."""
    clips = tmp_path / "clips"
    clips.mkdir()
    sf.write(clips / "good.wav", 0.5 * TONE, RATE)
    sf.write(clips / "int16.wav", LOUD, RATE, subtype="FLOAT")
    sf.write(clips / "swapped.wav", np.stack([0.5 * TONE, -0.5 * TONE], axis=1), RATE)
    sf.write(clips / "centre.wav", np.stack([*[0 * TONE] * 2, 0.5 * TONE, *[0 * TONE] * 3], axis=1), RATE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SNAC_TOK_MODEL", "tiny")
    return clips


def run(*arguments):
    """The program, called as from a shell."""
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def wav_of_floats():
    """The bytes of a float file at int16 scale."""
    content = io.BytesIO()
    sf.write(content, LOUD, RATE, format="WAV", subtype="FLOAT")
    return content.getvalue()


@pytest.mark.parametrize(
    "sound",
    [
        LOUD,
        LOUD.astype(np.float64),
        LOUD.astype(np.float16),
        torch.from_numpy(LOUD),
        LOUD.tolist(),
        {"array": LOUD, "sampling_rate": RATE},
        wav_of_floats(),
        {"bytes": wav_of_floats(), "path": "x.wav"},
        io.BytesIO(wav_of_floats()),
    ],
)
def test_int16_scale_at_the_doors_of_python(tok, sound):
    """Arrays, tensors, lists, dicts, bytes and files: reader, tokenizer, mapper rows and evaluation."""
    rate = None if isinstance(sound, (dict, bytes, io.BytesIO)) else RATE
    doors = [
        lambda: as_waveform(sound, sampling_rate=rate),
        lambda: tok(sound, sampling_rate=rate),
        lambda: tok.encode(sound, sampling_rate=rate),
    ]
    for door in doors:
        if isinstance(sound, io.BytesIO):
            sound.seek(0)
        with pytest.raises(AudioError, match=INT16_SCALE):
            door()


def test_a_bad_clip_of_several_is_named(tok):
    """Of samples only their place tells which clip it is."""
    with pytest.raises(WaveformError, match=rf"^clip 1: {INT16_SCALE}"):
        tok([TONE, LOUD], sampling_rate=RATE)


def test_mapper_rows_and_the_feature_extractor():
    """A row is refused alone; the extractor names the clip."""
    mapper = SnacMapper("tiny", preset="orpheus", sampling_rate=RATE, on_error="column")
    columns = mapper({"audio": [LOUD, TONE, np.stack([TONE, -TONE]), np.stack([TONE] * 4)]})
    found = columns["error"]
    assert "divide them by 32768" in found[0]
    assert not found[1]
    assert "cancel each other" in found[2]
    assert "may be 4 clips" in found[3]
    assert [len(ids) for ids in columns["input_ids"]] == [0, 21, 0, 0]
    extract = SnacFeatureExtractor()
    for values, sentence in (
        (LOUD, f"clip 1: {INT16_SCALE}"),
        (np.full(9, 1e300), r"clip 1: the samples reach ±1e\+300, .* no recording is that loud"),
        (np.array([np.inf]), "clip 1: 1 of 1 samples are NaN or infinite"),
        (np.zeros(9, np.int16), "clip 1 is int16; .* divided by 32768"),
        (np.stack([TONE] * 4), "several clips as a list"),
    ):
        with pytest.raises(WaveformError, match=sentence):
            extract([TONE, values], sampling_rate=RATE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("value", "sentence"), [(9000.0, "divide them by 32768"), (float("nan"), "NaN or infinite")]
)
def test_the_codec_itself(tok, dtype, value, sentence):
    """Every way into the network: encode, encode_batch, encode_blocks, forward, in training too."""
    audio = torch.zeros(1, 1, 3000)
    audio[..., 100] = value
    audio = audio.to(dtype)
    training = SNAC.from_pretrained("tiny").train()
    for door in (
        lambda: tok.codec.encode(audio),
        lambda: tok.codec(audio),
        lambda: list(tok.codec.encode_blocks([torch.zeros(1, 1, 3000), audio])),
        lambda: training(audio),
    ):
        with pytest.raises(WaveformError, match=sentence):
            door()
    with pytest.raises(WaveformError, match=f"clip 1: .*{sentence}"):
        tok.codec.encode_batch([torch.zeros(9), audio[0, 0]])
    with pytest.raises(WaveformError, match="no recording is that loud"):
        tok.codec.encode(torch.full((1, 1, 100), 1e30))


def test_streams_of_sound(tok):
    """A block at int16 scale is refused and leaves the stream as it was; rates and waveforms are checked, too."""
    stream = StreamEncoder(tok.codec, tok.vocabulary)
    ids = stream.push(TONE[:3000]).tolist()
    for block, sentence in (
        (LOUD, INT16_SCALE),
        (LOUD.astype(np.float16), INT16_SCALE),
        (torch.from_numpy(LOUD).bfloat16(), "divide them by 32768"),
        (np.array([1e300]), "no recording is that loud"),
        (np.array([np.nan]), "1 of 1 samples are NaN"),
        (TONE.astype(np.int16), r"int16 is divided by 32768"),
        (np.stack([TONE, TONE]), "of one channel"),
        (np.zeros(3, bool), "got bool"),
    ):
        with pytest.raises(WaveformError, match=sentence):
            stream.push(block)
    with pytest.raises(SamplingRateError, match="the stream is at 24000 Hz, the block at 16000 Hz"):
        stream.push(Waveform(samples=TONE[None], sampling_rate=16000))
    ids += stream.push(Waveform(samples=TONE[None, 3000:], sampling_rate=RATE)).tolist()
    assert ids + stream.flush().tolist() == tok.encode(TONE, sampling_rate=RATE)
    assert StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=48000.0).sampling_rate == 48000
    for rate in (0, -1, 24000.5, "24000", float("nan")):
        with pytest.raises(SamplingRateError, match="whole number of Hz"):
            StreamEncoder(tok.codec, tok.vocabulary, sampling_rate=rate)


def test_files_in_folders(folder, tmp_path):
    """Shards, prepared sound and evaluation list what cannot be used with the reason, and use the rest."""
    assert run("shard", "clips", "shards").exit_code == 1
    lines = (tmp_path / "shards" / "_failed.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = {entry["source"]: entry["reason"] for entry in map(json.loads, lines)}
    assert "divide them by 32768" in reasons.pop("int16.wav")
    assert "right or a number from 0 to 1 another" in reasons.pop("swapped.wav")
    assert not reasons
    assert [record.id for record in read_shards("shards")] == ["centre.wav", "good.wav"]

    state = prepare_sound([folder], "ready", PreparationOptions(sampling_rate=RATE))
    assert (state.num_clips, state.num_failures) == (2, 2)
    failed = (tmp_path / "ready" / "failed.jsonl").read_text(encoding="utf-8")
    assert "divide them by 32768" in failed
    assert "cancel each other" in failed

    clips = [Recording(name=path.name, sound=path) for path in sorted(folder.iterdir())]
    found = evaluate(clips, [Identity()], measures=["mel"])
    assert [failure.source for failure in found.failures] == ["int16.wav", "swapped.wav"]
    assert "divide them by 32768" in found.failures[0].reason
    assert evaluate(clips[3:], [Identity()], measures=["mel"], channels="left").failures == ()


@pytest.mark.parametrize("allow", [["clips/int16.wav"], ["clips/good.wav", "clips/int16.wav"]])
def test_encode_from_the_command_line(folder, tmp_path, allow):
    """One sentence with the file's name; the others are encoded."""
    result = run("encode", *allow, "-o", "codes/")
    assert result.exit_code == (2 if len(allow) == 1 else 1)
    sentence = "clips/int16.wav: the samples reach ±9000, but full scale is ±1: they look like 16-bit"
    assert result.stderr.count(f"snac-tok: {sentence}") == 1
    assert len(list((tmp_path / "codes").iterdir())) == len(allow) - 1
    assert audio_info(folder / "good.wav").num_samples == 6000


@pytest.mark.usefixtures("folder")
def test_channels_from_the_command_line(tmp_path):
    """The mean that loses the centre is told with the file's name; a channel's number gets it back."""
    mean = run("encode", "clips/centre.wav", "-o", "mean.npz")
    assert mean.exit_code == 0
    assert (
        "snac-tok: clips/centre.wav: the mean of its 6 channels is 15.6 dB quieter than channel 2"
        in mean.stderr
    )
    swapped = run("encode", "clips/swapped.wav", "-o", "swapped.npz")
    assert swapped.exit_code == 2
    assert "--channels 'left' takes the first, and right or a number from 0 to 1 another." in swapped.stderr
    assert run("encode", "clips/good.wav", "-o", "good.npz").exit_code == 0
    for sound, channel in (("centre", "2"), ("swapped", "left")):
        done = run("encode", f"clips/{sound}.wav", "-o", "one.npz", "--channels", channel, "--force")
        assert done.exit_code == 0
        assert "channels is" not in done.stderr
        with np.load(tmp_path / "one.npz") as found, np.load(tmp_path / "good.npz") as good:
            assert all(np.array_equal(found[f"level_{k}"], good[f"level_{k}"]) for k in range(3))
    refused = run("encode", "clips/swapped.wav", "-o", "x.npz", "--channels", "both")
    assert "'both' is not one of mean|left|right|N" in refused.stderr


@pytest.mark.usefixtures("folder")
def test_channels_of_folders_from_the_command_line():
    """With one channel named, swapped wires are no fault; a number goes into the shards' settings."""
    for command in (
        ["prepare", "clips", "-o", "ready", "--sampling-rate", RATE],
        ["shard", "clips", "shards"],
    ):
        done = run(*command, "--channels", "0")
        assert done.exit_code == 1  # int16.wav alone
        assert "1 failed" in done.stdout or "failures  1" in done.stdout
    assert {record.id for record in read_shards("shards")} == {"centre.wav", "good.wav", "swapped.wav"}
    assert open_shards("shards").manifest.collection.channels == "0"


def test_a_long_file_says_the_same_in_blocks(folder, tok, monkeypatch, caplog):
    """Read block by block, a recording is warned of once and refused in the end, with the same words."""
    monkeypatch.setattr("snac_tok.sources.reading.LONG_SECONDS", 0.1)
    for name, sentence in (("int16", "divide them by 32768"), ("swapped", "cancel each other")):
        with pytest.raises(AudioError, match=sentence):
            tok(folder / f"{name}.wav")
    ids = tok(folder / "centre.wav")["input_ids"]
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"{folder / 'centre.wav'}: the mean of its 6 channels is 15.6 dB quieter"
    )
    assert ids == tok(read_audio(folder / "centre.wav"))["input_ids"]


def test_a_bare_batch_is_no_recording(tok):
    """Four rows are not averaged to one clip; a list of rows is four clips, a dict one recording."""
    batch = np.stack([0.1 * (k + 1) * TONE for k in range(4)])
    for rows in (batch, torch.from_numpy(batch)):
        with pytest.raises(WaveformError, match="pass clips as a list or one by one"):
            tok(rows, sampling_rate=RATE)
    alone = [tok.encode(row, sampling_rate=RATE) for row in batch]
    assert tok(list(batch), sampling_rate=RATE)["input_ids"] == alone
    told = tok.encode({"array": batch, "sampling_rate": float(RATE)})
    assert told == tok.encode(batch.mean(axis=0), sampling_rate=RATE)
