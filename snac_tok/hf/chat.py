"""Conversations with sound in them, as conversations of text alone."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from snac_tok.errors import TokenError

# Makes text of a sound, given its rate where it has none of its own.
Speller = Callable[[Any, int | None], str]

_MESSAGES = 'a list of messages is needed: [{"role": "user", "content": "Good morning."}].'
_PARTS = 'parts are {"type": "text", "text": …} and {"type": "audio", "audio": …}.'


def spoken_as_text(conversation: Any, spell: Speller) -> list[Any]:
    """Return one conversation, or a list of them, with each message's content as one string.

    Raises:
        TokenError: what is no list of messages, or a part that is neither text nor audio, or has neither.

    Example:
        >>> parts = [{"type": "audio", "audio": [0.0]}, {"type": "text", "text": "!"}]
        >>> spoken_as_text([{"role": "user", "content": parts}], lambda sound, rate: "<sound>")
        [{'role': 'user', 'content': '<sound>!'}]
    """
    found = _listed(conversation)
    if all(_is_list(each) for each in found):
        return [[_message(message, spell) for message in _listed(each)] for each in found]
    return [_message(message, spell) for message in found]


def _listed(conversation: Any) -> list[Any]:
    """Return the items of a list that has some."""
    found = list(conversation) if _is_list(conversation) else []
    if not found:
        raise TokenError(f"the conversation is {reprlib.repr(conversation)}; {_MESSAGES}")
    return found


def _is_list(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))


def _message(message: Any, spell: Speller) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise TokenError(f"a conversation has {reprlib.repr(message)} in it; {_MESSAGES}")
    return {**message, "content": _content(message.get("content"), spell)}


def _content(content: Any, spell: Speller) -> Any:
    if content is None or isinstance(content, str):
        return content
    if not _is_list(content):
        raise TokenError(
            f"a message's content is {reprlib.repr(content)}; a text or a list of parts is needed: {_PARTS}"
        )
    return "".join(_part(part, spell) for part in content)


def _part(part: Any, spell: Speller) -> str:
    if not isinstance(part, Mapping):
        raise TokenError(f"a message has a part {reprlib.repr(part)}; {_PARTS}")
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    sound = next((part[name] for name in ("audio", "path", "url") if part.get(name) is not None), None)
    if kind == "audio" and sound is not None:
        return spell(sound, part.get("sampling_rate"))
    raise TokenError(
        f"a message has a part of type {kind!r} with {', '.join(map(str, part)) or 'nothing'}; {_PARTS}"
    )
