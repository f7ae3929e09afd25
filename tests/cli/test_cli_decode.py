"""`snac-tok decode`."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from snac_tok import SNAC, SnacTokenizer, open_shards, read_audio, write_audio
from snac_tok.codec import VocosConfig, VocosDecoder


def same_sound(path, expected, tmp_path):
    """Compare a file with what writing the expected waveform gives."""
    write_audio(tmp_path / "expected.wav", expected)
    return np.array_equal(read_audio(path).samples, read_audio(tmp_path / "expected.wav").samples)


def test_npz_round_trip(run, work, tokenizer):
    """Encode then decode gives the tokenizer's own sound, trimmed to the recording's length."""
    run("encode", "a.wav", "-o", "a.npz")
    assert run("decode", "a.npz", "-o", "back.wav").exit_code == 0
    batch = tokenizer("a.wav")
    expected = tokenizer.decode(batch["input_ids"], num_samples=batch.num_samples[0])
    assert same_sound("back.wav", expected, work)


def test_another_decoder(run, refused, work, tokenizer):
    """Its digest is told; codes that the model made are decoded by it, and the recorded weights still fit."""
    config = VocosConfig(
        sampling_rate=24_000, input_channels=256, hop_length=512, n_fft=2048, dim=16, intermediate_dim=16
    )
    torch.manual_seed(0)
    decoder = VocosDecoder(config)
    decoder.save_pretrained("vocos")
    run("encode", "a.wav", "-o", "a.npz")
    result = run("decode", "a.npz", "-o", "back.wav", "--decoder", "vocos")
    assert f"decoder vocos, weights {decoder.sha256()[:12]}…, for the codes of tiny" in result.stderr
    other = SnacTokenizer.from_pretrained("tiny", preset="orpheus", decoder="vocos")
    batch = tokenizer("a.wav")
    expected = other.decode(batch["input_ids"], num_samples=batch.num_samples[0])
    assert same_sound("back.wav", expected, work)
    assert "neither an existing folder" in refused("decode", "a.npz", "-o", "c.wav", "--decoder", "nowhere")
    table = run("eval", "a.wav", "--decoder", "vocos", "--metrics", "mel").stdout
    assert re.search(r"^tiny +.*\n *tiny with vocos ", table, re.MULTILINE)


@pytest.mark.usefixtures("a_npz")
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels_of_raw_codes(run, work, tokenizer, shards, levels):
    """--levels decodes an .npz and shards with their first levels, as it does ids."""
    assert run("decode", "a.npz", "-o", "a1.wav", "--levels", levels).exit_code == 0
    assert run("decode", "shards", "-o", "a2.wav", "--id", "a.wav", "--levels", levels).exit_code == 0
    coarse = SnacTokenizer.from_pretrained("tiny", preset="orpheus", levels=levels)
    ids = coarse.vocabulary.encode(tokenizer.encode_codes([read_audio("a.wav")])[0][:levels])
    number = next(iter(open_shards(shards))).num_samples
    expected = coarse.decode(ids, num_samples=number)
    assert same_sound("a1.wav", expected, work)
    assert same_sound("a2.wav", expected, work)


@pytest.mark.usefixtures("shards", "a_npz")
def test_more_levels_than_there_are(refused):
    """The codec has three."""
    assert "levels" in refused("decode", "a.npz", "-o", "x.wav", "--levels", "4")
    assert "levels" in refused("decode", "shards", "-o", "wavs", "--levels", "4")


@pytest.mark.usefixtures("shards")
def test_several_records_have_a_bar(run):
    """With --progress, or on a terminal: records and the time left on stderr."""
    result = run("decode", "shards", "-o", "wavs", "--progress")
    assert "decoding: 100%" in result.stderr
    assert "2/2" in result.stderr
    assert "100%" not in run("decode", "shards", "-o", "again").stderr


@pytest.mark.usefixtures("a_npz")
@pytest.mark.parametrize("noise", ["off", "7"])
def test_noise_is_the_decoders(run, work, tokenizer, noise):
    """--noise reaches the decoder; the same seed gives the same file."""
    for name in ("one.wav", "two.wav"):
        assert run("decode", "a.npz", "-o", name, "--noise", noise).exit_code == 0
    batch = tokenizer("a.wav")
    expected = tokenizer.decode(
        batch["input_ids"], num_samples=batch.num_samples[0], noise="off" if noise == "off" else 7
    )
    assert same_sound("one.wav", expected, work)
    assert (work / "one.wav").read_bytes() == (work / "two.wav").read_bytes()


@pytest.mark.parametrize("preset", ["orpheus", "vita-audio", "mini-omni", "per-level-separated"])
@pytest.mark.parametrize("ending", [".json", ".txt"])
def test_ids_round_trip(run, work, tokenizer, preset, ending):
    """Ids of any kind of table, parallel rows included, come back as the sound of the codes."""
    run("encode", "b.flac", "-o", f"b{ending}", "--preset", preset)
    result = run("decode", f"b{ending}", "-o", "b.wav", "--preset", preset)
    assert result.exit_code == 0, result.stderr
    assert same_sound("b.wav", tokenizer.decode(tokenizer.encode("b.flac")), work)


def test_ids_through_a_pipe(run, work, tokenizer):
    """A dash reads what encode --ids prints; --num-samples trims."""
    ids = run("encode", "b.flac", "--ids", "--preset", "orpheus").stdout
    assert (
        run("decode", "-", "-o", "b.wav", "--preset", "orpheus", "--num-samples", "5000", stdin=ids).exit_code
        == 0
    )
    assert same_sound("b.wav", tokenizer.decode(tokenizer.encode("b.flac"), num_samples=5000), work)


def test_tokens_as_text(run, work, tokenizer):
    """Tokens as a language model spells them, with its start and end of speech, are read too."""
    ids = tokenizer.encode("b.flac", add_special_tokens=True)
    (work / "b.txt").write_text("\n".join(tokenizer.convert_ids_to_tokens(ids)), encoding="utf-8")
    assert run("decode", "b.txt", "-o", "b.flac.wav", "--preset", "orpheus").exit_code == 0
    assert same_sound("b.flac.wav", tokenizer.decode(ids), work)


def test_shards_become_a_folder_of_sounds(run, work, shards, tokenizer):
    """Every record becomes a wav under its own name: the tokenizer's decoding of its codes."""
    result = run("decode", "shards", "-o", "wavs")
    assert result.exit_code == 0
    assert "decoded 2 records" in result.stderr
    assert sorted(path.name for path in (work / "wavs").iterdir()) == ["a.wav", "b.flac.wav"]
    for record, ids in open_shards(shards).ids(tokenizer.vocabulary):
        expected = tokenizer.decode(ids, num_samples=record.num_samples)
        assert same_sound(work / "wavs" / f"{record.id.removesuffix('.wav')}.wav", expected, work)


