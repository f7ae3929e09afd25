"""Where servers of language models put what they generate: the fields of their JSON, by name."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

# Whether a part of an event is the last of its answer. "perhaps": some servers say so in every event of a stream.
Ending: TypeAlias = Literal["no", "perhaps", "yes"]

# Ids: vLLM and old SGLang, SGLang's completions, its /generate, llama.cpp. The prompt's have names of their own.
_ID_FIELDS = ("token_ids", "response_token_ids", "output_ids", "tokens")
_BEYOND_IDS = 2**63
# Text: completions and SGLang, chat and llama.cpp, Ollama, TGI's whole answers.
_TEXT_FIELDS = ("text", "content", "response", "generated_text")
# Why an answer ended: OpenAI's and vLLM's, llama.cpp's, Ollama's; SGLang and TGI have it further inside.
_REASON_FIELDS, _REASON_PLACES = ("finish_reason", "stop_type", "done_reason"), ("meta_info", "details")
_REASON_NAMES = {*_REASON_FIELDS, *_REASON_PLACES}
_LIMITS = ("length", "limit")
# vLLM's and SGLang's word for an answer that nobody finished.
_ABORTS = ("abort", "error")
# What servers write there while an answer goes on.
_NO_REASONS = ("", "none", "null")
# Events of these alone are no loss: counts, times, the beginning and the end.
_BOOKKEEPING = frozenset(
    {"usage", "timings", "id", "object", "created", "model", "meta_info", "index", "done", "stop", "type"}
)


def parts_of(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of an event that hold an answer: its choices, or the event itself.

    >>> parts_of({"choices": [{"index": 1, "delta": {"content": "a"}}]})
    [{'index': 1, 'content': 'a'}]
    """
    choices = event.get("choices")
    if isinstance(choices, list):
        return [_flat(choice) for choice in choices if isinstance(choice, Mapping)]
    flat = _flat(event)
    return [flat] if any(name in flat for name in (*_ID_FIELDS, *_TEXT_FIELDS)) else []


def ids_in(part: Mapping[str, Any]) -> list[int] | None:
    """Return the ids of an answer's part, None where it names none.

    >>> ids_in({"token_ids": [5], "text": "a"}), ids_in({"tokens": ["a"]}), ids_in({"text": "a"})
    ([5], None, None)
    """
    for name in _ID_FIELDS:
        ids = part.get(name)
        # llama.cpp has an empty list of tokens where nobody asked for them.
        if isinstance(ids, list) and (ids or name != "tokens") and all(map(_is_id, ids)):
            return ids
    return None


def text_in(part: Mapping[str, Any]) -> str:
    """Return the text of an answer's part.

    >>> text_in({"content": [{"type": "text", "text": "a"}]}), text_in({"text": None})
    ('a', '')
    """
    for name in _TEXT_FIELDS:
        text = part.get(name)
        if isinstance(text, str):
            return text
        if isinstance(text, list):
            return "".join(text_in(each) for each in text if isinstance(each, Mapping))
    return ""


def error_in(event: Mapping[str, Any]) -> str | None:
    """Return what a server says went wrong, None where nothing did.

    >>> error_in({"error": {"message": "no such model", "code": 404}}), error_in({"detail": "Not Found"})
    ('no such model', 'Not Found')
    """
    error, kind = event.get("error"), event.get("object")
    if isinstance(error, Mapping):
        return str(error.get("message") or as_shown(dict(error)))
    if error is not None and not (isinstance(error, (bool, int, str, list)) and not error):
        return str(error)
    if isinstance(kind, str) and kind == "error":
        return str(event.get("message"))
    if "detail" in event and not parts_of(event):
        return event["detail"] if isinstance(event["detail"], str) else as_shown(event["detail"])
    return None


def as_shown(value: Any) -> str:
    """Return a value as JSON for a message, or as Python shows it where JSON cannot hold it.

    >>> as_shown({"a": None}), as_shown([b"a"])
    ('{"a": null}', "[b'a']")
    """
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return reprlib.repr(value)


def response_id_in(event: Mapping[str, Any]) -> str | int | None:
    """Return the id of the response that an event belongs to, None where it has none.

    >>> response_id_in({"id": "cmpl-1"}), response_id_in({"meta_info": {"id": "r"}}), response_id_in({})
    ('cmpl-1', 'r', None)
    """
    meta = event.get("meta_info")
    found = event.get("id", meta.get("id") if isinstance(meta, Mapping) else None)
    return found if isinstance(found, (str, int)) else None


def reached_limit_in(event: Mapping[str, Any]) -> bool:
    """Say whether a server ended an answer because it was as long as it may be, not because the model had ended it.

    >>> reached_limit_in({"choices": [{"text": "", "finish_reason": "length"}]}), reached_limit_in({"stop_type": "eos"})
    (True, False)
    """
    return any(reason in _LIMITS for part in (event, *parts_of(event)) for reason in _reasons_in(part))


