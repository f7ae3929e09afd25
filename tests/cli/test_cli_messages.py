"""What the program says: in the command line's words, to the point, and with the word that was meant."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest

import snac_tok
from snac_tok.cli.advice import in_options

SOURCE = Path(snac_tok.__file__).parent
# An argument with a value, a call, a class of exceptions, a Python value: nothing to type on a command line.
PYTHON = re.compile(
    r"(?<![\w./-])[a-z_]\w*=[^\s=,;]|(?<![\w.])[A-Za-z_][\w.]*\([^()\s]*\)|\b\w+(?:Error|Exception)\b|\b(?:None|True|False)\b"
)


# Of the command line, or of what its commands never call: whoever sees these sentences has written Python.
UNREACHABLE = {
    "generation/growth.py": "streams",
    "generation/frame_states.py": "grammars are made in Python",
    "generation/processor.py": "language models in Python",
    "generation/speech_filter.py": "streams",
    "generation/speech_stream.py": "streams",
    "generation/streamer.py": "language models in Python",
    "generation/token_text.py": "streams",
    "generation/vllm.py": "language models in Python",
    "hf": "transformers' faces",
    "mapping": "datasets' faces",
    "metrics/pairs.py": "the commands compare sounds that they have read",
    "prompts": "training lines and prompts",
    "sources/reading.py": "the commands give no rates with files",
    "streaming/batch_decoder.py": "streams",
    "streaming/batch_encoder.py": "streams",
    "streaming/side_by_side.py": "streams",
    "streaming/decoder.py": "streams",
    "streaming/encoder.py": "streams",
    "streaming/frame_buffer.py": "streams",
    "audio/conversion.py": "sound from arrays; the commands read files",
    "audio/pairs.py": "as above",
    "audio/sampling_rate.py": "as above",
    "audio/waveform.py": "as above",
    "audio/writing.py": "its own advice is for bare samples",
    "audio/resampling.py": "the commands take the default resampler",
    "codec/calling.py": "codecs that were changed in Python",
    "codec/cuda_graphs.py": "graphs are asked for in Python",
    "codec/network.py": "as above",
    "codec/hub_options.py": "arguments of from_pretrained",
    "corpus/plan.py": "plans are made by the commands themselves",
    "shards/record.py": "records are read from Parquet, where codes have their type",
    "tokenizer/batch.py": "batches and padding",
    "tokenizer/names.py": "names of single tokens",
    "tokenizer/preprocessing.py": "the commands always resample",
    "tokenizer/required.py": "arguments of Python calls",
    "tokenizer/tokenizer.py": "a call with sound",
    "frames/layout.py": "types that JSON has not",
    "frames/arrays.py": "types that JSON has not",
    "frames/grammar.py": "grammars are made in Python",
    "frames/id_table.py": "questions about single ids, and types that JSON has not",
}


def text_of(node):
    """Return the text of an expression that makes a sentence, X for what it fills in."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.FormattedValue):
        return "X"
    if isinstance(node, (ast.JoinedStr, ast.Call)):
        return "".join(map(text_of, getattr(node, "values", None) or getattr(node, "args", [])))
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    return f"{text_of(node.body)} {text_of(node.orelse)}" if isinstance(node, ast.IfExp) else ""


def sentences():
    """Yield where each sentence of the library that an error says stands, and the sentence."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = path.relative_to(SOURCE).as_posix()
        if name.startswith("cli/") or name in UNREACHABLE or name.split("/")[0] in UNREACHABLE:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                yield f"{name}:{node.lineno}", text_of(node.exc)


def test_no_sentence_of_the_library_is_left_in_python():
    """Every sentence that a command can say is one for the command line, or `advice` makes it one.

    Who adds a sentence with a Python argument in it: give it words in `snac_tok/cli/advice.py`, or say above why no
    command can reach it.
    """
    found = list(sentences())
    assert len(found) > 150
    left = [(place, said) for place, text in found if PYTHON.search(said := in_options(text, {}))]
    assert left == []


def test_what_is_translated():
    """An argument becomes the option of the command that runs; without such an option, other advice or none."""
    cut = "a.wav: the file is cut off; allow_truncated=True takes what there is."
    assert in_options(cut, {"allow_truncated": "--allow-truncated"}) == (
        "a.wav: the file is cut off; --allow-truncated takes what there is."
    )
    assert in_options(cut, {}) == "a.wav: the file is cut off; repair it, or leave it out."
    assert in_options("channels='each' is odd", {"channels": "--channels"}) == "--channels 'each' is odd"


def test_reasons_in_reports_are_translated(run, work):
    """What eval's table tells of clips that failed, and a refusal that quotes the library, are translated, too."""
    (work / "clips" / "cut.wav").write_bytes((work / "a.wav").read_bytes()[:-100])
    table = run("eval", "clips", "--model", "tiny", "--metrics", "mel").stdout
    alone = run("eval", "clips/cut.wav", "--model", "tiny", "--metrics", "mel").stderr
    for text in (table, alone):
        assert "cut off" in text
        assert PYTHON.search(text.partition("cut off")[2]) is None, text


