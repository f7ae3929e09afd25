"""A source of somebody else's that never waits, or hangs or fails where it is closed: its own client alone notices."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from served import PATIENT, QUICK, eventually, heard, running, same

import snac_tok.serving.sources
from snac_tok.serving import Limits, create_app


class _Closing:
    """A source of one id a request, closed as a test wants it when the server stops."""

    def __init__(self, close):
        self.aclose = close

    async def __call__(self, _request):
        yield 1


async def _hang():
    await asyncio.Event().wait()


async def _fail():
    raise RuntimeError("private words")


@pytest.mark.parametrize("piece", ["word ", []])
def test_a_source_that_never_waits_leaves_the_others_their_turns(serve, piece):
    """It makes no sound either, so nothing else would interrupt it; its own client is told when its time is over."""
    begun = threading.Event()

    async def source(_):
        begun.set()
        while True:
            yield piece

    server = serve(source, limits=Limits(idle_seconds=10.0, total_seconds=2.0, grace_seconds=1.0))
    found = []
    thread = threading.Thread(target=lambda: found.append(server.error(server.speak("x"))), daemon=True)
    thread.start()
    assert begun.wait(10)
    assert server.client.get("/health").status_code == 200
    thread.join(20)
    assert found[0][:2] == (408, "took_too_long")


@pytest.mark.parametrize("times", [1, 2])
def test_a_source_that_hangs_while_it_is_closed_gives_its_place_back(serve, speech, caplog, times):
    """Its listener left; the log says that it could not be closed, and why. It may hang again when it is cancelled."""

    async def source(_):
        try:
            while True:
                yield speech(1)
        finally:
            try:
                await _hang()
            finally:
                if times > 1:
                    await _hang()

    server = serve(source, limits=Limits(clients=1, idle_seconds=1.0, grace_seconds=1.0))
    with server.client.stream("POST", "/v1/audio/speech", json={"input": "x"}) as answer:
        next(answer.iter_bytes())
    body = {"ids": speech(1)}
    eventually(lambda: server.client.post("/decode", json=body).status_code, 200, seconds=10)
    assert "the tokens of a request could not be closed: it took longer than 1 seconds" in caplog.messages


def test_a_source_that_is_silent_and_hangs_when_it_is_told_to_stop_is_left(serve):
    """Whoever waits for a worker that hangs may wait for it once more at its end."""

    async def source(_):
        try:
            await _hang()
            yield 1
        finally:
            await _hang()

    server = serve(source, limits=QUICK)
    assert server.error(server.speak("x"))[:2] == (504, "source_silent")


def test_a_refusal_does_not_wait_for_the_source_to_close(serve):
    """Its client is told at once; the place is given back when the source is closed."""

    class Slow:
        def __aiter__(self):
            return self

        async def __anext__(self):
            raise RuntimeError("no model")

        async def aclose(self):
            await asyncio.sleep(8)

    server = serve(lambda _: Slow(), limits=Limits(clients=1, idle_seconds=30.0, grace_seconds=1.0))
    start = time.monotonic()
    assert server.error(server.speak("x"))[0] == 500
    assert time.monotonic() - start < 6
    assert server.error(server.speak("x"))[1] == "overloaded"


@pytest.mark.parametrize("end", ["hang", "raise", "yield"])
def test_what_a_source_does_behind_its_speech_costs_no_sound(serve, speech, whole, end):
    """All of it is heard, to the end of the answer, before the source is closed."""

    async def source(_):
        try:
            yield [*speech(1), 128258]
            yield 1
        finally:
            if end == "hang":
                await _hang()
            elif end == "yield":
                yield 1
            else:
                await _fail()

    server = serve(source, limits=Limits(idle_seconds=2.0, total_seconds=20.0, grace_seconds=1.0))
    same(heard(server.speak("x", response_format="pcm").content), whole(1))
    assert server.metric('snac_tok_errors_total{reason="took_too_long"}') == 0


@pytest.mark.parametrize(
    ("close", "reason"), [(_hang, "it took longer than 0.2 seconds"), (_fail, "RuntimeError in _fail, line ")]
)
def test_a_source_cannot_keep_a_server_from_its_end(tok, caplog, monkeypatch, close, reason):
    """The server stops all the same, with one line and without the words of the exception."""
    monkeypatch.setattr(snac_tok.serving.sources, "_LAST_CLOSE_SECONDS", 0.2)
    with running(create_app(tok, source=_Closing(close), limits=PATIENT)) as server:
        assert server.client.get("/health").status_code == 200
    (line,) = [record for record in caplog.records if record.name == "snac_tok.serving.server"]
    assert line.getMessage().startswith(f"the source could not be closed: {reason}")
    assert "private" not in caplog.text


def test_a_source_that_never_says_whether_it_is_ready_is_not(serve):
    """One that cannot be asked is."""
    source = _Closing(_fail)
    server = serve(source, limits=QUICK)
    assert server.client.get("/ready").status_code == 200
    source.ready = _hang
    answer = server.client.get("/ready")
    assert server.error(answer)[:2] == (504, "source_silent")
    assert server.error(answer)[2] == "the language model did not say within 0.4 seconds whether it is ready."
