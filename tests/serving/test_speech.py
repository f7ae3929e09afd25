"""POST /v1/audio/speech: a text to the sound of what a source writes, as it comes."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import threading

import httpx2
import numpy as np
import pytest
import soundfile as sf
from served import QUICK, eventually, heard, same

import snac_tok.serving
from snac_tok import SnacTokenizer, read_audio
from snac_tok.errors import MissingDependencyError, ServingError, TokenError
from snac_tok.serving import Limits, SpeechRequest, create_app
from snac_tok.serving.gate import Visit
from snac_tok.serving.problems import client_left, shutting_down
from snac_tok.serving.requirements import missing
from snac_tok.serving.sound_formats import sound_format

pytestmark = pytest.mark.filterwarnings("ignore::snac_tok.errors.LostSpeechWarning")


@pytest.mark.law(5)
def test_every_format_has_the_sound_of_the_whole_decoded_at_once(serve, talking, whole):
    """PCM, WAV and FLAC sample for sample; Opus, which loses, as long."""
    server = serve(talking)
    wanted = whole(1)
    same(heard(server.speak("1", response_format="pcm").content), wanted)
    answer = server.speak("1")
    assert answer.headers["content-type"] == "audio/wav"
    same(heard(answer.content[44:]), wanted)
    assert answer.content[:4] == b"RIFF"
    flac = server.speak("1", response_format="flac")
    samples, rate = sf.read(io.BytesIO(flac.content), dtype="int16")
    assert rate == 24_000
    same(samples.astype(np.int64), wanted)
    opus = server.speak("1", response_format="opus")
    assert opus.headers["content-type"] == "audio/ogg;codecs=opus"
    assert read_audio(opus.content).num_samples == wanted.size


def test_events_carry_the_same_sound(serve, talking, whole):
    """OpenAI's `stream_format: sse`: deltas in base64, then one that says it is done."""
    answer = serve(talking).speak("2", response_format="pcm", stream_format="sse")
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    same(heard(b"".join(base64.b64decode(event["audio"]) for event in events[:-1])), whole(2))
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["output_tokens"] > 42


def test_sound_is_sent_before_the_source_has_finished(serve, speech, whole):
    """The source waits until the client has heard something."""
    has_heard = threading.Event()

    async def source(_):
        ids = speech(3, 12)
        yield ids[:42]
        await asyncio.to_thread(has_heard.wait, 10)
        yield ids[42:]

    server = serve(source)
    body = {"input": "x", "response_format": "pcm"}
    with server.client.stream("POST", "/v1/audio/speech", json=body) as answer:
        parts = []
        for part in answer.iter_bytes():
            parts.append(part)
            has_heard.set()
    same(heard(b"".join(parts)), whole(3, 12))
    assert server.metric("snac_tok_frames_decoded_total") == 12
    assert server.metric("snac_tok_first_audio_seconds_count") == 1
    eventually(lambda: server.metric("snac_tok_streams_open"), 0)


def test_a_source_gets_what_the_client_asked_for_and_may_yield_text(serve, tok, speech, whole):
    """Text, voice and model; tokens as text, cut anywhere."""
    seen = []

    async def source(request):
        seen.append(request)
        text = "Sure! " + tok.vocabulary.ids_to_text([128257, *speech(4), 128258])
        for at in range(0, len(text), 11):
            yield text[at : at + 11]

    answer = serve(source).speak(" Good morning. ", voice="tara", response_format="pcm")
    same(heard(answer.content), whole(4))
    assert seen == [SpeechRequest(text="Good morning.", voice="tara", model="m")]


def test_a_listener_who_leaves_closes_the_source(serve, speech):
    """At once, not when it has finished."""
    closed = threading.Event()

    async def source(_):
        try:
            while True:
                for frame in range(0, 42, 7):
                    yield speech(1)[frame : frame + 7]
                    await asyncio.sleep(0.002)
        finally:
            closed.set()

    server = serve(source)
    with server.client.stream("POST", "/v1/audio/speech", json={"input": "x"}) as answer:
        next(answer.iter_bytes())
    assert closed.wait(5)
    eventually(lambda: server.metric('snac_tok_errors_total{reason="client_left"}'), 1)


JSON = {"content-type": "application/json"}
BAD = [
    ({"input": ""}, "invalid_request", "input is empty; send the text to speak."),
    ({}, "invalid_request", "'input' is missing."),
    ({"input": 5}, "invalid_request", "'input' is '5': input should be a valid string."),
    ({"input": "x" * 4097}, "invalid_request", "4,096 at most are spoken"),
    ({"input": "1", "speed": 2.0}, "invalid_request", "speed is 2"),
    ({"input": "1", "instructions": "sing"}, "invalid_request", "instructions are not understood"),
    ({"input": "1", "response_format": "mp3"}, "unsupported_format", "'mp3' is not written here"),
    ({"input": "1", "temperature": 1}, "invalid_request", "'temperature' is no field"),
    ({"input": "1", "speed": float("nan")}, "invalid_request", "speed is nan"),
    ({"input": "\ud800"}, "invalid_request", "surrogate"),
    ({"input": "1", "stream_format": "x"}, "invalid_request", "'stream_format' is 'x'"),
]