@pytest.mark.parametrize("name", ["levels=1.wav", "num_samples=3.npz", "d/noise=0 is it.wav", "f(x).wav"])
def test_names_of_files_are_not_translated(refused, name):
    """A file may be called like an argument: its name stays as it is."""
    assert name in refused("encode", name, "-o", "x.npz")
    assert name in refused("decode", name, "-o", "x.wav", "--preset", "orpheus")


def spoilt_files(work, run):
    """Make files that the commands below cannot use."""
    run("encode", "b.flac", "-o", "b.npz")
    run("encode", "b.flac", "-o", "b.json", "--preset", "orpheus")
    ids = json.loads((work / "b.json").read_text())
    (work / "partial.json").write_text(json.dumps(ids[:-3]))
    (work / "wrong.json").write_text(json.dumps([*ids[:7], 5, *ids[8:]]))
    (work / "nested.json").write_text("[[1], [2, 3]]")
    (work / "float.json").write_text("[1.5]")
    (work / "words.json").write_text('["a", null, true]')
    (work / "words.txt").write_text("one two")
    (work / "tokens.txt").write_text("<custom_token_10>")
    (work / "bare.json").write_text(json.dumps({"layout": {"strides": [4, 2, 1]}, "separator": {}}))
    (work / "mine.json").write_text(json.dumps({"layout": {"strides": [4, 2, 1]}}))
    (work / "text.npz").write_text("no codes")
    np.savez(work / "pickle.npz", level_0=np.array([{}], dtype=object))
    np.savez(work / "other.npz", x=np.zeros(3))
    (work / "cut.wav").write_bytes((work / "a.wav").read_bytes()[:-100])
    (work / "cut.flac").write_bytes((work / "b.flac").read_bytes()[:-1000])
    (work / "noise.wav").write_bytes(b"no sound" * 100)
    (work / "empty").mkdir()
    (work / "config.yaml").write_text("steps: many")


WRONG = [
    "",
    "encode a.wav",
    "encode clips -o x.npz",
    "encode cut.wav -o x.npz",
    "encode cut.flac -o x.npz",
    "encode noise.wav -o x.npz",
    "encode missing.wav -o x.npz",
    "encode a.wav -o no/x.npz",
    "encode a.wav -o x.npz --channels lift",
    "encode a.wav -o x.npz --levels 0",
    "encode a.wav -o x.npz --device gpu",
    "encode a.wav -o x.npz --model snac_24khz",
    "encode a.wav -o x.json --preset orfeus",
    "encode a.wav -o x.json --preset bare.json",
    "encode a.wav -o x.json --preset plain --levels 9",
    "encode a.wav -o x.json --preset mine.json --levels 2",
    "decode b.npz -o x.mp3",
    "decode b.npz -o x.wav --levels 9",
    "decode b.npz -o x.wav --noise None",
    "decode text.npz -o x.wav",
    "decode clips -o x --rows 1",
    "decode x.parquet -o x",
    "roundtrip cut.wav -o x.wav",
    "plot noise.wav -o x.png",
    "plot text.npz -o x.png",
    "export clips -o x --to hf --preset plain",
    "export clips -o x --to hf",
    "export clips -o x --to parquet",
    "decode pickle.npz -o x.wav",
    "decode other.npz -o x.wav",
    "decode b.json -o x.wav",
    "decode b.json -o x.wav --preset orpheus --num-samples 999999",
    "decode b.json -o x.wav --preset vyvo-qwen3",
    "decode b.json -o x.wav --preset mini-omni",
    "decode b.json -o x.wav --preset mini-omni --drop-partial",
    "decode partial.json -o x.wav --preset orpheus",
    "decode wrong.json -o x.wav --preset orpheus",
    "decode nested.json -o x.wav --preset orpheus",
    "decode float.json -o x.wav --preset orpheus",
    "decode words.json -o x.wav --preset orpheus",
    "decode words.txt -o x.wav --preset orpheus",
    "decode tokens.txt -o x.wav --preset orpheus",
    "decode tokens.txt -o x.wav --preset mine.json",
    "decode missing.json -o x.wav --preset orpheus",
    "decode missing.json -o x.wav --preset orpheus --generated",
    "decode words.txt -o x.wav --preset orpheus --generated",
    "decode float.json -o x.wav --preset orpheus --generated",
    "decode nested.json -o x.wav --preset orpheus --generated",
    "decode wrong.json -o x.wav --preset orpheus --generated",
    "decode tokens.txt -o x.wav --preset orpheus --generated",
    "decode tokens.txt -o x.wav --preset mine.json --generated",
    "decode mine.json -o x.wav --preset orpheus --generated",
    "decode b.json -o x.wav --preset vyvo-qwen3 --generated",
    "decode b.json -o x.wav --preset orpheus --generated --answer 1",
    "decode b.json -o x.wav --preset mini-omni --generated",
    "decode b.json -o x.wav --preset orpheus --answer 1",
    "decode clips -o wavs",
    "shard empty out",
    "shard a.wav out",
    "shard clips out --clips-per-shard 0",
    "inspect empty",
    "inspect clips/metadata.csv",
    "inspect other.npz",
    "inspect snac_44khz --preset orpheus",
    "inspect --preset bare.json",
    "inspect nobody/codec",
    "prepare clips -o out --sampling-rate 1",
    "prepare clips -o out --sampling-rate 24000 --level-db 5",
    "prepare clips -o out --sampling-rate 24000 --piece-seconds 1 --min-seconds 2",
    "prepare missing -o out --sampling-rate 24000",
    "train config.yaml -o out",
    "train missing.yaml -o out",
    "train config.yaml -o out --device gpu",
    "eval clips --model tiny --metrics posq",
    "eval clips --model tiny --against opuss:3",
    "eval clips --model tiny --levels None",
    "eval missing --model tiny",
]


