"""Run the README's code blocks as they stand, in order, in the environment that this runs in.

Python blocks are executed and console blocks run, in a folder that holds the repository's speech and configs where the
README expects them: the one that is named, or one for the moment. CI runs this in the environment that
`scripts/quickstart` made, with nothing more in it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
USED = ("tests/speech", "configs")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Return a page's blocks that run, as (kind, text): python and console."""
    return re.findall(r"```(python|console)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def run(page: Path, folder: Path) -> int:
    """Run the blocks of a page in a folder, and return how many there were; the first that fails raises."""
    for each in USED:
        shutil.copytree(ROOT / each, folder / each)
    os.chdir(folder)
    names: dict[str, object] = {"__name__": "readme"}
    found = blocks(page)
    for kind, text in found:
        if kind == "python":
            exec(compile(text, page.name, "exec"), names)  # noqa: S102 - it is our own page
            continue
        for line in filter(None, text.splitlines()):
            command(line)
    return len(found)


def command(line: str) -> None:
    """Run one line of a console block: "$ snac-tok …"."""
    words = shlex.split(line.removeprefix("$ "), comments=True)
    if words[0] != "snac-tok":
        raise ValueError(f"a console block has {line!r}; only lines with snac-tok can be run.")
    print(line, flush=True)
    subprocess.run([sys.executable, "-m", "snac_tok", *words[1:]], check=True, stdin=subprocess.DEVNULL)


def main() -> None:
    """Run the README in the folder that is named, or in one for the moment, and say how many blocks ran."""
    with tempfile.TemporaryDirectory() as empty:
        count = run(ROOT / "README.md", Path(sys.argv[1] if len(sys.argv) > 1 else empty))
        os.chdir(ROOT)
    print(f"README: {count} blocks ran")


if __name__ == "__main__":
    main()
