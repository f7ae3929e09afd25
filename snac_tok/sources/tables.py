"""Lists of recordings as text: CSV and JSON lines, and the names that their columns have.

Every error is one sentence with the file and the line. `metadata` and `manifests` decide what a row means.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from snac_tok.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

# The first one in a file is used.
FILE_COLUMNS = ("file_name", "audio_file", "audio_filepath", "filename", "file", "path", "audio", "wav", "id")
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript", "normalized_text")
SEPARATORS = ("|", "\t", ",")
_limit = threading.Lock()


class SpelledNumber(str):
    """A number of JSON's as it is written, so that 1.50 stays 1.50; JSON made of it again has a number."""

    __slots__ = ()


def first_of(names: Iterable[str], there: Container[str]) -> str | None:
    """Return the first of the names that is there.

    >>> first_of(TEXT_COLUMNS, {"id": 1, "sentence": "Good day."})
    'sentence'
    """
    return next((name for name in names if name in there), None)


def csv_rows(path: Path, content: str, *, separator: str) -> list[tuple[int, list[str]]]:
    """Return each row with the number of its line.

    Raises:
        SourceError: a broken line.
    """
    # Only comma-separated files use quoting; elsewhere a quotation mark is part of the text.
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if separator == "," else csv.QUOTE_NONE
    stream = io.StringIO(content, newline="")
    reader = csv.reader(stream, delimiter=separator, quoting=quoting, strict=True)
    with _fields_of(len(content)):
        try:
            rows = [(reader.line_num, cells) for cells in reader]
        except csv.Error as error:
            raise SourceError(f"{path}, line {reader.line_num}: {error}; mend the line.") from error
    if quoting == csv.QUOTE_NONE:
        _tell_quoted(path, rows)
    return rows


def _tell_quoted(path: Path, rows: Iterable[tuple[int, list[str]]]) -> None:
    """Say that quotation marks are taken as they are, where a program seems to have meant them otherwise."""
    for number, cells in rows:
        inside = [cell[1:-1] for cell in cells if len(cell) > 1 and cell[0] == cell[-1] == '"']
        if any('""' in each and '"' not in each.replace('""', "") for each in inside):
            _log.warning(
                "%s, line %d: quotation marks are part of the text here, as in LJSpeech and Common Voice; only tables "
                "with commas are read as quoted.",
                path,
                number,
            )
            return


def check_header(path: Path, names: Sequence[str]) -> None:
    """Refuse a header that names a column twice: nothing says which of the two is meant. Nameless ones may be several.

    Raises:
        SourceError: it names one twice.
    """
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise SourceError(
            f"{path}: the header has two columns {twice[0]!r} (capitals do not count); rename or remove one of them."
        )


def check_width(path: Path, line: int, cells: Sequence[str], *, width: int) -> None:
    """Refuse a row that has other columns than the header: its cells would stand under wrong names.

    Raises:
        SourceError: it has more or fewer.
    """
    if cells and len(cells) != width:
        raise SourceError(
            f"{path}, line {line}: {len(cells)} columns, the header has {width}; mend the line."
        )


@contextmanager
def _fields_of(length: int) -> Iterator[None]:
    """Let Python's reader take fields of this length: an hour's transcript is longer than its limit.

    The limit is the whole process's, so one table at a time is read, and the limit is set back before anyone else's
    code runs.
    """
    with _limit:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, length + 1))
        try:
            yield
        finally:
            csv.field_size_limit(before)


def json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line and its object; numbers stay as they are written, NaN becomes None.

    Raises:
        SourceError: not UTF-8 text, or a line that is not a JSON object.
    """
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if not text.strip():
            continue
        try:
            fields = json_value(text)
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{path}, line {line}: not valid JSON ({error}); mend the line.") from error
        if not isinstance(fields, dict):
            raise SourceError(f"{path}, line {line}: needs a JSON object; mend the line.")
        yield line, fields


def json_value(text: str) -> Any:
    """Return what JSON says; numbers stay as they are written, NaN becomes None.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is too deep.

    >>> json_value('[1.50, NaN]')
    ['1.50', None]
    """
    return json.loads(text, parse_int=SpelledNumber, parse_float=SpelledNumber, parse_constant=lambda _: None)


def read_text(path: Path) -> str:
    """Return a file's text, without a byte order mark.

    Raises:
        SourceError: not UTF-8, or not readable.
    """
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        encoding = (
            "UTF-16" if error.object.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "LATIN1"
        )
        raise SourceError(
            f"{path}, line {line}: byte 0x{error.object[error.start]:02x} is not UTF-8 text; convert the file from its "
            f"encoding, for example: iconv -f {encoding} -t UTF-8 old > new."
        ) from error
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read as UTF-8 text: {error}.") from error
