"""Whether a text tokenizer and an audio vocabulary agree about ids: one id must not be a word here and a code there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snac_tok.errors import LayoutError

if TYPE_CHECKING:
    from snac_tok.frames import Vocabulary


def check_apart(vocabulary: Vocabulary, text_tokenizer: Any) -> None:
    """Refuse a text tokenizer that has a vocabulary's tokens at other ids, or something else at its ids.

    A tokenizer that knows nothing of audio may end before the first audio id: texts need no more. One that does not
    say which token is which id is taken as it is.

    Raises:
        LayoutError: with the first token that is elsewhere, or the first id that is taken.
    """
    form, first = vocabulary.text, min(vocabulary.slot_bases)
    if form is None or not hasattr(text_tokenizer, "convert_ids_to_tokens"):
        return
    place = _place_of(text_tokenizer, form.token_of(first))
    if place not in (None, first):
        raise LayoutError(
            f"{vocabulary.name!r} has {form.token_of(first)!r} at id {first}, the text tokenizer at {place}; {_ADVICE}"
        )
    specials = {number: token for token, number in form.literals.items()}
    for number, token in {first: form.token_of(first), **specials}.items():
        # Added tokens, which begin at vocab_size, may be spelled otherwise here than where the ids come from.
        is_text = number < text_tokenizer.vocab_size
        if is_text and (found := text_tokenizer.convert_ids_to_tokens(number)) != token:
            raise LayoutError(
                f"{vocabulary.name!r} needs id {number} for {token!r}, and the text tokenizer has {found!r} there; "
                f"{_ADVICE}"
            )


_ADVICE = (
    "hand over the vocabulary that add_audio_tokens(text_tokenizer, …) returns, or take the text tokenizer that the "
    "preset was published for."
)


def _place_of(text_tokenizer: Any, token: str) -> int | None:
    """Return the id of a token that the tokenizer has; unknown ones get the id of another."""
    number = text_tokenizer.convert_tokens_to_ids(token)
    return number if number is not None and text_tokenizer.convert_ids_to_tokens(number) == token else None
