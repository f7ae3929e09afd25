"""`read_generated`, `ResponseReader`: the speech in whatever a model or its server emits, however it is cut."""

from __future__ import annotations

import codecs
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snac_tok import preset
from snac_tok.errors import LostSpeechWarning, TokenError
from snac_tok.frames import preset_names
from snac_tok.frames.grammar import speech_edges
from snac_tok.generation import (
    ResponseReader,
    new_parts,
    read_generated,
    read_generated_batch,
    response_tokens,
    stream_audio,
)

PROPERTY = settings(deadline=None, max_examples=40)
ORPHEUS = preset("orpheus")
START, END = 128257, 128258


def _speech(table=ORPHEUS, frames=3, seed=0):
    generator = np.random.default_rng(seed)
    counts = table.layout.codes_per_frame
    return table.encode([generator.integers(table.codebook_size, size=frames * n) for n in counts])


IDS = _speech().tolist()
TEXT = ORPHEUS.ids_to_text(IDS)
# What a model writes: words, an earlier voice, the speech, its end, words.
WRITTEN = [9906, START, *_speech(frames=1, seed=5).tolist(), END, 128261, START, *IDS, END, 128262, 11]


def _cuts(data, length, most=30):
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=most)))
    return list(zip([0, *cuts], [*cuts, length], strict=True))


def _pieces_of_ids(ids, size=3):
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def _pieces_of_text(text, size=11):
    return [text[at : at + size] for at in range(0, len(text), size)]


def _events(events, *, done=True):
    lines = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    return lines + ("data: [DONE]\n\n" if done else "")


def _completion(text=None, **more):
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "choices": [{"index": 0, "text": text or "", **more}],
    }


def _chat(text):
    delta = {"role": "assistant", "content": text}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


def _sglang(text, ids, total):
    return {"text": text, "output_ids": ids, "meta_info": {"id": "r", "completion_tokens": total}}


def _cumulative(parts, zero):
    whole = zero
    for part in parts:
        whole = whole + part
        yield whole


USAGE = {"id": "cmpl-1", "choices": [], "usage": {"completion_tokens": 21}}
STREAMS = {
    "completions": _events([*map(_completion, _pieces_of_text(TEXT)), USAGE]),
    "chat": _events(
        [{"choices": [{"index": 0, "delta": {"role": "assistant"}}]}, *map(_chat, _pieces_of_text(TEXT))]
    ),
    "comments and carriage returns": ": keep-alive\r\n\r\nevent: message\r\nid: 1\r\n"
    + _events(map(_completion, _pieces_of_text(TEXT))).replace("\n", "\r\n"),
    "no space behind data:": _events(map(_completion, _pieces_of_text(TEXT))).replace("data: ", "data:"),
    "vLLM ids": _events([_completion("x", token_ids=part) for part in _pieces_of_ids(IDS)]),
    "vLLM prompt ids are none of it": _events(
        [
            _completion("x", token_ids=IDS[:5], prompt_token_ids=[START, *IDS]),
            _completion("x", token_ids=IDS[5:]),
        ]
    ),
    "vLLM chat ids": _events(
        [
            {"choices": [{"index": 0, "delta": {"content": "x"}, "token_ids": part}]}
            for part in _pieces_of_ids(IDS)
        ]
    ),
    "SGLang completions": _events(
        [_completion("x", response_token_ids=part) for part in _pieces_of_ids(IDS)]
    ),
    "SGLang /generate, all so far": _events(
        [
            _sglang(text, ids, len(ids))
            for text, ids in zip(
                _cumulative(_pieces_of_text(TEXT, 60), ""),
                _cumulative(_pieces_of_ids(IDS, 3), []),
                strict=False,
            )
        ]
        + [_sglang(TEXT, IDS, len(IDS))]
    ),
    "SGLang /generate, what is new": _events(
        [_sglang("x", part, 3 * number) for number, part in enumerate(_pieces_of_ids(IDS), start=1)]
    ),
    "SGLang /generate, text so far": _events(
        [{"text": text, "meta_info": {"id": "r"}} for text in _cumulative(_pieces_of_text(TEXT), "")]
    ),
    "llama.cpp ids": _events(
        [{"index": 0, "content": "x", "tokens": part, "stop": False} for part in _pieces_of_ids(IDS, 1)]
        + [{"index": 0, "content": "", "tokens": [], "stop": True, "timings": {}}],
        done=False,
    ),
    "llama.cpp text": _events(
        [{"index": 0, "content": part, "tokens": [], "stop": False} for part in _pieces_of_text(TEXT)]
        + [{"index": 0, "content": "", "tokens": [], "stop": True}],
        done=False,
    ),
    "Ollama": "".join(json.dumps({"response": part, "done": False}) + "\n" for part in _pieces_of_text(TEXT))
    + '{"response": "", "done": true}\n',
    "TGI": _events(
        [
            {
                "index": at,
                "token": {"id": n, "text": "x", "special": True},
                "generated_text": "xxx" if at == len(IDS) else None,
            }
            for at, n in enumerate(IDS, start=1)
        ],
        done=False,
    ),
    "whole completion": json.dumps(_completion(TEXT)),
    "indented": json.dumps(_completion(TEXT), indent=2),
    "whole chat": json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}}]}),
    "content in parts": json.dumps({"choices": [{"message": {"content": [{"type": "text", "text": TEXT}]}}]}),
    "whole llama.cpp": json.dumps({"content": TEXT, "tokens": IDS, "stop": True}),
    "whole SGLang": json.dumps(_sglang(TEXT, IDS, len(IDS))),
}


