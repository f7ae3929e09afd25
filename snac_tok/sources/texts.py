"""What is said in a folder's recordings, and by whom: finds metadata.csv or .jsonl, and the file each row means.

The metadata of a subfolder is about its files, named relative to it, and overrides metadata of folders above.
`metadata.py` reads one metadata file. Rows whose file is missing, or that could mean several files, are counted and
logged.
"""

from __future__ import annotations

import logging
import posixpath
import re
import unicodedata
from bisect import bisect_left
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.errors import SourceError
from snac_tok.sources.metadata import Row, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
_NUM_NAMES_LOGGED = 3
_AFTER_SLASH = chr(ord("/") + 1)
# ".wav" or ".mp3", but not the end of "v1.5".
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")

_log = logging.getLogger(__name__)


def find_rows(folder: Path, paths: Iterable[str], *, keep: Sequence[str] = ()) -> dict[str, Row]:
    r"""Row by path, for the recordings that have one in the metadata of `folder` and its subfolders.

    Args:
        folder: where the recordings are.
        paths: the recordings', relative to `folder`, with `/` between parts.
        keep: columns that are kept beside speaker and language.

    Raises:
        SourceError: two kinds of metadata in one folder, metadata that is not UTF-8 text or has a broken line, or
            two different texts for one file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (pathlib.Path(folder) / "metadata.csv").write_text("LJ001|Good day.|good day\n")
        ...     rows = find_rows(pathlib.Path(folder), ["wavs/LJ001.wav", "wavs/LJ002.wav"])
        >>> {path: row.text for path, row in rows.items()}
        {'wavs/LJ001.wav': 'Good day.'}
    """
    ordered = sorted(paths)
    rows: dict[str, Row] = {}
    for prefix in _folders(ordered):
        metadata = _metadata_of(folder / prefix)
        if metadata:
            below = ordered[bisect_left(ordered, prefix) :]
            if prefix:
                below = below[: bisect_left(below, prefix[:-1] + _AFTER_SLASH)]
            found = _rows_of(metadata, [path.removeprefix(prefix) for path in below], tuple(keep))
            rows |= {f"{prefix}{path}": row for path, row in found.items()}
    return rows


def _folders(paths: Sequence[str]) -> list[str]:
    """Every folder on the way to a path, as a prefix; a folder comes before those in it."""
    prefixes = {""}
    for place in {posixpath.dirname(path) for path in paths}:
        parts = place.split("/") if place else []
        prefixes.update("/".join(parts[: depth + 1]) + "/" for depth in range(len(parts)))
    return sorted(prefixes)


def _metadata_of(folder: Path) -> Path | None:
    found = [folder / name for name in METADATA_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        raise SourceError(f"{folder} holds both {' and '.join(METADATA_NAMES)}; keep one of them.")
    return found[0] if found else None


def _rows_of(metadata: Path, paths: Sequence[str], keep: tuple[str, ...]) -> dict[str, Row]:
    """The rows that one metadata file has for the recordings below its folder."""
    roots = {f"{_key(str(root))}/" for root in (metadata.parent.absolute(), metadata.parent.resolve())}

    def key(name: str) -> str:
        spelled = _key(name)
        return next((spelled.removeprefix(root) for root in roots if spelled.startswith(root)), spelled)

    files, rows = _Files(paths), dict[str, Row]()
    for row in read_rows(metadata, is_file=lambda name: bool(files.places(key(name))[1]), keep=keep):
        if rows.setdefault(key(row.name), row).text != row.text:
            raise SourceError(
                f"{metadata}, line {row.line}: a second, different text for {row.name!r}; keep one."
            )
    return _match(files, rows, str(metadata))


class _Files:
    """The recordings by the names that metadata may use for them."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths, self._names, self._path_stems, self._stems = (
            defaultdict[str, list[str]](list) for _ in range(4)
        )
        for path in paths:
            key = _key(path)
            self._paths[key].append(path)
            self._names[posixpath.basename(key)].append(path)
            stem = posixpath.splitext(key)[0]
            self._path_stems[stem].append(path)
            self._stems[posixpath.basename(stem)].append(path)

    def places(self, name: str) -> tuple[bool, list[str]]:
        """Whether a name is exactly that of a file, and the files that it could mean."""
        for table in (self._paths, self._names):
            if name in table:
                return True, table[name]
        # Converted recordings have another extension than their metadata says.
        for stem in dict.fromkeys((name, _EXTENSION.sub("", name))):
            for table in (self._path_stems, self._stems):
                if stem in table:
                    return False, table[stem]
        return False, []


def _tell_absent(absent: Sequence[str], metadata: str) -> None:
    there = [name for name in absent if (Path(metadata).parent / name).is_file()]
    gone = [name for name in absent if name not in there]
    for what, names in (("not there", gone), ("no sound by the ending", there)):
        if names:
            which = "file that is" if len(names) == 1 else "files that are"
            _log.warning("%s names %d %s %s: %s", metadata, len(names), which, what, _some(names))


def _match(files: _Files, rows: Mapping[str, Row], metadata: str) -> dict[str, Row]:
    matched, stems, absent, vague = dict[str, Row](), dict[str, Row](), list[str](), list[str]()
    for name, row in rows.items():
        spelled, places = files.places(name)
        if len(places) != 1:
            (vague if places else absent).append(name)
        elif (matched if spelled else stems).setdefault(places[0], row).text != row.text:
            raise SourceError(f"{metadata} gives two different texts for {places[0]!r}; keep one.")
    if absent:
        _tell_absent(absent, metadata)
    if vague:
        names = "name" if len(vague) == 1 else "names"
        _log.warning(
            "%s has %d %s that several files could be meant by: %s; they get no text until it gives their paths.",
            metadata,
            len(vague),
            names,
            _some(vague),
        )
    # There are rows for a.wav and a.flac and only the flac exists: its own row is used.
    return matched | {path: row for path, row in stems.items() if path not in matched}


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NUM_NAMES_LOGGED]) + (", …" if len(names) > _NUM_NAMES_LOGGED else "")


def _key(name: str) -> str:
    """A path in one form: some systems separate folders by backslashes, some store accents decomposed (NFD)."""
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))
