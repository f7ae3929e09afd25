"""Codes, ids, tables and files that are wrong: refused in one sentence that names what and where."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from snac_tok.errors import CodesError, LayoutError, TokenError
from snac_tok.frames import Fault, FrameLayout, TextForm, Vocabulary, preset, vocabulary_from_json
from snac_tok.frames.text_ambiguity import Spellings

LAYOUT = FrameLayout(strides=(4, 2, 1))
ORPHEUS = preset("orpheus")
GOOD_IDS = [128266, 132362, 136458, 140554, 144650, 148746, 152842]


def zeros(*lengths, dtype=np.int64):
    """Return one array of zeros a level."""
    return [np.zeros(length, dtype) for length in lengths]


BAD_CODES = [
    (zeros(1, 2, 4, dtype=float), "whole numbers of an integer type"),
    (zeros(1, 2, 4, dtype=bool), "got bool"),
    (zeros(1, 2, 4, dtype=np.uint64), "up to int64, got uint64"),
    ([np.array([np.nan]), *zeros(2, 4)], "got float64"),
    ([torch.tensor([True]), torch.zeros(2).long(), torch.zeros(4).long()], "got torch.bool"),
    ([torch.tensor([float("nan")]), torch.zeros(2), torch.zeros(4)], "got torch.float32"),
    ([torch.zeros(1).long(), *zeros(2, 4)], "one place"),
    ([[None], [1, 2], [1, 2, 3, 4]], "got object"),
    ([["a"], [1, 2], [1, 2, 3, 4]], "got text such as 'a'"),
    ([[10**30], [1, 2], [1, 2, 3, 4]], "got object"),
    ([[[1, 2], [3]], [1, 2], [1, 2, 3, 4]], "equal lengths"),
    ([1, 2, 3], "at least one dimension"),
    (zeros(1, 2), "got 2 levels of codes; strides (4, 2, 1) need 3"),
    (zeros(1, 2, 4, 8), "got 4 levels"),
    ([], "got 0 levels"),
    (None, "one array per level, got NoneType"),
    (7, "one array per level, got int"),
    (zeros(2, 4, 7), "level 2 has 7 codes and needs 8: level 0 has 2"),
    (zeros(2, 3, 8), "level 1 has 3 codes and needs 4"),
    (zeros(0, 2, 4), "level 1 has 2 codes and needs 0"),
    ([np.zeros((2, 1), int), np.zeros((3, 2), int), np.zeros((2, 4), int)], "[(2, 1), (3, 2), (2, 4)]"),
]


@pytest.mark.parametrize(("codes", "words"), BAD_CODES)
@pytest.mark.parametrize("call", [LAYOUT.flatten, ORPHEUS.encode])
def test_codes_that_are_no_codes_are_refused(call, codes, words) -> None:
    """Wrong types, shapes, lengths and level counts: both faces say the same."""
    with pytest.raises(CodesError) as refusal:
        call(codes)
    assert words in str(refusal.value)


@pytest.mark.parametrize("bad", [-1, 4096, 2**40, -(2**63)])
@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_a_code_outside_the_codebook_is_named(make, bad) -> None:
    """Level, index and value are in the message; nothing is wrapped or clipped."""
    codes = [make([[0, 0]]), make([[0, 1, bad, 3]]), make([[0] * 8])]
    with pytest.raises(
        CodesError, match=rf"level 1 has code {bad} at index \(0, 2\); codes must be 0\.\.4095"
    ):
        ORPHEUS.encode(codes)


def test_narrow_types_do_not_overflow() -> None:
    """uint16 and int8 codes get ids above 65535: arithmetic is int64 from the start."""
    assert ORPHEUS.encode(zeros(1, 2, 4, dtype=np.uint16)).tolist() == GOOD_IDS
    assert ORPHEUS.encode(zeros(1, 2, 4, dtype=np.int8)).tolist() == GOOD_IDS
    narrow = [torch.zeros(n, dtype=torch.uint16) for n in (1, 2, 4)]
    assert ORPHEUS.encode(narrow).tolist() == GOOD_IDS


def test_ids_stored_as_uint16_are_refused_with_the_cause() -> None:
    """Wrapped ids cannot be repaired one by one: the message says which type to store."""
    wrapped = np.array(GOOD_IDS).astype(np.uint16)
    with pytest.raises(TokenError, match=r"uint16 cannot hold the ids .*up to 156939.*store int32"):
        ORPHEUS.decode(wrapped)
    with pytest.raises(TokenError, match=r"torch.uint16 cannot hold"):
        ORPHEUS.decode(torch.from_numpy(wrapped))


@pytest.mark.parametrize("empty", [[], np.zeros(0, np.int32), torch.zeros(0, dtype=torch.long)])
def test_no_frames_are_frames_too(empty) -> None:
    """Empty codes give empty ids and back."""
    assert ORPHEUS.encode([empty] * 3).shape == (0,)
    assert [level.shape for level in ORPHEUS.decode(empty)] == [(0,)] * 3
    assert preset("mini-omni").encode([empty] * 3).shape == (7, 8)


def broken(position, value):
    """Return two good frames with one id replaced."""
    ids = GOOD_IDS * 2
    ids[position] = value
    return ids


BAD_IDS = [
    (broken(5, 128258), "position 5: id 128258 is the special 'end_of_speech'; slot 5 takes 148746..152841"),
    (broken(9, 132362), "position 9: id 132362 is code 0 of slot 1; slot 2 takes 136458..140553"),
    (broken(0, 0), "position 0: id 0 is not an id of this vocabulary; slot 0 takes 128266..132361"),
    (
        broken(13, 156938),
        "position 13: id 156938 is not an id of this vocabulary; slot 6 takes 152842..156937",
    ),
    (broken(3, -1), "position 3: id -1 is not an id"),
    (GOOD_IDS[:4], "position 4: the last frame is partial, 4 of 7 ids; slot 4 takes 144650..148745"),
    ([[*GOOD_IDS], broken(2, 7)[:7]], "position 2 of row (1,): id 7"),
    ([1.0, 2.0], "got float64"),
    ([True] * 7, "got bool"),
    (7, "at least one dimension"),
    (None, "got object"),
    ("<custom_token_10>", "got text such as '<custom_token_10>'; a vocabulary's text_to_ids"),
    (["<custom_token_10>"], "convert_tokens_to_ids"),
]


@pytest.mark.parametrize(("ids", "words"), BAD_IDS)
def test_ids_that_are_no_frames_are_refused(ids, words) -> None:
    """Position, id and expected range are named, and how to see all faults; validate lists, never raises."""
    with pytest.raises(TokenError) as refusal:
        ORPHEUS.decode(ids)
    assert words in str(refusal.value)
    assert ORPHEUS.validate(ids)
    assert all(isinstance(fault, Fault) for fault in ORPHEUS.validate(ids))


def test_validate_lists_every_fault() -> None:
    """Two wrong ids and a partial frame are three faults, in order; torch ids give the same list."""
    ids = [*broken(5, 128258), 128266]
    ids[9] = 132362
    faults = ORPHEUS.validate(ids)
    assert [(f.position, f.token_id, f.slot) for f in faults] == [
        (5, 128258, 5),
        (9, 132362, 2),
        (15, None, 1),
    ]
    assert faults[0].expected == range(148746, 152842)
    assert ORPHEUS.validate(torch.tensor(ids)) == faults


def test_a_separator_must_stand_before_each_frame() -> None:
    """A code in the separator's place is a fault that says which id belongs there."""
    vocabulary = preset("per-level-separated", strides=(2, 1))
    ids = vocabulary.encode([[1, 2], [3, 4, 5, 6]])
    ids[4] = 1
    with pytest.raises(
        TokenError, match=r"position 4: id 1 is code 1 of slot 0; a separator takes 8195 here"
    ):
        vocabulary.decode(ids)
    with pytest.raises(TokenError, match=r"position 5: the last frame is partial, 1 of 4 ids; slot 0"):
        vocabulary.decode(vocabulary.encode([[1, 2], [3, 4, 5, 6]])[:5])