# As server-sent events may end their lines.
NEWLINES = ("\n", "\r\n", "\r")


@pytest.mark.parametrize("name", STREAMS)
def test_every_servers_answer(name):
    """Whole, as text, bytes, and with a byte-order mark, lines ended in any way: the same ids, nothing is left out."""
    sources = [STREAMS[name].replace("\n", newline) for newline in NEWLINES]
    for source in (*sources, STREAMS[name].encode(), codecs.BOM_UTF8 + STREAMS[name].encode()):
        found = read_generated(source, "orpheus")
        assert found.ids.tolist() == IDS
        assert found.left_out == ()


@PROPERTY
@given(data=st.data(), name=st.sampled_from(sorted(STREAMS)), newline=st.sampled_from(NEWLINES))
def test_any_cut_of_an_answer_gives_the_same_tokens(data, name, newline):
    """Bytes cut anywhere, in characters, lines and ends of lines, too."""
    content = STREAMS[name].replace("\n", newline).encode()
    pieces = list(response_tokens(content[a:b] for a, b in _cuts(data, len(content))))
    ids = [number for piece in pieces if isinstance(piece, list) for number in piece]
    text = "".join(piece for piece in pieces if isinstance(piece, str))
    assert (ids == IDS and text in ("", "x")) or text == TEXT


def test_the_end_of_a_line_is_not_waited_for():
    """An event is heard with its last bracket, whatever may follow."""
    reader = ResponseReader()
    assert [piece.ids for piece in reader.push('data: {"tokens": [1]}\r')] == [[1]]
    assert [piece.ids for piece in reader.push('\rdata: {"tokens": [2]}')] == [[2]]
    assert reader.push('\ndata: {"tokens": [') == []
    assert [piece.ids for piece in reader.push("3]}")] == [[3]]
    assert reader.flush() == []


@pytest.mark.parametrize(
    ("chunks", "sentence"),
    [
        (5, "a server's answer is bytes, text, or an iterable of them, got int"),
        (None, "got NoneType"),
        ([5], "a server's answer comes in bytes or text, got int"),
        ([{"tokens": [1]}], "got dict; an event that a client has parsed goes to ResponseReader.event"),
    ],
)
def test_what_is_no_answer_is_one_sentence(chunks, sentence):
    """Instead of what Python says of a wrong type."""
    with pytest.raises(TokenError, match=re.escape(sentence)):
        list(response_tokens(chunks))


@pytest.mark.parametrize("kind", [str, str.encode])
def test_an_answer_may_come_at_once(kind):
    """Not a character at a time."""
    assert list(response_tokens(kind('{"tokens": [7]}'))) == [[7]]


def test_an_answer_that_breaks_off_is_told():
    """A connection that died in the middle of an event loses it, and says so."""
    with pytest.warns(LostSpeechWarning, match="left out .* that is cut"):
        assert list(response_tokens(['data: {"tokens": [128266]}\n\n', 'data: {"tok'])) == [[128266]]