def test_chosen_records(run, work, shards):
    """--id and --limit choose records; one record may go straight into a file; --flac changes the format."""
    assert run("decode", "shards", "-o", "one.flac", "--id", "b.flac").exit_code == 0
    assert run("decode", "shards", "-o", "first", "--limit", "1", "--flac").exit_code == 0
    assert run("decode", "shards", "-o", "twice", "--id", "a.wav", "--id", "a.wav").exit_code == 0
    assert read_audio("one.flac").num_samples == [r.num_samples for r in open_shards(shards)][1]
    assert [path.name for path in (work / "first").iterdir()] == ["a.wav.flac"]
    assert [path.name for path in (work / "twice").iterdir()] == ["a.wav"]


def test_chosen_rows(run, refused, work, shards):
    """--rows takes numbers and ranges as Python's; what is not there, or no row, is one sentence."""
    for rows, names in (("1", ["b.flac.wav"]), ("0:9,1", ["a.wav", "b.flac.wav"]), (":1", ["a.wav"])):
        folder = f"wavs-{rows.replace(':', '-')}"
        assert run("decode", "shards", "-o", folder, "--rows", rows).exit_code == 0
        assert sorted(path.name for path in (work / folder).iterdir()) == names
    assert run("decode", "shards", "-o", "one.wav", "--rows", "1").exit_code == 0
    assert run("decode", "shards", "-o", "first.wav", "--rows", "0:2", "--limit", "1").exit_code == 0
    assert [read_audio(name).num_samples for name in ("first.wav", "one.wav")] == [
        record.num_samples for record in open_shards(shards)
    ]
    assert "no row 2: the shards hold 2 records" in refused("decode", "shards", "-o", "x", "--rows", "2")
    for rows in ("-1", "1,", "a", "1:2:3", " "):
        assert "is no row" in refused("decode", "shards", "-o", "x", "--rows", rows)
    assert "--id and --rows" in refused("decode", "shards", "-o", "x", "--rows", "0", "--id", "a.wav")
    assert "--rows is for shards" in refused("decode", "a.npz", "-o", "x.wav", "--rows", "0")


