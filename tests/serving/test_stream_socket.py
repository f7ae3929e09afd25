"""WS /stream: tokens in, sound out."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from socket import SHUT_RDWR, SO_RCVBUF, SOL_SOCKET
from socket import socket as Socket  # noqa: N812

import numpy as np
import pytest
from served import QUICK, eventually, heard, same
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from snac_tok.serving import Limits

pytestmark = pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")


@pytest.fixture
def server(serve):
    """Without a source, which it does not need."""
    return serve()


def _connected(server, **options):
    return connect(server.socket_url, proxy=None, **options)


def _all_of(socket):
    """Sound, and the JSON messages, to the close."""
    sound, said = b"", []
    try:
        while True:
            message = socket.recv(timeout=10)
            if isinstance(message, bytes):
                sound += message
            else:
                said.append(json.loads(message))
    except ConnectionClosed as closed:
        return sound, said, closed.rcvd.code if closed.rcvd else None


def _spoken(server, *messages):
    with _connected(server) as socket:
        for message in messages:
            socket.send(message if isinstance(message, str) else json.dumps(message))
        return _all_of(socket)


HEADER = {"sampling_rate": 24_000, "encoding": "pcm16", "channels": 1, "preset": "orpheus"}


@pytest.mark.parametrize("size", [1, 5, 7, 1000])
def test_ids_in_any_pieces_are_the_whole_decoded_at_once(server, speech, whole, size):
    """Behind the header, before a last word, closed as WebSockets are."""
    ids = speech(1)
    pieces = [{"ids": ids[at : at + size]} for at in range(0, len(ids), size)]
    sound, said, code = _spoken(server, *pieces, {"end": True})
    same(heard(sound), whole(1))
    assert said == [HEADER, {"done": True, "seconds": round(len(heard(sound)) / 24_000, 4), "left_out": None}]
    assert code == 1000


def test_text_and_an_end_of_speech(server, tok, speech, whole):
    """Tokens of text, cut anywhere; the end of speech ends the stream without the word."""
    text = "Hm: " + tok.vocabulary.ids_to_text([128257, *speech(2), 128258])
    sound, said, code = _spoken(server, *({"text": text[at : at + 13]} for at in range(0, len(text), 13)))
    same(heard(sound), whole(2))
    assert said[-1]["done"]
    assert code == 1000


def test_sound_comes_while_tokens_are_sent(server, speech, whole):
    """After 21 ids of the first frames, before the others are there."""
    with _connected(server) as socket:
        assert json.loads(socket.recv(timeout=10)) == HEADER
        socket.send(json.dumps({"ids": speech(3)[:21]}))
        first = socket.recv(timeout=10)
        assert len(first) > 1000
        socket.send(json.dumps({"ids": speech(3)[21:], "end": True}))
        rest, _, _ = _all_of(socket)
    same(heard(first + rest), whole(3))


WRONG = [
    (["{"], 1007, "invalid_json", "not JSON"),
    (
        ['{"ids": [1], "ids": [2]}'],
        1007,
        "invalid_json",
        "the message is not JSON: it has keys twice: ['ids'].",
    ),
    (["[1, 2]"], 1007, "invalid_request", "the message is no JSON object."),
    ([{}], 1007, "invalid_request", 'a message is {"ids"'),
    ([{"ids": [1.5]}], 1007, "invalid_request", "'ids.0' is '1.5'"),
    ([{"ids": [True]}], 1007, "invalid_request", "valid integer"),
    ([{"ids": [2**80]}], 1007, "invalid_ids", "integer"),
    (
        [{"ids": [-1, 2**63]}],
        1007,
        "invalid_ids",
        "'ids.1' is '9223372036854775808': an id is an integer of at most",
    ),
    (
        [{"ids": [-(2**63) - 1]}],
        1007,
        "invalid_ids",
        "'ids.0' is '-9223372036854775809': an id is an integer of at",
    ),
    ([{"words": "x"}], 1007, "invalid_request", "'words' is no field"),
    ([{"ids": [128266, 128266]}, {"end": True}], 1007, "invalid_ids", "slot 1"),
    ([{"ids": [128266, 999_999]}, {"end": True}], 1007, "invalid_ids", "999999"),
    ([{"ids": [128266, -7]}, {"end": True}], 1007, "invalid_ids", "-7"),
    ([{"ids": [128266, 132362, 136458]}, {"end": True}], 1007, "invalid_ids", "no whole frame"),
    ([{"text": "<|audio_0|><|audio_4096|>"}, {"end": True}], 1007, "invalid_ids", "no whole frame"),
    ([{"text": "<custom_token_99999999>"}, {"end": True}], 1007, "invalid_ids", "99999999"),
    ([{"end": True}], 1007, "invalid_ids", "among 0 ids"),
    ([{"ids": [1] * 400_000}], 1009, None, None),
]


def test_what_a_client_sends_wrongly_is_one_sentence_and_a_code(server):
    """The other streams do not notice."""
    for messages, close_code, code, sentence in WRONG:
        _, said, closed = _spoken(server, *messages)
        assert closed == close_code
        if code is not None:
            assert said[-1]["error"]["code"] == code
            assert sentence in said[-1]["error"]["message"]
    with _connected(server) as socket:
        socket.send(b"\x00\x01")
        _, said, closed = _all_of(socket)
    assert (said[-1]["error"]["code"], closed) == ("invalid_request", 1007)
    eventually(lambda: server.metric("snac_tok_streams_open"), 0)


@pytest.mark.parametrize(
    ("left", "sentence"),
    [(3, "the last 3 ids are no whole frame."), (1, "the last 1 id is no whole frame.")],
)
def test_half_a_frame_at_the_end_is_told(server, speech, left, sentence):
    """The frames in front of it sound."""
    sound, said, code = _spoken(server, {"ids": speech(4, 7)[: left - 7], "end": True})
    assert said[-1]["left_out"] == sentence
    assert len(heard(sound)) == 6 * 2048
    assert code == 1000


def test_a_client_that_sends_nothing_is_left(serve):
    """After the idle time, with a word."""
    server = serve(limits=QUICK)
    begin = time.monotonic()
    _, said, code = _spoken(server)
    assert time.monotonic() - begin < 3
    assert said == [HEADER, said[-1]]
    assert said[-1]["error"]["message"] == "the client sent nothing for 0.4 seconds."
    assert code == 1008


def test_a_client_that_never_reads_slows_down_nobody(serve, speech, whole):
    """It is left after the idle time; a stream beside it is served meanwhile."""
    server = serve(limits=Limits(idle_seconds=0.5))
    thread = threading.Thread(target=_send_for_ever, args=(server, speech(5, 100)), daemon=True)
    thread.start()
    sound, _, code = _spoken(server, {"ids": speech(6)}, {"end": True})
    same(heard(sound), whole(6))
    assert code == 1000
    eventually(lambda: server.metric('snac_tok_errors_total{reason="client_stalled"}'), 1, seconds=8)
    eventually(lambda: server.metric("snac_tok_streams_open"), 0)
    thread.join(10)


def _send_for_ever(server, ids):
    message = json.dumps({"ids": ids})
    with ExitStack() as stack:
        # Few bytes wait on the way.
        small = stack.enter_context(Socket())
        small.setsockopt(SOL_SOCKET, SO_RCVBUF, 4096)
        small.connect(("127.0.0.1", server.port))
        socket = stack.enter_context(_connected(server, sock=small, max_queue=1, close_timeout=0.1))
        try:
            while True:
                socket.send(message)
        except (ConnectionClosed, OSError):
            return


def test_a_client_that_vanishes_is_forgotten(server, speech):
    """Without a close; its stream goes."""
    with _connected(server, close_timeout=0.1) as socket:
        socket.send(json.dumps({"ids": speech(1)[:30]}))
        socket.recv(timeout=10)
        socket.socket.shutdown(SHUT_RDWR)
    eventually(lambda: server.metric("snac_tok_streams_open"), 0)
    eventually(lambda: server.metric('snac_tok_errors_total{reason="client_left"}'), 1)
    eventually(lambda: len(server.app.state.service.decoder._streams), 0)


def test_who_may_not_come_in_gets_a_status(serve):
    """Before the WebSocket is there: key, page, and room."""
    server = serve(api_key="secret", limits=Limits(clients=1))
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer secret", "Origin": "https://example.org"}, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            _connected(server, additional_headers=headers)
        assert refused.value.response.status_code == status
        assert set(json.loads(refused.value.response.body)) == {"error"}
    key = {"Authorization": "Bearer secret"}
    with _connected(server, additional_headers=key), pytest.raises(InvalidStatus) as refused:
        _connected(server, additional_headers=key)
    assert refused.value.response.status_code == 503
    assert refused.value.response.headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    ("path", "counted"), [("/health", "/health"), ("/encode", "/encode"), ("/nope", "other")]
)
def test_a_websocket_where_none_is_served_gets_a_status_and_a_sentence(server, path, counted):
    """It is counted as any other request."""
    with pytest.raises(InvalidStatus) as refused:
        connect(server.socket_url.replace("/stream", path), proxy=None)
    assert refused.value.response.status_code == 404
    error = json.loads(refused.value.response.body)["error"]
    assert (error["code"], error["message"]) == (
        "not_found",
        f"no WebSocket is served at {path!r}; connect to /stream.",
    )
    eventually(lambda: server.metric(f'snac_tok_requests_total{{path="{counted}",status="404"}}'), 1)
    eventually(lambda: server.metric('snac_tok_errors_total{reason="not_found"}'), 1)


def test_a_request_without_an_upgrade_is_told_that_it_is_a_websocket(server):
    """A proxy that drops the header looks like this."""
    for method in ("GET", "POST"):
        status, code, said = server.error(server.client.request(method, "/stream"))
        assert (status, code) == (404, "not_found")
        assert said == "/stream is a WebSocket; connect with ws://, and let a proxy pass `Upgrade` on."


def test_a_query_is_refused_and_not_passed_over(server):
    """A client that names a preset there would hear its ids as another's."""
    with connect(f"{server.socket_url}?preset=plain", proxy=None) as socket:
        _, said, closed = _all_of(socket)
    assert said[-1]["error"]["message"].startswith("'preset' is no field of this request; /stream takes none")
    assert closed == 1007


def test_many_streams_side_by_side_are_each_their_own(server, speech, whole):
    """Opened, fed and ended in turns."""
    seeds = range(10, 16)
    with ExitStack() as stack:
        sockets = [stack.enter_context(_connected(server)) for _ in seeds]
        for at in range(0, 42, 3):
            for socket, seed in zip(sockets, seeds, strict=True):
                socket.send(json.dumps({"ids": speech(seed)[at : at + 3], "end": at == 39}))
        for socket, seed in zip(sockets, seeds, strict=True):
            sound, _, _ = _all_of(socket)
            same(heard(sound), whole(seed))
    assert np.unique([whole(seed)[5000] for seed in seeds]).size > 1


def test_a_second_speech_in_one_stream_is_told_in_a_clients_words(server, speech):
    """It cannot reset a stream, nor choose how the server repairs."""
    ids = speech(1)
    _, said, _ = _spoken(server, {"ids": [*ids[:7], 128261, *ids[7:]]})
    assert said[-1]["error"]["message"] == (
        f"id {ids[7]} came after the special id 128261, which ended the speech; a stream holds one speech."
    )
