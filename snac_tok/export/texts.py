"""The text tokenizer of a language model: loading it, and knowing it again when an export goes on."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ExportError
from snac_tok.shards.info import json_sha256

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.frames import Vocabulary


def load_text_tokenizer(wanted: Any, vocabulary: Vocabulary) -> Any:
    """Return a Hugging Face tokenizer whose ids agree with an audio vocabulary's.

    Args:
        wanted: the tokenizer, its folder, or its name on the model hub.
        vocabulary: whose ids the speech has.

    Raises:
        ExportError: it cannot be loaded.
        LayoutError: an id would be a word in one and a code in the other.
        MissingDependencyError: transformers is not installed.
    """
    # torch comes with this room, which an export without text does not need.
    from snac_tok.tokenizer.text_ids import as_text_tokenizer, check_text_ids

    tokenizer = as_text_tokenizer(wanted, error=ExportError)
    check_text_ids(vocabulary, tokenizer)
    return tokenizer


def text_ids(tokenizer: Any, text: str) -> Sequence[int]:
    """Return the ids of a text, without special ids: those are the prompt's."""
    ids: Sequence[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def largest_text_id(tokenizer: Any) -> int:
    """Return the largest id that a tokenizer can give; -1 where it does not say."""
    return len(tokenizer) - 1 if hasattr(tokenizer, "__len__") else -1


def tokenizer_sha256(tokenizer: Any) -> str:
    """Return what two tokenizers have in common only if they give the same ids, as far as they tell."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        return hashlib.sha256(backend.to_str().encode()).hexdigest()
    words = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else {}
    return json_sha256([type(tokenizer).__name__, words])
