"""`snac-tok inspect`."""

import json

import click
import numpy as np
import pytest
import soundfile as sf

from snac_tok import open_shards, preset
from snac_tok.cli.shared_options import standard_input
from snac_tok.codec import PRESETS
from snac_tok.frames import preset_names


@pytest.mark.parametrize("name", ["snac_24khz", "hubertsiuzdak/snac_24khz"])
def test_the_speech_codec(run, name):
    """The released speech codec's geometry is derived without weights or network; 19,842,914 is published."""
    found = json.loads(run("inspect", name, "--json").stdout)
    assert found["num_parameters"] == 19_842_914
    assert (found["hop_length"], found["frame_length"], found["tokens_per_frame"]) == (512, 2048, 7)
    assert found["latent_influence"] == [-4757, 5268]
    assert found["tokens_per_second"] == pytest.approx(82.03125)
    assert found["config"] == PRESETS["snac_24khz"].to_dict()


def test_geometry_for_people(run):
    """For people every figure has its unit, and milliseconds follow from the rate."""
    lines = run("inspect", "snac_44khz").stdout.splitlines()
    facts = {line[:20].strip(): line[20:] for line in lines}
    assert facts["frame"] == "3,072 samples (69.7 ms)"
    assert facts["bitrate"] == "2.584 kbps"
    assert facts["attention"] == "windows of 32 latents"
    assert facts["parameters"] == "54,546,338"


def test_a_codec_of_ones_own(run, other_model):
    """The embedded codec and a folder are inspected by their config."""
    tiny = json.loads(run("inspect", "tiny", "--json").stdout)
    other = json.loads(run("inspect", other_model, "--json").stdout)
    assert tiny["vq_strides"] == other["vq_strides"] == [4, 2, 1]
    assert tiny["num_parameters"] > other["num_parameters"]


def test_id_tables(run):
    """--preset prints the whole id table, for the codec named; presets lists the names."""
    assert run("inspect", "--preset", "orpheus").stdout == preset("orpheus").describe() + "\n"
    wide = run("inspect", "snac_44khz", "--preset", "plain").stdout
    assert wide == preset("plain", strides=(8, 4, 2, 1)).describe() + "\n"
    three = run("inspect", "snac_44khz", "--preset", "orpheus", "--levels", "3").stdout
    assert "the first 3 of 4 levels" in three
    assert run("inspect", "presets").stdout.split() == list(preset_names())


def test_an_id_table_as_json_is_a_preset(run, work, refused):
    """--json prints a vocabulary that --preset FILE.json takes back."""
    (work / "mine.json").write_text(run("inspect", "--preset", "orpheus", "--json").stdout, encoding="utf-8")
    assert run("inspect", "--preset", "mine.json").stdout == preset("orpheus").describe() + "\n"
    (work / "mine.json").write_text("{}", encoding="utf-8")
    assert "layout" in refused("inspect", "--preset", "mine.json")


def test_shards(run, shards):
    """A shard folder's statistics are those of its records."""
    found = json.loads(run("inspect", "shards", "--json").stdout)
    collection = open_shards(shards)
    assert found["num_records"] == 2
    assert found["num_tokens"] == sum(record.codes.size for record in collection)
    assert found["hours"] == pytest.approx(sum(r.num_samples for r in collection) / 24_000 / 3600)
    assert found["text_share"] == 0.5
    assert found["collection"]["codec_id"] == "tiny"
    levels = collection.statistics().usage.levels()
    used = [level.used for level in levels]
    assert [level["used"] for level in found["codebook_usage"]] == used
    text = run("inspect", "shards").stdout
    assert "50.0% with text" in text
    assert text.splitlines()[-1].split()[:3] == ["2", str(levels[2].total), str(used[2])]


