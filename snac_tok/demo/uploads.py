"""Only what a visitor gave is read: gradio would take any path that a request names for an uploaded file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Levels of lists and objects; a page's requests have few.
_MOST_DEPTH = 50


class UploadsAlone:
    """Refuses requests that name files outside the folder of uploads; an ASGI application around another.

    Args:
        app: is asked what is not refused.
        folder: where uploads are put.
        most_bytes: of a request that is no upload.
    """

    def __init__(self, app: ASGIApp, *, folder: str, most_bytes: int) -> None:
        self._app, self._folder, self._most_bytes = app, Path(folder), most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD"} or _is_form(scope):
            await self._app(scope, receive, send)
            return
        body = await _body(receive, most_bytes=self._most_bytes)
        if body is None or not _names_only(body, self._folder):
            await _refuse(scope, receive, send)
            return
        await self._app(scope, _again(body, receive), send)


def _is_form(scope: Scope) -> bool:
    """Whether the body is the content of files, which gradio takes at the address for uploads alone."""
    # With two headers of this name, who reads them may disagree about which one counts.
    kinds = [value for name, value in scope["headers"] if name.lower() == b"content-type"]
    is_upload = str(scope["path"]).rstrip("/").endswith("/upload")
    return is_upload and len(kinds) == 1 and bool(kinds[0].lower().startswith(b"multipart/form-data"))


async def _body(receive: Receive, *, most_bytes: int) -> bytes | None:
    """Return the whole body, None where it is too large or its client has gone."""
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if message["type"] != "http.request" or size > most_bytes:
            return None
        if not message.get("more_body", False):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read already, then what else comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return waiting.pop() if waiting else await receive()

    return receive_again


def _names_only(body: bytes, folder: Path) -> bool:
    """Whether every path in a body of JSON lies in a folder; what is no JSON names nothing."""
    try:
        found = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return not body.lstrip().startswith((b"{", b"["))
    layer, real = [found], folder.resolve()
    for _ in range(_MOST_DEPTH):
        if not all(_is_inside(value, real) for value in layer):
            return False
        layer = [inner for value in layer for inner in _inside(value)]
    return not layer


def _inside(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _is_inside(value: Any, folder: Path) -> bool:
    if not isinstance(value, dict) or value.get("path") is None:
        return True
    path = value["path"]
    try:
        return isinstance(path, str) and Path(path).resolve().is_relative_to(folder)
    except (OSError, ValueError, RuntimeError):
        return False


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    from starlette.responses import JSONResponse

    answer = JSONResponse(
        {"error": "This page reads what is uploaded to it, and no other file."}, status_code=403
    )
    await answer(scope, receive, send)
