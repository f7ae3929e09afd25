"""What the scripts that write a page of docs/ share: write it, or only say whether it is up to date."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def write_or_check(path: Path, text: str, *, description: str | None) -> None:
    """Write the page, or with --check on the command line end with an error if it differs from the text."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="fail if the page on disk differs")
    if not parser.parse_args().check:
        path.write_text(text, encoding="utf-8")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path.name} is out of date: run scripts/fix")