def test_shards_without_records(run, work):
    """A collection in which every file failed is inspected like any other."""
    (work / "none").mkdir()
    (work / "none" / "bad.wav").write_bytes(b"no sound")
    assert run("shard", "none", "shards").exit_code == 1
    assert json.loads(run("inspect", "shards", "--json").stdout)["shortest_seconds"] is None
    result = run("inspect", "shards")
    assert result.exit_code == 0
    assert "nothing" in result.stdout


def test_a_code_file(run):
    """An .npz is described with its length, tokens and origin."""
    run("encode", "a.wav", "-o", "a.npz")
    found = json.loads(run("inspect", "a.npz", "--json").stdout)
    assert found["num_tokens"] == sum(found["codes_per_level"])
    assert found["settings"]["codec_id"] == "tiny"
    assert "source 22050 Hz" in run("inspect", "a.npz").stdout


def test_a_sound_file(run, refused, work):
    """What decoding finds, which a header may not say, and the tokens that the speech codec makes of it."""
    found = json.loads(run("inspect", "stereo.wav", "--json").stdout)
    assert (found["file_format"], found["num_channels"], found["num_samples"]) == ("WAV", 2, 9_000)
    samples, rate = sf.read(work / "stereo.wav", always_2d=True)
    assert found["peak"] == pytest.approx(abs(samples).max(), abs=1e-4)
    assert found["rms"] == pytest.approx((samples**2).mean() ** 0.5, abs=1e-4)
    assert found["speech_tokens"] == 7 * -(-9_000 * 24_000 // rate // 2_048)
    assert "9,000 samples (0.41 s)" in run("inspect", "stereo.wav").stdout
    sf.write(work / "quiet.flac", np.zeros(5_000), 8_000)
    assert "peak silent" in run("inspect", "quiet.flac").stdout
    (work / "notes.wav").write_text("no sound")
    assert "notes.wav" in refused("inspect", "notes.wav")


def test_names_of_codecs_are_listed(run, refused):
    """Their names stand in the help and in the refusal of a name that is none."""
    for name in PRESETS:
        assert name in run("inspect", "--help").stdout
        assert name in refused("inspect", "snac_24khzz")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "WHAT"),
        (["tiny", "presets"], "one thing"),
        (["tiny", "--levels", "1"], "--preset"),
        (["clips"], "_manifest.json"),
        (["clips/metadata.csv"], "metadata.csv"),
        (["missing.npz"], "missing.npz"),
        (["nothing-like-that"], "nothing-like-that"),
        (["snac_44khz", "--preset", "orpheus"], "orpheus"),
        (["--preset", "plain", "--levels", "9"], "levels"),
    ],
)
def test_wrong_usage(refused, arguments, reason):
    """What is no codec, shard folder or code file is refused in one sentence."""
    assert reason in refused("inspect", *arguments)


def test_damage_is_named(refused, work, shards, other_model):
    """A damaged manifest, shard or config is named."""
    (work / other_model / "config.json").write_text('{"encoder_dim": -1}', encoding="utf-8")
    assert "config.json" in refused("inspect", other_model)
    next(shards.glob("*.parquet")).write_bytes(b"PAR1")
    assert "train-00000" in refused("inspect", "shards")
    (shards / "_manifest.json").write_text("{", encoding="utf-8")
    assert "_manifest.json" in refused("inspect", "shards")


