"""Go a newcomer's way in an empty folder, and write down how long each step took and how large things are.

A clone of the last commit, the quickstart, the README's blocks, the wheel, one command without installing, and then
what a developer has: the page in a browser, the notebooks, the site. A step that fails is named, and the way goes on.
Nothing but Python, git and a package index is needed; packages are downloaded anew.

Usage: python scripts/newcomer.py [-o PAGE.md] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# What would let an environment of today help; nothing else of the caller's is taken away.
NOT_A_NEWCOMERS = ("PYTHONPATH", "VIRTUAL_ENV", "UV_CACHE_DIR", "HF_HOME", "MPLCONFIGDIR")
TAIL_LINES = 4
MEBIBYTE = 2**20

INTRO = """\
# A newcomer's way

<!-- Written by scripts/newcomer; run it again to renew it. -->

What somebody meets who has this repository and nothing else, step by step, as `scripts/newcomer` found it: an empty
folder, an empty home, no cache of packages. Seconds depend on what else the machine does and on how far away the
package index is. Seconds of the processor, summed over its cores, do not.
"""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: what it is called, what is run in the clone, and whose size is told afterwards.

    `needs` is a path without which there is nothing to run.
    """

    name: str
    command: str
    measured: str = ""
    needs: str = "."


# tests/demo starts a browser; the address of the page is this machine's.
STEPS = (
    Step(name="Quickstart", command="scripts/quickstart", measured=".venv"),
    Step(name="README, every block", command=".venv/bin/python scripts/run_readme.py"),
    Step(name="For developers: every package", command="scripts/environment dev", measured=".venv"),
    Step(name="Wheel", command=".venv/bin/python -m build --wheel --outdir dist .", measured="dist"),
    Step(
        name="One command, nothing installed",
        command=".venv/bin/python -m pip install --quiet uv && .venv/bin/uvx --constraints"
        " scripts/constraints.txt --from . snac-tok encode"
        " tests/speech/LJ001-0002.flac --model tiny -o x.npz",
        measured="x.npz",
    ),
    Step(
        name="The page in a browser",
        command="HF_HUB_OFFLINE=1 .venv/bin/python -m pytest tests/demo",
        needs="tests/demo",
    ),
    Step(name="Both notebooks", command="scripts/notebooks", measured="notebooks-out"),
    Step(name="Documentation as a site", command="scripts/site", measured="site"),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a step ended, what it took, and what it printed."""

    end: str
    seconds: float = 0.0
    processor_seconds: float = 0.0
    words: str = ""


def go(step: Step, clone: Path, home: Path) -> Outcome:
    """Run a step in the clone."""
    if not (clone / step.needs).exists():
        return Outcome(end=f"left out: there is no {step.needs}")
    environment = {name: value for name, value in os.environ.items() if name not in NOT_A_NEWCOMERS}
    environment |= {"HOME": str(home), "NO_COLOR": "1", "COLUMNS": "100"}
    began, used = time.monotonic(), processor_seconds()
    ran = subprocess.run(
        ["bash", "-c", step.command],
        cwd=clone,
        env=environment,
        check=False,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    words = without_places(ran.stdout, clone, home)
    if ran.returncode:
        print(words)
    return Outcome(
        end="failed" if ran.returncode else "works",
        seconds=time.monotonic() - began,
        processor_seconds=processor_seconds() - used,
        words=words,
    )


def processor_seconds() -> float:
    """Return what the programs that this one started and saw the end of have used of the processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def without_places(text: str, *folders: Path) -> str:
    """Return a program's words without folders of this machine, addresses and colours."""
    for folder in folders:
        text = text.replace(f"{folder}/", "").replace(str(folder), ".")
    text = re.sub(r"\x1b\[[\d;]*m", "", text)
    text = re.sub(r"\b[a-z]+://\S+", "ADDRESS", text)
    return re.sub(r"(?<![\w.])/(?:\w[^\s:'\"]*/)+", "…/", text)


def mebibytes(path: Path) -> str:
    """Return how much disk a file or folder takes; nothing where there is none."""
    if not path.exists():
        return ""
    files = (
        [path]
        if path.is_file()
        else [each for each in path.rglob("*") if each.is_file() and not each.is_symlink()]
    )
    return f"{sum(each.stat().st_size for each in files) / MEBIBYTE:,.1f} MiB"


def row(*cells: str) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def walk(place: Path) -> tuple[list[str], list[str], bool]:
    """Go the whole way in a folder; return the table, the last words of each step, and whether all went well."""
    clone, home = place / "snac_tok", place / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    table = [row("step", "command", "", "seconds", "processor", "size"), row(*["---"] * 3, *["--:"] * 3)]
    said, well = [], True
    table.append(row("Clone", "`git clone`", "works", "", "", mebibytes(clone)))
    for step in STEPS:
        print(f"{step.name} …", flush=True)
        found = go(step, clone, home)
        well &= found.end != "failed"
        size = f"{step.measured}: {mebibytes(clone / step.measured)}" if step.measured else ""
        took = (f"{found.seconds:.0f}", f"{found.processor_seconds:.0f}") if found.seconds else ("", "")
        table.append(row(step.name, f"`{step.command}`", found.end, *took, size))
        print(table[-1], flush=True)
        last = [line for line in found.words.splitlines() if line.strip()][-TAIL_LINES:]
        said += [f"{step.name}:", "", "```text", *last, "```", ""] if last else []
    return table, said, well


def machine() -> str:
    """Return what it ran on, without naming the machine."""
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {platform.system()} on {platform.machine()}, {cores} cores; "
        f"the load before the first step was {load:.0f}."
    )


def main() -> None:
    """Print each step as it ends, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, help="the page to write, such as docs/newcomer.md")
    parser.add_argument(
        "--folder", type=Path, help="an empty folder to do it in; it is kept (default: a new one)"
    )
    asked = parser.parse_args()
    place = asked.folder or Path(tempfile.mkdtemp(prefix="newcomer-"))
    place.mkdir(parents=True, exist_ok=True)
    try:
        found = machine()
        table, said, well = walk(place.resolve())
    finally:
        if not asked.folder:
            shutil.rmtree(place)
    page = "\n".join([INTRO, found, "", *table, "", "## Last words of each step", "", *said]).rstrip() + "\n"
    if asked.output:
        asked.output.write_text(page, encoding="utf-8")
    raise SystemExit(not well)


if __name__ == "__main__":
    main()