def test_parallel_rows_must_be_whole() -> None:
    """Wrong row counts, too few steps, a code in the delay, a pad among the codes, a missing end."""
    rows = preset("mini-omni")
    good = rows.encode([[1, 2], [3, 4, 5, 6], list(range(8))])
    for ids, words in (
        (good[:6], r"got shape \(6, 10\), need \(…, 7, steps\)"),
        (good[0], r"got shape \(10,\)"),
        (good[:, :7], "7 steps; even no frames take 8"),
    ):
        with pytest.raises(TokenError, match=words):
            rows.decode(ids)
    for (row, step), number, words in (
        ((1, 0), 156161, "position 0: id 156161 is code 1 of slot 1; slot 1 takes 160257 here"),
        ((0, 1), 156097, "id 156097 is the special 'pad'; slot 0 takes 152000..156095"),
        ((6, 9), 181057, "position 9: id 181057 is the special 'pad'; slot 6 takes 181056 here"),
    ):
        bad = good.copy()
        bad[row, step] = number
        assert words in str(rows.validate(bad)[0])
        with pytest.raises(TokenError):
            rows.decode(bad)


def test_what_an_id_cannot_tell_is_refused_not_guessed() -> None:
    """With offsets per level a shared id has several slots; specials and strangers are no codes."""
    level = preset("per-level")
    assert level.slots_of(5) == (0,)
    assert level.slots_of(4100) == (1, 4)
    assert level.code_of(4100) == 4
    with pytest.raises(TokenError, match="id 128258 is the special 'end_of_speech' in 'orpheus'"):
        ORPHEUS.code_of(128258)
    with pytest.raises(TokenError, match="no id of a code"):
        ORPHEUS.code_of(-5)
    with pytest.raises(TokenError, match="whole number"):
        ORPHEUS.slots_of("128266")
    assert ORPHEUS.slots_of(np.uint16(5)) == ()