def test_one_file_of_shards_alone(run, refused, work, shards):
    """A .parquet says itself what made it; its sounds are those of the folder."""
    assert run("decode", "shards", "-o", "wavs").exit_code == 0
    path = next(shards.glob("*.parquet")).rename(work / "alone.parquet")
    assert run("decode", path.name, "-o", "alone").exit_code == 0
    for name in ("a.wav", "b.flac.wav"):
        assert (work / "alone" / name).read_bytes() == (work / "wavs" / name).read_bytes()
    assert run("decode", path.name, "-o", "one.wav", "--rows", "1").exit_code == 0
    assert (work / "one.wav").read_bytes() == (work / "wavs" / "b.flac.wav").read_bytes()
    assert "for a file of ids" in refused("decode", path.name, "-o", "x", "--num-samples", "5")
    assert "is missing" in refused("decode", "none.parquet", "-o", "x")
    path.write_bytes(path.read_bytes()[:-9])
    assert "alone.parquet cannot be read" in refused("decode", path.name, "-o", "x")
    pq.write_table(pa.table({"id": ["a.wav"]}), path)
    assert "another kind" in refused("decode", path.name, "-o", "x")


@pytest.mark.usefixtures("shards", "a_npz")
def test_other_weights_are_refused(refused, other_model):
    """Shards and .npz files made with other weights than the model's are not decoded into noise."""
    for source, output in (("shards", "wavs"), ("a.npz", "a2.wav")):
        sentence = refused("decode", source, "-o", output, "--model", other_model)
        assert "weights" in sentence
        assert "tiny" in sentence


@pytest.mark.usefixtures("a_npz")
def test_a_decoder_trained_further_is_told_how_it_is_used(run, refused, other_model):
    """Where the model has the recorded one's shape it may be that one; with another shape it is not."""
    codec = SNAC.from_pretrained("tiny")
    with torch.no_grad():
        next(codec.decoder.parameters()).mul_(1.5)
    codec.save_pretrained("run/codec")
    sentence = refused("decode", "a.npz", "-o", "b.wav", "--model", "run/codec")
    way = "--model tiny --decoder run/codec"
    assert sentence.endswith(
        f"by --model; if 'run/codec' is that one with its decoder trained further, {way}."
    )
    assert run("decode", "a.npz", "-o", "b.wav", *way.split()).exit_code == 0
    assert "--decoder" not in refused("decode", "a.npz", "-o", "c.wav", "--model", other_model)


def test_the_recorded_model_is_used(run, refused, other_model, monkeypatch):
    """Without --model the recorded one is loaded, whatever the default is; a folder elsewhere must be named."""
    assert run("encode", "a.wav", "-o", "a.npz").exit_code == 0
    monkeypatch.setenv("SNAC_TOK_MODEL", other_model)
    assert run("decode", "a.npz", "-o", "a2.wav").exit_code == 0
    assert run("encode", "a.wav", "-o", "other.npz").exit_code == 0
    Path(other_model).rename("moved")
    assert "--model" in refused("decode", "other.npz", "-o", "x.wav")
    assert run("decode", "other.npz", "-o", "x.wav", "--model", "moved").exit_code == 0


