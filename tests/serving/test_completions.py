"""A language model behind an HTTP server, in the dialects of vLLM, SGLang and llama.cpp."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import uvicorn
from served import eventually, heard, same
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from snac_tok import preset
from snac_tok.errors import ServingError
from snac_tok.prompts import prompt_format
from snac_tok.serving import CompletionsSource

TEXT_IDS = [9906, 13]


class FakeServer:
    """Writes one answer to every request, a frame an event, and remembers what it was asked."""

    def __init__(self, answer, vocabulary):
        self.answer, self.vocabulary = answer, vocabulary
        self.asked = []
        self.status, self.body = 200, None
        self.break_after = None
        self.dies_after = None
        self.marks = {}
        self.never_ends = False
        self.reason = None
        self.num_closed = 0
        paths = {
            "/v1/completions": self.completions,
            "/completion": self.llama_cpp,
            "/tokenize": self.tokenize,
        }
        self.app = Starlette(
            routes=[
                *(Route(path, each, methods=["POST"]) for path, each in paths.items()),
                Route("/health", lambda _: JSONResponse({})),
            ]
        )

    async def tokenize(self, request):
        """Any text to the same ids."""
        asked = await request.json()
        self.asked.append(asked)
        assert asked["prompt"] == asked["content"]
        return JSONResponse({"tokens": TEXT_IDS})

    async def completions(self, request):
        """Ids: vLLM puts them into `token_ids`, SGLang into `response_token_ids`; both only where asked for."""
        asked = await request.json()

        def event(ids):
            choice = {"index": 0, "text": self.vocabulary.ids_to_text(ids)} | self.marks
            if asked.get("return_token_ids"):
                choice |= {"response_token_ids" if "ebnf" in asked else "token_ids": ids}
            return {"id": "cmpl-1", "choices": [choice]}

        return await self._stream(asked, event)

    async def llama_cpp(self, request):
        """Ids beside the text, where they are asked for."""
        asked = await request.json()

        def event(ids):
            tokens = ids if asked.get("return_tokens") else []
            return {"content": self.vocabulary.ids_to_text(ids), "tokens": tokens, "stop": False}

        return await self._stream(asked, event)

    async def _stream(self, asked, event):
        self.asked.append(asked)
        if self.body is not None:
            return JSONResponse(self.body, status_code=self.status)

        async def lines():
            try:
                for at in range(0, len(self.answer), 7):
                    if at == self.break_after:
                        raise asyncio.CancelledError
                    if at == self.dies_after:
                        return
                    data = f"data: {json.dumps(event(self.answer[at : at + 7]))}\n\n".encode()
                    yield data[:20]
                    yield data[20:]
                    await asyncio.sleep(0)
                if self.reason is not None:
                    yield f"data: {json.dumps(event([]) | self.reason)}\n\n".encode()
                if self.never_ends:
                    await asyncio.sleep(600)
                yield b"data: [DONE]\n\n"
            finally:
                self.num_closed += 1

        return StreamingResponse(lines(), media_type="text/event-stream")


@contextmanager
def _served(app):
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", loop="asyncio"))
    thread = threading.Thread(target=lambda: server.run(sockets=[listener]), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()


@pytest.fixture
def fake(tok, speech):
    """A fake server at `fake.url`."""
    server = FakeServer([128257, *speech(1), 128258], tok.vocabulary)
    with _served(server.app) as server.url:
        yield server


WANTED = {
    "vllm": {"return_token_ids": True, "structured_outputs": {"grammar": preset("orpheus").grammar()}},
    "sglang": {"return_token_ids": True, "ebnf": preset("orpheus").grammar("ebnf")},
    "llama.cpp": {
        "n_predict": 500,
        "grammar": preset("orpheus").grammar("gbnf"),
        "stop": ["<custom_token_2>"],
    },
    "openai": {"max_tokens": 500},
}


@pytest.mark.parametrize("engine", list(WANTED))
def test_every_dialect_is_asked_for_whole_frames_and_heard(serve, fake, tok, whole, engine):
    """The prompt is ids, in the preset's order; the server tokenizes where nothing here does."""
    source = CompletionsSource(
        fake.url, tok.vocabulary, engine=engine, max_tokens=500, sampling={"temperature": 0.6}
    )
    server = serve(source)
    same(heard(server.speak("Hello.", voice="tara", response_format="pcm").content), whole(1))
    tokenized, asked = fake.asked
    assert tokenized["prompt"] == "tara: Hello."
    assert not tokenized["add_special_tokens"]
    assert asked["prompt"] == prompt_format(tok.vocabulary).inference(TEXT_IDS).tolist()
    assert (asked["stream"], asked["temperature"], asked["model"]) == (True, 0.6, "m")
    assert {name: asked[name] for name in WANTED[engine]} == WANTED[engine]
    assert server.client.get("/ready").status_code == 200


