"""A file that lists recordings: paths relative to it, one per line, or a column of them.

.txt            a path a line
.csv, .tsv      a header names the column, separated by `|`, tabs or commas
.jsonl          an object a line

A column of texts is read, too, if there is one. No recording is opened here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.errors import SourceError
from snac_tok.sources.recording import Recording, file_recording
from snac_tok.sources.tables import (
    FILE_COLUMNS,
    SEPARATORS,
    TEXT_COLUMNS,
    csv_rows,
    first_of,
    json_objects,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MANIFEST_ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")


def list_manifest(path: Path) -> list[Recording]:
    """Return the recordings that a manifest names, in its order; missing ones fail when they are read.

    Raises:
        SourceError: it names no recording, has no column of paths, or cannot be read.

    >>> from pathlib import Path
    >>> _ = Path("train.jsonl").write_text('{"audio_filepath": "a.wav", "text": "Good day."}')
    >>> [(recording.name, recording.text) for recording in list_manifest(Path("train.jsonl"))]
    [('a.wav', 'Good day.')]
    """
    ending = path.suffix.lower()
    rows = _lines(path) if ending == ".txt" else _objects(path) if ending == ".jsonl" else _cells(path)
    found = [file_recording(path.parent / name, name=name, text=text) for name, text in rows]
    if not found:
        raise SourceError(f"{path} names no recording.")
    return found


def _lines(path: Path) -> Iterator[tuple[str, None]]:
    yield from ((line.strip(), None) for line in read_text(path).splitlines() if line.strip())


def _cells(path: Path) -> Iterator[tuple[str, str | None]]:
    content = read_text(path)
    header = content.split("\n", 1)[0]
    # The separator of most corpora; csv's own sniffer takes a comma in a sentence for one.
    separator = next((mark for mark in SEPARATORS if mark in header), ",")
    rows = iter(csv_rows(path, content, separator=separator))
    names = [name.strip().lower() for name in next(rows, (0, []))[1]]
    file, text = names.index(_file_column(path, names)), first_of(TEXT_COLUMNS, names)
    for _, cells in rows:
        by_name = dict(zip(names, cells, strict=False))
        if len(cells) > file and cells[file]:
            yield cells[file], by_name.get(text or "") or None


def _objects(path: Path) -> Iterator[tuple[str, str | None]]:
    for line, fields in json_objects(path):
        name, text = fields[_file_column(path, fields)], fields.get(first_of(TEXT_COLUMNS, fields) or "")
        if not isinstance(name, str) or not name:
            raise SourceError(f"{path}, line {line}: {name!r} is not a path; mend the line.")
        yield name, text if isinstance(text, str) and text.strip() else None


def _file_column(path: Path, columns: Iterable[str]) -> str:
    names = list(columns)
    found = first_of(FILE_COLUMNS, names)
    if found is None:
        raise SourceError(
            f"{path} has no column of recordings: one of {', '.join(FILE_COLUMNS)} is needed, got "
            f"{', '.join(names) or 'none'}."
        )
    return found
