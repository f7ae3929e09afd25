"""A tokenizer's own settings as a JSON file beside its codec's files: written, read back, checked."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from snac_tok.audio import Resampler
from snac_tok.codec.checkpoint import SETTINGS_FILE
from snac_tok.errors import CheckpointError, SnacTokError
from snac_tok.files import write_bytes_atomically
from snac_tok.frames import Vocabulary, vocabulary_from_json, vocabulary_to_json

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok.tokenizer.preprocessing import Preprocessing

_KEYS = ("channels", "padding_side", "resampler", "vocabulary")


def write_tokenizer_json(
    folder: Path, *, vocabulary: Vocabulary, preprocessing: Preprocessing, padding_side: str
) -> None:
    """Write the settings into a folder, complete or not at all."""
    settings = {
        "channels": preprocessing.channels,
        "resampler": dataclasses.asdict(preprocessing.resampler),
        "padding_side": padding_side,
        "vocabulary": json.loads(vocabulary_to_json(vocabulary)),
    }
    content = (json.dumps(settings, indent=2) + "\n").encode()
    write_bytes_atomically(folder / SETTINGS_FILE, content, error=CheckpointError)


def read_tokenizer_json(folder: Path) -> dict[str, Any]:
    """Return the tokenizer's arguments from a folder, nothing where a codec alone was saved.

    Raises:
        CheckpointError: the file is damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict) or sorted(settings) != list(_KEYS):
            raise CheckpointError(
                f"{path} does not hold a tokenizer's settings; the entries {list(_KEYS)} are needed."
            )
        resampler, vocabulary = (
            Resampler(**settings["resampler"]),
            vocabulary_from_json(settings["vocabulary"]),
        )
    except (OSError, ValueError, TypeError, RecursionError, SnacTokError) as error:
        raise CheckpointError(f"the tokenizer's settings cannot be read: {path}: {error}") from error
    return settings | {"resampler": resampler, "vocabulary": vocabulary}