# A family whose speech ends with an id of the language model's own.
OWN = {"before_speech": [128261, 128257], "after_speech": [128001]}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_prompts_own_ids_hold_the_answer_and_end_it(serve, fake, tok, whole, engine):
    """What the model was trained to end with is what the server stops at, and what ends the sound."""
    fake.vocabulary = SimpleNamespace(ids_to_text=lambda _: "")
    fake.answer[-1:] = [128001, 5, 128258]
    source = CompletionsSource(
        fake.url, tok.vocabulary, engine=engine, prompt=OWN, text_ids=lambda _: [5], max_tokens=500
    )
    same(heard(serve(source).speak("Hello.", response_format="pcm").content), whole(1))
    (asked,) = fake.asked
    assert asked["stop_token_ids"] == [128001]
    form = "lark" if engine == "vllm" else "ebnf"
    grammar = asked["structured_outputs"]["grammar"] if engine == "vllm" else asked["ebnf"]
    assert grammar == tok.vocabulary.grammar(form, **OWN)


def test_llama_cpp_is_asked_for_those_ids_that_can_be_spelled(serve, fake, tok, whole):
    """Its grammar is over text; the model's own end may follow where the grammar ends."""
    source = CompletionsSource(
        fake.url, tok.vocabulary, engine="llama.cpp", prompt=OWN, text_ids=lambda _: [5]
    )
    same(heard(serve(source).speak("Hello.", response_format="pcm").content), whole(1))
    (asked,) = fake.asked
    assert asked["stop"] == []
    assert asked["grammar"] == tok.vocabulary.grammar("gbnf", after_speech=[])


def test_without_a_grammar_llama_cpp_sends_ids(serve, fake, tok, whole):
    """And a text tokenizer here asks nobody; the model may have a name of its own there."""
    source = CompletionsSource(
        fake.url + "/v1/",
        tok.vocabulary,
        engine="llama.cpp",
        use_grammar=False,
        text_ids=lambda _: [5],
        model="other",
        prompt="veena",
    )
    same(heard(serve(source).speak("Hello.", response_format="pcm").content), whole(1))
    (asked,) = fake.asked
    assert asked["return_tokens"]
    assert "grammar" not in asked
    assert asked["model"] == "other"
    assert asked["prompt"] == [128259, 5, 128260, 128261, 128257]


def test_a_server_that_refuses_or_is_not_there_is_one_sentence(serve, fake, tok):
    """With what it said."""
    server = serve(CompletionsSource(fake.url, tok.vocabulary, text_ids=lambda _: [5]))
    for status, body, sentence in (
        (404, {"error": {"message": "no such model", "code": 404}}, "it answers 404, 'no such model'."),
        (422, {"detail": "bad"}, "it answers 422, 'bad'."),
        (500, ["x" * 1000], "it answers 500"),
        (200, {"error": "out of memory"}, "out of memory"),
        (200, 5, "neither events nor JSON"),
    ):
        fake.status, fake.body = status, body
        found = server.error(server.speak("x"))
        assert found[:2] == (502, "source_error")
        assert sentence in found[2]
        assert len(found[2]) < 300
    free = socket.create_server(("127.0.0.1", 0))
    nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    free.close()
    for text_ids in (None, lambda _: [5]):
        server = serve(CompletionsSource(nobody, tok.vocabulary, text_ids=text_ids))
        found = server.error(server.speak("x"))
        assert found[:2] == (502, "source_unreachable")
        assert f"server at {nobody} cannot be reached" in found[2]
    assert server.error(server.client.get("/ready"))[:2] == (502, "source_unreachable")
    assert server.client.get("/health").status_code == 200


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_breaks_off_is_told_apart_from_one_that_ends(serve, fake, tok):
    """Before any sound with a status."""
    fake.break_after = 7
    server = serve(CompletionsSource(fake.url, tok.vocabulary, text_ids=lambda _: [5]))
    status, code, sentence = server.error(server.speak("x"))
    assert (status, code) == (502, "source_error")
    assert "broke off" in sentence


