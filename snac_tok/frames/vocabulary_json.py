"""Vocabularies as JSON and back, for presets of one's own and for files that describe themselves.

Reading is checked: unknown or missing keys, keys given twice, wrong types, ids that collide.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from snac_tok.errors import LayoutError
from snac_tok.frames.vocabulary import Vocabulary
from snac_tok.plain_values import from_plain, parse_json, read_text, to_plain

if TYPE_CHECKING:
    import os

# A table is a few kilobytes; more is another file.
MAX_BYTES = 1_000_000


def vocabulary_to_json(vocabulary: Vocabulary) -> str:
    """Return a vocabulary as JSON text that `vocabulary_from_json` reads back to an equal one.

    Example:
        >>> from snac_tok.frames import preset
        >>> vocabulary_from_json(vocabulary_to_json(preset("orpheus"))) == preset("orpheus")
        True
    """
    return json.dumps(to_plain(vocabulary), indent=2, ensure_ascii=False) + "\n"


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
    data = source if isinstance(source, Mapping) else _load(source)
    return from_plain(Vocabulary, data, what="the vocabulary", error=LayoutError)


def _load(source: str | os.PathLike[str]) -> Any:
    is_text = isinstance(source, str) and source.lstrip().startswith("{")
    text = (
        str(source)
        if is_text
        else read_text(source, what="the vocabulary", error=LayoutError, max_bytes=MAX_BYTES)
    )
    return parse_json(text, what="the vocabulary", error=LayoutError)
