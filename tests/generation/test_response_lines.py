"""Answers that come as lines without their ends, as clients' `iter_lines` give them, and answers that break off."""

from __future__ import annotations

import http.server
import json
import threading
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok import SnacTokenizer, preset
from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.generation import (
    ResponseReader,
    read_generated,
    read_generated_batch,
    response_tokens,
    stream_audio,
)

PROPERTY = settings(deadline=None, max_examples=150)
ORPHEUS = preset("orpheus")
IDS = ORPHEUS.encode([np.arange(3 * n) * 7 for n in ORPHEUS.layout.codes_per_frame]).tolist()
# Words that look like events, brackets, quotes and backslashes, in a text that is cut anywhere.
HARD = 'data: {"a": [1]} event: x }]{[ \\ " \\" é\u2028 id:5 error: data: [DONE] : '


def _pieces(ids, size=3):
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def _events(values, *, done=True, space=" "):
    text = "".join(f"data:{space}{json.dumps(value, ensure_ascii=False)}\n\n" for value in values)
    return text + (f"data:{space}[DONE]\n\n" if done else "")


def _choice(text="", reason=None, **fields):
    return {"id": "c", "choices": [{"index": 0, "text": text, "finish_reason": reason, **fields}]}


VALUES = [_choice(HARD, token_ids=part) for part in _pieces(IDS)] + [_choice(reason="stop")]
ANSWERS = {
    "events": _events(VALUES),
    "no space": _events(VALUES, space=""),
    "no end": _events(VALUES, done=False),
    "other fields": ": sending data: soon, event: too\n\nretry: 5\n\n"
    + "".join(f"event: message\nid: 12:3\n: it's {{\"\ndata: {json.dumps(value)}\n\n" for value in VALUES)
    + "data: [DONE]\n\n",
    "several lines an event": "".join(
        "".join(f"data: {line}\n" for line in json.dumps(value, indent=1).split("\n")) + "\n"
        for value in VALUES
    ),
    "JSON lines": "".join(
        json.dumps({"response": HARD, "tokens": part, "done": False}) + "\n" for part in _pieces(IDS)
    )
    + '{"done": true}\n',
    "indented": json.dumps({"choices": [{"token_ids": IDS, "text": HARD}]}, indent=0),
    "indented values": "\n".join(json.dumps(value, indent=1) for value in VALUES[:-1]),
}


def _read(chunks):
    """All that a reader says of an answer."""
    reader = ResponseReader()
    pieces = [piece for chunk in chunks for piece in reader.push(chunk)] + reader.flush()
    by_answer: dict[int, list[int]] = {}
    for piece in pieces:
        by_answer.setdefault(piece.answer, []).extend(piece.ids or [])
    return by_answer, "".join(piece.text for piece in pieces), reader.left_out, reader.unfinished


def _cut(data, whole):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=40)))
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@PROPERTY
@given(data=st.data(), name=st.sampled_from(sorted(ANSWERS)), as_bytes=st.booleans())
def test_any_cut_is_the_whole(data, name, as_bytes):
    """Also in the words of a text that look like an event, with empty pieces, and a character at a time."""
    whole = ANSWERS[name].encode() if as_bytes else ANSWERS[name]
    wanted = _read([whole])
    assert [number for ids in wanted[0].values() for number in ids] == IDS
    assert wanted[2] == []
    assert _read(_cut(data, whole)) == wanted
    assert _read(whole[at : at + 1] for at in range(len(whole))) == wanted


@pytest.mark.parametrize("keeps_empty", [True, False])
@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("name", ANSWERS)
def test_lines_with_and_without_their_ends_are_the_whole(name, as_bytes, keeps_empty):
    """Bytes and text; some programs pass over empty lines."""
    text = ANSWERS[name]
    lines = [line for line in text.split("\n") if line or keeps_empty]
    wanted = _read([text])
    # Some programs split at empty lines; events of several lines are too much then.
    events = text.split("\n\n") if name != "several lines an event" else [text]
    for chunks in (lines, [line + "\n" for line in text.split("\n")], events):
        assert _read([chunk.encode() for chunk in chunks] if as_bytes else chunks) == wanted