LIMITS = {
    "vllm": {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]},
    "sglang": {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]},
    "openai": {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]},
    "llama.cpp": {"content": "", "stop": True, "stop_type": "limit"},
}


@pytest.mark.parametrize("engine", list(LIMITS))
def test_speech_that_is_cut_off_at_the_limit_is_not_taken_for_a_whole_one(serve, fake, tok, whole, engine):
    """Its sound is heard to the last frame, then the answer breaks off; not so where the speech had ended before."""
    server = serve(CompletionsSource(fake.url, tok.vocabulary, engine=engine))
    fake.reason = LIMITS[engine]
    same(heard(server.speak("no", response_format="pcm").content), whole(1))
    fake.answer = fake.answer[:-1]
    same(heard(server.cut_off("no")), whole(1))
    events = server.speak("no", response_format="pcm", stream_format="sse").text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "cut_off"
    fake.reason = None  # ended by itself, as some models do, without a word for it
    same(heard(server.speak("no", response_format="pcm").content), whole(1))


@pytest.mark.parametrize("engine", list(LIMITS))
def test_a_server_that_dies_between_two_events_is_not_taken_for_one_that_ends(serve, fake, tok, engine):
    """Its connection ends as that of a whole answer does; not so where the speech had ended before."""
    server = serve(CompletionsSource(fake.url, tok.vocabulary, engine=engine))
    fake.marks = {"finish_reason": None}
    fake.dies_after = 7
    status, code, sentence = server.error(server.speak("no"))
    assert (status, code) == (502, "source_error")
    assert "it broke off before the end of its answer" in sentence
    fake.dies_after = 35
    heard(server.cut_off("no", code="source_error"))
    events = server.speak("no", response_format="pcm", stream_format="sse").text.strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["error"]["code"] == "source_error"
    fake.answer[36:] = [128258] * 11
    fake.dies_after = 42
    assert heard(server.speak("no", response_format="pcm").content).size


def test_a_server_that_marks_no_end_may_end_without_one(serve, fake, tok, whole):
    """Nothing tells its death from its end."""
    server = serve(CompletionsSource(fake.url, tok.vocabulary))
    fake.dies_after = 42
    answer = server.speak("no", response_format="pcm")
    assert answer.status_code == 200
    assert 0 < len(heard(answer.content)) <= len(whole(1))


def test_an_answer_that_a_server_gave_up_is_no_speech(serve, fake, tok):
    """Its reason says so."""
    fake.answer = fake.answer[:-1]
    fake.reason = {"choices": [{"index": 0, "text": "", "finish_reason": "abort"}]}
    server = serve(CompletionsSource(fake.url, tok.vocabulary, engine="vllm"))
    server.cut_off("no", code="source_error")


def test_a_text_that_spells_speech_is_the_clients_fault(serve, fake, tok):
    """Its ids would be heard."""
    server = serve(CompletionsSource(fake.url, tok.vocabulary, text_ids=lambda _: [128266]))
    found = server.error(server.speak("<custom_token_10>"))
    assert found[:2] == (400, "unusable_text")
    assert fake.asked == []


def test_a_listener_who_leaves_ends_the_request_there(serve, fake, tok, speech):
    """The model need not write for nobody."""
    fake.answer, fake.never_ends = [128257, *speech(1, 20)], True
    server = serve(CompletionsSource(fake.url, tok.vocabulary, text_ids=lambda _: [5]))
    with server.client.stream("POST", "/v1/audio/speech", json={"input": "x"}) as answer:
        next(answer.iter_bytes())
        assert fake.num_closed == 0
    eventually(lambda: fake.num_closed, 1)


def test_options_that_make_no_sense_are_refused_at_once(tok):
    """An engine, an address."""
    with pytest.raises(ServingError, match="engine is 'vlm'"):
        CompletionsSource("http://x", tok.vocabulary, engine="vlm")
    with pytest.raises(ServingError, match="'localhost:8080' is no address"):
        CompletionsSource("localhost:8080", tok.vocabulary)