@pytest.mark.slow
def test_no_message_speaks_python(run, work):
    """Whatever goes wrong, no command says an argument, a call, a class or a value of Python; each says a sentence."""
    spoilt_files(work, run)
    for line in WRONG[1:]:
        result = run(*line.split())
        assert result.exit_code in (1, 2), (line, result.output)
        said = result.stderr.strip()
        typed = {word for word in line.split() if word in ("None", "True", "False")}
        assert said.startswith("snac-tok: "), (line, said)
        assert [found for found in PYTHON.findall(said) if found not in typed] == [], (line, said)
        assert "unexpected" not in said, (line, said)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("enocde a.wav", "'encode'"),
        ("evaluate clips", "'eval'"),
        ("encode a.wav --outptu x.npz", "--output"),
        ("encode a.wav -o x.npz --channels lefft", "'left'"),
        ("shard clips out --channels eech", "'each'"),
        ("encode a.wav -o x.npz --device cdua", "'cuda'"),
        ("encode a.wav -o x.npz --model tinny", "'tiny'"),
        ("encode a.wav -o x.npz --model snac_24khz", "'hubertsiuzdak/snac_24khz'"),
        ("encode a.wav -o x.npz --model hubertsiuzdak/snac_24kz", "'hubertsiuzdak/snac_24khz'"),
        ("encode a.wav -o x.json --preset orfeus", "'orpheus'"),
        ("inspect --preset vyvo_qwen3", "'vyvo-qwen3'"),
        ("decode - -o x.wav --preset orpheus --noise rndom", "'random'"),
        ("eval clips --model tiny --metrics psq", "'pesq'"),
        ("eval clips --model tiny --against opuss:3", "'opus'"),
    ],
)
def test_did_you_mean(refused, monkeypatch, line, meant):
    """A command, an option, its value, a preset or a codec that is nearly right: the right one is named."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    said = refused(*line.split())
    assert "Did you mean" in said
    assert meant in said.split("Did you mean")[1]


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("--model tiny encode a.wav", "the command: `snac-tok encode --model …`"),
        ("--model=tiny encode a.wav", "the command: `snac-tok encode --model …`"),
        ("-o x.wav decode a.npz", "the command: `snac-tok decode -o …`"),
        ("--debug --no-progress shard clips out", "the command: `snac-tok shard --no-progress …`"),
        ("--model decode encode a.wav", "the command: `snac-tok encode --model …`"),
        ("--force encode a.wav -o a.npz", "the command: `snac-tok encode --force …`"),
        ("--port 9", "a command: `snac-tok serve --port …`"),
    ],
)
def test_an_option_in_front_of_its_command(refused, line, meant):
    """It exists, where it belongs; where no command is named, any that has it is an example."""
    option = meant.split()[4]
    assert f"{option} stands behind {meant}. Try" in refused(*line.split())


@pytest.mark.parametrize("line", ["--port 9 encode a.wav", "--nothing encode a.wav", "encode --debug a.wav"])
def test_an_option_that_the_command_does_not_have(refused, line):
    """Nothing is said of other commands."""
    assert "No such option" in refused(*line.split())


def test_nothing_is_meant_by_a_name_like_no_other(refused):
    """A name that is near to none gets no guess."""
    for line in ("xyz", "encode a.wav -o x.npz --channels 7", "encode a.wav -o x.json --preset xyz"):
        assert "mean " not in refused(*line.split()).replace("'mean'", "")


def test_a_folder_to_encode(refused):
    """`encode FOLDER` says what encodes folders, before any model is loaded."""
    said = refused("encode", "clips", "-o", "x.npz", "--model", "no-such-model")
    assert "clips is a folder; `snac-tok shard clips OUT`" in said
    assert "clips is a folder" in refused("encode", "a.wav", "clips", "-o", "codes")


def test_warnings_are_translated(run, monkeypatch):
    """What the library warns about is said in the command's options, too."""
    import logging

    from snac_tok.cli import findings

    def warn(_codec):
        logging.getLogger("snac_tok").warning("levels=3 is odd; validate(ids) lists every fault.")
        raise RecursionError

    monkeypatch.setattr(findings, "of_codec", warn)
    lines = run("inspect", "tiny").stderr.splitlines()
    assert lines[0] == "snac-tok: --levels 3 is odd."
    assert "nested too deep" in lines[1]
