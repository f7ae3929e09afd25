"""Install snac_tok beside each Python and each torch, run the laws and the quickstart there, and print a table.

Each pair gets a new environment with the wheel that the sdist builds and the newest release of everything else. A
Python or a torch that cannot be had is a row that says so, and the next pair follows. What was printed on the way
stands in a log for each pair. uv makes the environments: `pip install uv`.

Usage: python scripts/matrix.py [--python 3.11,3.12] [--torch 2.10.0,newest] [--logs FOLDER]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = "3.11,3.12,3.13,3.14"
TORCHES = "2.10.0,2.13.0,newest"
EXTRAS = "quickstart,serve"
TEST_PACKAGES = ("pytest", "hypothesis", "snac==1.2.1")
PLAIN = {"COLUMNS": "100", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
HEADING = ("Python", "torch", "laws", "quickstart", "minutes")


class StepFailedError(Exception):
    """A step of a pair failed; the message is what the table shows of it."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One environment: which Python, which torch, and where it is made."""

    python: str
    torch: str
    folder: Path
    log: Path

    @property
    def executable(self) -> Path:
        """The environment's Python."""
        return self.folder / "bin" / "python"

    def step(self, name: str, *command: str | Path) -> str:
        """Run a command and return what it printed.

        Raises:
            StepFailedError: the command failed.
        """
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | PLAIN
        joined = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        ran = subprocess.run(command, check=False, cwd=ROOT, env=environment, text=True, **joined)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"== {name}\n{ran.stdout}\n")
        if ran.returncode:
            raise StepFailedError(name if name.startswith("not run") else f"{name} failed")
        return ran.stdout


def row_of(pair: Pair, wheel: Path) -> list[str]:
    """Return a pair's row of the table."""
    began = time.monotonic()
    cells = {"Python": pair.python, "torch": pair.torch}
    try:
        install(pair, wheel)
        cells["Python"] = printed(pair, "import platform; print(platform.python_version())")
        cells["torch"] = printed(pair, "import torch; print(torch.__version__)")
        cells["laws"] = laws(pair)
        cells["quickstart"] = quickstart(pair)
    except StepFailedError as error:
        cells["laws"] = str(error)
    cells["minutes"] = f"{(time.monotonic() - began) / 60:.1f}"
    return [cells.get(name, "") for name in HEADING]


def install(pair: Pair, wheel: Path) -> None:
    """Make the environment."""
    uv = [sys.executable, "-m", "uv"]
    missing = f"not run: no Python {pair.python} here or from uv"
    pair.step(missing, *uv, "venv", "--quiet", "--python", pair.python, pair.folder)
    torch = "torch" if pair.torch == "newest" else f"torch=={pair.torch}"
    wanted = [torch, f"snac-tok[{EXTRAS}] @ {wheel.as_uri()}", *TEST_PACKAGES]
    pair.step(f"not run: no {torch} for it", *uv, "pip", "install", "--python", pair.executable, *wanted)


def printed(pair: Pair, code: str) -> str:
    """Return what a line of Python prints."""
    return pair.step("importing", pair.executable, "-P", "-c", code).strip()


def laws(pair: Pair) -> str:
    """Run one small test of each law against the installed wheel, and return pytest's last line."""
    files = [
        path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.law(" in path.read_text("utf-8")
    ]
    try:
        said = pair.step(
            "laws", pair.executable, "-P", "-m", "pytest", "-m", "law", "-p", "no:cacheprovider", *files
        )
    except StepFailedError:
        said = pair.log.read_text(encoding="utf-8")
    found = re.findall(r"^=*\s*((?:\d+ (?:passed|failed|errors?|skipped)(?:, )?)+)", said, re.MULTILINE)
    return found[-1].rstrip(", ") if found else "no test ran"


def quickstart(pair: Pair) -> str:
    """Run the quickstart's second half: shards, sounds and a picture."""
    try:
        pair.step("quickstart", pair.executable, "-P", ROOT / "scripts" / "quickstart.py")
    except StepFailedError:
        return "failed"
    return "works"


def line(cells: list[str] | tuple[str, ...]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, row by row; the exit code is 1 where a test failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=PYTHONS, help=f"versions between commas (default {PYTHONS})")
    parser.add_argument("--torch", default=TORCHES, help=f"versions between commas (default {TORCHES})")
    parser.add_argument("--logs", type=Path, help="a folder for the logs (default: a new one for the moment)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        logs = asked.logs or place
        logs.mkdir(parents=True, exist_ok=True)
        built = [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(place / "dist"), str(ROOT)]
        subprocess.run(built, check=True)
        (wheel,) = (place / "dist").glob("*.whl")
        print(line(HEADING), line(["---"] * len(HEADING)), sep="\n", flush=True)
        failed = False
        for python, torch in product(asked.python.split(","), asked.torch.split(",")):
            pair = Pair(python=python, torch=torch, folder=place / "env", log=logs / f"{python}-{torch}.log")
            pair.log.unlink(missing_ok=True)
            cells = row_of(pair, wheel)
            print(line(cells), flush=True)
            failed |= any(word in cell for cell in cells for word in ("failed", "no test ran", "error"))
            shutil.rmtree(pair.folder, ignore_errors=True)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
