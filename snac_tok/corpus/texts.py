"""What is said in the audio files of a folder: read from its metadata.csv or metadata.jsonl.

A CSV has a header; its separator (`|`, tab or comma) is told from it. The file column is `file_name` or
`audio_file`, the text column `text` or `transcription`; further columns are left alone. Faults in the file
are raised with their line, before anything is encoded; rows about files that are not there are counted and
logged.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import posixpath
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

METADATA_NAMES = ("metadata.csv", "metadata.jsonl")
FILE_COLUMNS = ("file_name", "audio_file")
TEXT_COLUMNS = ("text", "transcription")
_SEPARATORS = ("|", "\t", ",")
_NUM_NAMES_LOGGED = 3

_log = logging.getLogger(__name__)


def read_texts(folder: Path) -> dict[str, str]:
    r"""Text by file as the folder's metadata names it; empty where there is no metadata.

    Raises:
        ShardError: both kinds of metadata, a file that cannot be read, a header without the columns needed,
            a broken line, or two different texts for one file.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (pathlib.Path(folder) / "metadata.csv").write_text("audio_file|text\na.wav|Good day.\n")
        ...     read_texts(pathlib.Path(folder))
        {'a.wav': 'Good day.'}
    """
    found = [folder / name for name in METADATA_NAMES if (folder / name).is_file()]
    if not found:
        return {}
    if len(found) > 1:
        raise ShardError(f"{folder} holds both {' and '.join(METADATA_NAMES)}; keep one of them.")
    path = found[0]
    rows = _jsonl_rows(path) if path.suffix == ".jsonl" else _csv_rows(path)
    texts: dict[str, str] = {}
    for line, name, text in rows:
        key = _key(name)
        if texts.setdefault(key, text) != text:
            raise ShardError(f"{path}, line {line}: a second, different text for {name!r}; keep one.")
    return texts


def match_texts(paths: Sequence[str], texts: dict[str, str]) -> dict[str, str]:
    """Text by path: a metadata name is a relative path or, where only one file has it, a file name.

    Raises:
        ShardError: a file name that several files have, or two different texts for one file.

    Example:
        >>> match_texts(["x/a.wav", "x/b.wav"], {"x/a.wav": "one", "b.wav": "two"})
        {'x/a.wav': 'one', 'x/b.wav': 'two'}
    """
    by_path, by_name = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for path in paths:
        by_path[_key(path)].append(path)
        by_name[_key(posixpath.basename(path))].append(path)
    matched: dict[str, str] = {}
    absent = []
    for name, text in texts.items():
        places = by_path.get(name) or by_name.get(name, [])
        if len(places) > 1:
            raise ShardError(f"metadata names {name!r}, which could be {' or '.join(places)}; give the path.")
        if not places:
            absent.append(name)
        elif matched.setdefault(places[0], text) != text:
            raise ShardError(f"metadata gives two different texts for {places[0]!r}; keep one.")
    if absent:
        shown = ", ".join(absent[:_NUM_NAMES_LOGGED])
        _log.warning("metadata names %d files that are not there: %s", len(absent), shown)
    return matched


def _key(name: str) -> str:
    """One spelling for a path: some systems store accents composed, others apart."""
    return unicodedata.normalize("NFC", posixpath.normpath(name))


def _csv_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    text = _read_text(path)
    separator, file_column, text_column = _sniff(path, text.partition("\n")[0].rstrip("\r"))
    # Only comma-separated files quote; elsewhere a quotation mark is part of what is said.
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True)
    try:
        header = next(reader)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise ShardError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, the header has {len(header)}; "
                    "mend the line."
                )
            yield reader.line_num, row[file_column], row[text_column]
    except csv.Error as error:
        raise ShardError(f"{path}, line {reader.line_num}: {error}; mend the line.") from error


def _sniff(path: Path, header: str) -> tuple[str, int, int]:
    """The separator, and the places of the file and the text column."""
    for separator in _SEPARATORS:
        names = [name.strip().strip('"').lower() for name in header.split(separator)]
        file_columns = [names.index(name) for name in FILE_COLUMNS if name in names]
        text_columns = [names.index(name) for name in TEXT_COLUMNS if name in names]
        if file_columns and text_columns:
            return separator, file_columns[0], text_columns[0]
    raise ShardError(
        f"{path}: its first line must name the columns, one of {', '.join(FILE_COLUMNS)} and one of "
        f"{', '.join(TEXT_COLUMNS)}, separated by '|', tab or ','; it reads {header[:80]!r}."
    )


def _jsonl_rows(path: Path) -> Iterator[tuple[int, str, str]]:
    for line, text in enumerate(_read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ShardError(f"{path}, line {line}: no valid JSON ({error}); mend the line.") from error
        name, said = _first(row, FILE_COLUMNS), _first(row, TEXT_COLUMNS)
        if not isinstance(name, str) or not isinstance(said, str | None):
            raise ShardError(
                f"{path}, line {line}: needs a JSON object with a string {' or '.join(FILE_COLUMNS)} and a "
                f"string {' or '.join(TEXT_COLUMNS)}; mend the line."
            )
        if said is not None:
            yield line, name, said


def _first(row: Any, names: Iterable[str]) -> Any:
    """The first of the fields that the row has, None where it has none."""
    return next((row[name] for name in names if name in row), None) if isinstance(row, dict) else None


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"{path} cannot be read as UTF-8 text: {error}.") from error