def faulty(ids, kind):
    """Spoil good orpheus ids in one way."""
    return {
        "cut": ids[:-3],
        "range": [*ids[:7], 160_000, *ids[8:]],
        "negative": [-1, *ids[1:]],
        "special": [*ids[:7], 128_257, *ids[7:]],
        "empty": [],
        "floats": [1.5] * 7,
        "nested": [[1], [2, 3]],
        "huge": [10**30] * 7,
        "words": ["a"] * 7,
        "object": {"ids": ids},
    }[kind]


@pytest.mark.parametrize(
    "kind", ["cut", "range", "negative", "special", "empty", "floats", "nested", "huge", "words", "object"]
)
def test_ids_that_are_no_frames(refused, work, tokenizer, kind):
    """Ids that are no whole, valid frames are refused in one sentence."""
    ids = faulty(tokenizer.encode("b.flac"), kind)
    (work / "b.json").write_text(json.dumps(ids), encoding="utf-8")
    refused("decode", "b.json", "-o", "b.wav", "--preset", "orpheus")
    assert not (work / "b.wav").exists()


def test_an_id_out_of_range_is_named(refused, work, tokenizer):
    """The sentence names position, id and the range needed."""
    (work / "b.json").write_text(json.dumps(faulty(tokenizer.encode("b.flac"), "range")), encoding="utf-8")
    sentence = refused("decode", "b.json", "-o", "b.wav", "--preset", "orpheus")
    assert "b.json: position 7" in sentence
    assert "160000" in sentence
    assert "128266..132361" in sentence


def test_the_source_of_bad_ids_is_named(refused, work, tokenizer):
    """A length that the ids do not have, too, and stdin by its name."""
    text = json.dumps(tokenizer.encode("b.flac"))
    (work / "b.json").write_text(text, encoding="utf-8")
    long = ["-o", "b.wav", "--preset", "orpheus", "--num-samples", "999999"]
    assert refused("decode", "b.json", *long).startswith("snac-tok: b.json: --num-samples is 999999")
    assert refused("decode", "-", *long, stdin=text).startswith("snac-tok: stdin: --num-samples is 999999")


def test_options_of_another_kind_of_input(refused, run):
    """The sentence says what an option is for, and what the input is."""
    run("encode", "a.wav", "-o", "a.npz")
    said = refused("decode", "a.npz", "-o", "x.wav", "--num-samples", "5")
    assert "--num-samples is for a file of ids; a.npz holds raw codes" in said
    said = refused("decode", "a.npz", "-o", "x.wav", "--on-error", "strict")
    assert "--on-error is for a file of ids; a.npz holds raw codes" in said  # typed, if with its default
    said = refused("decode", "clips", "-o", "x.wav", "--num-samples", "5")
    assert "--num-samples is for a file of ids; clips is a folder" in said
    said = refused("decode", "a.npz", "-o", "x.wav", "--limit", "1")
    assert "--limit is for shards; a.npz is neither a folder of them nor a .parquet" in said


@pytest.mark.parametrize(
    "text", ["[1, 2", "[" * 100_000, "12 x", "<custom_token_1", "<custom_token_10> hm", "RIFF", "\x00"]
)
def test_texts_that_are_no_ids(refused, text):
    """Damaged JSON, words and half tokens are refused."""
    refused("decode", "-", "-o", "b.wav", "--preset", "orpheus", stdin=text)


def test_the_wrong_preset(refused, run):
    """Ids of one table are refused by another."""
    run("encode", "b.flac", "-o", "b.json", "--preset", "vyvo-qwen3")
    assert "orpheus" in refused("decode", "b.json", "-o", "b.wav", "--preset", "orpheus")


def spoil_npz(path, kind):
    """Damage an .npz in one way."""
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif kind == "text":
        path.write_text("no codes", encoding="utf-8")
    else:
        with np.load(path) as arrays:
            content = dict(arrays)
        np.savez(path, **spoiled(content, kind))


