"""What goes wrong, as clients are told it: one sentence in OpenAI's shape, a status, and a word for programs.

    {"error": {"message": "…", "type": "invalid_request_error", "code": "body_too_large"}}

The words are few and fixed, because metrics count by them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from snac_tok.errors import (
    AudioError,
    CodesError,
    LayoutError,
    ServingError,
    SnacTokError,
    TokenError,
    first_line,
)

_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}
# The library's advice, as patterns, and what it is in a request.
_ADVICE = (
    (r"; validate\(ids\) lists every fault", ""),
    (r"allow_truncated=True", "?allow_truncated=true"),
    (r"; hand over ids, or construct it with text=TextForm\(\.\.\.\)", "; send ids"),
    (r"(which ended the speech); .*", r"\1; a stream holds one speech."),
)
_FIRST_SERVER_ERROR = 500
# Of WebSockets: policy, bad data, too big, our failure, come again, going away.
_CLOSE_CODES = {400: 1007, 401: 1008, 403: 1008, 408: 1008, 413: 1009, 503: 1013}
_CLOSE_OF_OURS = 1011
GOING_AWAY = 1001


class RefusedError(ServingError):
    """A request that is not served, or not to its end.

    Attributes:
        status: of HTTP.
        code: the word for programs.
        retry_after: in how many seconds it may be asked again, None where that does not help.
    """

    def __init__(self, message: str, *, status: int, code: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after

    @property
    def body(self) -> dict[str, Any]:
        """The answer in OpenAI's shape."""
        kind = _TYPES.get(self.status) or (
            "server_error" if self.status >= _FIRST_SERVER_ERROR else "invalid_request_error"
        )
        return {"error": {"message": str(self), "type": kind, "code": self.code}}

    @property
    def content(self) -> bytes:
        """The same as bytes."""
        return json.dumps(self.body, ensure_ascii=False).encode("utf-8", errors="replace")

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of an answer."""
        retry = [] if self.retry_after is None else [(b"retry-after", str(self.retry_after).encode())]
        challenge = [(b"www-authenticate", b"Bearer")] if self.code == "invalid_api_key" else []
        length = str(len(self.content)).encode()
        return [(b"content-type", b"application/json"), (b"content-length", length), *retry, *challenge]

    @property
    def close_code(self) -> int:
        """What a WebSocket is closed with."""
        return GOING_AWAY if self.code == "shutting_down" else _CLOSE_CODES.get(self.status, _CLOSE_OF_OURS)


class CutOffError(RefusedError):
    """A language model that reached its limit of tokens before its speech ended; what it wrote is heard."""

    def __init__(self) -> None:
        super().__init__(
            "the speech is cut off: the language model reached its limit of tokens before it had ended it; send a "
            "shorter text.",
            status=502,
            code="cut_off",
        )


def not_found(sentence: str) -> RefusedError:
    """Return what is said where nothing is served, or not in this way."""
    return RefusedError(sentence, status=404, code="not_found")


def shutting_down() -> RefusedError:
    """Return what is said while the server stops."""
    return RefusedError(
        "the server is shutting down; ask again in a moment.",
        status=503,
        code="shutting_down",
        retry_after=5,
    )


def client_stalled(seconds: float) -> RefusedError:
    """Return what is noted where a client takes nothing of what is sent."""
    return RefusedError(
        f"the client took no sound for {seconds:g} seconds.", status=408, code="client_stalled"
    )


def client_left() -> RefusedError:
    """Return what is noted where nobody listens any more; 499 is nginx's number for it."""
    return RefusedError("the client has left.", status=499, code="client_left")


def refusal_of(error: Exception, *, of_source: bool = False) -> RefusedError:
    """Return any error as a refusal.

    Args:
        error: of ours, which says what a caller can do, or any other, which stays inside.
        of_source: whether the tokens that it is about are a language model's, not the client's.
    """
    if isinstance(error, RefusedError):
        return error
    if not isinstance(error, SnacTokError):
        return RefusedError(
            f"the server failed inside ({type(error).__name__}); its log names the request.",
            status=500,
            code="internal_error",
        )
    if of_source:
        return RefusedError(f"the language model: {_sentence(error)}", status=502, code="bad_speech")
    return RefusedError(_sentence(error), status=400, code=_code_of(error))


def _code_of(error: SnacTokError) -> str:
    kinds = (
        (AudioError, "unusable_sound"),
        (TokenError, "invalid_ids"),
        (CodesError, "invalid_codes"),
        (LayoutError, "invalid_preset"),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), "invalid_request")


def _sentence(error: SnacTokError) -> str:
    """Return the first line, with its advice for Python in the words of a request."""
    sentence = first_line(error)
    for advice, better in _ADVICE:
        sentence = re.sub(advice, better, sentence)
    return sentence
