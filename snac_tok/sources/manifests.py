"""A file that lists recordings, in the order of its rows. No recording is opened here.

.txt                  a path a line
.csv, .tsv            a header names the columns, separated by `|`, tabs or commas; or LJSpeech's, without a header
.jsonl, .jsonl.gz     an object a line: NeMo's, Moshi's, Lhotse's cuts, ours
.parquet              a row each, with a column of paths or of encoded sound

`rows.py` knows what columns are called.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from snac_tok.errors import SourceError
from snac_tok.sources.rows import Table
from snac_tok.sources.stored import (
    cell_bytes,
    cell_sound,
    holds_samples,
    parquet_file,
    parquet_rows,
    sound_column,
)
from snac_tok.sources.tables import (
    FILE_COLUMNS,
    SEPARATORS,
    check_header,
    check_width,
    csv_rows,
    first_of,
    json_objects,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snac_tok.sources.recording import Recording

MANIFEST_ENDINGS = (".txt", ".csv", ".tsv", ".jsonl", ".jsonl.gz", ".parquet")


def is_manifest(path: Path) -> bool:
    """Return whether a file is a list of recordings, by its name.

    >>> from pathlib import Path
    >>> is_manifest(Path("cuts.jsonl.gz")), is_manifest(Path("a.wav"))
    (True, False)
    """
    return path.name.lower().endswith(MANIFEST_ENDINGS)


def list_manifest(path: Path, *, keep: Sequence[str] = ()) -> list[Recording]:
    """Return the recordings that a manifest names, in its order; missing ones fail when they are read.

    Args:
        path: of the manifest; paths in it are relative to its folder.
        keep: columns that are kept beside speaker and language.

    Raises:
        SourceError: it or one of its rows names no recording, a row has other columns than the header, there is no
            column of paths, a column stands there twice, or it cannot be read.

    >>> from pathlib import Path
    >>> _ = Path("train.jsonl").write_text('{"audio_filepath": "a.wav", "text": "Good day."}')
    >>> [(recording.name, recording.text) for recording in list_manifest(Path("train.jsonl"))]
    [('a.wav', 'Good day.')]
    """
    name = path.name.lower()
    if name.endswith(".parquet"):
        found = list(_of_parquet(path, keep))
    else:
        table = Table(path, keep=keep)
        kinds = {".txt": _lines, ".csv": _cells, ".tsv": _cells}
        rows = kinds.get(path.suffix.lower(), json_objects)(path)
        found = [table.recording(fields, line=line) for line, fields in rows]
    if not found:
        raise SourceError(f"{path} names no recording.")
    return found


def _lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): a name may hold one of the other line ends that it knows.
    for number, line in enumerate(re.split(r"\r\n?|\n", read_text(path)), start=1):
        if name := line.strip(" \t"):
            yield number, {"path": name}


def _cells(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    content = read_text(path)
    header = content.split("\n", 1)[0]
    # The separator of most corpora; csv's own sniffer takes a comma in a sentence for one.
    separator = next((mark for mark in SEPARATORS if mark in header), ",")
    rows = iter(csv_rows(path, content, separator=separator))
    first = next(rows, (0, []))
    names = [name.strip().lower() for name in first[1]]
    if first_of(FILE_COLUMNS, names) is None and separator == "|" and len(names) > 1:
        yield first[0], _of_ljspeech(first[1])
        yield from ((line, _of_ljspeech(cells)) for line, cells in rows if cells and cells[0])
        return
    file = first_of(FILE_COLUMNS, names)
    if file is None:
        raise SourceError(
            f"{path} has no column of recordings: one of {', '.join(FILE_COLUMNS)} is needed, got "
            f"{', '.join(filter(None, names)) or 'none'}."
        )
    check_header(path, names)
    for line, cells in rows:
        check_width(path, line, cells, width=len(names))
        if any(map(str.strip, cells)):
            yield line, dict(zip(names, cells, strict=True))


def _of_ljspeech(cells: list[str]) -> dict[str, Any]:
    return {"file_name": cells[0], "text": cells[1] if len(cells) > 1 else None}


def _of_parquet(path: Path, keep: Sequence[str]) -> Iterator[Recording]:
    table = Table(path, keep=keep)
    try:
        file = parquet_file(path)
        column = sound_column(file.schema_arrow)
        has_samples = column is not None and holds_samples(file.schema_arrow.field(column).type)
        for number, fields in enumerate(parquet_rows(file, batch_size=64 if column else 4096)):
            yield _of_row(table, fields, number, sound_column=column, has_samples=has_samples)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}.") from error


def _of_row(
    table: Table, fields: dict[str, Any], number: int, *, sound_column: str | None, has_samples: bool
) -> Recording:
    if sound_column is None:
        return table.recording(fields, line=number + 1)
    cell = fields.pop(sound_column)
    content, place = cell_bytes(cell), cell.get("path") if isinstance(cell, dict) else None
    size = None if content is None else len(content)
    sound, num_bytes = cell_sound(table.path, number, size, place, has_samples=has_samples)
    return table.recording(
        fields,
        name=f"{table.path.name}/{number:08d}",
        sound=sound,
        num_bytes=num_bytes,
    )
