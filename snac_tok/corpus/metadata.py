"""One metadata.csv or metadata.jsonl to rows of (line, file, text), in the forms that people and tools write.

A CSV's separator (`|`, tab or comma) is told from its first line. A first line of `|` or tabs that names a
recording and no column is a row, as in LJSpeech: file, text, further columns. What has no column of texts that is
known here gives no rows and one warning; a broken line is an error that names it. Which recording a row means is
found out in `texts.py`.
"""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# The first that is there counts.
FILE_COLUMNS = ("file_name", "audio_file", "audio_filepath", "filename", "file", "path", "audio", "wav", "id")
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "normalized_text")
_SEPARATORS = ("|", "\t", ",")
# Text has commas in it: a first line of them is not told from a sentence.
_HEADERLESS_SEPARATORS = ("|", "\t")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a line says.

    Attributes:
        line: its number, from 1.
        name: of the recording, as written.
        text: what is said in it; never empty.
    """

    line: int
    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class _Columns:
    separator: str
    file: int
    text: int
    has_header: bool


def read_rows(path: Path, *, is_file: Callable[[str], bool]) -> list[Row]:
    """The rows of a metadata file that have a text.

    Args:
        path: a .csv or .jsonl file.
        is_file: whether a name, as written, is that of a recording; tells a row from a header.

    Raises:
        ShardError: no UTF-8 text, or a broken line.
    """
    rows = _jsonl_rows(path) if path.suffix == ".jsonl" else _csv_rows(path, is_file)
    return [row for row in rows if row.text.strip()]


def _csv_rows(path: Path, is_file: Callable[[str], bool]) -> list[Row]:
    content = _read_text(path)
    lines = [line.strip("\r") for line in content.split("\n")]
    columns = _named_columns(lines[0]) or _columns_without_header(lines, is_file)
    if columns is None:
        _log_no_texts(path, f"its first line, {lines[0][:80]!r}, does not name the columns")
        return []
    before = csv.field_size_limit(len(content) + 1)  # a transcript of an hour is longer than the usual limit
    try:
        return list(_read_csv(path, content, columns))
    finally:
        csv.field_size_limit(before)


def _read_csv(path: Path, content: str, columns: _Columns) -> Iterator[Row]:
    # Only comma-separated files quote; elsewhere a quotation mark is part of what is said.
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if columns.separator == "," else csv.QUOTE_NONE
    stream = io.StringIO(content, newline="")
    reader = csv.reader(stream, delimiter=columns.separator, quoting=quoting, strict=True)
    try:
        width = len(next(reader)) if columns.has_header else 0
        for cells in reader:
            if columns.has_header and cells and len(cells) != width:
                raise ShardError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns, the header has {width}; mend the line."
                )
            if len(cells) > columns.text:
                yield Row(line=reader.line_num, name=cells[columns.file], text=cells[columns.text])
    except csv.Error as error:
        raise ShardError(f"{path}, line {reader.line_num}: {error}; mend the line.") from error


def _named_columns(header: str) -> _Columns | None:
    """The columns that a first line names, None where it does not name both."""
    for separator in _SEPARATORS:
        names = [name.strip().strip('"').lower() for name in header.split(separator)]
        file, text = _first_of(FILE_COLUMNS, names), _first_of(TEXT_COLUMNS, names)
        if file is not None and text is not None:
            places = names.index(file), names.index(text)
            return _Columns(separator=separator, file=places[0], text=places[1], has_header=True)
    return None


def _columns_without_header(lines: list[str], is_file: Callable[[str], bool]) -> _Columns | None:
    """The columns of LJSpeech, where the first line's first cell is, or looks like, the name of a recording."""
    for separator in _HEADERLESS_SEPARATORS:
        first = lines[0].split(separator)
        names = [line.split(separator, 1)[0] for line in lines]
        # Of a part of a corpus the first recording may be missing; a header looks like none of the others.
        alike = (name for name in names if _shape(name) == _shape(first[0]))
        if len(first) > 1 and any(map(is_file, alike)):
            return _Columns(separator=separator, file=0, text=1, has_header=False)
    return None


def _shape(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _jsonl_rows(path: Path) -> list[Row]:
    rows, odd, has_columns = list[Row](), list[int](), False
    for line, fields in _json_objects(path):
        name, text = _first_of(FILE_COLUMNS, fields), _first_of(TEXT_COLUMNS, fields)
        has_columns |= name is not None and text is not None
        named, said = fields.get(name or ""), fields.get(text or "")
        if isinstance(named, str) and isinstance(said, str):
            rows.append(_checked(path, Row(line=line, name=named, text=said)))
        elif said is not None:
            odd.append(line)
    if not has_columns:
        _log_no_texts(path, "no line has both")
    elif odd:
        lines = f"{len(odd)} line{'' if len(odd) == 1 else 's'}"
        _log.warning(
            "%s: %s without a file name, or with a text that is neither a string nor a number, gave no text; the "
            "first is line %d.",
            path,
            lines,
            odd[0],
        )
    return rows


def _json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers and objects; numbers stay as they are spelled, NaN is nothing."""
    for line, text in enumerate(_read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None)
        except (ValueError, RecursionError) as error:
            raise ShardError(f"{path}, line {line}: no valid JSON ({error}); mend the line.") from error
        if not isinstance(fields, dict):
            raise ShardError(f"{path}, line {line}: needs a JSON object; mend the line.")
        yield line, fields


def _checked(path: Path, row: Row) -> Row:
    """Refuse what JSON can spell and UTF-8 cannot."""
    try:
        (row.name + row.text).encode()
    except UnicodeEncodeError as error:
        code = f"\\u{ord(error.object[error.start]):04x}"
        raise ShardError(
            f"{path}, line {row.line}: {code} is half of a character (a lone surrogate); mend the line."
        ) from error
    return row


def _first_of(names: Sequence[str], there: Sequence[str] | dict[str, Any]) -> str | None:
    return next((name for name in names if name in there), None)


def _log_no_texts(path: Path, reason: str) -> None:
    files, texts = ", ".join(FILE_COLUMNS), ", ".join(TEXT_COLUMNS)
    _log.warning("%s gives no texts: %s; one of %s is needed, and one of %s.", path, reason, files, texts)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ShardError(f"{path} cannot be read as UTF-8 text: {error}.") from error
