"""What a stream of speech may be fed with, and one sentence for anything else."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.masked import refuse_masked

_BYTES = (bytes, bytearray, memoryview)
_OF_BYTES = "a server's answer goes through response_tokens, other bytes through .decode()"
_BEYOND_INT64 = 1 << 63
_NUMPY_UNREADABLE = (TypeError, ValueError, RuntimeError)


def check_source(tokens: Any, *, may_be_asynchronous: bool) -> None:
    """Refuse what tokens cannot be taken from, or would be misread.

    Raises:
        TokenError: saying what it is and where it goes.
    """
    if may_be_asynchronous and isinstance(tokens, AsyncIterable):
        return
    if advice := _advice(tokens):
        raise TokenError(f"tokens are ids or pieces of text, one after the other; got {advice}.")


def _advice(tokens: Any) -> str | None:
    """Return what a source is and what to do with it, None where it is a good one."""
    name = type(tokens).__name__
    if isinstance(tokens, AsyncIterable) and not isinstance(tokens, Iterable):
        return f"{name}: an asynchronous source goes to astream_audio"
    if inspect.isawaitable(tokens):
        return f"{name}: await it first, and hand over what it returns"
    if isinstance(tokens, _BYTES):
        return f"{name}: {_OF_BYTES}"
    if isinstance(tokens, Mapping):
        return f"{name}: {_of_mapping(tokens)}"
    # Not iter(tokens): a source may begin its work there. An array without a dimension says that it can be iterated.
    can_be_read = isinstance(tokens, Iterable) or hasattr(type(tokens), "__getitem__")
    if can_be_read and getattr(tokens, "ndim", None) != 0:
        return None
    return f"{name}: call it, and hand over what it returns" if inspect.isroutine(tokens) else name


def check_text(text: Any) -> None:
    """Refuse what is no text.

    Raises:
        TokenError: saying where it goes.
    """
    if not isinstance(text, str):
        advice = _OF_BYTES if isinstance(text, _BYTES) else "ids go to SpeechStream.push"
        raise TokenError(f"push_text takes a piece of text, got {type(text).__name__}: {advice}.")


def integer_line(ids: Any) -> np.ndarray[Any, Any]:
    """Return one id, or a line of them, as an array (n,) of integers.

    Raises:
        TokenError: they are something else.
    """
    # Streams push one id at a time.
    if type(ids) is int and -_BEYOND_INT64 <= ids < _BEYOND_INT64:
        return np.array([ids])
    if isinstance(ids, Mapping):
        raise TokenError(
            f"speech is read from integer ids (n,), got {type(ids).__name__}: {_of_mapping(ids)}."
        )
    refuse_masked(ids, what="ids", error=TokenError)
    try:
        line = np.atleast_1d(np.asarray(ids.cpu() if hasattr(ids, "cpu") else ids))
    except _NUMPY_UNREADABLE as error:
        what = (
            "lists of unequal lengths"
            if isinstance(ids, (list, tuple))
            else f"a {type(ids).__name__} without values"
        )
        raise TokenError(
            f"speech is read from integer ids (n,), got {what}; hand over one line of ids."
        ) from error
    if line.ndim != 1 or (line.size and line.dtype.kind not in "iu"):
        raise TokenError(f"speech is read from integer ids (n,), got {_what_came(ids, line)}.")
    return line


def _of_mapping(found: Mapping[Any, Any]) -> str:
    if "input_ids" in found:
        return 'hand over one row of what is in its "input_ids"'
    return "an event of a server that a client has parsed goes to ResponseReader.event"


def _what_came(ids: Any, line: np.ndarray[Any, Any]) -> str:
    if line.dtype.kind == "S":
        return f"bytes: {_OF_BYTES}"
    if line.dtype.kind == "U":
        return "text: push_text takes a piece of it, and so does stream_audio"
    if line.dtype.kind != "O" or not line.size:
        return f"{line.dtype} {line.shape}"
    kind = type(line.flat[0]).__name__
    if kind == "int":
        return "a number of more than 64 bits, which is in no vocabulary"
    return f"a list of {kind}" if isinstance(ids, (list, tuple)) else type(ids).__name__
