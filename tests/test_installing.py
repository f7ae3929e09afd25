"""scripts/newcomer and scripts/matrix go on after what fails, and write nothing of the machine they ran on."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def script(name):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


newcomer = script("newcomer")
matrix = script("matrix")


@pytest.fixture
def small_repository(tmp_path, monkeypatch):
    """A repository of one file in the place of ours."""
    folder = tmp_path / "small"
    git = ("git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a")
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    (folder / "README.md").write_text("small")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "one"], check=True)
    monkeypatch.setattr(newcomer, "ROOT", folder)


@pytest.mark.usefixtures("small_repository")
def test_a_newcomer_goes_on_after_a_step_that_fails(tmp_path, monkeypatch):
    """Each step has its row; what failed makes the whole fail; what is not there yet is left out, with a word."""
    step = newcomer.Step
    steps = (
        step(name="Breaks", command="echo broken at $PWD/README.md; false"),
        step(name="Later", command="true", needs="tests/demo"),
        step(name="Makes", command="mkdir out && head -c 1048576 /dev/zero > out/a", measured="out"),
    )
    monkeypatch.setattr(newcomer, "STEPS", steps)
    monkeypatch.setenv("PYTHONPATH", "must not help")
    table, said, well = newcomer.walk(tmp_path)
    assert not well
    assert [re.split(r" *\| *", row)[3] for row in table[3:]] == [
        "failed",
        "left out: there is no tests/demo",
        "works",
    ]
    assert "out: 1.0 MiB" in table[-1]
    assert "broken at README.md" in said


def test_places_and_addresses_do_not_reach_the_page():
    """Folders of the machine, addresses, colours."""
    text = "\x1b[32mfrom http://index.example/simple/ into /somewhere/clone/.venv and /opt/things/a.whl, 3/4 done"
    cleaned = newcomer.without_places(text, Path("/somewhere/clone"))
    assert cleaned == "from ADDRESS into .venv and …/a.whl, 3/4 done"


def test_a_python_that_cannot_be_had_is_a_row(tmp_path, monkeypatch):
    """It says what was missing, and nothing is raised."""
    pytest.importorskip("uv", reason="uv is not installed: pip install uv")
    monkeypatch.setenv("UV_OFFLINE", "1")
    pair = matrix.Pair(python="3.99", torch="2.10.0", folder=tmp_path / "env", log=tmp_path / "log")
    cells = matrix.row_of(pair, tmp_path / "snac_tok.whl")
    assert cells[:3] == ["3.99", "2.10.0", "not run: no Python 3.99 here or from uv"]
    assert "3.99" in pair.log.read_text()


@pytest.mark.parametrize(
    ("last", "status", "told"),
    [
        ("122 passed, 361 deselected in 9.13s", 0, "122 passed"),
        ("2 failed, 120 passed, 361 deselected in 9.13s", 1, "2 failed, 120 passed"),
        ("306 deselected, 1 error in 16.86s", 2, "no test ran"),
    ],
)
def test_what_pytest_came_to_stands_in_the_table(tmp_path, last, status, told):
    """Tests that ran, by how they ended; an environment in which none ran says so."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\necho '{last}'\nexit {status}\n")
    python.chmod(0o755)
    pair = matrix.Pair(python="3.11", torch="newest", folder=tmp_path, log=tmp_path / "log")
    assert matrix.laws(pair) == told