def test_ids_between_two_blocks_are_no_codes() -> None:
    """The first id after a block's codes has no slot: an end of mini-omni, code 64 of a 64-code table."""
    rows, small = preset("mini-omni"), preset("orpheus", codebook_size=64)
    assert rows.slots_of(rows.special_id("end", slot=2)) == ()
    assert small.slots_of(128266 + 63) == (0,)
    assert small.slots_of(128266 + 64) == ()
    with pytest.raises(TokenError, match="id 128330 is no id of a code"):
        small.code_of(128330)


def test_numbers_asked_for_must_exist() -> None:
    """Slots, codes and special names outside the table are named with what there is."""
    with pytest.raises(LayoutError, match="slot must be a whole number from 0 to 6, got 7"):
        ORPHEUS.id_range(7)
    with pytest.raises(LayoutError, match="slot"):
        ORPHEUS.id_range(-1)
    with pytest.raises(CodesError, match="code must be a whole number from 0 to 4095, got 4096"):
        ORPHEUS.id_of(0, 4096)
    with pytest.raises(LayoutError, match="no special 'stop'"):
        ORPHEUS.special_id("stop")
    with pytest.raises(LayoutError, match="leave slot out"):
        ORPHEUS.special_id("pad", slot=1)
    with pytest.raises(LayoutError, match="give slot="):
        preset("lucy").special_id("pad")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"strides": ()}, "one or more"),
        ({"strides": (4, 0)}, "from 1 up"),
        ({"strides": (4, -2)}, "from 1 up"),
        ({"strides": (1, 2)}, "2 does not divide 1"),
        ({"strides": (4.0, 2)}, "whole numbers"),
        ({"strides": (True, True)}, "whole numbers"),
        ({"strides": "421"}, "whole numbers"),
        ({"strides": None}, "whole numbers"),
        ({"strides": (2**40, 1)}, "at most 4096"),
        ({"strides": (2, 1), "order": "time"}, "order must be one of"),
        ({"strides": (2, 1), "levels": 0}, "from 1 to 2"),
        ({"strides": (2, 1), "levels": True}, "from 1 to 2"),
    ],
)
def test_layouts_that_make_no_sense_are_refused(arguments, words) -> None:
    """Nothing is allocated for a damaged config."""
    with pytest.raises(LayoutError, match=words):
        FrameLayout(**arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"specials": {"pad": 5}}, "special 'pad' is id 5, a code of slot 0"),
        ({"specials": {"pad": 90000, "eos": 90000}}, "both id 90000"),
        ({"specials": {"pad": 2**31}}, "special 'pad' must be a whole number"),
        ({"specials": {"pad": "1"}}, "special 'pad'"),
        ({"specials": {"": 90000}}, "names"),
        ({"specials": [1]}, "mapping of names"),
        ({"separator": "sep"}, "separator 'sep' is not a special"),
        ({"offsets": "frame"}, "offsets must be one of"),
        ({"block_size": 100}, "at most block_size"),
        ({"codebook_size": 2.5}, "codebook_size must be a whole number"),
        ({"base": True}, "base"),
        ({"name": ""}, "name"),
        ({"base": 2**31 - 10}, "largest allowed"),
        ({"text": "<{}>"}, "TextForm"),
        ({"layout": (4, 2, 1)}, "FrameLayout"),
        ({"delays": (1, 2)}, "7 numbers"),
        ({"delays": 3}, "numbers"),
        ({"delays": range(7)}, "'pad' and 'end'"),
        ({"delays": (10**9,) * 7}, "every delay"),
        ({"delays": range(7), "specials": {"pad": 4096, "end": 4097}}, "must be in 4096..4095"),
        (
            {
                "delays": range(7),
                "specials": {"pad": 4096, "end": 4097},
                "block_size": 5000,
                "separator": "pad",
            },
            "not both",
        ),
    ],
)
def test_vocabularies_that_make_no_sense_are_refused(arguments, words) -> None:
    """Ids that would mean two things, wrong types, rows without their marks."""
    with pytest.raises(LayoutError) as refusal:
        Vocabulary(**{"layout": LAYOUT, **arguments})
    assert words in str(refusal.value)