def spoiled(content, kind):
    """Return the arrays of an .npz with one of them spoilt."""
    text = str(content["settings"])
    others = {
        "pickle": {"level_0": np.array([{"a": 1}], dtype=object)},
        "range": {"level_0": np.full_like(content["level_0"], 4096)},
        "frames": {"level_2": content["level_2"][:-1]},
        "type": {"level_1": content["level_1"].astype(np.float32)},
        "length": {"num_samples": np.int64(10**9)},
        "several lengths": {"num_samples": np.arange(3)},
        "config": {"settings": json.dumps(json.loads(text) | {"codec_config": {"encoder_dim": 10**9}})},
        "resampler": {"settings": json.dumps(json.loads(text) | {"resampler": 5})},
        "nested": {"settings": f'{text[:-1]}, "x": {"[" * 100_000}{"]" * 100_000}}}'},
        "deep": {"settings": f'{text[:-1]}, "x": {"[" * 800}{"]" * 800}}}'},
    }
    if kind == "level missing":
        return {name: array for name, array in content.items() if name != "level_1"}
    return content | others.get(kind, {"settings": kind})


@pytest.mark.parametrize(
    "kind",
    [
        "cut",
        "text",
        "pickle",
        "range",
        "frames",
        "type",
        "level missing",
        "length",
        "several lengths",
        "config",
        "resampler",
        "nested",
        "deep",
        "[]",
        "{",
        '{"a": 1}',
    ],
)
@pytest.mark.parametrize("command", ["decode", "inspect"])
def test_damaged_npz(refused, b_npz, kind, command):
    """A damaged or hostile .npz is refused by name, whatever is wrong with it."""
    spoil_npz(b_npz, kind)
    assert "b.npz" in refused(command, "b.npz", *(["-o", "b.wav"] if command == "decode" else []))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["missing.npz", "-o", "x.wav"], "missing.npz"),
        (["missing.json", "-o", "x.wav", "--preset", "orpheus"], "missing.json"),
        (["a.wav", "-o", "x.wav", "--preset", "orpheus"], "a.wav"),
        (["a.wav", "-o", "x.wav"], "a.wav is sound already; `snac-tok encode`"),
        (["missing", "-o", "x.wav"], "missing is not there"),
        (["clips/metadata.csv", "-o", "x.wav"], "ids need --preset"),
        (["-", "-o", "x.mp3", "--preset", "orpheus"], ".wav"),
        (["-", "-o", "a.wav", "--preset", "orpheus"], "--force"),
        (["-", "-o", "x.wav", "--preset", "orpheus", "--noise", "loud"], "loud"),
        (["-", "-o", "x.wav", "--limit", "1"], "--limit"),
        (["clips", "-o", "x.wav", "--preset", "orpheus"], "--preset"),
        (["clips", "-o", "wavs"], "_manifest.json"),
        (["clips"], "--output"),
    ],
)
def test_wrong_usage(refused, arguments, reason):
    """What cannot be meant is refused in one sentence that names what is wrong."""
    assert reason in refused("decode", *arguments, stdin="")


@pytest.mark.usefixtures("shards")
def test_shards_refused(refused, run, work):
    """Several records into one file, an unknown record, and sounds that are there already are refused."""
    assert "folder" in refused("decode", "shards", "-o", "all.wav")
    assert "'c.wav'" in refused("decode", "shards", "-o", "c.wav", "--id", "c.wav")
    (work / "wavs").mkdir()
    (work / "wavs" / "a.wav").write_bytes(b"precious")
    assert "--force" in refused("decode", "shards", "-o", "wavs")
    assert (work / "wavs" / "a.wav").read_bytes() == b"precious"
    assert run("decode", "shards", "-o", "wavs", "--force").exit_code == 0


@pytest.mark.parametrize("damage", ["cut", "gone", "garbage"])
def test_damaged_shards(refused, shards, damage):
    """A shard that is cut off, gone or garbage is named."""
    path = next(shards.glob("*.parquet"))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:300] if damage == "cut" else b"garbage")
    assert path.name in refused("decode", "shards", "-o", "wavs")


def test_shards_are_read_by_others(shards):
    """The shards that the program writes are plain Parquet."""
    table = pq.read_table(next(shards.glob("*.parquet")))
    assert table.column("id").to_pylist() == ["a.wav", "b.flac"]