def test_identify(run, work, refused):
    """Whose ids a file holds: a list, a server's answer, special ids, a tokenizer's file."""
    ids = [128_266 + 4096 * slot for slot in range(7)] * 2
    (work / "ids.json").write_text(json.dumps(ids))
    orpheus = "ids with 7 slots from 128266 are those of the preset orpheus\n"
    assert run("inspect", "--identify", "ids.json").stdout == orpheus
    assert json.loads(run("inspect", "--identify", "ids.json", "--json").stdout)["presets"] == ["orpheus"]
    answer = json.dumps({"choices": [{"text": "", "token_ids": ids}]})
    assert run("inspect", "--identify", "-", stdin=answer).stdout == orpheus
    specials = run(
        "inspect", "--identify", "-", stdin='{"start_of_speech": 64401, "end_of_speech": 64402}'
    ).stdout
    assert "Kani-TTS (NanoCodec, not SNAC)" in specials
    tokens = {"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 128266, "content": "<custom_token_10>"}]}
    assert "orpheus" in run("inspect", "--identify", "-", stdin=json.dumps(tokens)).stdout
    config = {"added_tokens_decoder": {"151679": {"content": "<custom_token_10>"}}}
    assert "vyvo-qwen3" in run("inspect", "--identify", "-", stdin=json.dumps(config)).stdout
    assert "X-codec2, not SNAC" in run("inspect", "--identify", "-", stdin="<|s_1|>").stdout
    rows = preset("mini-omni").encode([[1], [2, 3], [4, 5, 6, 7]]).tolist()
    assert "mini-omni and lucy" in run("inspect", "--identify", "-", stdin=json.dumps(rows)).stdout
    assert "stdin holds no ids, tokens or special ids" in refused("inspect", "--identify", "-", stdin="hello")
    assert "missing.json cannot be read" in refused("inspect", "--identify", "missing.json")
    assert "name one thing" in refused("inspect", "tiny", "--identify", "ids.json")


@pytest.mark.parametrize(
    "file",
    [
        {"added_tokens": [{"content": "<a>"}, {"content": ["<a>"], "id": 1}, {"content": 7, "id": 1}]},
        {
            "added_tokens_decoder": {
                "1": {},
                "2": "x",
                "²": {"content": "<a>"},
                "9" * 5000: {"content": "<a>"},
            }
        },
        {"start_of_speech": 10**30},
    ],
)
def test_identify_of_a_damaged_tokenizer(refused, file):
    """It is refused with a sentence of ours, whatever stands where a token or an id should."""
    assert "unexpected" not in refused("inspect", "--identify", "-", stdin=json.dumps(file))


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + "9" * 5000 + "]"])
def test_a_list_that_json_cannot_hold_is_told_without_python(refused, text):
    """Too deep, or a number too long."""
    sentence = refused("inspect", "--identify", "-", stdin=text)
    assert "not a JSON list of ids: " in sentence
    assert "sys." not in sentence


def test_a_closed_stdin_is_told(monkeypatch):
    """Python has None there, as after `<&-`."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(click.ClickException, match="stdin is closed"):
        standard_input()


def test_a_picture_of_shards(run, work, refused):
    """A PNG; it is not written over another file, and there is none of a codec."""
    pytest.importorskip("matplotlib")
    assert run("shard", "clips", "shards").exit_code == 0
    result = run("inspect", "shards", "--plot", "p.png", "--json")
    assert result.exit_code == 0
    assert (work / "p.png").read_bytes().startswith(b"\x89PNG")
    assert sum(json.loads(result.stdout)["duration_seconds"]["histogram"]["counts"]) == 2
    assert "p.png" in refused("inspect", "shards", "--plot", "p.png")
    assert run("inspect", "shards", "--plot", "p.png", "--force").exit_code == 0
    assert "something else" in refused("inspect", "tiny", "--plot", "q.png")
    assert "name it" in refused("inspect", "presets", "--plot", "q.png")


def test_a_preset_by_its_name(run, refused):
    """`inspect presets NAME` is the table of --preset NAME; nothing else takes a second word."""
    assert run("inspect", "presets", "orpheus").stdout == run("inspect", "--preset", "orpheus").stdout
    assert json.loads(run("inspect", "presets", "orpheus", "--json").stdout)["name"] == "orpheus"
    assert json.loads(run("inspect", "presets", "--json").stdout)[0] == "plain"
    assert "Did you mean 'orpheus'?" in refused("inspect", "presets", "orfeus")
    assert "only `inspect presets` takes a NAME" in refused("inspect", "tiny", "orpheus")