GOOD_JSON = {"layout": {"strides": [4, 2, 1]}, "base": 10}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bases": 3}, "an unknown entry 'bases'"),
        ({"layout": {}}, "lacks ['strides']"),
        ({"layout": {"strides": [4, 2, 1], "stride": 1}}, "an unknown entry 'stride'"),
        ({"layout": None}, "layout is empty; a mapping of"),
        ({"text": {"template": "<{}>"}}, "lacks ['first_id', 'num_ids']"),
        ({"text": {"template": "<>", "first_id": 0, "num_ids": 5}}, "exactly one"),
        ({"specials": {"pad": 10}}, "a code of slot 0"),
        ({"specials": {"pad": 2**40}}, "special 'pad'"),
        ({"base": None}, "base is None; a value of type int"),
        ({"base": 1e3}, "base is 1000.0; a value of type int"),
        ({"separator": {}}, "separator is {}; a value of type str"),
        ({"separator": []}, "separator is []; a value of type str"),
        ({"separator": 7}, "separator is 7; a value of type str"),
        ({"separator": ""}, "is not a special"),
        ({"offsets": {}}, "offsets is {}; it must be one of"),
        ({"name": {}}, "name is {}; a value of type str"),
        ({"delays": {}}, "delays is {}; a list"),
        ({"specials": []}, "specials is []; a mapping"),
        ({"layout": {"strides": {}}}, "layout.strides is {}; a list"),
        ({"layout": {"strides": [4, 2, 1], "order": {}}}, "layout.order is {}; it must be one of"),
        (
            {"text": {"template": "<{}>", "first_id": 0, "num_ids": 5, "literals": []}},
            "text.literals is []; a mapping",
        ),
        (
            {"text": {"template": "<{}>", "first_id": 0, "num_ids": 5, "literals": {"a": "b"}}},
            "text.literals.a is 'b'; a value of type int",
        ),
        ({"base": {"a": {"b": {"c": {}}}}}, "base is {'a': {'b': {'c': {}}}}; a value of type int"),
    ],
)
def test_user_presets_are_checked(change, words) -> None:
    """The same from a mapping and from JSON text."""
    data = {**GOOD_JSON, **change}
    for source in (data, json.dumps(data)):
        with pytest.raises(LayoutError) as refusal:
            vocabulary_from_json(source)
        assert words in str(refusal.value)


@pytest.mark.parametrize("depth", [4, 300, 900, 5_000])
@pytest.mark.parametrize(
    "key", ["name", "base", "separator", "delays", "specials", "layout", "text", "offsets"]
)
def test_values_nested_without_end_are_refused(key, depth) -> None:
    """However deep lists lie in lists under whichever key, the refusal is a LayoutError, never the stack's end."""
    values = {"layout": '{"strides": [1]}', key: "[" * depth + "]" * depth}
    entries = ", ".join(f'"{name}": {value}' for name, value in values.items())
    with pytest.raises(LayoutError, match=r"is needed|must be one of|not valid JSON"):
        vocabulary_from_json(f"{{{entries}}}")


