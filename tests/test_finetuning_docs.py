"""The blocks of docs/finetuning.md run as they stand, from a folder of recordings to a wav."""

import ast
import ctypes
import importlib
import inspect
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from snac_tok import Waveform, preset, read_audio, write_audio
from snac_tok.prompts import prompt_format

ROOT = Path(__file__).parents[1]
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
PAGE = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")


def blocks(kind, text=PAGE):
    """The code in fences that say `kind`, in order."""
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


def execute(text):
    """Run a text's blocks in one namespace and return it."""
    names = {"__name__": "finetuning"}
    for number, block in enumerate(blocks("python", text), start=1):
        exec(compile(block, f"docs/finetuning.md, block {number} of its part", "exec"), names)
    return names


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the real speech where the page expects it; of the long clip two seconds: less to learn by heart."""
    shutil.copytree(ROOT / "tests" / "speech", tmp_path / "tests" / "speech")
    long = read_audio(tmp_path / "tests" / "speech" / "LJ001-0004.flac")
    rate = long.sampling_rate
    short = Waveform(samples=long.samples[:, : 2 * rate], sampling_rate=rate)
    write_audio(tmp_path / "tests" / "speech" / "LJ001-0004.flac", short)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def kept_memory():
    """Freed memory stays with the process: fetching a step's 100 MB of scores anew takes as long as computing them."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)  # glibc has it
    for parameter in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD):
        mallopt(parameter, 1 << 30)
    yield
    mallopt(M_MMAP_THRESHOLD, 32 << 20)
    mallopt(M_TRIM_THRESHOLD, 64 << 20)


@pytest.mark.slow
@pytest.mark.usefixtures("kept_memory")
def test_the_page_runs_from_recordings_to_speech(workplace):
    """The page's figures are true, and what was saved says its sentences without anything of the first part."""
    training, heading, speaking = PAGE.partition("## 8. Speaking\n")
    assert heading
    trained = execute(training)
    check_figures(trained)
    spoken = execute(speaking)
    for number, (ids, recorded) in enumerate(zip(spoken["spoken"], spoken["recorded"], strict=True), start=1):
        np.testing.assert_array_equal(ids, recorded)
        sound = read_audio(workplace / f"spoken-{number}.wav")
        assert sound.num_samples == len(ids) // 7 * 2048 > 0
        assert sound.sampling_rate == spoken["processor"].sampling_rate == 24_000
        # The wav has 16 bits.
        again = spoken["processor"].decode(spoken["written"])[number - 1]
        np.testing.assert_allclose(again.numpy(), sound.samples[0], atol=1 / 32_768)


def check_figures(names):
    """What the page shows behind "#" is what there is."""
    table, num_tokens = names["vocabulary"], len(names["tokenizer"])
    assert shown("vocabulary.base") == str(table.base)
    assert ast.literal_eval(shown("vocabulary.specials", end="")) == dict(table.specials)
    assert shown("len(tokenizer)", end=",") == str(num_tokens)
    assert ast.literal_eval(shown("train.column_names", end="")) == names["train"].column_names
    assert f"a loss of ln {num_tokens:,} = {np.log(num_tokens):.1f}" in PAGE
    assert [len(line["document_lengths"]) for line in names["lines"]] == [2, 1]
    assert names["model"].get_input_embeddings().weight.shape[0] == num_tokens


def shown(expression, *, end=":"):
    """The comment behind an expression, up to `end`."""
    found = re.search(rf"^{re.escape(expression)}  # (.*?){end}{'' if end else '$'}", PAGE, re.MULTILINE)
    return found.group(1)


def test_every_fence_is_a_block_to_run_one_not_to_run_or_a_picture():
    """A slip in a fence would leave a block out unseen."""
    kinds = re.findall(r"^```(.*)$", PAGE, re.MULTILINE)
    assert set(kinds[::2]) == {"python", "python not-run", ""}
    assert set(kinds[1::2]) == {""}
    assert len(blocks("python")) > 8


@pytest.mark.parametrize("text", blocks("python not-run"))
def test_calls_that_are_not_run_name_what_there_is(text):
    """Where nothing can be executed, at least our own names and options exist."""
    tree = ast.parse(text)
    ours = {
        alias.name: getattr(importlib.import_module(node.module), alias.name)
        # The second block goes on from the first.
        for node in ast.walk(ast.parse("".join(blocks("python not-run"))))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("snac_tok")
        for alias in node.names
    }
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ours
    ]
    assert calls
    for call in calls:
        inspect.signature(ours[call.func.id]).bind(*call.args, **{key.arg: key for key in call.keywords})


def test_the_picture_of_an_orpheus_line_has_its_ids():
    """Special ids of the preset, in the order of the format."""
    line = prompt_format(preset("orpheus"))
    frame = np.concatenate([[line.vocabulary.id_range(slot).start] for slot in range(7)])
    before, after = line.inference([]).tolist(), list(line.after_speech)
    assert line.training([], frame).input_ids.tolist() == [*before, *frame, *after]
    picture = next(text for text in PAGE.splitlines() if text.startswith(str(before[0])))
    assert [int(number) for number in re.findall(r"\d+", picture)] == [*before, frame[0], *after]
