"""A tokenizer's own settings as a JSON file beside its codec's files: written, read back, checked."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.audio import Resampler  # noqa: TC001 - `from_plain` looks it up
from snac_tok.codec.checkpoint import SETTINGS_FILE
from snac_tok.errors import CheckpointError
from snac_tok.files import write_bytes_atomically
from snac_tok.frames import Vocabulary, vocabulary_to_json
from snac_tok.plain_values import from_plain, parse_json, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok.tokenizer.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True)
class _Settings:
    channels: Any  # a word or a number: the tokenizer checks it
    resampler: Resampler
    padding_side: str
    vocabulary: Vocabulary


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
        CheckpointError: the file cannot be read, or is damaged.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    what = "the tokenizer's settings"
    text = read_text(path, what=what, error=CheckpointError)
    values = parse_json(text, what=f"{what} {path}", error=CheckpointError)
    try:
        return dict(vars(from_plain(_Settings, values, what="the file", error=CheckpointError)))
    except CheckpointError as error:
        raise CheckpointError(f"{what} {path} cannot be used: {error}") from error