def test_an_answer_is_heard_while_it_comes(tok):
    """`response_tokens` is a source for `stream_audio`."""
    ids = _speech(tok.vocabulary).tolist()
    text = tok.vocabulary.ids_to_text(ids)
    lines = _events(map(_completion, _pieces_of_text(text))).splitlines(keepends=True)
    heard = np.concatenate(list(stream_audio(response_tokens(lines), tok)))
    np.testing.assert_allclose(heard, tok.decode(ids).samples[0], rtol=0, atol=1e-5)
    heard = np.concatenate(list(stream_audio(new_parts(_cumulative(_pieces_of_text(text), "")), tok)))
    np.testing.assert_allclose(heard, tok.decode(ids).samples[0], rtol=0, atol=1e-5)


@PROPERTY
@given(data=st.data(), repeats=st.booleans())
def test_text_in_pieces_that_are_new_or_repeat_those_before(data, repeats):
    """Its tokens cut anywhere."""
    text = "Sure! <custom_token_1>" + TEXT
    pieces = [text[a:b] for a, b in _cuts(data, len(text))]
    source = list(_cumulative(pieces, "")) if repeats else pieces
    found = read_generated(source, ORPHEUS)
    assert found.ids.tolist() == IDS
    assert found.left_out == ("left out 5 characters around the audio tokens: 'Sure!'.",)


@pytest.mark.parametrize(
    "make", [list, tuple, np.array, torch.tensor, iter, json.dumps, lambda ids: " ".join(map(str, ids))]
)
def test_ids_of_any_kind(make):
    """The last speech, up to its end; what stands around it is named."""
    found = read_generated(make(WRITTEN), ORPHEUS)
    assert found.ids.tolist() == IDS
    assert found.ended
    assert found.left_out == (
        "left out 2 ids around the codes: 9906, 11.",
        "left out 7 ids of speech in front of the last start of speech.",
    )


def test_from_a_path_and_a_file(tmp_path):
    """Messages name the path."""
    path = tmp_path / "answer.json"
    path.write_bytes("\ufeff".encode("utf-16-le") + STREAMS["completions"].encode("utf-16-le"))
    assert read_generated(path, "orpheus").ids.tolist() == IDS
    with path.open("rb") as file:
        assert read_generated(file, "orpheus").ids.tolist() == IDS
    path.write_text(TEXT)
    with path.open() as file:
        assert read_generated(file, "orpheus").ids.tolist() == IDS
    path.write_text("hello")
    with pytest.raises(TokenError, match=r"answer\.json: there is no speech of 'orpheus'"):
        read_generated(path, "orpheus")


@pytest.mark.parametrize("name", [name for name in preset_names() if not preset(name).is_parallel])
def test_every_preset_as_ids_and_as_text(name):
    """With what the family puts around speech, and a last token that is cut."""
    table = preset(name)
    ids = _speech(table).tolist()
    before, after = speech_edges(table, before_speech=None, after_speech=None)
    written = [*before, *ids, *after]
    assert read_generated(written, name).ids.tolist() == ids
    text = table.ids_to_text([*before, *ids])
    assert read_generated(text, name).ids.tolist() == ids
    cut = read_generated(text[:-3], name)
    assert cut.ids.tolist() == ids[: -table.ids_per_frame]
    assert len(cut.left_out) == 2
    assert f"left out the last {table.ids_per_frame - 1} ids" in cut.left_out[1]


