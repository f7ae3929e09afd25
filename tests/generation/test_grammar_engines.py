"""Real engines allow exactly what `Vocabulary.validate` finds no fault with, at every place of a frame."""

from __future__ import annotations

import numpy as np
import pytest
from engines import END_OF_TEXT, ENGINES, Llguidance, Xgrammar

from snac_tok import preset
from snac_tok.frames import preset_names

SPEECH = {"strides": (4, 2, 1)}
MUSIC = {"strides": (8, 4, 2, 1)}
# Room for a text tokenizer's ids in front.
BASE = 16


def _tables():
    """Every preset of one line, at 7 and, where it has room for them, 15 slots; small codebooks where ids may move."""
    for name in preset_names():
        if preset(name).is_parallel:
            continue
        movable = name == "plain" or name.startswith(("per-level", "vita"))
        sizes = {"codebook_size": 8, "base": BASE} if movable else {}
        yield pytest.param(preset(name, **SPEECH, **sizes), id=f"{name}-7")
        if name != "orpheus":
            yield pytest.param(preset(name, **MUSIC, **sizes), id=f"{name}-15")


def _candidates(table):
    """Ids among which every difference between two unions of the table's ranges shows: edges, neighbours, specials."""
    edges = [edge for slot in range(table.layout.slots_per_frame) for edge in _ends(table.id_range(slot))]
    near = {edge + step for edge in edges for step in (-1, 0, 1)} | set(table.specials.values())
    return sorted(number for number in near | {END_OF_TEXT} if 0 <= number < table.size)


def _ends(ids):
    return ids[0], ids[-1]


def _judged(table, line, candidates):
    """Which of the candidates `validate` takes as the next id of a line."""
    rows = np.array([[*line, number] for number in candidates])
    faulty = {fault.batch[0] for fault in table.validate(rows) if fault.token_id is not None}
    return [number for row, number in enumerate(candidates) if row not in faulty]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("table", list(_tables()))
def test_masks_are_the_judgement_of_validate_in_every_state(engine, table):
    """Inside a frame its place's ids and nothing else; at a frame's end the next frame's, or the ids after speech."""
    size = max(table.size, BASE)
    matcher = engine(size, table.grammar(engine.form, min_frames=1, max_frames=2, before_speech=[]))
    candidates = _candidates(table)
    names = ("end_of_speech", "end_of_ai", "eos")
    after = [table.specials[name] for name in names if name in table.specials]
    generator = np.random.default_rng(0)
    codes = [generator.integers(table.codebook_size, size=2 * n) for n in table.layout.codes_per_frame]
    line = table.encode(codes).tolist()
    for at, number in enumerate(line):
        allowed = matcher.allowed()
        expected = _judged(table, line[:at], candidates)
        at_border = at and at % table.ids_per_frame == 0
        endings = {*after, END_OF_TEXT} if at_border else set()
        assert np.isin(candidates, allowed).tolist() == np.isin(candidates, [*expected, *endings]).tolist()
        is_separator = table.separator is not None and at % table.ids_per_frame == 0
        assert allowed.size == (1 if is_separator else table.codebook_size) + len(endings)
        assert matcher.accept(number)
    assert set(matcher.allowed()) == {*after, END_OF_TEXT}


@pytest.mark.parametrize("engine", ENGINES)
def test_counts_and_edges_are_kept(engine):
    """The fewest and the most frames; optional ids in front; after the end of speech nothing but the end of text."""
    table = preset("plain", codebook_size=8, base=BASE)
    start, end = table.specials["bos"], table.specials["eos"]
    matcher = engine(table.size, table.grammar(engine.form, min_frames=2, max_frames=2))
    assert set(matcher.allowed()) == {start, *table.id_range(0)}
    assert matcher.accept(start)
    assert set(matcher.allowed()) == set(table.id_range(0))
    frame = table.encode([[1], [2, 3], [4, 5, 6, 7]]).tolist()
    assert all(matcher.accept(number) for number in frame)
    assert set(matcher.allowed()) == set(table.id_range(0))
    assert all(matcher.accept(number) for number in frame)
    assert set(matcher.allowed()) == {end, END_OF_TEXT}
    assert matcher.accept(end)
    assert set(matcher.allowed()) == {END_OF_TEXT}


def test_the_directive_of_llama_cpp_goes_before_lark():
    """Builds of llama.cpp with llguidance take a text that begins with %llguidance, and so does llguidance."""
    table = preset("plain", codebook_size=8, base=BASE)
    matcher = Llguidance(table.size, "%llguidance {}\n" + table.grammar(before_speech=[]))
    assert set(matcher.allowed()) == set(table.id_range(0))


def test_an_end_of_speech_that_is_a_stop_token_ends_the_grammar():
    """As vLLM does it: its stop tokens, the end of speech among them, are put in the place of the grammar's end."""
    xgrammar = pytest.importorskip(
        "xgrammar", reason="xgrammar is not installed: no stop tokens in a matcher"
    )
    table = preset("plain", codebook_size=8, base=BASE)
    end = table.special_id("eos")
    grammar = table.grammar(min_frames=1, max_frames=1, before_speech=[])
    engine = Xgrammar(table.size, grammar)
    compiled = Xgrammar.compiled(table.size, grammar)
    engine.matcher = xgrammar.GrammarMatcher(compiled, override_stop_tokens=[END_OF_TEXT, end])
    assert all(engine.accept(number) for number in table.encode([[1], [2, 3], [4, 5, 6, 7]]).tolist())
    assert set(engine.allowed()) == {end, END_OF_TEXT}
    assert engine.accept(end)
    assert engine.matcher.is_terminated()
