"""Build the documentation's site with Zensical; any warning or dead link fails.

Links between pages are those of the repository, such as `docs/cli.md` in README.md. So that they hold on the site, its
pages stand as they do in the repository. They are links to the files in a temporary folder: Zensical takes every page
below one folder, and here that would be the whole repository with its environment.

Usage: python scripts/make_site.py FOLDER    what stands in the folder is replaced
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CHANGELOG.md", "docs/**/*.md", "docs/*.png", "examples/*/README.md")
GRIFFE = "\ngriffe: "
COLOUR = re.compile(r"\x1b\[[\d;]*m")


def lay_out(folder: Path) -> None:
    """Put all that Zensical reads into a folder: its configuration, our code, the pages."""
    shutil.copy(ROOT / "mkdocs.yml", folder)  # a link would lead Zensical back to the repository
    for name in ("snac_tok", "scripts"):
        (folder / name).symlink_to(ROOT / name)
    for page in (page for pattern in PAGES for page in ROOT.glob(pattern)):
        link = folder / "pages" / page.relative_to(ROOT)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(page)


def build(output: Path) -> str:
    """Build the site into `output`, and return what Zensical said.

    Raises:
        SystemExit: there is a warning.
    """
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder))
        command = [sys.executable, "-m", "zensical", "build", "--strict"]
        ran = subprocess.run(
            command, cwd=folder, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        said = COLOUR.sub("", ran.stdout)
        if ran.returncode or GRIFFE in said:  # --strict does not count what Griffe says of docstrings
            # Where a warning is all that happened, where Zensical stood when it stopped is of no use.
            raise SystemExit(said.partition("Traceback (")[0] if "--strict flag is set" in said else said)
        shutil.rmtree(output, ignore_errors=True)
        shutil.move(Path(folder) / "site", output)
    return said


if __name__ == "__main__":
    match sys.argv[1:]:
        case [output]:
            print(build(Path(output)), end="")
        case _:
            raise SystemExit(__doc__)
