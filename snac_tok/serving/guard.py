"""What every request passes before anything is made of it: origin, key, room, and the size of its body.

origin ── key ── gate ── body, no longer and no slower than the limits ── the route ── one line of log
"""

from __future__ import annotations

import hashlib
import hmac
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from starlette.websockets import WebSocket

from snac_tok.errors import ServingError
from snac_tok.serving.problems import RefusedError, client_left, not_found, refusal_of
from snac_tok.serving.request_log import SOCKET_PATH, RequestRecord, path_of
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from snac_tok.serving.gate import Gate, Visit
    from snac_tok.serving.limits import Limits
    from snac_tok.serving.metrics import Metrics

_OPEN_PATHS = ("/health", "/ready")
# The origins of this machine's own pages.
LOOPBACK_ORIGINS = r"(?i)[a-z][a-z0-9+.-]*://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"


class Guard:
    """What stands in front of the routes; only the answers to browsers' preflights are given before it.

    Args:
        app: what is behind it.
        gate: who is let in.
        metrics: what is counted.
        api_key: what clients must send as a bearer token; None lets all in.
        allow_origins: pages, besides those of this machine, whose scripts may ask, as `as_origins` returns them.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        gate: Gate,
        metrics: Metrics,
        api_key: str | None,
        allow_origins: Iterable[str],
    ) -> None:
        self._app, self._gate, self._metrics = app, gate, metrics
        self._key = None if api_key is None else _digest(api_key.strip())
        self._origins = frozenset(allow_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, one WebSocket, or the server's beginning and end."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        record = RequestRecord(scope)
        answer = _Answer(record, send)
        scope.setdefault("state", {}).update(record=record, answer=answer)
        try:
            await self._served(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - the last stop: whatever happens becomes one sentence
            refusal = refusal_of(error)
            record.fail(refusal.code, error)
            await answer.refuse(refusal, scope, receive)
        finally:
            if record.reason is not None:
                self._metrics.errors.labels(record.reason).inc()
            self._metrics.requests.labels(record.path, str(record.status)).inc()
            record.write()

    async def _served(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        headers, path = dict(scope["headers"]), path_of(scope)
        self._check_origin(headers.get(b"origin"))
        if path not in _OPEN_PATHS:
            self._check_key(headers.get(b"authorization", b""))
        if scope["type"] == "websocket" and path != SOCKET_PATH:
            # The router would close it without a word.
            raise not_found(f"no WebSocket is served at {path[:80]!r}; connect to {SOCKET_PATH}.")
        with ExitStack() as inside:
            if scope["type"] == "websocket" or scope["method"] == "POST":
                visit = inside.enter_context(self._gate.admitted())
                scope["state"]["visit"] = visit
                if scope["type"] == "http":
                    largest = _largest_body(path, self._gate.limits)
                    async with visit.within():
                        receive = _replayed(await _body(receive, headers, largest, visit), receive)
            await self._app(scope, receive, answer.send)

    def _check_origin(self, origin: bytes | None) -> None:
        """Refuse scripts of other people's web pages, which a browser on this machine lets through."""
        if origin is None:
            return
        text = origin.decode("latin-1")
        if text not in self._origins and not re.fullmatch(LOOPBACK_ORIGINS, text):
            raise RefusedError(
                f"pages of {text[:100]!r} may not ask this server; start it with --allow-origin to let them.",
                status=403,
                code="forbidden_origin",
            )

    def _check_key(self, authorization: bytes) -> None:
        if self._key is None:
            return
        kind, _, key = authorization.decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(_digest(key.strip()), self._key):
            found = "is not the server's" if authorization else "is missing"
            raise RefusedError(
                f"the API key {found}; send it in the header `Authorization: Bearer KEY`.",
                status=401,
                code="invalid_api_key",
            )


def as_origins(pages: Iterable[str]) -> list[str]:
    """Return pages as browsers name them: in small letters, without a slash at the end.

    Raises:
        ServingError: "*", which would let every page that is open on this machine ask.

    Example:
        >>> as_origins(["https://Example.org/"])
        ['https://example.org']
    """
    origins = [page.strip().rstrip("/").lower() for page in pages]
    if "*" in origins:
        raise ServingError(
            '"*" would let the scripts of every page ask; name the pages that may, such as "https://example.org".'
        )
    return origins


class _Answer:
    """Knows what was sent already."""

    def __init__(self, record: RequestRecord, send: Send) -> None:
        self._record, self._send = record, send

    async def send(self, message: Message) -> None:
        """Send on, with the request's name among the headers."""
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._record.status = message["status"]
        elif message["type"] == "websocket.accept":
            self._record.status = 101
        if "headers" in message or message["type"] == "http.response.start":
            name = (b"x-request-id", self._record.request_id.encode())
            message = {**message, "headers": [*message.get("headers", []), name]}
        await self._send(message)

    async def refuse(self, refusal: RefusedError, scope: Scope, receive: Receive) -> None:
        """Send a refusal, if nothing was sent before; an answer that has begun ends without its end."""
        if self._record.status:
            return
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        if kind.startswith("websocket") and kind not in scope.get("extensions", {}):
            self._record.status = refusal.status
            await WebSocket(scope, receive, self._send).close(refusal.close_code)
            return
        await self.send({"type": f"{kind}.start", "status": refusal.status, "headers": refusal.headers})
        await self.send({"type": f"{kind}.body", "body": refusal.content})


def _largest_body(path: str, limits: Limits) -> int:
    return limits.body_bytes if path == "/encode" else limits.json_bytes


async def _body(receive: Receive, headers: dict[bytes, bytes], largest: int, visit: Visit) -> bytes:
    """Read a body.

    Raises:
        RefusedError: it is too large, stands still, or its client left.
    """
    too_large = RefusedError(
        f"the body has more than {counted(largest, 'byte')}; send less at once.",
        status=413,
        code="body_too_large",
    )
    said = headers.get(b"content-length", b"")
    if said.isdigit() and int(said) > largest:
        raise too_large
    silent = RefusedError(
        f"nothing of the body came for {visit.limits.idle_seconds:g} seconds; send all that the header announces.",
        status=408,
        code="idle",
    )
    body = bytearray()
    while True:
        message = await visit.moving(receive(), silent)
        if message["type"] == "http.disconnect":
            raise client_left()
        body += message.get("body", b"")
        if len(body) > largest:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    messages: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _digest(key: str) -> bytes:
    # Of equal length, so that comparing says nothing of the key's.
    return hashlib.sha256(key.encode()).digest()
