"""The README's code blocks run as they stand."""

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from snac_tok.cli.program import program

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder with the real speech where the README expects it."""
    shutil.copytree(README.parent / "tests" / "speech", tmp_path / "tests" / "speech")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_block_runs_in_order(tmp_path, monkeypatch):
    """Python blocks are executed, console blocks run; later ones use what earlier ones made.

    Commands run in this process, which has loaded all that they need; CI starts them as the page says.
    """

    def run_here(words, **_):
        assert words[1:3] == ["-m", "snac_tok"]
        result = CliRunner().invoke(program, words[3:])
        assert result.exit_code == 0, result.output

    monkeypatch.syspath_prepend(ROOT / "scripts")
    run_readme = importlib.import_module("run_readme")
    monkeypatch.setattr(run_readme, "subprocess", SimpleNamespace(run=run_here, DEVNULL=None))
    monkeypatch.chdir(tmp_path)  # and back
    run_readme.run(README, tmp_path)
    assert (tmp_path / "hello.wav").stat().st_size > 44
    assert len(list((tmp_path / "wavs").rglob("*.wav"))) == 3


def test_the_picture_is_up_to_date():
    """What `tiny` makes of the clip looks as it is drawn, and the file is small."""
    script = ROOT / "scripts" / "make_readme_picture.py"
    assert subprocess.run([sys.executable, script, "--check"], check=False).returncode == 0
    assert (ROOT / "docs" / "picture.png").stat().st_size < 150_000


def test_no_block_is_left_out():
    """Every block that shows commands of ours is one that runs, but for setting up a fresh machine."""
    kinds = re.findall(r"^```(\w*)\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert {"python", "console"} <= {kind for kind, _ in kinds}
    assert all("snac-tok " not in text for kind, text in kinds if kind not in {"python", "console"})


def test_the_figures_in_comments_are_true(workplace):
    """Shapes and values that the README shows beside its code."""
    from snac_tok import SNAC, SnacTokenizer, preset

    text = README.read_text(encoding="utf-8")
    speech = [f"{workplace}/tests/speech/LJ001-000{n}.flac" for n in (2, 8)]
    tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
    batch = tok(speech, padding=True, return_tensors="pt")
    first = SnacTokenizer.from_pretrained("tiny").encode(speech[1])
    for shown in (
        f"{len(first)} {first[:7]}",
        batch["input_ids"].shape,
        batch["attention_mask"].sum(1),
        batch.num_samples,
        tok.convert_ids_to_tokens(tok.encode(speech[0], add_special_tokens=True)[:3]),
        SNAC.from_pretrained("tiny").config.tokens_per_second,
        str(preset("orpheus").encode([[0], [1, 2], [3, 4, 5, 6]])[:3]).replace(" ", ", ")[1:-1],
    ):
        assert str(shown) in text, shown