def test_a_byte_order_mark_is_passed_over(tmp_path) -> None:
    """Editors on Windows begin a JSON file with one."""
    (tmp_path / "mine.json").write_text(json.dumps(GOOD_JSON), encoding="utf-8-sig")
    assert vocabulary_from_json(tmp_path / "mine.json") == vocabulary_from_json(GOOD_JSON)


def test_literals_are_text() -> None:
    """A number as a literal's spelling is refused with the id that it stands for."""
    with pytest.raises(LayoutError, match="got 5 for id 90"):
        TextForm(template="<{}>", first_id=0, num_ids=3, literals={5: 90})


def test_tokens_are_found_among_other_text() -> None:
    """Where each one stands, its id, and a refusal of a number outside the table with its place."""
    text = "tara: hm <custom_token_10></s><|audio|>\n<custom_token_11"
    found = list(ORPHEUS.text.tokens_in(text))
    assert [(text[place.start : place.stop], number) for place, number in found] == [
        ("<custom_token_10>", 128266),
        ("<|audio|>", 156939),
    ]
    with pytest.raises(TokenError, match=r"character 3: .*out of range"):
        list(ORPHEUS.text.tokens_in("hm <custom_token_28682>"))


def test_files_that_are_no_presets_are_refused(tmp_path) -> None:
    """Missing, a folder, binary, huge, cut off, a list, a key twice, nested without end."""
    contents = {
        "binary": b"\xff\xfe\x00",
        "huge": b" " * 2_000_000,
        "cut": b'{"layout": {"strides": [4, 2',
        "list": b"[1, 2]",
        "twice": b'{"base": 1, "base": 2, "layout": {"strides": [1]}}',
        "deep": b"[" * 200_000,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for source in (tmp_path, tmp_path / "missing", *(tmp_path / name for name in contents), 3, None):
        with pytest.raises(LayoutError):
            vocabulary_from_json(source)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<custom_token_10> <custom_token_11>", "character 17: ' <custom_token_11>'"),
        ("<custom_token_10", "character 0"),
        ("<custom_token_010>", "character 0"),
        ("<custom_token_-1>", "character 0"),
        ("<custom_token_٣>", "character 0"),  # an Arabic digit
        ("<custom_token_28682>", "out of range"),
        ("<custom_token_" + "9" * 10_000 + ">", "character 0"),
        ("<custom_token_10>hello", "character 17: 'hello'"),
        (b"<custom_token_10>", "expected text, got bytes"),
        (None, "expected text, got NoneType"),
    ],
)
def test_garbage_in_text_is_refused_with_its_place(text, words) -> None:
    """Nothing between tokens, no other spelling of a number, no number outside the table."""
    with pytest.raises(TokenError) as refusal:
        ORPHEUS.text_to_ids(text)
    assert words in str(refusal.value)


def test_ids_without_a_spelling_are_refused_with_their_place() -> None:
    """Also for a vocabulary that spells nothing, and for more than one line."""
    with pytest.raises(TokenError, match="position 1: id 156938 has no text form"):
        ORPHEUS.ids_to_text([128266, 156938])
    with pytest.raises(TokenError, match="one row at a time"):
        ORPHEUS.ids_to_text([[128266]])
    with pytest.raises(TokenError, match="is 2 tokens, not one"):
        ORPHEUS.text.id_of("<custom_token_10><custom_token_11>")
    with pytest.raises(LayoutError, match="has no text form"):
        Vocabulary(layout=LAYOUT).ids_to_text([1])
    assert ORPHEUS.text_to_ids("").tolist() == []
    assert ORPHEUS.ids_to_text([]) == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"template": "{}"}, "text around"),
        ({"template": "<{}{}>"}, "exactly one"),
        ({"template": 5}, "exactly one"),
        ({"first_id": -1}, "first_id"),
        ({"num_ids": 1.5}, "num_ids"),
        ({"literals": {"<pad>": 3}}, "clashes"),
        ({"literals": {"<7>": 300}}, "clashes"),
        ({"literals": {"": 300}}, "clashes"),
        ({"literals": {"<a>": 300, "<b>": 300}}, "clashes"),
    ],
)
def test_text_forms_that_read_two_ways_are_refused(arguments, words) -> None:
    """Every id has one spelling and every spelling one id."""
    with pytest.raises(LayoutError, match=words):
        TextForm(**{"template": "<{}>", "first_id": 0, "num_ids": 10, **arguments})