def test_what_a_client_asks_wrongly_is_one_sentence(serve, talking):
    """In OpenAI's shape, with the status of a client's fault."""
    server = serve(talking)
    for body, code, sentence in BAD:
        data = json.dumps(body).encode()
        answer = server.client.post("/v1/audio/speech", content=data, headers=JSON)
        status, found, said = server.error(answer)
        assert (status, found) == (400, code)
        assert sentence in said
    for data in (b"{", b"[" * 50_000, b'{"input": NaN', b"\xff\xfe"):
        answer = server.client.post("/v1/audio/speech", content=data, headers=JSON)
        assert server.error(answer)[:2] == (400, "invalid_json")
    status, code, said = server.error(server.client.post("/v1/audio/speech", content=b"x"))
    assert "Content-Type: application/json" in said
    assert server.error(server.client.post("/v1/audio/speach"))[2].endswith(
        "Did you mean '/v1/audio/speech'?"
    )
    assert server.error(server.client.get("/v1/audio/speech"))[:2] == (405, "method_not_allowed")


def _source_of(*pieces):
    async def source(_):
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    return source


@pytest.mark.parametrize(
    ("pieces", "status", "code", "sentence"),
    [
        ([9906, 13], 502, "bad_speech", "there is no whole frame of 'orpheus' speech among 2 ids"),
        (["Hello! I cannot speak."], 502, "bad_speech", "no whole frame"),
        ([[128257, 128266, 132362, 7, 7, 7, 7, 7]], 502, "bad_speech", "id 7"),
        ([[152000, 156160, 160320]], 502, "bad_speech", "id"),
        ([[2**70]], 502, "bad_speech", "integer ids"),
        (
            [None],
            502,
            "bad_speech",
            "the source yielded what is neither ids nor text (NoneType); it must yield",
        ),
        ([b"<custom_token_10>"], 502, "bad_speech", "neither ids nor text (bytes)"),
        ([{"ids": [1]}], 502, "bad_speech", "neither ids nor text (dict)"),
        ([[[1], [1, 2]]], 502, "bad_speech", "neither ids nor text (list)"),
        ([TokenError("the model is out of ink.")], 502, "bad_speech", "the model is out of ink."),
        ([RuntimeError("secret")], 500, "internal_error", "the server failed inside (RuntimeError)"),
    ],
)
def test_what_goes_wrong_before_any_sound_is_an_answer(serve, pieces, status, code, sentence):
    """A status of its own and one sentence; what happened inside stays inside."""
    server = serve(_source_of(*pieces))
    found = server.error(server.speak("x"))
    assert found[:2] == (status, code)
    assert sentence in found[2]
    assert "secret" not in found[2]
    assert "validate(" not in found[2]
    eventually(lambda: server.metric(f'snac_tok_errors_total{{reason="{code}"}}'), 1)


def test_what_goes_wrong_later_is_no_whole_answer(serve, speech):
    """The connection ends without an end; among events the error is the last one."""
    server = serve(_source_of(speech(5)[:35], TokenError("the model broke.")))
    with pytest.raises(httpx2.RemoteProtocolError):
        server.speak("x")
    events = server.speak("x", stream_format="sse").text.strip().split("\n\n")
    assert len(events) > 1
    last = json.loads(events[-1].removeprefix("data: "))
    assert last["error"]["message"] == "the language model: the model broke."
    assert server.speak("x", response_format="flac").status_code == 502


def test_a_source_that_stands_still_is_left(serve, speech):
    """With a status where nothing was heard yet."""

    async def source(request):
        if request.text == "late":
            yield speech(1)
        await asyncio.sleep(60)
        yield 1

    server = serve(source, limits=QUICK)
    assert server.error(server.speak("never"))[:2] == (504, "source_silent")
    with pytest.raises(httpx2.RemoteProtocolError):
        server.speak("late")


def test_a_speech_may_have_so_many_tokens_and_a_request_so_much_time(serve):
    """Both end it."""

    async def source(_):
        while True:
            yield 9906
            await asyncio.sleep(0.001)

    limits = Limits(stream_tokens=100, total_seconds=0.5)
    status, code, said = serve(source, limits=limits).error(serve(source, limits=limits).speak("x"))
    assert (status, code, said) == (
        413,
        "too_many_tokens",
        "the stream has more than 100 tokens; begin another one.",
    )
    slow = serve(source, limits=Limits(total_seconds=0.3))
    assert slow.error(slow.speak("x"))[:2] == (408, "took_too_long")


