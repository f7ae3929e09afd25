"""A real llama.cpp server obeys the grammar over text and, built with llguidance, the one over ids."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from random_gguf import serve, write_random_gguf

from snac_tok import SNAC, FrameLayout, SnacTokenizer, Vocabulary
from snac_tok.errors import ServingError, TokenError
from snac_tok.frames import TextForm
from snac_tok.generation import read_generated, response_tokens, stream_audio
from snac_tok.serving import CompletionsSource, SpeechRequest

pytestmark = pytest.mark.slow

# As orpheus, in small: the codes begin ten ids behind those of the text.
FIRST = 257
TABLE = Vocabulary(
    FrameLayout((4, 2, 1)),
    name="small orpheus",
    codebook_size=64,
    base=FIRST + 10,
    specials={"start_of_speech": FIRST + 1, "end_of_speech": FIRST + 2},
    text=TextForm(template="<custom_token_{}>", first_id=FIRST, num_ids=10 + 7 * 64),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server in a process of its own, with a random model of one layer."""
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed: no llama.cpp to ask")
    path = tmp_path_factory.mktemp("model") / "random.gguf"
    write_random_gguf(path, TABLE, end_of_text=FIRST + 9, end_of_speech=TABLE.special_id("end_of_speech"))
    with serve(path) as address:
        yield SimpleNamespace(listening_address=address)


