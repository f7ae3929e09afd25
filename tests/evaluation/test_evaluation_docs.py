"""The commands of docs/evaluation.md run as they stand."""

import re
import shlex
import shutil
from pathlib import Path

from click.testing import CliRunner

from snac_tok.cli.program import program

ROOT = Path(__file__).parents[2]


def test_a_sound_and_its_picture(tmp_path, monkeypatch):
    """Every block of commands, with a recording in the place of the reader's own."""
    page = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\$ snac-tok (.*)$", page, re.MULTILINE)
    assert commands
    shutil.copy(ROOT / "tests" / "speech" / "LJ001-0008.flac", tmp_path / "a.wav")  # told by its content
    monkeypatch.chdir(tmp_path)
    for line in commands:
        ran = CliRunner().invoke(program, shlex.split(line))
        assert ran.exit_code == 0, line + ran.output
    assert {"back.wav", "a.png"} <= {path.name for path in tmp_path.iterdir()}
