"""Make Jupyter notebooks of docs/notebooks/*.md and run each from top to bottom, in a kernel of its own.

The pages are Markdown as jupytext reads it: a block of Python is a cell, the rest is text. So changes can be read, and
no output is committed. The folder gets the recordings that the notebooks read, too: they run from there.

Usage: python scripts/notebooks.py FOLDER [NAME ...]    NAME is a page without .md; all of them by default
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "notebooks"
SPEECH = Path("tests", "speech")
# A cell that takes longer hangs.
CELL_SECONDS = 300


def make(name: str, folder: Path) -> Path:
    """Write a page as a notebook, run it, write it with what it showed, and return its path.

    Raises:
        CellExecutionError: a cell failed; the notebook then ends there.
    """
    notebook = jupytext.read(PAGES / f"{name}.md", fmt="md")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / f"{name}.ipynb"
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets that are files: no port, and nobody else on the machine reaches the kernel.
        transport = Config(KernelManager={"transport": "ipc", "ip": f"{sockets}/kernel"})
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            startup_timeout=CELL_SECONDS,
            resources={"metadata": {"path": str(folder)}},
            config=transport,
        )
        try:
            client.execute()
        finally:
            nbformat.write(notebook, path)
    return path


def main() -> None:
    """Make all that are asked for, and say how long each took."""
    match sys.argv[1:]:
        case [output, *names]:
            folder = Path(output)
        case _:
            raise SystemExit(__doc__)
    shutil.copytree(ROOT / SPEECH, folder / SPEECH, dirs_exist_ok=True)
    for name in names or sorted(page.stem for page in PAGES.glob("*.md")):
        began = time.monotonic()
        path = make(name, folder)
        print(f"{path}: ran in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
