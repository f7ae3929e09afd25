"""One line of JSON a request, without anything that a client wrote: no text, no sound, no ids."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
import uuid
from datetime import UTC, datetime
from typing import Any

REQUESTS = logging.getLogger("snac_tok.serving.requests")
# What is no request's.
SERVER = logging.getLogger("snac_tok.serving.server")
# The one path that is a WebSocket.
SOCKET_PATH = "/stream"
# A path that nobody serves is the client's words.
PATHS = frozenset(
    {"/v1/audio/speech", SOCKET_PATH, "/encode", "/decode", "/health", "/ready", "/metrics", "/openapi.json"}
)
_UNKNOWN = "other"
_DIGITS = 4


def path_of(scope: Any) -> str:
    """Return the path of a request, without the one that the application itself is served under."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path[len(root) :] if path.startswith(f"{root}/") else path


class RequestRecord:
    """What is noted of one request while it is served.

    Attributes:
        request_id: also sent to the client, as X-Request-ID.
        path: one of the server's, or "other".
        status: of HTTP, 101 for a WebSocket; 0 before there is one.
        reason: the word for what went wrong, None where nothing did.
    """

    def __init__(self, scope: Any) -> None:
        self.request_id = uuid.uuid4().hex
        path = path_of(scope)
        self.path = path if path in PATHS else _UNKNOWN
        self.status = 0
        self.reason: str | None = None
        self._client = (scope.get("client") or ("",))[0]
        self._begin = time.perf_counter()
        self._facts: dict[str, Any] = {}

    def add(self, **facts: Any) -> None:
        """Note figures."""
        self._facts |= {name: value for name, value in facts.items() if value is not None}

    def fail(self, reason: str, error: BaseException) -> None:
        """Note what went wrong; of a failure inside, where, and with its trace where logs of debugging are kept."""
        self.reason = reason
        if reason == "internal_error":
            inside = error.__cause__ or error
            self.add(error=place_of(inside))
            REQUESTS.debug("request %s failed", self.request_id, exc_info=inside)

    def write(self) -> None:
        """Log the line; where only health is asked for, at the level of debugging."""
        facts: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "request": self.request_id,
            "client": self._client,
            "path": self.path,
            "status": self.status,
            "seconds": time.perf_counter() - self._begin,
        }
        if self.reason is not None:
            facts["reason"] = self.reason
        is_probe = self.path in {"/health", "/ready", "/metrics"} and self.reason is None
        REQUESTS.log(logging.DEBUG if is_probe else logging.INFO, "%s", _line(facts | self._facts))


def place_of(error: BaseException) -> str:
    """Return where an error of ours happened; its message may hold what a client wrote."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _line(facts: dict[str, Any]) -> str:
    rounded = {
        name: round(value, _DIGITS) if isinstance(value, float) else value for name, value in facts.items()
    }
    return json.dumps(rounded)


class _Lines(logging.StreamHandler[Any]):
    """Writes to stdout; whoever read it may have gone, which is no reason to stop serving."""

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


class _JsonFormatter(logging.Formatter):
    """Makes a line of JSON of what the server and uvicorn say; the requests' lines are JSON already."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name == REQUESTS.name:
            return record.getMessage()
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return _line({"time": when, "level": record.levelname.lower(), "message": record.getMessage()})


class _Unfinished(logging.Filter):
    """Leaves out what uvicorn says of answers that we cut off on purpose: their own line has the reason."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.getMessage().startswith("ASGI callable returned without completing")


def log_as_json() -> None:
    """Send the requests' lines, and the warnings of the server and of uvicorn, to stdout."""
    handler = _Lines(sys.stdout)
    handler.setFormatter(_JsonFormatter())
    handler.addFilter(_Unfinished())
    warning = (SERVER, logging.getLogger("uvicorn.error"))
    for logger, level in ((REQUESTS, logging.INFO), *((each, logging.WARNING) for each in warning)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