def was_aborted_in(part: Mapping[str, Any]) -> bool:
    """Say whether a server gave an answer up.

    >>> was_aborted_in({"finish_reason": "abort"}), was_aborted_in({"finish_reason": "stop"})
    (True, False)
    """
    return any(reason in _ABORTS for reason in _reasons_in(part))


def says_more_comes(part: Mapping[str, Any], *, is_stream: bool) -> bool:
    """Say whether a server marks a part of an answer as one that is not the last: the last will have a mark, too.

    Args:
        part: one of `parts_of`.
        is_stream: whether it came in a stream: some servers write no reason into whole answers.

    >>> says_more_comes({"done": False}, is_stream=False), says_more_comes({"text": "a"}, is_stream=True)
    (True, False)
    >>> [says_more_comes({"finish_reason": None}, is_stream=is_stream) for is_stream in (False, True)]
    [False, True]
    """
    if part.get("stop") is False or part.get("done") is False:
        return True
    names = (*_REASON_FIELDS, "generated_text")
    has_mark = any(name in place for place in _places_of(part) for name in names)
    return is_stream and has_mark and _ending_of(part) == "no"


def endings_in(event: Mapping[str, Any]) -> list[Ending]:
    """Return whether each of `parts_of` is the last of its answer; of an event without parts, whether it ends one.

    >>> endings_in({"choices": [{"text": "a", "finish_reason": None}, {"text": "b", "finish_reason": "stop"}]})
    ['no', 'perhaps']
    >>> endings_in({"generated_text": "a"}), endings_in({"done": True})
    (['perhaps'], ['yes'])
    """
    choices = event.get("choices")
    if not isinstance(choices, list):
        return [_ending_of(event)]
    # A stream's choices have a delta, whole ones a message.
    return [
        "perhaps" if isinstance(choice.get("message"), Mapping) else _ending_of(choice)
        for choice in choices
        if isinstance(choice, Mapping)
    ]


def is_chunk(event: Mapping[str, Any]) -> bool:
    """Say whether an event is a piece of a stream, by what OpenAI's servers call it.

    >>> is_chunk({"object": "chat.completion.chunk"}), is_chunk({"choices": [{"delta": {}}]}), is_chunk({"text": "a"})
    (True, True, False)
    """
    choices = event.get("choices")
    has_delta = isinstance(choices, list) and any(
        isinstance(each, dict) and "delta" in each for each in choices
    )
    return has_delta or str(event.get("object", "")).endswith(".chunk")


def _ending_of(part: Mapping[str, Any]) -> Ending:
    if part.get("stop") is True or part.get("done") is True:
        return "yes"
    if part.get("generated_text") is not None:
        # TGI's last token brings the whole text with it.
        return "yes" if "token" in part else "perhaps"
    return "perhaps" if _reasons_in(part) else "no"


def _reasons_in(part: Mapping[str, Any]) -> list[str]:
    """Return why an answer ended, empty while it goes on."""
    if _REASON_NAMES.isdisjoint(part):
        return []
    found = [
        place[name] for place in _places_of(part) for name in _REASON_FIELDS if place.get(name) is not None
    ]
    reasons = [each.get("type") if isinstance(each, Mapping) else each for each in found]
    return [each for each in reasons if isinstance(each, str) and each not in _NO_REASONS]


def _places_of(part: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return where a reason may stand."""
    inner = [part[name] for name in _REASON_PLACES if name in part]
    return [part, *(each for each in inner if isinstance(each, Mapping))]


def is_bookkeeping(event: Mapping[str, Any]) -> bool:
    """Say whether an event without an answer loses nothing.

    >>> is_bookkeeping({"usage": {"total_tokens": 3}}), is_bookkeeping({"audio": "…"})
    (True, False)
    """
    return all(name in _BOOKKEEPING for name in event)


def is_list_of_mappings(value: Any) -> bool:
    """Say whether a value may be the answers to one prompt.

    >>> is_list_of_mappings([{"generated_text": "a"}]), is_list_of_mappings([5]), is_list_of_mappings([])
    (True, False, False)
    """
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _is_id(value: Any) -> bool:
    return type(value) is int and -_BEYOND_IDS <= value < _BEYOND_IDS


def _flat(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a part with what it says in a message, a piece of one, or TGI's token lifted to the top."""
    flat = dict(part)
    for name in ("message", "delta", "token"):
        inner = flat.pop(name, None)
        if isinstance(inner, Mapping):
            is_token = name == "token" and type(inner.get("id")) is int
            flat |= (
                {"token_ids": [inner["id"]], "text": inner.get("text")} if is_token else _without_nulls(inner)
            )
    return flat


def _without_nulls(part: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in part.items() if value is not None}
