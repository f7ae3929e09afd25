"""Conversations with sound in them, as conversations of text alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from snac_tok.errors import TokenError

# Makes text of a sound, given its rate where it has none of its own.
Speller = Callable[[Any, int | None], str]


def spoken_as_text(conversation: Any, spell: Speller) -> list[Any]:
    """Return one conversation, or a list of them, with each message's content as one string.

    Raises:
        TokenError: a part that is neither text nor audio, or has neither.

    Example:
        >>> parts = [{"type": "audio", "audio": [0.0]}, {"type": "text", "text": "!"}]
        >>> spoken_as_text([{"role": "user", "content": parts}], lambda sound, rate: "<sound>")
        [{'role': 'user', 'content': '<sound>!'}]
    """
    if conversation and not isinstance(conversation[0], Mapping):
        return [spoken_as_text(each, spell) for each in conversation]
    return [{**message, "content": _content(message.get("content"), spell)} for message in conversation]


def _content(content: Any, spell: Speller) -> Any:
    if content is None or isinstance(content, str):
        return content
    return "".join(_part(part, spell) for part in content)


def _part(part: Mapping[str, Any], spell: Speller) -> str:
    kind = part.get("type")
    if kind == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    sound = next((part[name] for name in ("audio", "path", "url") if part.get(name) is not None), None)
    if kind == "audio" and sound is not None:
        return spell(sound, part.get("sampling_rate"))
    raise TokenError(
        f"a message has a part of type {kind!r} with {', '.join(part) or 'nothing'}; "
        'parts are {"type": "text", "text": …} and {"type": "audio", "audio": …}.'
    )