@PROPERTY
@given(data=st.data(), name=st.sampled_from(["events", "no end", "JSON lines", "indented"]))
def test_lines_without_ends_that_are_cut_again(data, name):
    """As a queue between two programs may do."""
    chunks = [piece for line in ANSWERS[name].split("\n") for piece in _cut(data, line)]
    assert _read(chunks) == _read([ANSWERS[name]])


def test_an_event_is_heard_with_its_own_line():
    """And not with the next one."""
    reader = ResponseReader()
    for number in range(3):
        found = reader.push(f'data: {{"tokens": [{number}]}}')
        assert [piece.ids for piece in found] == [[number]]
        assert reader.push("") == []


def test_lines_without_ends_of_which_one_is_cut():
    """An event that is whole begins a line; where nothing says where the cut one ends, a sentence does."""
    whole = f"data: {json.dumps(_choice('x', 'stop', token_ids=IDS))}"
    pieces, _, left_out, _ = _read(['data: {"text": "a', "", whole])
    assert pieces == {0: IDS}
    assert left_out == ['left out an event that is cut, 11 characters: \'{"text": "a\'.']
    for lines in (['data: {"text": "a', "data: [DONE]"], ['data: {"text": "a', 'data: {"text": "b']):
        with pytest.raises(
            TokenError, match="these are lines without their ends, and one of them is no whole event"
        ):
            list(response_tokens(lines))
    with pytest.warns(LostSpeechWarning, match="an event that is cut"):
        assert list(response_tokens([whole, "", 'data: {"text": "a'])) == [IDS]
    with pytest.raises(TokenError, match="'boom'"):
        list(response_tokens([": still here", "", "error: boom", "", "event: x"]))
    comment = [": sending ", "data: soon, ", "event: too", "\n\n", whole]
    assert _read(comment)[:3] == ({0: IDS}, "x", [])
    assert _read(["data: ping", "", "hm", whole, "data: [DONE]"])[0] == {0: IDS}


@pytest.mark.parametrize("piece", ['data: {"a": [{}, "', "[[", '"\\', "  ", ": a", "id: 1", "}{"])
def test_small_pieces_without_a_line_take_time_in_proportion(piece):
    """Seconds for some megabytes: each character is looked at once."""
    reader = ResponseReader()
    for _ in range(200_000):
        reader.push(piece)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_list_of_lines_is_an_answer(end):
    """As a program keeps them."""
    for name, text in ANSWERS.items():
        if name == "indented values":
            continue
        lines = [line + end for line in text.split("\n")]
        for source in (lines, [line.encode() for line in lines]):
            assert read_generated(source, "orpheus").ids.tolist() == IDS
    text = ORPHEUS.ids_to_text(IDS)
    assert read_generated(["{laughs} ", text[:20], text[20:]], "orpheus").ids.tolist() == IDS


class _Handler(http.server.BaseHTTPRequestHandler):
    """Ends an answer by closing the connection, as HTTP/1.0 does."""

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        """Answer with the events at this path."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        self.wfile.write(self.server.answers[self.path])


@pytest.fixture(scope="module")
def tok():
    """Orpheus' ids."""
    return SnacTokenizer.from_pretrained("tiny", preset="orpheus")


@pytest.fixture
def address(tok):
    """A server of a speech: /ids, /text, and /cut, which dies between two events."""
    ids = [128257, *IDS, 128258]
    events = [_choice(tok.vocabulary.ids_to_text(part), token_ids=part) for part in _pieces(ids)]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.answers = {
        "/ids": _events(events).encode(),
        "/text": _events([_choice(value["choices"][0]["text"]) for value in events]).encode(),
        "/cut": _events(events[:6], done=False).encode(),
    }
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def _of_requests(url):
    requests = pytest.importorskip("requests")
    with requests.Session() as session:
        session.trust_env = False
        yield session.get(url, stream=True)
        yield session.get(url, stream=True).iter_content(64)
        yield session.get(url, stream=True).iter_lines()
        yield session.get(url, stream=True).iter_lines(chunk_size=7)
        yield session.get(url, stream=True).iter_lines(decode_unicode=True)
        yield session.get(url, stream=True).iter_lines(delimiter=b"\n\n")