def test_a_frame_that_is_not_whole_is_told_in_the_log(serve, speech, caplog):
    """The model was stopped inside a frame: the sound is that of the frames before."""
    server = serve(_source_of(speech(6)[:-3]))
    with caplog.at_level("INFO", logger="snac_tok.serving.requests"):
        assert server.speak("private words").status_code == 200
        eventually(lambda: any("left_out" in record.getMessage() for record in caplog.records), True)
    line = json.loads(
        next(record.getMessage() for record in caplog.records if "left_out" in record.getMessage())
    )
    assert line["left_out"] == "the last 4 ids are no whole frame."
    assert line["path"] == "/v1/audio/speech"
    assert (line["status"], line["tokens"]) == (200, 39)
    assert line["audio_seconds"] > 0
    assert not any("private" in record.getMessage() for record in caplog.records)


def test_damaged_ids_are_repaired_where_the_server_was_told_to(serve, tok, speech):
    """As `on_error` says, and equal to what the tokenizer makes of them."""
    damaged = np.delete(speech(7), 17).tolist()
    server = serve(_source_of(damaged, [128258]), on_error="conceal")
    wanted = tok.decode(damaged, on_error="conceal").samples[0]
    found = heard(server.speak("x", response_format="pcm").content)
    same(found, np.clip(np.round(wanted * 32768), -32768, 32767).astype(np.int64))


def test_a_step_that_fails_ends_its_streams_and_not_the_server(serve, talking, whole, monkeypatch):
    """Out of memory, for example."""
    server = serve(talking)
    streams = server.app.state.service.decoder._streams
    step = streams.step

    def failing():
        monkeypatch.setattr(streams, "step", step)
        raise MemoryError

    monkeypatch.setattr(streams, "step", failing)
    assert server.error(server.speak("1"))[:2] == (500, "internal_error")
    same(heard(server.speak("1", response_format="pcm").content), whole(1))
    assert len(streams) == 0


def test_without_a_source_the_rest_is_served(serve):
    """And it says how to have one."""
    server = serve()
    assert server.error(server.speak("x"))[:2] == (501, "no_source")
    assert server.client.get("/ready").json()["preset"] == "orpheus"
    assert server.client.get("/health").json()["status"] == "ok"


def test_a_source_that_is_not_there_makes_the_server_not_ready(serve):
    """`/ready` asks it, `/health` does not."""

    class Source:
        def __call__(self, _request):
            return _source_of(1)(_request)

        async def ready(self):
            raise ServingError("the source sleeps.")

    server = serve(Source())
    assert server.client.get("/health").status_code == 200
    assert server.client.get("/ready").status_code != 200


def test_what_cannot_be_served_is_refused_when_the_application_is_made(tok):
    """Parallel rows, an empty key, limits that are none."""
    with pytest.raises(TokenError, match="parallel rows"):
        create_app(SnacTokenizer(tok.codec, "mini-omni"))
    with pytest.raises(ServingError, match="API key is empty"):
        create_app(tok, api_key=" ")
    with pytest.raises(ServingError, match="clients is 0; a whole number above 0"):
        Limits(clients=0)
    with pytest.raises(ServingError, match="idle_seconds is nan"):
        Limits(idle_seconds=float("nan"))
    assert Limits(grace_seconds=0) != QUICK


def test_opus_is_refused_at_rates_that_it_has_not():
    """The codecs of 32 and 44.1 kHz."""
    with pytest.raises(ServingError, match="Opus has no rate of 32000 Hz"):
        sound_format("opus", 32_000)


def test_a_visit_that_is_stopped_late_or_twice_keeps_its_first_reason():
    """The time was over before the client left."""

    async def run(visit, seconds):
        async with visit.within():
            try:
                await asyncio.sleep(seconds)
            finally:
                visit.stop(client_left())

    async def late():
        await run(Visit(Limits(total_seconds=0.01)), 5)

    async def twice():
        visit = Visit(Limits())
        visit.stop(shutting_down())
        await run(visit, 0)

    with pytest.raises(ServingError, match=r"took longer than 0\.01 seconds"):
        asyncio.run(late())
    with pytest.raises(ServingError, match="shutting down"):
        asyncio.run(twice())


def test_a_missing_package_is_one_sentence(monkeypatch):
    """With the extra to install; other modules' errors stay what they are."""
    error = missing(ModuleNotFoundError("No module named 'fastapi'", name="fastapi"))
    assert isinstance(error, MissingDependencyError)
    assert str(error) == "serving needs fastapi, which is not installed: install snac_tok's extra 'serve'."
    assert "install snac_tok's extra 'hf'" in str(missing(ModuleNotFoundError("x", name="transformers")))
    other = ModuleNotFoundError("x", name="x")
    assert missing(other) is other
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "snac_tok.serving.metrics")
    for name in ("app", "service"):
        monkeypatch.delitem(sys.modules, f"snac_tok.serving.{name}")
    monkeypatch.delattr(snac_tok.serving, "create_app", raising=False)
    with pytest.raises(MissingDependencyError, match="serving needs prometheus_client"):
        _ = snac_tok.serving.create_app