def test_numpy_numbers_are_numbers() -> None:
    """Narrow types neither overflow nor leak: a text form, counts, ids and slots given as numpy."""
    form = TextForm(
        template="<{}>", first_id=np.uint8(250), num_ids=np.uint8(10), literals={"<a>": np.int16(9)}
    )
    assert [type(n) for n in (form.first_id, form.num_ids, form.literals["<a>"])] == [int] * 3
    assert form.token_of(np.uint16(259)) == "<9>"
    assert form.token_of(np.int8(9)) == "<a>"
    rows = preset("mini-omni")
    for number in (
        ORPHEUS.length_of(np.uint8(200)),
        ORPHEUS.frames_in(np.int16(1400)),
        rows.length_of(np.uint8(255)),
    ):
        assert type(number) is int
    assert ORPHEUS.length_of(np.uint8(200)) == 1400
    assert rows.length_of(np.uint8(255)) == 263
    assert FrameLayout(strides=(8, 4, 2, 1), levels=np.int8(3)) == FrameLayout(strides=(8, 4, 2, 1), levels=3)
    assert rows.special_id("pad", slot=np.int64(1)) == rows.special_id("pad", slot=1)


@pytest.mark.parametrize("bad", [True, 1.0, "1", None, -1])
def test_bools_and_other_things_are_no_numbers(bad) -> None:
    """True is not id 1, one frame or a length."""
    with pytest.raises(CodesError, match="num_frames must be a whole number"):
        ORPHEUS.length_of(bad)
    with pytest.raises(TokenError, match="length must be a whole number"):
        ORPHEUS.frames_in(bad)
    with pytest.raises(TokenError, match=r"an id must be a whole number|id -1 has no text form"):
        TextForm(template="<{}>", first_id=0, num_ids=10).token_of(bad)


@pytest.mark.parametrize("bad", [True, 1.0, "1", -1, 0, 4, np.int64(4)])
def test_levels_that_are_no_number_of_levels_are_refused(bad) -> None:
    """The range is named whatever came."""
    with pytest.raises(LayoutError, match="levels must be a whole number from 1 to 3, got"):
        FrameLayout(strides=(4, 2, 1), levels=bad)


def test_a_refusal_inside_a_refusal_has_one_full_stop() -> None:
    """A preset quotes the layout's sentence, a fault the array's."""
    for call in (
        lambda: preset("plain", strides=(4, 3, 1)),
        lambda: preset("orpheus", strides=(8, 4, 2, 1)),
        lambda: ORPHEUS.decode([1.0]),
        lambda: ORPHEUS.ids_to_text([5]),
    ):
        with pytest.raises((LayoutError, TokenError)) as refusal:
            call()
        assert str(refusal.value).endswith(".")
        assert not re.search(r"\.\.(\s|$)|\. ?[(;]", str(refusal.value))


@pytest.mark.parametrize("flat", [[1] * 8, [[1] * 6], 5, None, [1.5] * 7])
def test_flat_codes_that_are_no_frames_are_refused(flat) -> None:
    """To unflatten takes whole frames of integers only."""
    with pytest.raises(CodesError):
        LAYOUT.unflatten(flat)


@pytest.mark.parametrize("kind", [np.int16, np.int8, np.uint8, ">i2", torch.int16, torch.uint8])
def test_signed_types_hold_half_as_many_ids(kind) -> None:
    """An id of 33,000 needs int32; in int16 it has wrapped to a negative one."""
    table = preset("plain", base=10_000)
    ids = table.encode([[0], [0, 0], [0] * 4])
    narrow = torch.from_numpy(ids).to(kind) if isinstance(kind, torch.dtype) else ids.astype(kind)
    with pytest.raises(
        TokenError, match=r"int\d+ cannot hold the ids of this vocabulary .*: store int32|>i2 cannot"
    ):
        table.decode(narrow)


