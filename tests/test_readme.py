"""The README's code blocks run as they stand."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from snac_tok.cli.program import program

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the real speech where the README expects it."""
    shutil.copytree(README.parent / "tests" / "speech", tmp_path / "tests" / "speech")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_block_runs_in_order(workplace):
    """Python blocks are executed, console blocks go to the command line; later ones use what earlier ones made."""
    blocks = re.findall(r"```(python|console)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert {kind for kind, _ in blocks} == {"python", "console"}
    names = {"__name__": "readme"}
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), names)
            continue
        for line in text.splitlines():
            words = shlex.split(line.removeprefix("$ "))
            assert words[0] == "snac-tok"
            result = CliRunner().invoke(program, words[1:])
            assert result.exit_code == 0, result.output
    assert (workplace / "hello.wav").stat().st_size > 44
    assert len(list((workplace / "wavs").rglob("*.wav"))) == 3


def test_the_figures_in_comments_are_true(workplace):
    """Shapes and values that the README shows beside its code."""
    from snac_tok import SNAC, SnacTokenizer, preset

    text = README.read_text(encoding="utf-8")
    speech = [f"{workplace}/tests/speech/LJ001-000{n}.flac" for n in (2, 8)]
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus", resample=True)
    batch = tok(speech, padding=True, return_tensors="pt")
    for shown in (
        batch["input_ids"].shape,
        batch["attention_mask"].sum(1),
        batch.num_samples,
        tok.convert_ids_to_tokens(tok.encode(speech[0], add_special_tokens=True)[:3]),
        SNAC.from_pretrained("tiny").config.tokens_per_second,
        str(preset("orpheus").encode([[0], [1, 2], [3, 4, 5, 6]])[:3]).replace(" ", ", ")[1:-1],
    ):
        assert str(shown) in text, shown
