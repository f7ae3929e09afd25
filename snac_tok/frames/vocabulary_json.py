"""Vocabularies as JSON and back, for presets of one's own and for files that describe themselves.

Reading is checked: unknown or missing keys, keys given twice, wrong types, ids that collide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import LayoutError
from snac_tok.frames.layout import FrameLayout
from snac_tok.frames.text import TextForm
from snac_tok.frames.vocabulary import Vocabulary

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

# A table is a few kilobytes; more is another file.
MAX_BYTES = 1_000_000
# Objects and lists inside each other: the table, its layout or text, their lists and mappings.
MAX_DEPTH = 3


def vocabulary_to_json(vocabulary: Vocabulary) -> str:
    """Return a vocabulary as JSON text that `vocabulary_from_json` reads back to an equal one.

    Example:
        >>> from snac_tok.frames import preset
        >>> vocabulary_from_json(vocabulary_to_json(preset("orpheus"))) == preset("orpheus")
        True
    """
    data = _plain(vocabulary)
    data["layout"] = _plain(vocabulary.layout)
    data["text"] = None if vocabulary.text is None else _plain(vocabulary.text)
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


def vocabulary_from_json(source: str | os.PathLike[str] | Mapping[str, Any]) -> Vocabulary:
    """Make a vocabulary from a JSON file, JSON text or the mapping it holds.

    Args:
        source: A path, JSON text (it begins with a brace), or a mapping with the arguments of `Vocabulary`:
            "layout" is required and holds the arguments of `FrameLayout`; "text", if there is one, those
            of `TextForm`.

    Raises:
        LayoutError: A file that cannot be read, unknown or missing keys, or a vocabulary that makes no sense.

    Example:
        >>> vocabulary_from_json({"layout": {"strides": [2, 1]}, "base": 1000}).id_range(1)
        range(5096, 9192)
    """
    data = dict(source) if isinstance(source, Mapping) else _load(source)
    _check_depth(data)
    _check_keys(data, Vocabulary, required=("layout",), where="a vocabulary")
    data["layout"] = _part(data["layout"], FrameLayout, required=("strides",), where='"layout"')
    if data.get("text") is not None:
        data["text"] = _part(
            data["text"], TextForm, required=("template", "first_id", "num_ids"), where='"text"'
        )
    return Vocabulary(**data)


def _plain(config: Any) -> dict[str, Any]:
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    return {name: dict(value) if isinstance(value, Mapping) else value for name, value in values.items()}


def _load(source: str | os.PathLike[str]) -> dict[str, Any]:
    text = source if isinstance(source, str) and source.lstrip().startswith("{") else _read(source)
    try:
        data = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as reason:
        raise LayoutError(f"the vocabulary is no valid JSON: {reason}.") from reason
    if not isinstance(data, dict):
        raise LayoutError(f"a vocabulary in JSON is an object with keys, got a {type(data).__name__}.")
    return data


def _read(source: str | os.PathLike[str]) -> str:
    try:
        path = Path(source)
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, TypeError, ValueError) as reason:
        raise LayoutError(f"the vocabulary {source!r} cannot be read: {reason}.") from reason
    if len(content) > MAX_BYTES:
        raise LayoutError(f"{path} has more than {MAX_BYTES} bytes; it is no vocabulary.")
    try:
        return content.decode("utf-8-sig")  # some editors begin a file with a byte-order mark
    except UnicodeDecodeError as reason:
        raise LayoutError(f"{path} is no UTF-8 text: {reason}.") from reason


def _check_depth(data: Mapping[str, Any]) -> None:
    """Refuse what is nested deeper than any table: comparing or showing it could exhaust the interpreter's stack."""
    layer: list[Any] = [data]
    for _ in range(MAX_DEPTH):
        layer = [inner for value in layer for inner in _inside(value)]
    if any(isinstance(value, (Mapping, list, tuple)) for value in layer):
        raise LayoutError(f"the vocabulary is nested deeper than {MAX_DEPTH} levels; it is none.")


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key given twice: JSON would silently keep the last."""
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        raise LayoutError(f"keys given twice: {sorted({name for name in names if names.count(name) > 1})}.")
    return data


def _part(data: Any, kind: type[Any], *, required: Iterable[str], where: str) -> Any:
    if not isinstance(data, Mapping):
        raise LayoutError(f"{where} must be an object with keys, got {type(data).__name__}.")
    _check_keys(data, kind, required=required, where=where)
    return kind(**data)


def _check_keys(data: Mapping[str, Any], kind: type[Any], *, required: Iterable[str], where: str) -> None:
    known = [field.name for field in fields(kind)]
    unknown = [name for name in data if name not in known]
    missing = [name for name in required if name not in data]
    if unknown or missing:
        raise LayoutError(f"{where} has unknown keys {unknown} and lacks {missing}; it may have {known}.")
