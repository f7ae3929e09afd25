"""examples/tiny_tts at its smallest: two clips of half a second, learned, spoken by each engine, and written."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer

from snac_tok import SnacTokenizer, read_audio, write_audio
from snac_tok.prompts import speech_ids

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "tiny_tts"
PAGE_OF_FILES = (EXAMPLE / "README.md").read_text(encoding="utf-8").partition("| file | holds |")[2]
SPEECH = ROOT / "tests" / "speech"


@pytest.fixture(scope="module")
def command():
    """The example's command, as a function."""
    # Other tests may have modules of these names.
    names = {path.stem for path in EXAMPLE.glob("*.py")}
    others = {name: sys.modules.pop(name) for name in names & sys.modules.keys()}
    sys.path.insert(0, str(EXAMPLE))
    try:
        yield importlib.import_module("run").main
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in names & sys.modules.keys():
            del sys.modules[name]
        sys.modules.update(others)


@pytest.fixture(scope="module")
def folder(command, tmp_path_factory):
    """What it wrote, and what it printed."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch, (out / "printed.txt").open("w") as printed:
        patch.setattr(sys, "stdout", printed)
        # The subprocesses need the package, wherever the tests were started.
        patch.setenv("PYTHONPATH", str(ROOT))
        command(["-o", str(out), "--num-clips", "2", "--held-out", "1", "--seconds", "0.5"])
    return out


def rows(folder, engine):
    """The table of an engine: the cells behind each clip's name."""
    text = (folder / "printed.txt").read_text()
    lines = text.partition(f"Spoken by {engine}, ")[2].partition("\n\n")[0].splitlines()[2:]
    return {line.split()[0]: re.split(r"\s{2,}", line)[1:] for line in lines}


@pytest.mark.slow
def test_learned_clips_come_back_id_by_id(folder):
    """By each engine that is installed; and the sound is that of the ids, decoded whole."""
    clips = ["LJ001-0002", "LJ001-0004"]
    assert "It says all of them back" in (folder / "printed.txt").read_text()
    for engine in engines():
        table = rows(folder, engine)
        assert [*table] == clips
        for clip in clips:
            # The server keeps the ids to itself; its sound tells them.
            assert table[clip][:3] == [
                "0.51",
                *(["-"] * 2 if engine == "snac-tok-serve" else ["42", "100.0%"]),
            ]
            wanted = read_audio(folder / clip / "codec.wav").samples
            found = read_audio(folder / clip / f"{engine}.wav").samples
            np.testing.assert_allclose(found, wanted, rtol=0, atol=2.5 / 32_768)


def engines():
    """Those that are installed."""
    yield "transformers"
    if find_spec("xllamacpp"):
        yield from ("llama.cpp", "llama.cpp-gbnf")
    if find_spec("snac_tok.serving") and find_spec("fastapi"):
        yield "snac-tok-serve"


@pytest.mark.slow
def test_what_was_saved_speaks_without_the_example(folder):
    """Model, text tokenizer and processor come from the folder; the ids are those of the recording."""
    model = AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    processor = AutoProcessor.from_pretrained(folder / "model")
    table = processor.audio_vocabulary
    text = "in being comparatively modern."
    assert AutoTokenizer.from_pretrained(folder / "model")(text)["input_ids"] == list(text.encode())
    written = model.generate(**processor(text=text, return_tensors="pt"), max_new_tokens=60)
    tok = SnacTokenizer.from_pretrained("tiny", preset=folder / "vocabulary.json")
    assert tok.vocabulary == table
    recorded = tok.encode(folder / "LJ001-0002" / "recording.wav")
    assert speech_ids(written[0], table).tolist() == recorded


@pytest.mark.slow
def test_the_page_names_what_is_written(folder):
    """Each file and folder of its table; the servers' sounds where they are installed."""
    table = (
        (EXAMPLE / "README.md")
        .read_text(encoding="utf-8")
        .partition("| in `out/` | is |")[2]
        .partition("\n\n")[0]
    )
    firsts = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    named = {Path(name).name for cell in firsts for name in re.findall(r"`(.+?)`", cell)}
    optional = {"llama.cpp.wav", "llama.cpp-gbnf.wav", "snac-tok-serve.wav"}
    written = {path.name for path in [*folder.iterdir(), *(folder / "LJ001-0002").iterdir()]}
    assert named - written <= optional
    assert {path.name for path in (folder / "LJ001-0002").iterdir()} <= named
    assert {path.name for path in EXAMPLE.glob("*.py")} == set(re.findall(r"`(\w+\.py)`", PAGE_OF_FILES))


@pytest.mark.slow
def test_sentences_that_it_never_saw_get_figures(folder):
    """The one held out has a recording to compare with."""
    lines = (folder / "printed.txt").read_text().partition("never saw:\n")[2].splitlines()[1:3]
    assert [line.split()[0] for line in lines] == ["unseen", "LJ001-0008"]
    for name in ("unseen", "LJ001-0008"):
        assert read_audio(folder / name / "transformers.wav").num_samples % 2048 == 0
    assert read_audio(folder / "LJ001-0008" / "codec.wav").num_samples == 6 * 2048


def too_short(folder):
    """A quarter of a second, and a text to it."""
    write_audio(folder / "short.wav", np.zeros(6000), 24_000)
    (folder / "metadata.csv").write_text("audio_file|text\nshort.wav|Hm.\n")


def whole(folder):
    """The three clips of the repository."""
    shutil.copytree(SPEECH, folder, dirs_exist_ok=True)


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda folder: folder.rmdir(), [], r"error: .* is not a folder|error: .* no such file or folder"),
        (lambda _: None, [], "error: .* has no audio file"),
        (
            lambda folder: shutil.copy(SPEECH / "LJ001-0002.flac", folder),
            [],
            "error: .* has sound and no text to it",
        ),
        (
            too_short,
            [],
            "error: short.wav lasts 0.25 s, and 0.5 s of speech is the least",
        ),
        (
            whole,
            ["--num-clips", "4"],
            "error: .* has 3 clips with a text; 4 are wanted",
        ),
        (
            whole,
            ["--held-out", "3"],
            "error: .* with 3 held out none is left to learn",
        ),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(command, tmp_path, make, options, sentence):
    """And nothing is written."""
    clips, out = tmp_path / "clips", tmp_path / "out"
    clips.mkdir()
    make(clips)
    with pytest.raises(SystemExit, match=sentence):
        command(["-o", str(out), "--clips", str(clips), "--seconds", "0.5", *options])
    assert not out.exists()


@pytest.mark.parametrize(
    "options", [["--num-clips", "0"], ["--seconds", "0.2"], ["--seconds", "x"], ["--learning-rate", "0"], []]
)
def test_options_that_make_no_sense(command, tmp_path, options, capsys):
    """As every command says it."""
    out = ["-o", str(tmp_path)] if options else []
    with pytest.raises(SystemExit):
        command([*out, *options])
    assert "error:" in capsys.readouterr().err
