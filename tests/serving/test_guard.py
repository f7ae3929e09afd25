"""Who is let in, and what is refused before anything is made of it."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time

import httpx2
import pytest
from served import QUICK, eventually, heard, same

from snac_tok.errors import ServingError
from snac_tok.serving import Limits, create_app
from snac_tok.serving.server import listening_socket

JSON = {"content-type": "application/json"}


def test_a_key_is_asked_for_where_there_is_one(serve, talking):
    """As a bearer token, everywhere but where load balancers look."""
    server = serve(talking, api_key="secret")
    for headers, sentence in (
        ({}, "the API key is missing; send it in the header `Authorization: Bearer KEY`."),
        ({"Authorization": "Bearer sesame"}, "the API key is not the server's"),
        ({"Authorization": "Basic secret"}, "the API key is not the server's"),
        ({"Authorization": "Bearer secr\u00e9t".encode("latin-1")}, "the API key is not the server's"),
    ):
        answer = server.client.post("/v1/audio/speech", json={"input": "1"}, headers=headers)
        assert server.error(answer)[:2] == (401, "invalid_api_key")
        assert sentence in server.error(answer)[2]
        assert answer.headers["www-authenticate"] == "Bearer"
    assert server.client.get("/metrics").status_code == 401
    assert server.client.get("/health").status_code == 200
    assert server.client.get("/ready").status_code == 200
    server.client.headers["Authorization"] = "Bearer secret"
    assert server.speak("1").status_code == 200


def test_scripts_of_other_peoples_pages_are_refused(serve, talking):
    """Those of this machine and those named may ask."""
    server = serve(talking, allow_origins=["https://example.org"])
    for origin, status in (
        ("https://example.com", 403),
        ("https://example.org.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("https://example.org", 200),
        ("http://localhost:3000", 200),
    ):
        answer = server.client.post("/v1/audio/speech", json={"input": "1"}, headers={"Origin": origin})
        assert answer.status_code == status
    preflight = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    # Browsers ask first, without the key, and show scripts what was refused only with the header.
    locked = serve(talking, allow_origins=["https://example.org"], api_key="secret")
    for each in (server, locked):
        assert each.client.options("/v1/audio/speech", headers=preflight).status_code == 200
    refused = locked.client.post("/v1/audio/speech", headers={"Origin": "https://example.org"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://example.org"


@pytest.mark.parametrize(
    ("named", "origin"),
    [
        ((), "http://localhost:3000"),
        ((), "http://127.0.0.1:8000"),
        ((), "http://[::1]:8000"),
        (("https://example.org",), "https://localhost"),
        (("https://Example.org/",), "https://example.org"),
    ],
)
def test_pages_that_may_ask_can_read_the_answer(serve, talking, named, origin):
    """A browser keeps an answer from a script unless it names the page; those of this machine are named unasked."""
    server = serve(talking, allow_origins=named)
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for answer in (
        server.client.options("/v1/audio/speech", headers={"Origin": origin} | preflight),
        server.client.post("/v1/audio/speech", json={"input": "1"}, headers={"Origin": origin}),
        server.client.get("/ready", headers={"Origin": origin}),
    ):
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == origin
    for other in ("https://example.com", "http://localhost.example.com", "http://localhost:80@example.com"):
        answer = server.client.get("/ready", headers={"Origin": other})
        assert answer.status_code == 403
        assert "access-control-allow-origin" not in answer.headers


def test_a_star_is_no_page(tok):
    """It would open a server on this machine to whatever page its user visits."""
    with pytest.raises(ServingError, match=re.escape('"*" would let the scripts of every page ask; name')):
        create_app(tok, allow_origins=["*"])


def test_more_clients_than_there_is_room_for_are_told_when_to_come_again(serve, speech, whole):
    """And those inside do not notice."""
    inside, may_go_on = threading.Event(), threading.Event()

    async def source(_):
        yield speech(1)[:21]
        inside.set()
        await asyncio.to_thread(may_go_on.wait, 10)
        yield speech(1)[21:]

    server = serve(source, limits=Limits(clients=1))
    found = []
    thread = threading.Thread(target=lambda: found.append(server.speak("x", response_format="pcm")))
    thread.start()
    assert inside.wait(10)
    answer = server.speak("y")
    assert server.error(answer)[:2] == (503, "overloaded")
    assert answer.headers["retry-after"] == "1"
    assert server.client.get("/health").status_code == 200
    may_go_on.set()
    thread.join()
    same(heard(found[0].content), whole(1))
    eventually(lambda: server.speak("y").status_code, 200)


def _answer_to(server, data, *, later=b"", seconds=5):
    """What a raw connection gets back for some bytes, and more after the first answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as raw:
        raw.sendall(data)
        found = b""
        if later:
            found = raw.recv(65536)
            raw.sendall(later)
        try:
            while part := raw.recv(65536):
                found += part
        except ConnectionResetError:
            pass
        return found