def _of_httpx(url, name):
    httpx = pytest.importorskip(name)
    for how in ("iter_bytes", "iter_text", "iter_lines"):
        with httpx.Client(trust_env=False) as client, client.stream("GET", url) as answer:
            yield getattr(answer, how)()


def _clients(url):
    return {
        "requests": lambda: _of_requests(url),
        "httpx": lambda: _of_httpx(url, "httpx"),
        "httpx2": lambda: _of_httpx(url, "httpx2"),
    }


@pytest.mark.parametrize("client", ["requests", "httpx", "httpx2"])
def test_what_clients_of_http_give(tok, address, client):
    """Bytes, text, lines: the same speech; a server that dies is told in each."""
    wanted = tok.decode(IDS).samples[0]
    for path in ("/ids", "/text"):
        for chunks in _clients(address + path)[client]():
            heard = np.concatenate(list(stream_audio(response_tokens(chunks), tok)))
            np.testing.assert_allclose(heard, wanted, rtol=0, atol=1e-5)
    for chunks in _clients(address + "/cut")[client]():
        with pytest.warns(LostSpeechWarning, match="the server's answer broke off"):
            heard = np.concatenate(list(stream_audio(response_tokens(chunks), tok)))
        assert 0 < len(heard) < len(wanted)


def _tgi(ids, text=None):
    return {"index": 1, "token": {"id": ids[-1], "text": "x"}, "generated_text": text, "details": None}


def _sglang(ids, reason):
    return {"text": "x", "output_ids": ids, "meta_info": {"id": "r", "finish_reason": reason}}


