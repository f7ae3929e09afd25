"""A language model's text tokenizer: loading it, and whether it and an audio vocabulary agree about ids.

No id may be a word in one and a code in the other.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.errors import LayoutError, first_line
from snac_tok.files import shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    from snac_tok.errors import SnacTokError
    from snac_tok.frames import Vocabulary


def as_text_tokenizer(wanted: Any, *, error: type[SnacTokError]) -> Any:
    """Return a Hugging Face tokenizer, loaded if its folder or its name on the model hub was given.

    Raises:
        SnacTokError: of the kind `error`; it cannot be loaded, or is something else.
        MissingDependencyError: transformers is not installed.
    """
    tokenizer = _loaded(wanted, error) if isinstance(wanted, (str, os.PathLike)) else wanted
    if not callable(tokenizer):
        raise error(
            f"text_tokenizer is a {type(wanted).__name__}; a Hugging Face tokenizer, or the folder of one, is needed."
        )
    return tokenizer


def _loaded(name: str | os.PathLike[str], error: type[SnacTokError]) -> Any:
    transformers = import_optional("transformers", extra="hf", purpose="a text tokenizer")
    try:
        return transformers.AutoTokenizer.from_pretrained(os.fspath(name))
    except (OSError, ValueError, KeyError, TypeError, ImportError) as failure:
        raise error(
            f"the text tokenizer {shown_path(name)} cannot be loaded ({first_line(failure).rstrip('.')}); name the "
            "folder of the language model's tokenizer."
        ) from failure


def check_text_ids(vocabulary: Vocabulary, text_tokenizer: Any) -> None:
    """Refuse a text tokenizer with a vocabulary's tokens at other ids, others at its ids, or another table's tokens.

    A tokenizer without audio tokens passes if its ids end before the first audio id. One that cannot convert ids to
    tokens is not checked.

    Raises:
        LayoutError: names the first token that has another id, the first id that has another token, or the first
            audio token of another table.
    """
    form, first = vocabulary.text, min(vocabulary.slot_bases)
    if form is None or not hasattr(text_tokenizer, "convert_ids_to_tokens"):
        return
    own = {first: form.token_of(first)}
    specials = {number: token for token, number in form.literals.items()}
    # Specials behind the first id are the table's own, and a text tokenizer may have others of the same name.
    borrowed = {number: token for number, token in specials.items() if number < form.first_id}
    _refuse_other_places(vocabulary, text_tokenizer, own | borrowed)
    _refuse_other_tokens(vocabulary, text_tokenizer, own | specials)
    added = _place_of(text_tokenizer, _FIRST_ADDED)
    if added is not None and _place_of(text_tokenizer, own[first]) is None:
        raise LayoutError(
            f"{vocabulary.name!r} has audio ids from {first} on, and the text tokenizer has the audio tokens of "
            f"another table, {_FIRST_ADDED!r} at id {added}; {_ADVICE}"
        )


def _refuse_other_places(vocabulary: Vocabulary, text_tokenizer: Any, tokens: Mapping[int, str]) -> None:
    for number, token in tokens.items():
        if (place := _place_of(text_tokenizer, token)) not in (None, number):
            raise LayoutError(
                f"{vocabulary.name!r} has {token!r} at id {number}, the text tokenizer at {place}; {_ADVICE}"
            )


def _refuse_other_tokens(vocabulary: Vocabulary, text_tokenizer: Any, tokens: Mapping[int, str]) -> None:
    for number, token in tokens.items():
        # Only ids below vocab_size: added tokens may be spelled differently than in the published tokenizer.
        is_text = number < text_tokenizer.vocab_size
        if is_text and (found := text_tokenizer.convert_ids_to_tokens(number)) != token:
            raise LayoutError(
                f"{vocabulary.name!r} needs id {number} for {token!r}, and the text tokenizer has {found!r} there; "
                f"{_ADVICE}"
            )


# The first of the tokens that `add_audio_tokens` makes.
_FIRST_ADDED = "<|audio_0|>"
_ADVICE = (
    "hand over the vocabulary that add_audio_tokens(text_tokenizer, …) returns, or take the text tokenizer that the "
    "preset was published for."
)


def _place_of(text_tokenizer: Any, token: str) -> int | None:
    """Return a token's id, None where the tokenizer lacks it: it then answers with the id of its unknown token."""
    number = text_tokenizer.convert_tokens_to_ids(token)
    return number if number is not None and text_tokenizer.convert_ids_to_tokens(number) == token else None
