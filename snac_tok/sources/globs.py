"""A pattern such as data/**/*.flac → the files that it means."""

from __future__ import annotations

import glob
from pathlib import Path

from snac_tok.errors import SourceError


def is_pattern(named: str | Path) -> bool:
    """Return whether a name is a pattern, and not that of a file or folder.

    >>> is_pattern("clips/**/*.wav"), is_pattern("clips")
    (True, False)
    """
    return glob.has_magic(str(named)) and not Path(named).exists()


def matching(pattern: str | Path) -> tuple[Path, list[Path]]:
    """Return the folder above all of a pattern's wildcards, and the files that it means, sorted.

    `**` stands for any number of folders. Hidden files are not meant.

    Raises:
        SourceError: it means no file.
    """
    parts = Path(pattern).parts
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:fixed])
    names = glob.iglob(str(Path(*parts[fixed:])), root_dir=base, recursive=True)  # noqa: PTH207 - ** and root_dir
    found = sorted(name for name in names if (base / name).is_file())
    if not found:
        raise SourceError(
            f"no file is called {pattern}; quote patterns, so that the shell leaves them alone."
        )
    return base, [base / name for name in found]