# An event that says that more comes, and what ends such an answer.
ENDINGS = {
    "vLLM": (_choice("x", token_ids=IDS[:7]), _choice(reason="stop", token_ids=[])),
    "vLLM chat": (
        {"choices": [{"index": 0, "delta": {"content": "x"}, "token_ids": IDS[:7], "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
    ),
    "SGLang": (_choice("x", response_token_ids=IDS[:7], matched_stop=None), _choice(reason="stop")),
    "SGLang /generate": (_sglang(IDS[:7], None), _sglang(IDS[:7], {"type": "stop", "matched": 128258})),
    "llama.cpp": (
        {"content": "x", "tokens": IDS[:7], "stop": False},
        {"content": "", "tokens": [], "stop": True, "stop_type": "eos"},
    ),
    "TGI": (_tgi(IDS[:7]), _tgi(IDS[7:8], "xx")),
    "Ollama": ({"response": "x", "done": False}, {"done": True, "done_reason": "stop"}),
    "a word for none": (
        {"content": "x", "tokens": IDS[:7], "stop_type": "none"},
        {"content": "", "stop_type": "eos"},
    ),
    "an end by itself": (_choice("x", token_ids=IDS[:7]), {"finish_reason": "stop"}),
}


def _listened_to(chunks):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(response_tokens(chunks))
    return [str(each.message) for each in caught]


@pytest.mark.parametrize("name", ENDINGS)
def test_an_answer_that_ends_between_two_events_is_told(name):
    """Where its events say that more comes, and neither that nor an end comes."""
    more, end = ENDINGS[name]
    spell = (
        (lambda values: "".join(json.dumps(v) + "\n" for v in values))
        if name == "Ollama"
        else (lambda values: _events(values, done=False))
    )
    (told,) = _listened_to(spell([more, more]))
    assert "the server's answer broke off: more was to come" in told
    assert _listened_to(spell([more, more, end])) == []
    assert _listened_to(spell([end])) == []
    if name != "Ollama":
        assert _listened_to(_events([more, more])) == []
    if "text" in str(more) or "content" in str(more):
        reader = ResponseReader()
        assert {piece.answer for _ in range(2) for piece in reader.event(more)} == {0}
        assert reader.unfinished == {0}, "of parsed events"
        reader.event(end)
        assert reader.unfinished == set()
    reader = ResponseReader()
    reader.push(spell([more]))
    assert reader.unfinished == {0}
    reader.push(spell([end]))
    assert reader.unfinished == set()


@pytest.mark.parametrize(
    "answer",
    [
        _events([{"text": "x"}] * 2, done=False),
        _events([{"choices": [{"index": 0, "text": "x"}]}] * 2, done=False),
        _events([{"choices": [{"index": 0, "delta": {"content": "x"}}]}] * 2, done=False),
        _events([{"choices": [{"message": {"content": "x"}, "finish_reason": None}]}] * 2, done=False),
        _events([_choice("x", reason="stop")] * 2, done=False),
        _events([_choice("x"), _choice("x", reason="stop"), _choice("")], done=False),
        json.dumps({"choices": [{"text": "x", "finish_reason": None}]}),
        json.dumps([{"choices": [{"text": "x", "finish_reason": None}]}]),
        json.dumps({"choices": [{"message": {"content": "x"}, "finish_reason": None}]}),
        json.dumps({"text": "x", "meta_info": {"id": "r", "finish_reason": None}}),
        json.dumps({"generated_text": "x", "details": None}),
        '{"tokens": [1]}\n{"tokens": [2]}',
        "",
    ],
)
def test_servers_that_mark_no_end_are_not_told_of(answer):
    """Nor whole answers, which are whole by themselves; nor what comes behind an end."""
    assert _listened_to(answer) == []


def test_an_answer_that_a_server_gave_up_is_told():
    """Its reason is no end of a speech; other answers are not told of."""
    for reason in ("abort", "error"):
        (told,) = _listened_to(_events([_choice("x"), _choice(reason=reason)]))
        assert "broke off" in told
    two = [{"choices": [{"index": at, "text": "x", "finish_reason": None}]} for at in (0, 1)]
    end = {"choices": [{"index": 1, "text": "", "finish_reason": "stop"}]}
    text = _events([*two, end], done=False)
    assert len(_listened_to(text)) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "".join(response_tokens(text, answer=1)) == "x"


def test_what_is_read_at_once_says_so_too(tok):
    """Where only `ended` told, of every answer."""
    broken = [_choice(token_ids=IDS), _choice(reason="abort")]
    for events in (broken, broken[:1]):
        (told,) = read_generated(_events(events, done=False), tok).left_out
        assert "broke off" in told
    assert read_generated(_events([_choice(token_ids=IDS), _choice(reason="stop")]), tok).left_out == ()
    ended = [_choice(token_ids=[128257, *IDS, 128258])]
    assert read_generated(_events(ended, done=False), tok).left_out == ()


@pytest.mark.parametrize("first", ['{"text": "hi"}\n', "error: oh dear", 'data: {"a": 1}'])
def test_a_models_text_may_begin_like_a_servers(tok, first):
    """Its tokens are heard, and the words are told of."""
    tokens = [tok.vocabulary.ids_to_text([each]) for each in IDS]
    found = read_generated([first, *tokens], tok)
    assert found.ids.tolist() == IDS
    assert found.left_out
    with pytest.raises(TokenError, match="answered with an error, 'no'"):
        read_generated(['data: {"error": {"message": "no"}}', ""], tok)


def test_a_speech_that_had_ended_is_not_told_of(tok):
    """What a server would have said behind it is nothing to hear."""
    text = _events([_choice(token_ids=[128257, *IDS]), _choice(token_ids=[128258])], done=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(stream_audio(response_tokens(text), tok))
    assert not read_generated(_events([_choice(token_ids=IDS)], done=False), tok).ended
    assert len(read_generated_batch(text * 2, tok)) >= 1