def _answer(server, *, stream, openai=False):
    """The bytes of an answer held to the grammar: four frames."""
    asked = {
        "prompt": "hello <custom_token_1>",
        "n_predict": 60,
        "max_tokens": 60,
        "seed": 1,
        "stream": stream,
    }
    asked |= {
        "return_tokens": True,
        "grammar": "%llguidance {}\n" + TABLE.grammar(min_frames=4, max_frames=4),
    }
    path = "v1/completions" if openai else "completion"
    request = urllib.request.Request(f"{server.listening_address}/{path}", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read()


def _lines(server, *, grammar, seed, prompt="hello <custom_token_1>"):
    """What `/completion` streams, a dictionary a line."""
    asked = {"prompt": prompt, "n_predict": 60, "seed": seed, "stream": True, "return_tokens": True}
    if grammar is not None:
        asked["grammar"] = grammar
    request = urllib.request.Request(f"{server.listening_address}/completion", json.dumps(asked).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        for line in response:
            if line.startswith(b"data: {"):
                yield json.loads(line.removeprefix(b"data: "))


def _grammars():
    options = {"min_frames": 2, "max_frames": 3}
    yield pytest.param(TABLE.grammar("gbnf", **options), id="gbnf")
    yield pytest.param("%llguidance {}\n" + TABLE.grammar("lark", **options), id="llguidance")


@pytest.mark.parametrize("grammar", list(_grammars()))
def test_the_server_writes_whole_frames(server, grammar):
    """Two or three of them, and it stops by itself, at the end of speech, which is a stop token, too."""
    lengths = set()
    for seed in range(6):
        *lines, last = _lines(server, grammar=grammar, seed=seed)
        text = "".join(line["content"] for line in (*lines, last))
        speech = TABLE.text_to_ids(text.removesuffix("<custom_token_2>"))
        assert TABLE.validate(speech) == []
        assert last["stop_type"] == "eos"
        lengths.add(speech.size // 7)
    assert lengths <= {2, 3}


def test_without_a_grammar_it_does_not(server):
    """The model is random: what the test above shows is the grammar's work."""
    text = "".join(line["content"] for line in _lines(server, grammar=None, seed=0))
    assert any(True for _ in TABLE.text.tokens_in(text))
    assert TABLE.text is not None
    assert "".join(TABLE.ids_to_text([number]) for _, number in TABLE.text.tokens_in(text)) != text


@pytest.fixture(scope="module")
def tok():
    """A random codec for the table."""
    torch.manual_seed(0)
    codec = SNAC(8_000, 8, (3, 2), None, 32, (2, 3), None, 64, 8, (4, 2, 1)).eval()
    return SnacTokenizer(codec, TABLE)


def test_what_it_streams_is_heard_as_text_and_as_ids(server, tok):
    """Both equal the whole, decoded at once."""
    lines = list(
        _lines(server, grammar="%llguidance {}\n" + TABLE.grammar(min_frames=4, max_frames=4), seed=1)
    )
    heard = np.concatenate(list(stream_audio((line["content"] for line in lines), tok)))
    ids = [number for line in lines for number in line["tokens"]]
    np.testing.assert_array_equal(np.concatenate(list(stream_audio(ids, tok))), heard)
    np.testing.assert_allclose(tok.decode(ids[:28]).samples[0], heard, rtol=0, atol=1e-5)


def test_a_grammar_over_text_is_read_as_text(server, tok):
    """It cannot keep a model from spelling a token letter by letter: ids of letters then, and the same text."""
    grammar = TABLE.grammar("gbnf", min_frames=4, max_frames=4)
    for seed in range(3):
        texts = [line["content"] for line in _lines(server, grammar=grammar, seed=seed)]
        heard = np.concatenate(list(stream_audio(texts, tok)))
        ids = TABLE.text_to_ids("".join(texts))
        np.testing.assert_allclose(tok.decode(ids[:28]).samples[0], heard, rtol=0, atol=1e-5)


@pytest.mark.parametrize("openai", [False, True])
def test_its_whole_answers_are_read(server, tok, openai):
    """Streamed or not, `/completion` and OpenAI's `/v1/completions`: the same four frames."""
    found = [read_generated(_answer(server, stream=stream, openai=openai), TABLE) for stream in (False, True)]
    assert found[0].ids.size == 28
    assert found[0].ids.tolist() == found[1].ids.tolist()
    assert found[0].left_out == found[1].left_out == ()
    lines = _answer(server, stream=True, openai=openai).splitlines(keepends=True)
    heard = np.concatenate(list(stream_audio(response_tokens(lines), tok)))
    np.testing.assert_allclose(heard, tok.decode(found[0].ids).samples[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("use_grammar", [True, False])
def test_the_source_of_our_own_server_asks_it(server, tok, use_grammar):
    """It tokenizes there, sends ids, and reads text under the grammar over text, ids without one.

    This model never ends: the server says that its limit was the reason, and what was written is there.
    """
    source = CompletionsSource(
        server.listening_address,
        TABLE,
        engine="llama.cpp",
        max_tokens=60,
        sampling={"seed": 1} | ({} if use_grammar else {"grammar": "%llguidance {}\n" + TABLE.grammar()}),
        use_grammar=use_grammar,
    )

    async def tokens():
        await source.ready()
        try:
            async for piece in source(SpeechRequest(text="hello")):
                found.append(piece)  # noqa: PERF401 - what came before the error is wanted
        finally:
            await source.aclose()

    found = []
    with pytest.raises(ServingError, match="cut off: the language model reached its limit of tokens"):
        asyncio.run(tokens())
    assert {type(piece) for piece in found} == {str if use_grammar else list}
    assert np.concatenate(list(stream_audio(found, tok))).size >= tok.codec.config.frame_length


def test_the_source_says_what_it_refuses(server):
    """A sentence of its own."""
    source = CompletionsSource(
        server.listening_address, TABLE, engine="llama.cpp", sampling={"grammar": "root ::= ("}
    )

    async def ask():
        async for _ in source(SpeechRequest(text="hello")):
            pass

    with pytest.raises(ServingError, match="the language model's server failed: it answers 400"):
        asyncio.run(ask())


def test_its_errors_are_said(server):
    """A request that it refuses is one sentence."""
    request = urllib.request.Request(f"{server.listening_address}/completion", b'{"prompt": 5.5}')
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    with pytest.raises(TokenError, match="the server answered with an error"):
        read_generated(refused.value.read(), TABLE)
