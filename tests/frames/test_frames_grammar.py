"""The grammar's text: its forms, its edges, what has none. That engines obey it is shown in tests/generation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from snac_tok import FrameLayout, Vocabulary, preset
from snac_tok.errors import LayoutError
from snac_tok.frames import TextForm, preset_names
from snac_tok.frames.grammar import _digit_patterns, speech_edges
from snac_tok.prompts import prompt_format

LINES = [name for name in preset_names() if not preset(name).is_parallel]
WITH_PROMPTS = [name for name in LINES if name != "vita-audio"]
TINY = Vocabulary(
    FrameLayout((2, 1)),
    codebook_size=8,
    specials={"eos": 24, "sep": 25},
    separator="sep",
    text=TextForm(template='<a"{}>', first_id=0, num_ids=24, literals={"|": 25, "<eos>": 24}),
)


def test_lark_has_a_range_of_ids_for_each_place():
    """Optional ids around whole frames, the separator in each frame, counts as asked for."""
    assert preset("orpheus").grammar(min_frames=2, max_frames=600, after_speech=["end_of_speech"]) == (
        "start: <[128261]>? <[128257]>? frame{2,600} <[128258]>?\n"
        "frame: <[128266-132361]> <[132362-136457]> <[136458-140553]> <[140554-144649]> <[144650-148745]> "
        "<[148746-152841]> <[152842-156937]>\n"
    )
    assert TINY.grammar() == "start: frame{1,} <[24]>?\nframe: <[25]> <[0-7]> <[8-15]> <[16-23]>\n"


def test_ebnf_names_every_id():
    """Token() of xgrammar knows no ranges."""
    assert TINY.grammar("ebnf", min_frames=0) == (
        "root ::= frame{0,} Token(24)?\nframe ::= Token(25) Token(0, 1, 2, 3, 4, 5, 6, 7) "
        "Token(8, 9, 10, 11, 12, 13, 14, 15) Token(16, 17, 18, 19, 20, 21, 22, 23)\n"
    )


def test_gbnf_spells_tokens():
    """A range of ids is a range of numbers in the template; quotes are escaped."""
    assert TINY.grammar("gbnf") == (
        'root ::= frame{1,} "<eos>"?\n'
        'frame ::= "|" "<a\\"" ([0-7]) ">" "<a\\"" ([8-9] | "1" [0-5]) ">" "<a\\"" ("1" [6-9] | "2" [0-3]) ">"\n'
    )


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (0, 4095), (10, 4105), (99, 101), (1, 1000), (16394, 20489), (7, 7)]
)
def test_digit_patterns_are_exactly_the_numbers(first, last):
    """Each number in the range is matched once, none outside it, none with a leading zero."""
    pattern = re.compile("|".join(_digit_patterns(first, last)).replace('"', "").replace(" ", ""))
    texts = [f"{zeros}{number}" for number in range(last + 2000) for zeros in ("", "0")]
    assert [text for text in texts if pattern.fullmatch(text)] == [str(n) for n in range(first, last + 1)]


@pytest.mark.parametrize("name", WITH_PROMPTS)
def test_the_usual_edges_are_those_of_the_prompt(name):
    """What a model of the preset writes around speech is what its prompt format says."""
    prompt = prompt_format(preset(name))
    edges = speech_edges(preset(name), before_speech=None, after_speech=None)
    assert edges == (prompt.before_speech, prompt.after_speech)


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("form", ["lark", "ebnf", "gbnf"])
def test_every_preset_of_one_line_has_every_form(name, form):
    """7 slots and, where the table allows it, 15."""
    assert preset(name).grammar(form).count("frame") == 2
    if name != "orpheus":
        assert preset(name, strides=(8, 4, 2, 1)).grammar(form).count("frame") == 2


@pytest.mark.parametrize(
    ("table", "options", "sentence"),
    [
        (preset("mini-omni"), {}, "'mini-omni' has parallel rows: a step is one id of each slot at once"),
        (TINY, {"form": "regex"}, "form must be one of ('lark', 'ebnf', 'gbnf'), got 'regex'."),
        (TINY, {"min_frames": -1}, "min_frames must be a whole number"),
        (TINY, {"max_frames": 0}, "max_frames must be a whole number from 1"),
        (TINY, {"min_frames": 5, "max_frames": 4}, "max_frames is 4, fewer than min_frames, which is 5"),
        (TINY, {"after_speech": ["stop"]}, "has no special 'stop'; it has ['eos', 'sep']."),
        (TINY, {"before_speech": [3]}, "before_speech has id 3, which 'custom' needs for a code"),
        (
            Vocabulary(FrameLayout((1,))),
            {"form": "gbnf"},
            "has no text form, and GBNF is a grammar over text",
        ),
        (
            Vocabulary(FrameLayout((1,)), text=TextForm(template="<{}>", first_id=0, num_ids=100)),
            {"form": "gbnf"},
            "ids 0..4095 have no text form: the template spells 0..99; make its num_ids larger.",
        ),
        (
            TINY,
            {"form": "gbnf", "after_speech": [77]},
            "GBNF needs the text of every id: id 77 has no text form",
        ),
    ],
)
def test_what_has_no_grammar_says_why(table, options, sentence):
    """One sentence each."""
    with pytest.raises(LayoutError, match=re.escape(sentence)):
        table.grammar(**options)


@pytest.mark.parametrize("name", ["before_speech", "after_speech"])
@pytest.mark.parametrize("wrong", ["eos", b"eos", 24, {"eos": 24}, np.array(24)])
def test_one_edge_by_itself_is_no_list_of_edges(name, wrong):
    """A name was read letter by letter."""
    with pytest.raises(
        LayoutError, match=re.escape(f"{name} is {wrong!r}; a list of specials' names or ids is needed")
    ):
        TINY.grammar(**{name: wrong})


def test_the_separator_is_no_edge():
    """A second one in front of a frame would not be read back."""
    with pytest.raises(LayoutError, match=r"before_speech has id 25, which 'custom' needs in front of each"):
        TINY.grammar(before_speech=["sep"])
