"""A clip's ids as text: a JSON list, numbers between spaces, or tokens like `<custom_token_10>`.

Parallel rows are a list of lists in JSON, and one row a line in text.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.files import write_bytes_atomically

if TYPE_CHECKING:
    from snac_tok.frames import Vocabulary

STDIN = "-"
# An hour of the densest released codec is about 6 MB of text; more is another file.
_MAX_CHARACTERS = 200_000_000


def ids_as_json(ids: Any) -> str:
    """Return ids (N,) or rows (slots, steps) as one line of JSON."""
    return json.dumps(ids.tolist()) + "\n"


def ids_as_text(ids: Any) -> str:
    """Return ids (N,) as one line of numbers, rows (slots, steps) as a line each."""
    rows = [ids] if ids.ndim == 1 else ids
    return "".join(" ".join(map(str, row.tolist())) + "\n" for row in rows)


def write_ids(path: Path, ids: Any) -> None:
    """Write ids, as JSON or as text by the file's ending.

    Raises:
        TokenError: the disk refused.
    """
    text = ids_as_json(ids) if path.suffix.lower() == ".json" else ids_as_text(ids)
    write_bytes_atomically(path, text.encode(), error=TokenError)


def read_ids(source: str, vocabulary: Vocabulary) -> Any:
    """Read ids from a file, or from stdin for "-".

    Raises:
        TokenError: nothing there, or no ids; the message names the source.
    """
    text = _read(source)
    try:
        return parse_ids(text, vocabulary)
    except TokenError as error:
        raise TokenError(f"{source_name(source)}: {error}") from error


def source_name(source: str) -> str:
    """Return what messages call a source."""
    return "stdin" if source == STDIN else source


def parse_ids(text: str, vocabulary: Vocabulary) -> Any:
    """Return the ids that a text holds, whichever of the three forms it has; decoding checks that they are ids.

    Raises:
        TokenError: none of them.
        LayoutError: tokens, and a vocabulary without a text form.
    """
    text = text.strip()
    if text.startswith("<"):
        return vocabulary.text_to_ids("".join(text.split()))
    try:
        if text.startswith(("[", "{")):
            return _as_array(json.loads(text))
        rows = [[int(word) for word in line.split()] for line in text.splitlines() if line.strip()]
    except TokenError:
        raise
    except (ValueError, RecursionError) as error:
        raise TokenError(
            f"this is no JSON list of ids and no text of ids ({error}); an .npz or a sound file ends in its own name."
        ) from error
    ids = rows if vocabulary.is_parallel else [number for row in rows for number in row]
    return _as_array(ids)


def _as_array(value: Any) -> Any:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TokenError(f"ids must be one list, or lists of equal lengths ({error}).") from error
    # numpy calls an empty list float64; it holds no float.
    return array.astype(np.int64) if array.size == 0 else array


def _read(source: str) -> str:
    name = source_name(source)
    try:
        if source == STDIN:
            return sys.stdin.read(_MAX_CHARACTERS)
        with Path(source).open(encoding="utf-8") as file:
            return file.read(_MAX_CHARACTERS)
    except UnicodeDecodeError as error:
        raise TokenError(
            f"{name} is no text of ids; give a .json, .txt or .npz file or a shard folder."
        ) from error
    except OSError as error:
        raise TokenError(f"{name} cannot be read: {error.strerror}.") from error