def test_bodies_that_are_too_large_or_never_come(serve, talking):
    """A header that says so is enough; one that lies is found out, with or without a length."""
    server = serve(talking, limits=QUICK)
    large = b"[" + b"1," * (1 << 20) + b"1]"
    assert server.error(server.client.post("/decode", content=large, headers=JSON))[:2] == (
        413,
        "body_too_large",
    )
    parts = (large[at : at + 65536] for at in range(0, len(large), 65536))
    assert server.error(server.client.post("/decode", content=parts, headers=JSON))[:2] == (
        413,
        "body_too_large",
    )
    head = b"POST /decode HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    said = _answer_to(server, head + b"Content-Length: 99999999999\r\n\r\n")
    assert b" 413 " in said
    begin = time.monotonic()
    said = _answer_to(server, head + b'Content-Length: 500\r\n\r\n{"ids": [')
    assert b" 408 " in said
    assert b"nothing of the body came for 0.4 seconds" in said
    assert time.monotonic() - begin < 3
    assert b" 400 " in _answer_to(server, head + b"Content-Length: -5\r\n\r\n{}")
    assert b" 400 " in _answer_to(server, b"no HTTP at all\r\n\r\n")
    assert server.speak("1").status_code == 200


def test_a_connection_that_asks_for_nothing_is_closed(serve):
    """Before, in the middle of, and between requests."""
    server = serve(limits=QUICK)
    health = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    for data, later in ((b"", b""), (b"POST /deco", b""), (health, b"GET /he")):
        begin = time.monotonic()
        said = _answer_to(server, data, later=later)
        assert time.monotonic() - begin < 3
        assert said.startswith(b"HTTP/1.1 200" if data.startswith(b"GET") else b"")
    eventually(lambda: len(server.server.server_state.connections) <= 1, True)


def test_two_requests_over_one_connection(serve):
    """It stays open as long as it is used."""
    server = serve()
    port = []
    for _ in range(3):
        with server.client.stream("GET", "/health") as answer:
            answer.read()
            port.append(answer.extensions["network_stream"].get_extra_info("client_addr"))
        time.sleep(0.3 * QUICK.idle_seconds)
    assert len(set(port)) == 1


def test_a_listener_who_takes_nothing_is_left(serve, speech):
    """Its source is closed, and what it did not take is dropped."""
    closed = threading.Event()

    async def source(_):
        try:
            while True:
                yield speech(1)
        finally:
            closed.set()

    server = serve(source, limits=QUICK)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        body = b'{"input": "x"}'
        raw.sendall(
            b"POST /v1/audio/speech HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        assert closed.wait(10)
        eventually(lambda: server.metric('snac_tok_errors_total{reason="client_stalled"}'), 1)
        eventually(lambda: len(server.server.server_state.connections), 1)  # the one of this question


def test_a_port_in_use_and_a_host_that_is_none():
    """One sentence each."""
    with listening_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServingError, match=rf"port {port} of 127.0.0.1 cannot be used \(Address already in use\)"
        ):
            listening_socket("127.0.0.1", port)
    with pytest.raises(ServingError, match=r"no host 'no\.such\.host\.invalid'"):
        listening_socket("no.such.host.invalid", 0)


def test_metrics_and_the_names_of_requests(serve, talking):
    """What docs/serving.md lists is there; each answer has a name."""
    server = serve(talking)
    assert len(server.speak("1").headers["x-request-id"]) == 32
    text = server.client.get("/metrics").text
    for name in (
        "snac_tok_streams_open",
        "snac_tok_frames_decoded_total",
        "snac_tok_first_audio_seconds_bucket",
        "snac_tok_real_time_factor_bucket",
        "snac_tok_step_seconds_bucket",
        "snac_tok_step_streams_bucket",
        'snac_tok_requests_total{path="/v1/audio/speech",status="200"}',
    ):
        assert name in text
    assert server.client.get("/<script>").status_code == 404
    assert "script" not in server.client.get("/metrics").text


def test_a_server_under_a_path_of_a_proxys_is_the_same(tok):
    """As `uvicorn --root-path` does it: its path comes first in each request's."""
    app = create_app(tok, api_key="secret")

    async def answers():
        transport = httpx2.ASGITransport(app, root_path="/speech")
        async with httpx2.AsyncClient(transport=transport, base_url="http://x/speech") as client:
            key = {"Authorization": "Bearer secret"}
            return await client.get("/health"), await client.get("/stream", headers=key)

    health, without_upgrade = asyncio.run(answers())
    assert health.status_code == 200
    assert without_upgrade.json()["error"]["message"].startswith("/stream is a WebSocket")
