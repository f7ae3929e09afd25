"""One metadata.csv or metadata.jsonl to rows of (line, file, text, columns), in the forms that people and tools write.

A CSV's separator (`|`, tab or comma) is found from its first line. A first line with `|` or tabs that names a
recording and no column is a row, as in LJSpeech: file, text, further columns. A file without a known column of
texts gives no rows and one warning; a broken line is an error that names it. `texts.py` finds the recording that a
row means.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snac_tok.errors import SourceError
from snac_tok.sources.cells import Place
from snac_tok.sources.rows import kept_columns
from snac_tok.sources.tables import (
    FILE_COLUMNS,
    SEPARATORS,
    TEXT_COLUMNS,
    check_header,
    check_width,
    csv_rows,
    first_of,
    json_objects,
    read_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# Text has commas in it, so a first line with commas may be a sentence.
_HEADERLESS_SEPARATORS = ("|", "\t")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of metadata.

    Attributes:
        line: its number, from 1.
        name: the recording's, as written.
        text: what is said in it, or "".
        columns: what else is kept of it, as in `Recording.columns`.
    """

    line: int
    name: str
    text: str
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Columns:
    separator: str
    file: int
    text: int | None
    names: tuple[str, ...] = ()


def read_rows(path: Path, *, is_file: Callable[[str], bool], keep: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a metadata file that have a text, or something else that is kept.

    Args:
        path: a .csv or .jsonl file.
        is_file: whether a name, as written, is that of a recording: a first line that has one is not a header.
        keep: columns that are kept beside speaker and language.

    Raises:
        SourceError: not UTF-8 text, a broken line, or a column that stands there twice.
    """
    rows = _jsonl_rows(path, keep) if path.suffix == ".jsonl" else _csv_rows(path, is_file, keep)
    return [row for row in rows if row.text.strip() or row.columns]


def _csv_rows(path: Path, is_file: Callable[[str], bool], keep: tuple[str, ...]) -> Iterator[Row]:
    content = read_text(path)
    lines = [line.strip("\r") for line in content.split("\n")]
    columns = _named_columns(path, lines[0], keep) or _columns_without_header(lines, is_file)
    if columns is None:
        _log_no_texts(path, f"its first line, {lines[0][:80]!r}, does not name the columns")
        return
    if columns.text is None:
        _log_no_texts(path, f"its first line, {lines[0][:80]!r}, names no column of texts")
    rows = iter(csv_rows(path, content, separator=columns.separator))
    width = len(next(rows)[1]) if columns.names else 0
    for line, cells in rows:
        if columns.names:
            check_width(path, line, cells, width=width)
        if len(cells) > max(columns.file, columns.text or 0):
            text = "" if columns.text is None else cells[columns.text]
            kept = kept_columns(dict(zip(columns.names, cells, strict=False)), keep)
            yield Row(line=line, name=cells[columns.file], text=text, columns=kept)


def _named_columns(path: Path, header: str, keep: tuple[str, ...]) -> _Columns | None:
    """The columns that a first line names, None if it names no file or nothing that is kept."""
    for separator in SEPARATORS:
        names = [name.strip().strip('"').lower() for name in _cells(path, header, separator)]
        file, text = first_of(FILE_COLUMNS, names), first_of(TEXT_COLUMNS, names)
        if file is not None and (text is not None or kept_columns(dict.fromkeys(names, "x"), keep)):
            check_header(path, names)
            place = None if text is None else names.index(text)
            return _Columns(separator=separator, file=names.index(file), text=place, names=tuple(names))
    return None


def _cells(path: Path, header: str, separator: str) -> list[str]:
    """The cells of a first line, quoted as those of all others are; none if it is a row of another kind of table."""
    try:
        rows = csv_rows(path, header, separator=separator)
    except SourceError:
        return []
    return rows[0][1] if rows else []


def _columns_without_header(lines: list[str], is_file: Callable[[str], bool]) -> _Columns | None:
    """The columns of LJSpeech, where the first line's first cell is, or looks like, the name of a recording."""
    for separator in _HEADERLESS_SEPARATORS:
        first = lines[0].split(separator)
        names = [line.split(separator, 1)[0] for line in lines]
        # In a part of a corpus the first recording may be missing. A header does not look like the other names.
        alike = (name for name in names if _shape(name) == _shape(first[0]))
        if len(first) > 1 and any(map(is_file, alike)):
            return _Columns(separator=separator, file=0, text=1)
    return None


def _shape(name: str) -> str:
    return re.sub(r"\d+", "0", name)


def _jsonl_rows(path: Path, keep: tuple[str, ...]) -> list[Row]:
    rows, odd, has_columns = list[Row](), list[int](), False
    for line, fields in json_objects(path):
        name, text = first_of(FILE_COLUMNS, fields), first_of(TEXT_COLUMNS, fields)
        kept = kept_columns(fields, keep, place=Place(path, line, None))
        has_columns |= name is not None and text is not None
        named, said = fields.get(name or ""), fields.get(text or "")
        if isinstance(named, str) and (isinstance(said, str) or (said is None and kept)):
            rows.append(_checked(path, Row(line=line, name=named, text=said or "", columns=kept)))
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


def _checked(path: Path, row: Row) -> Row:
    """Refuse lone surrogates, which JSON can express and UTF-8 cannot."""
    try:
        "".join([row.name, row.text, *row.columns.values()]).encode()
    except UnicodeEncodeError as error:
        code = f"\\u{ord(error.object[error.start]):04x}"
        raise SourceError(
            f"{path}, line {row.line}: {code} is half a character (a lone surrogate); mend the line."
        ) from error
    return row


def _log_no_texts(path: Path, reason: str) -> None:
    files, texts = ", ".join(FILE_COLUMNS), ", ".join(TEXT_COLUMNS)
    _log.warning("%s gives no texts: %s; one of %s is needed, and one of %s.", path, reason, files, texts)
