"""The process that serves: its socket, its signals, and the way it ends.

SIGTERM, SIGINT    no new requests; streams go on for the grace time, then they are told and closed
a second one       the grace time ends at once
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from snac_tok.errors import ServingError, first_line
from snac_tok.serving.request_log import log_as_json

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

    from snac_tok.serving.service import Service

# Uvicorn's own wait, after ours.
_LAST_SECONDS = 2
_BACKLOG = 256
# How long a connection may be there without a whole head of a request.
_REQUEST_SECONDS = 10.0
# The system is the last to lose patience, with connections whose last bytes nobody takes.
_SYSTEM_SECONDS = 15
# Almost three seconds of sound; connections take this over from the socket that listens.
_WAITING_BYTES = 1 << 17
# Connections that have no request yet, besides those that are served.
_SPARE_CONNECTIONS = 256


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes a free one.

    Raises:
        ServingError: the port is in use, or not allowed, or there is no such host.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ServingError(f"there is no host {host!r} here ({first_line(error)}).") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ServingError(
            f"port {port} of {host} cannot be used ({error.strerror or first_line(error)}); choose another with --port."
        ) from error
    return listener


def run_server(app: FastAPI, listener: socket.socket, *, on_start: Callable[[], None] = lambda: None) -> None:
    """Serve until the process is told to stop; a line of JSON a request goes to stdout.

    Args:
        app: as `create_app` made it.
        listener: from `listening_socket`.
        on_start: called when requests are taken.
    """
    log_as_json()
    server_of(app, listener, on_start=on_start).run(sockets=[listener])


def server_of(
    app: FastAPI, listener: socket.socket, *, on_start: Callable[[], None] = lambda: None
) -> uvicorn.Server:
    """Return uvicorn's server with our limits: its `run(sockets=[listener])` serves."""
    limits = app.state.service.limits
    _limit_what_waits(listener, limits.idle_seconds)
    server: _Server | None = None

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)
        record = scope.get("state", {}).get("record")
        if server is not None and record is not None and record.reason == "client_stalled":
            server.cut(scope["client"])

    config = uvicorn.Config(
        served,
        http=_protocol(min(limits.idle_seconds, _REQUEST_SECONDS)),
        ws="websockets-sansio",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=limits.json_bytes,
        ws_per_message_deflate=False,  # a small message may not become a large one
        limit_concurrency=limits.clients + _SPARE_CONNECTIONS,
        timeout_graceful_shutdown=_LAST_SECONDS,
    )
    server = _Server(config, app.state.service, on_start)
    return server


class _Server(uvicorn.Server):
    """Lets streams finish before uvicorn closes their connections."""

    def __init__(self, config: uvicorn.Config, service: Service, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._on_start = service, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._on_start()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._service.gate.emptied()
        await super().shutdown(sockets=sockets)

    def cut(self, client: Any) -> None:
        """Drop a connection with all that its client did not take, which a close would wait for."""
        connections: list[Any] = list(self.server_state.connections)
        for connection in connections:
            if connection.client == client:
                connection.transport.abort()

    def handle_exit(self, sig: int, frame: Any) -> None:  # noqa: ARG002 - uvicorn's signature
        # Uvicorn would raise the signal again at the end; a server that was asked to end and did has not failed.
        if self.should_exit:
            self._service.gate.hurry()
        self.should_exit = True


def _limit_what_waits(listener: socket.socket, seconds: float) -> None:
    """Let little sound wait in the system for a slow client, and close connections whose client takes nothing."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WAITING_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        milliseconds = min(int((seconds + _SYSTEM_SECONDS) * 1000), 2**31 - 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _protocol(seconds: float) -> type[H11Protocol]:
    """Return uvicorn's protocol, closing connections on which no request comes."""

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_request()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and self.cycle.response_complete:
                self._expect_request()

        def _expect_request(self) -> None:
            self.loop.call_later(seconds, self._close_if_silent, self.cycle)

        def _close_if_silent(self, before: Any) -> None:
            # A WebSocket has left this protocol, and is not among its connections.
            if self.cycle is before and self in self.connections:
                self.transport.abort()

    return Protocol
