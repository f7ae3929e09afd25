"""Whose ids a file holds: what a model or its server wrote, a table of special ids, or a text tokenizer's file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames import identify, preset
from snac_tok.frames.id_text import text_of
from snac_tok.generation.answers import answers_in_text

if TYPE_CHECKING:
    import os

    from snac_tok.frames import Identification

_ID = re.compile("[0-9]{1,10}")


class _Tokens(dict[str, int]):
    """The tokens of a tokenizer's file, by the call that `identify` makes."""

    def get_vocab(self) -> dict[str, int]:
        return self


def identify_file(source: str | os.PathLike[str] | IO[bytes], *, name: str) -> Identification:
    """Return what a file looks like, as `identify` does.

    Args:
        source: a path, or a file open for reading bytes: ids, text or a server's answer as `read_generated` takes them;
            special ids as a JSON object; or transformers' tokenizer.json or tokenizer_config.json.
        name: of the source in messages.

    Raises:
        TokenError: it cannot be read, or no family in the tables has such ids.
    """
    text = text_of(source, name)
    try:
        found = identify(_content(text))
    except TokenError as error:
        raise TokenError(f"{name}: {error}") from error
    if found is None:
        raise TokenError(
            f"{name} holds no ids, tokens or special ids of a family that is known here; the model's card or its "
            "tokenizer tells them, and a .json file makes a preset of them."
        )
    return found


def _content(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, Mapping):
        if tokens := _tokens_of(value):
            return _Tokens(tokens)
        if value and all(type(each) is int for each in value.values()):
            return value
    answers = answers_in_text(text, preset())
    rows = [answer.ids for answer in answers if answer.ids is not None]
    if len(rows) == len(answers) > 1 and len({len(row) for row in rows}) == 1:
        return np.array(rows)
    return answers[0].text if answers[0].ids is None else answers[0].ids


def _tokens_of(value: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens of transformers' tokenizer.json or tokenizer_config.json, none of another file."""
    model, added, decoder = (value.get(name) for name in ("model", "added_tokens", "added_tokens_decoder"))
    vocab = model.get("vocab") if isinstance(model, Mapping) else None
    tokens = dict(vocab) if isinstance(vocab, Mapping) else {}
    if isinstance(added, list):
        tokens |= {
            each["content"]: each.get("id") for each in added if isinstance(each, Mapping) and _is_token(each)
        }
    if isinstance(decoder, Mapping):
        tokens |= {
            each["content"]: int(number)
            for number, each in decoder.items()
            if _ID.fullmatch(number) and isinstance(each, Mapping) and _is_token(each)
        }
    return {token: number for token, number in tokens.items() if type(number) is int}


def _is_token(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("content"), str)