@pytest.mark.parametrize("name", ["mini-omni", "lucy"])
def test_parallel_rows(name):
    """A prompt in front, an end or none behind: the frames that all rows have, as `decode` takes them."""
    table = preset(name)
    rows = _speech(table, frames=4)
    third = "input" if "input" in table.specials else "begin"
    prompt = np.array(
        [[table.special_id(third, slot=s), table.special_id("answer", slot=s)] for s in range(7)]
    )
    found = read_generated(np.hstack((prompt, rows)), table)
    np.testing.assert_array_equal(found.ids, rows)
    assert found.ended
    assert found.left_out == ()
    whole = table.decode(rows)
    for missing in (1, 2, 3):
        stopped = read_generated(rows[:, : -1 - missing].tolist(), table)
        kept = [level[: len(level) // 4 * (4 - missing)].tolist() for level in whole]
        assert [level.tolist() for level in table.decode(stopped.ids)] == kept
        assert not stopped.ended
        assert "of frames that are not whole in all rows" in stopped.left_out[0]
    both = read_generated_batch([rows, rows[:, :-2]], table)
    assert [found.ids.shape[1] for found in both] == [table.length_of(4), table.length_of(3)]


def test_rows_of_a_batch_of_any_lengths():
    """Left padding, right padding, none: each row alone."""
    pad = 128263
    rows = [[pad, pad, START, *IDS[:7]], [START, *IDS, END, pad, pad], IDS[:9]]
    found = read_generated_batch(rows, "orpheus")
    assert [each.ids.tolist() for each in found] == [IDS[:7], IDS, IDS[:7]]
    assert found[2].left_out == ("left out the last 2 ids, a frame that is not whole.",)
    width = max(map(len, rows))
    square = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    assert [each.ids.tolist() for each in read_generated_batch(square, "orpheus")] == [IDS[:7], IDS, IDS[:7]]
    with pytest.raises(TokenError, match="answer must be 0 to 2: it chooses one of 3 answers"):
        read_generated(rows, "orpheus")
    assert read_generated(rows, "orpheus", answer=1).ids.tolist() == IDS
    with pytest.raises(TokenError, match="answer 1: there is no speech"):
        read_generated_batch([IDS, [1, 2]], "orpheus")


def test_several_answers_of_a_server():
    """Choices, JSON lines of whole answers, lists: each by its number."""
    choices = {"choices": [{"index": n, "text": ORPHEUS.ids_to_text(IDS[: 7 * (n + 1)])} for n in range(3)]}
    lines = "\n".join(
        json.dumps({"id": str(n), "choices": [{"index": 0, "text": ORPHEUS.ids_to_text(IDS[: 7 * n])}]})
        for n in (1, 2, 3)
    )
    listed = json.dumps([{"content": "x", "tokens": IDS[: 7 * n]} for n in (1, 2, 3)])
    for source in (json.dumps(choices), choices, lines, listed):
        assert [found.ids.size for found in read_generated_batch(source, "orpheus")] == [7, 14, 21]


HALVES = [IDS[:7], IDS[7:]]


@pytest.mark.parametrize("between", ["\n", ", ", " ", ",\n\n"])
@pytest.mark.parametrize(
    "spell", [lambda ids: ids, lambda ids: [ORPHEUS.ids_to_text(ids[:3]), ORPHEUS.ids_to_text(ids[3:])]]
)
def test_lists_one_behind_the_other_are_several_answers(between, spell):
    """Of ids or of pieces of text: none of them is dropped without a word."""
    source = between.join(json.dumps(spell(half)) for half in HALVES)
    found = read_generated_batch(source, ORPHEUS)
    assert [each.ids.tolist() for each in found] == HALVES
    assert all(each.left_out == () for each in found)
    with pytest.raises(TokenError, match="answer must be 0 to 1: it chooses one of 2 answers"):
        read_generated(source, ORPHEUS)
    batch = json.dumps(HALVES) + between + json.dumps(spell(IDS))
    assert [each.ids.tolist() for each in read_generated_batch(batch, ORPHEUS)] == [*HALVES, IDS]


@pytest.mark.parametrize(
    ("behind", "told"),
    [
        (' {"text": "a"}', 'left out 13 characters behind the ids: \'{"text": "a"}\'.'),
        ("\nthat was\nit", "left out 11 characters behind the ids: 'that was it'."),
        ("\n[128266, 13", "left out 11 characters behind the ids: '[128266, 13'."),
        (" 5", "left out 1 character behind the ids: '5'."),
        (" 5 5", "left out 1 character behind the ids: '5', 2 times."),
        (",\n", None),
    ],
)
def test_what_stands_behind_a_list_is_told(behind, told):
    """An object, words, a list that is cut, a number; a comma is nothing."""
    found = read_generated(json.dumps(IDS) + behind, ORPHEUS)
    assert found.ids.tolist() == IDS
    assert found.left_out == (() if told is None else (told,))


def _finished(text, **more):
    return {
        "object": "text_completion",
        "choices": [{"index": 0, "text": text, "finish_reason": "stop"}],
        **more,
    }


FIRST, SECOND = map(ORPHEUS.ids_to_text, HALVES)
WHOLES = {
    "TGI": [{"generated_text": FIRST}, {"generated_text": SECOND}],
    "pipeline of chats": [
        {"generated_text": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": text}]}
        for text in (FIRST, SECOND)
    ],
    "completions": [_finished(FIRST), _finished(SECOND)],
    "completions of one id": [_finished(FIRST, id="a"), _finished(SECOND, id="a")],
    "messages": [{"choices": [{"message": {"content": text}}]} for text in (FIRST, SECOND)],
    "SGLang": [
        {"text": text, "meta_info": {"finish_reason": {"type": "length"}}} for text in (FIRST, SECOND)
    ],
    "llama.cpp": [{"content": text, "stop": True, "stop_type": "eos"} for text in (FIRST, SECOND)],
    "llama.cpp, numbered": [
        {"index": at, "content": text, "stop": True} for at, text in enumerate((FIRST, SECOND))
    ],
    "Ollama": [{"response": text, "done_reason": "stop"} for text in (FIRST, SECOND)],
}


@pytest.mark.parametrize("name", WHOLES)
def test_two_whole_answers_are_never_one(name):
    """Parsed, as a list in text, as lines, indented: the same answers of the same JSON."""
    two = WHOLES[name]
    lines = "\n".join(map(json.dumps, two))
    indented = "\n".join(json.dumps(each, indent=1) for each in two)
    for source in (two, json.dumps(two), lines, indented, iter(two)):
        assert [each.ids.tolist() for each in read_generated_batch(source, ORPHEUS)] == HALVES


def test_lists_of_answers_to_several_prompts():
    """As transformers' pipeline returns them; parsed and as text."""
    lists = [[{"generated_text": FIRST}], [{"generated_text": SECOND}, {"generated_text": FIRST}]]
    for source in (lists, json.dumps(lists)):
        found = read_generated_batch(source, ORPHEUS)
        assert [each.ids.tolist() for each in found] == [*HALVES, HALVES[0]]


def test_what_comes_behind_the_end_of_an_answer():
    """Counts, an end that is said again, the end of another choice: no further answer."""
    usage = {"choices": [], "usage": {"completion_tokens": 3}}
    chunks = [
        {"choices": [{"index": at, "delta": {"content": text[:50]}, "finish_reason": None}]}
        for at, text in enumerate((FIRST, SECOND))
    ]
    chunks += [{"choices": [{"index": 0, "delta": {"content": FIRST[50:]}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}]
    chunks += [{"choices": [{"index": 1, "delta": {"content": SECOND[50:]}, "finish_reason": None}]}]
    chunks += [{"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}, usage]
    for source in (chunks, _events(chunks), _events(chunks, done=False), "\n".join(map(json.dumps, chunks))):
        assert [each.ids.tolist() for each in read_generated_batch(source, ORPHEUS)] == HALVES
        if not isinstance(source, list):
            assert "".join(response_tokens(source, answer=1)) == SECOND
    twice = read_generated_batch(_events(chunks, done=False) * 2, ORPHEUS)
    assert [each.ids.tolist() for each in twice] == HALVES * 2


@pytest.mark.parametrize(
    "marked",
    [
        lambda text: {"choices": [{"text": text, "finish_reason": "stop"}]},
        lambda text: {"choices": [{"message": {"content": text}}]},
        lambda text: {"choices": [{"text": text, "finish_reason": "null"}]},
        lambda text: {"content": text, "stop": False, "stop_type": "none"},
    ],
)
def test_servers_that_write_a_reason_into_every_event(marked):
    """A stream of them is one answer."""
    stream = _events(map(marked, _pieces_of_text(TEXT)))
    assert read_generated(stream, ORPHEUS).ids.tolist() == IDS
    assert "".join(response_tokens(stream)) == TEXT


def test_streams_of_several_prompts_that_end_one_by_one():
    """Those of llama.cpp, each with its number."""
    pieces = [
        {"index": at, "content": text, "stop": is_last}
        for is_last, texts in ((False, (FIRST[:50], SECOND[:50])), (True, (FIRST[50:], SECOND[50:])))
        for at, text in enumerate(texts)
    ]
    for source in (pieces, _events(pieces, done=False)):
        assert [each.ids.tolist() for each in read_generated_batch(source, ORPHEUS)] == HALVES


def test_an_end_that_names_no_answer():
    """Ollama's last line has no text where nothing was left to say."""
    lines = [
        {"response": FIRST, "done": False},
        {"done": True},
        {"response": SECOND, "done": False},
        {"done": True},
    ]
    found = read_generated_batch("\n".join(map(json.dumps, lines)), ORPHEUS)
    assert [each.ids.tolist() for each in found] == HALVES


@pytest.mark.parametrize("make", [np.array, torch.tensor, list])
def test_ids_under_the_name_that_a_tokenizer_gives_them(make):
    """One recording, rows, what `generate` returns, rows of a data set; parsed and as JSON."""
    for name in ("input_ids", "sequences"):
        assert read_generated({name: make(IDS)}, ORPHEUS).ids.tolist() == IDS
        found = read_generated_batch({name: make([IDS, IDS]), "attention_mask": 1}, ORPHEUS)
        assert [each.ids.tolist() for each in found] == [IDS, IDS]
        found = read_generated_batch([{name: make(half)} for half in HALVES], ORPHEUS)
        assert [each.ids.tolist() for each in found] == HALVES
    lines = "\n".join(json.dumps({"input_ids": half, "attention_mask": []}) for half in HALVES)
    assert [each.ids.tolist() for each in read_generated_batch(lines, ORPHEUS)] == HALVES


def test_what_a_tokenizer_returned(tok):
    """Of one clip, and of two."""
    clips = [np.zeros(4_000, np.float32), np.zeros(8_000, np.float32)]
    batch = tok(clips, sampling_rate=8_000, padding=True, return_tensors="pt")
    found = read_generated_batch(batch, tok)
    assert [each.ids.tolist() for each in found] == [tok.encode(clip, sampling_rate=8_000) for clip in clips]
    one = read_generated(tok(clips[0], sampling_rate=8_000), tok)
    assert one.ids.tolist() == found[0].ids.tolist()


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (b"x", "is a dictionary, got bytes; what a server sends goes to ResponseReader.push as it is"),
        ("x", "is a dictionary, got str; what a server sends goes to ResponseReader.push"),
        (np.arange(3), "which has no text and no ids"),
        (object(), "which has no text and no ids"),
        ({1}, "the server answered '{1}', which has no text"),
        ([b"a"], "which has no text and no ids"),
        ({"error": {"message": "busy", "at": object()}}, "answered with an error, 'busy'"),
        ({"error": {"at": b"1"}}, "answered with an error, \"{'at': b'1'}\""),
        ({"error": np.arange(3)}, "answered with an error, '[0 1 2]'"),
        ({"error": ValueError("busy")}, "answered with an error, 'busy'"),
        ({"detail": {"at": b"1"}}, "answered with an error, \"{'at': b'1'}\""),
    ],
)
def test_an_event_that_no_json_holds_is_one_sentence(event, sentence):
    """Instead of what Python's JSON says of it; the server's own message is kept."""
    with pytest.raises(TokenError, match=re.escape(sentence)):
        ResponseReader().event(event)


def test_strange_values_beside_an_answer_do_no_harm():
    """Arrays where ids, reasons and kinds are text."""
    array = np.arange(3)
    event = {"id": array, "object": array, "choices": [{"text": TEXT, "finish_reason": array}]}
    reader = ResponseReader()
    assert [piece.text for piece in (*reader.event(event), *reader.event(event))] == [TEXT, TEXT]


def test_text_is_read_where_the_ids_are_another_tokenizers():
    """A model's own numbering of its tokens does not match a preset that begins anywhere."""
    table = preset("vita-audio")
    ids = _speech(table).tolist()
    answer = _completion(table.ids_to_text(ids), token_ids=[number + 151_700 for number in ids])
    assert read_generated(answer, table).ids.tolist() == ids


def test_what_is_cut_or_unknown_in_an_answer_is_told():
    """A last event that is cut, an event of another kind, words between tokens, a server that breaks off."""
    stream = _events(map(_completion, _pieces_of_text(TEXT)), done=False)
    cut = read_generated(stream + 'data: {"choices": [{"te', "orpheus")
    assert cut.ids.tolist() == IDS
    assert cut.left_out == ('left out an event that is cut, 17 characters: \'{"choices": [{"te\'.',)
    other = read_generated(stream + 'data: {"ping": 1}\n\n', "orpheus")
    assert other.left_out == ("left out an event without text or ids, with the keys 'ping'.",)
    broken = read_generated(stream + 'data: {"error": {"message": "out of memory"}}\n\n', "orpheus")
    assert broken.ids.tolist() == IDS
    assert "the answer breaks off: the server answered with an error, 'out of memory'" in broken.left_out[0]
    lines = json.dumps(_completion("<custom"))[:-5] + "\n" + json.dumps(_completion(TEXT))
    assert "left out JSON that is cut" in read_generated(lines, "orpheus").left_out[0]
    between = read_generated(TEXT.replace("><", "> hm <", 1), "orpheus")
    assert between.ids.tolist() == IDS
    assert "'hm'" in between.left_out[0]


def test_a_fault_among_the_codes_stays_for_whoever_decodes():
    """It is not cut away, and no frame behind it either."""
    faulty = [*IDS[:9], *IDS[10:]]
    assert read_generated([START, *faulty, END], "orpheus").ids.tolist() == faulty
    # A table of one's own may lie where a published one does, or near it.
    for base in (128266, 151675):
        mine = replace(ORPHEUS, name="mine", base=base, specials={}, text=None)
        moved = [number - 128266 + base for number in faulty]
        assert read_generated(moved, mine).ids.tolist() == moved


def test_text_behind_the_end_of_speech_and_a_second_speech():
    """Codes behind an end count as little as those in front of the last start, and are told."""
    found = read_generated([START, *IDS, END, *IDS[:7]], "orpheus")
    assert found.ids.tolist() == IDS
    assert found.left_out == ("left out 7 ids of speech behind the end of speech.",)


def test_the_format_of_a_prompt():
    """A family may end its speech otherwise."""
    assert read_generated([START, *IDS, END], "orpheus", prompt="veena").ended
    plain = preset("plain", base=50_000)
    ids = _speech(plain).tolist()
    assert read_generated([plain.special_id("bos"), *ids], plain, prompt="plain").ids.tolist() == ids


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ([9906, 11], "there is no speech of 'orpheus' in it: its codes are ids from 128266 to 156937"),
        ("Sorry, I cannot do that.", "there is no speech of 'orpheus' in 'Sorry, I cannot do that.'"),
        ("", "there is no speech of 'orpheus'"),
        ("[]", "there is no speech of 'orpheus'"),
        ([], "there is no speech of 'orpheus'"),
        ([START, *IDS[:6], END], "the speech has 6 ids, less than one frame of 7"),
        (_speech(preset("vyvo-qwen3")).tolist(), "those of the preset vyvo-qwen3"),
        (_speech(preset("vyvo-lfm2")).tolist(), "those of the preset vyvo-lfm2"),
        ("<|s_1><|s_2|>", "those of LLaSA: X-codec2, not SNAC"),
        ('{"error": {"message": "no such model", "code": 404}}', "answered with an error, 'no such model'"),
        ('{"object": "error", "message": "too long", "code": 400}', "answered with an error, 'too long'"),
        ('{"detail": "Not Found"}', "answered with an error, 'Not Found'"),
        ('error: {"code": 500, "message": "busy"}', "answered with an error"),
        ("<html>502 Bad Gateway</html>", "there is no speech of 'orpheus'"),
        (
            '{"audio": "UklGRg=="}',
            "no text and no ids; left out an event without text or ids, with the keys 'audio'",
        ),
        ('{"choices": []}', "no text and no ids"),
        ('{"choices": [{"text": ', "no text and no ids; left out JSON that is cut"),
        ([1.5, 2.5], "the ids must be whole numbers"),
        ([None], "the ids must be whole numbers"),
        ([1, "a"], "the ids must be integers, got text"),
        ([{"text": "a"}, 5], "the ids must be whole numbers"),
        ({1, 2}, "the ids must be"),
        (np.array([1, 2], dtype=np.uint8), "there is no speech of 'orpheus'"),
        ("<custom_token_99999>", "is out of range"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(source, sentence):
    """And says what it is, where that is known."""
    with pytest.raises(TokenError) as caught:
        read_generated(source, "orpheus")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_are_none():
    """Parallel rows of another number, without a code, or less than a frame."""
    table = preset("mini-omni")
    rows = _speech(table, frames=1)
    for wrong, sentence in (
        (rows[:6], "7 parallel rows"),
        (rows[:, :1], "no code"),
        (rows[:, :5], "no whole frame"),
    ):
        with pytest.raises(TokenError, match=sentence):
            read_generated(wrong, table)


def test_a_stream_that_fails_is_heard_up_to_there():
    """What came in front of the error is handed out first; then it is raised, again and again."""
    reader = ResponseReader()
    good = f"data: {json.dumps(_completion(TEXT))}\n\n"
    pieces = reader.push(good + 'data: {"error": "busy"}\n\n' + good)
    assert [piece.text for piece in pieces] == [TEXT]
    for read in (lambda: reader.push("x"), reader.flush):
        with pytest.raises(TokenError, match="'busy'"):
            read()
    with pytest.raises(TokenError, match="neither events nor JSON but '<html>'"):
        list(response_tokens(["<ht", "ml>\n"]))
    with pytest.raises(TokenError, match="repeated the one before it"):
        list(new_parts(["abc", "abd"]))


def test_a_vocabulary_without_a_text_form():
    """Text cannot be read with it."""
    table = replace(ORPHEUS, text=None)
    with pytest.raises(TokenError, match="there is no speech of 'orpheus'"):
        read_generated(io.BytesIO(b"<custom_token_10>"), table)
    assert read_generated(io.BytesIO(json.dumps(IDS).encode()), table).ids.tolist() == IDS


def test_why_an_answer_is_too_short():
    """The server's own error, behind less than a frame, is not lost behind ours."""
    answer = json.dumps({"choices": [{"token_ids": IDS[:6]}]}) + "\n" + json.dumps({"error": "out of memory"})
    with pytest.raises(TokenError, match=r"less than one frame of 7.*out of memory"):
        read_generated(answer, ORPHEUS)


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_a_number_that_is_no_id_leaves_the_text(number):
    """Beyond 64 bits, which no array of ids holds."""
    answer = {"choices": [{"text": ORPHEUS.ids_to_text(IDS), "token_ids": [*IDS, number]}]}
    assert read_generated(answer, ORPHEUS).ids.tolist() == IDS
    assert next(response_tokens([json.dumps(answer)])) == ORPHEUS.ids_to_text(IDS)


def test_what_is_left_out_often_is_told_once():
    """A stream may have thousands of such lines; fields without a value say nothing."""
    events = "hm\ndata\nevent\n" * 3 + "data: " + json.dumps({"choices": [{"token_ids": IDS}]})
    found = read_generated("data:\n" + events, ORPHEUS)
    assert found.left_out == ("left out a line among the events: 'hm', 3 times.",)


@pytest.mark.parametrize(
    "answer",
    [
        "data: x\n" * 200_000 + "\n",  # an event that never ends
        '{"usage": {}}' * 200_000,  # values without a line between them
        "".join(f'{{"id": {number}, "text": ""}}\n' for number in range(100_000)),
    ],
    ids=["event", "values", "lines"],
)
def test_a_long_answer_takes_time_in_proportion(answer):
    """Seconds; these took many minutes when each line looked at those before it again."""
    last = "\n" + json.dumps({"choices": [{"token_ids": IDS}]})
    last = f"data: {last.strip()}\n\n" if answer.startswith("data") else last
    assert read_generated_batch(answer + last, ORPHEUS)[-1].ids.tolist() == IDS


def test_small_pieces_of_a_long_line():
    """An answer in one line, as a socket gives it."""
    reader = ResponseReader()
    text = json.dumps({"choices": [{"text": "x" * 2_000_000}]})
    pieces = [piece for at in range(0, len(text), 10) for piece in reader.push(text[at : at + 10])]
    assert sum(len(piece.text) for piece in pieces + reader.flush()) == 2_000_000


def chunk(text, **fields):
    """A piece of a chat stream that is marked as the last one."""
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}], **fields}


@pytest.mark.parametrize("fields", [{"id": "c"}, {"object": "chat.completion.chunk", "id": "c"}])
def test_a_stream_that_marks_each_piece_is_one_answer(fields):
    """Also where a client has parsed it, or it comes as lines."""
    events = [chunk(text, **fields) for text in _pieces_of_text(TEXT)]
    reader = ResponseReader()
    assert {piece.answer for event in events for piece in reader.event(event)} == {0}
    for source in (events, "\n".join(map(json.dumps, events)), _events(events)):
        assert read_generated(source, "orpheus").ids.tolist() == IDS


def test_a_remark_in_brackets_in_front_of_tokens_is_text():
    """Its numbers are no codes; a list of codes there is one."""
    for front in ("[1] ", "[] ", "[1, 2]: "):
        assert read_generated(front + TEXT, "orpheus").ids.tolist() == IDS


def test_parallel_rows_with_a_line_each():
    """As JSON lines, they are one answer."""
    parallel = preset("mini-omni")
    rows = parallel.encode([np.arange(count * 3) for count in parallel.layout.codes_per_frame])
    text = "\n".join(json.dumps(row.tolist()) for row in np.asarray(rows))
    assert np.array_equal(read_generated(text, parallel).ids, rows)