def test_types_that_hold_the_ids_are_not_to_blame() -> None:
    """A wrong id is only that."""
    small = Vocabulary(layout=FrameLayout((1,)), codebook_size=128)
    assert small.decode(np.array([127], np.int8))[0].tolist() == [127]
    for ids in (np.array([-1], np.int8), np.array([200], np.uint8), [200]):
        with pytest.raises(TokenError, match=r"lists every fault\.$"):
            small.decode(ids)


@pytest.mark.parametrize(
    ("template", "literals", "words"),
    [
        ("<a{}>", {"<a3>!": 6, "!": 7}, "'<a3>!' for id 6 clashes with other tokens"),
        ("<a{}>", {"xy": 6, "x": 7, "y": 8}, "'xy' for id 6 clashes with other tokens"),
        ("<a{}>", {"x<": 6, "x": 7}, "'x<' for id 6 clashes"),
        ("<a{}>", {"<a": 6}, "'<a' for id 6 clashes"),
        ("<a{}>", {"<": 6}, "'<' for id 6 clashes"),
        ("<a{}>", {"<a4><a": 6}, "'<a4><a' for id 6 clashes"),
        ("<a{}", {"7": 6}, "two on end clash"),
        ("{}1", {}, "two on end clash"),
    ],
)
def test_spellings_that_run_into_each_other_are_refused(template, literals, words) -> None:
    """Their ids would not come back from text without gaps."""
    with pytest.raises(LayoutError, match=words):
        TextForm(template=template, first_id=0, num_ids=5, literals=literals)


@pytest.mark.parametrize(
    "literals",
    [{"<a3>!": 6, "?": 7}, {"xy": 6, "x": 7}, {"<b>": 6}, {"<a5>x": 6, "x": 7}, {"7": 6}],
)
def test_spellings_that_only_begin_alike_are_taken(literals) -> None:
    """What is left behind the shorter one begins no token, so the longer one is what is meant."""
    form = TextForm(template="<a{}>", first_id=0, num_ids=5, literals=literals)
    ids = [0, *literals.values(), 3, *reversed(literals.values()), 4]
    assert form.to_ids(form.to_text(ids)).tolist() == ids


_letters = st.sampled_from(["ab", "a<>0", "ab13"]).flatmap(
    lambda letters: st.tuples(
        st.text(letters, max_size=2),
        st.text(letters, max_size=2),
        st.lists(st.text(letters, min_size=1, max_size=5), max_size=3, unique=True),
    )
)


@given(spelled=_letters, num_ids=st.sampled_from([1, 2, 5, 13]), data=st.data())
def test_a_form_that_is_taken_reads_its_text_back(spelled, num_ids, data) -> None:
    """Whatever templates and literals are made of: refused, or every line of ids comes back."""
    before, after, tokens = spelled
    literals = {token: 100 + number for number, token in enumerate(tokens)}
    try:
        form = TextForm(template=f"{before}{{}}{after}", first_id=0, num_ids=num_ids, literals=literals)
    except LayoutError:
        return
    ids = data.draw(st.lists(st.sampled_from([*range(num_ids), *literals.values()]), max_size=8))
    assert form.to_ids(form.to_text(ids)).tolist() == ids


@given(spelled=_letters, num_ids=st.sampled_from([1, 2, 5]))
def test_a_form_without_digits_is_refused_only_for_a_reason(spelled, num_ids) -> None:
    """Some line of a few ids does not come back, then: found by trying."""
    before, after, tokens = spelled
    template = f"{before}{{}}{after}"
    found = Spellings(template=template, num_ids=num_ids, literals=tuple(tokens)).unreadable()
    own = {template.replace("{}", str(number)) for number in range(num_ids)}
    if found is None or found in own or template == "{}":
        return
    # The literal itself begins the text of other tokens: those that can stand in its place.
    open_texts = {token for token in (*own, *tokens) if token != found}
    assert _covers(found, open_texts, {*own, *tokens})


def _covers(text, first, tokens) -> bool:
    """Whether a text is the beginning of tokens on end, the first of which is one of `first`."""
    if any(token.startswith(text) for token in first):
        return True
    return any(text.startswith(token) and _covers(text[len(token) :], tokens, tokens) for token in first)
