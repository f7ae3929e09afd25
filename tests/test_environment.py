"""scripts/environment: one .venv that works, whatever lies there already; a stand-in for Python makes it."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "scripts"

# Makes a .venv whose python is a copy of itself, links this folder into it, and succeeds at everything else.
PACKAGES = ".venv/lib/python3/site-packages"
STAND_IN = f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
if [ "$3" = "install" ]; then mkdir -p {PACKAGES} && echo "$PWD" >{PACKAGES}/__editable__.snac_tok-0.1.0.pth; fi
"""


@pytest.fixture
def project(tmp_path):
    """A folder with what the script reads."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    for name in ("environment", "constraints.txt"):
        shutil.copy(SCRIPTS / name, folder / "scripts")
    (folder / "pyproject.toml").write_text("")
    python = tmp_path / "python3"
    python.write_text(STAND_IN)
    python.chmod(0o755)
    return folder


def made(project, extra="dev"):
    """Run the script; return what it printed."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(project.parent / "python3")}
    command = [str(project / "scripts" / "environment"), extra]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_it_is_made_once_and_then_left_alone(project):
    """The second call prints nothing; another extra is installed on top, and dev holds them all."""
    assert "Making .venv" in made(project, "quickstart")
    assert made(project, "quickstart") == ""
    assert "Installing snac_tok[dev]" in made(project)
    assert made(project, "plot") == ""


def test_a_copy_of_the_package_is_replaced(project):
    """`pip install .` puts one there, which would not follow the code."""
    made(project)
    (link,) = (project / PACKAGES).glob("__editable__*.pth")
    link.unlink()
    assert "Installing snac_tok[dev]" in made(project)
    assert made(project) == ""


def test_a_folder_that_was_moved_gets_a_new_one(project):
    """The programs in a .venv name the place where it was made."""
    made(project)
    moved = project.rename(project.parent / "moved")
    assert "made anew" in made(moved)
    assert made(moved) == ""


@pytest.mark.parametrize("broken", ["no python", "no pip", "half-made", "a link to nowhere"])
def test_a_broken_one_is_made_anew(project, broken):
    """Instead of an error that speaks of pip."""
    made(project)
    python = project / ".venv" / "bin" / "python"
    if broken == "half-made":
        (project / ".venv" / "made-in").unlink()
    else:
        python.unlink()
    if broken == "no pip":
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(0o755)
    elif broken == "a link to nowhere":
        python.symlink_to("nowhere")
    assert "made anew" in made(project)
    assert made(project) == ""


def test_a_change_of_what_is_needed_installs_again(project):
    """What pyproject.toml and the constraints say decides."""
    made(project)
    (project / "pyproject.toml").write_text("# more\n")
    assert "Installing" in made(project)
