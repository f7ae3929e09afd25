"""What a language model may write, as a grammar for the engines that constrain one: whole frames of the right ids.

Ids before and after the speech are optional in every form. Engines stop at the end of speech by a list of their own:
vLLM puts its stop tokens in the place of the grammar's end, and where a grammar demanded the id as well, some versions
never ended.

    lark    start: <[128261]>? <[128257]>? frame{1,} <[128258]>?
            frame: <[128266-132361]> … <[152842-156937]>
    ebnf    the same with Token(128266, …, 132361), which has no ranges
    gbnf    the same over the text of the tokens, a range of ids as a range of numbers
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames.arrays import is_list, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.frames.id_table import IdTable
    from snac_tok.frames.text import TextForm

GrammarForm: TypeAlias = Literal["lark", "ebnf", "gbnf"]
# Names of a vocabulary's specials, or ids of the language model's own.
EdgeIds: TypeAlias = "Sequence[str | int]"

FORMS = ("lark", "ebnf", "gbnf")
# What the families put before and after speech, in their order.
BEFORE_SPEECH = ("start_of_ai", "start_of_speech", "bos")
AFTER_SPEECH = ("end_of_speech", "end_of_ai", "eos")


def speech_edges(
    table: IdTable, *, before_speech: EdgeIds | None, after_speech: EdgeIds | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the ids that may stand before and after speech, in order; None is what the families use.

    Raises:
        LayoutError: what is no list; a special that the vocabulary lacks, or an id that belongs to a frame.

    Example:
        >>> from snac_tok.frames import preset
        >>> speech_edges(preset("orpheus"), before_speech=None, after_speech=["end_of_speech", 128009])
        ((128261, 128257), (128258, 128009))
    """
    before = _usual(table, BEFORE_SPEECH) if before_speech is None else before_speech
    after = _usual(table, AFTER_SPEECH) if after_speech is None else after_speech
    return _edge_line(table, before, where="before_speech"), _edge_line(table, after, where="after_speech")


def edge_number(table: IdTable, number: Any, *, where: str) -> int:
    """Return an id that may stand around speech as a Python int.

    Raises:
        LayoutError: no id, or one that belongs to a frame: a code's, or the separator.

    Example:
        >>> from snac_tok.frames import preset
        >>> edge_number(preset("orpheus"), 128266, where="before_speech")
        Traceback (most recent call last):
        snac_tok.errors.LayoutError: before_speech has id 128266, which 'orpheus' needs for a code; take another id.
    """
    found = whole_number(number, what=f"every id of {where}", error=LayoutError)
    is_separator = table.separator is not None and found == table.specials[table.separator]
    if is_separator or table.slots_of(found):
        need = "in front of each frame" if is_separator else "for a code"
        raise LayoutError(f"{where} has id {found}, which {table.name!r} needs {need}; take another id.")
    return found


def frame_places(table: IdTable) -> list[range]:
    """Return the ids of each place in a frame, the separator's included.

    Raises:
        LayoutError: parallel rows, which are no line of ids.

    Example:
        >>> from snac_tok.frames import preset
        >>> frame_places(preset("orpheus"))[:2]
        [range(128266, 132362), range(132362, 136458)]
    """
    if table.is_parallel:
        raise LayoutError(
            f"{table.name!r} has parallel rows: a step is one id of each slot at once, and a grammar constrains one "
            "line of ids; take a preset of one line, such as 'orpheus', or mask each row to its own ids."
        )
    places = [table.id_range(slot) for slot in range(table.layout.slots_per_frame)]
    if table.separator is not None:
        separator = table.specials[table.separator]
        places.insert(0, range(separator, separator + 1))
    return places


def checked_frame_counts(min_frames: int, max_frames: int | None) -> tuple[int, int | None]:
    """Return both as Python ints, after checking them.

    Raises:
        LayoutError: no counts, or a largest count below the smallest.
    """
    least = whole_number(min_frames, what="min_frames", error=LayoutError)
    if max_frames is None:
        return least, None
    most = whole_number(max_frames, what="max_frames", error=LayoutError, least=1)
    if most < least:
        raise LayoutError(f"max_frames is {most}, fewer than min_frames, which is {least}; exchange them.")
    return least, most


def grammar_text(
    table: IdTable,
    *,
    form: GrammarForm,
    min_frames: int,
    max_frames: int | None,
    before_speech: EdgeIds | None,
    after_speech: EdgeIds | None,
) -> str:
    """Write the grammar of a vocabulary's speech, as `Vocabulary.grammar` describes it.

    Raises:
        LayoutError: as there.
    """
    if form not in FORMS:
        raise LayoutError(f"form must be one of {FORMS}, got {form!r}.")
    least, most = checked_frame_counts(min_frames, max_frames)
    places = frame_places(table)
    before, after = speech_edges(table, before_speech=before_speech, after_speech=after_speech)
    spelled = _SPELLINGS[form](table)
    repeated = f"frame{{{least},{'' if most is None else most}}}"
    edges = [[f"{spelled(range(edge, edge + 1))}?" for edge in line] for line in (before, after)]
    line = " ".join((*edges[0], repeated, *edges[1]))
    frame = " ".join(spelled(place) for place in places)
    root, defined = ("start", ":") if form == "lark" else ("root", " ::=")
    return f"{root}{defined} {line}\nframe{defined} {frame}\n"


def _usual(table: IdTable, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in table.specials]


def _edge_line(table: IdTable, edges: Any, *, where: str) -> tuple[int, ...]:
    if not is_list(edges):
        raise LayoutError(
            f"{where} is {edges!r}; a list of specials' names or ids is needed, such as [{edges!r}]."
        )
    numbers = (table.special_id(edge) if isinstance(edge, str) else edge for edge in edges)
    return tuple(edge_number(table, number, where=where) for number in numbers)


def _lark(_table: IdTable) -> Callable[[range], str]:
    return lambda ids: f"<[{ids[0]}]>" if len(ids) == 1 else f"<[{ids[0]}-{ids[-1]}]>"


def _ebnf(_table: IdTable) -> Callable[[range], str]:
    return lambda ids: f"Token({', '.join(map(str, ids))})"


def _gbnf(table: IdTable) -> Callable[[range], str]:
    if table.text is None:
        raise LayoutError(
            f"{table.name!r} has no text form, and GBNF is a grammar over text; construct the vocabulary with "
            "text=TextForm(...), or take form='lark'."
        )
    form = table.text
    return lambda ids: _spelled_range(form, ids)


_SPELLINGS: dict[str, Callable[[IdTable], Callable[[range], str]]] = {
    "lark": _lark,
    "ebnf": _ebnf,
    "gbnf": _gbnf,
}


def _spelled_range(form: TextForm, ids: range) -> str:
    """Spell a run of ids: one of them as it is, more as the template around a range of numbers."""
    if len(ids) == 1:
        try:
            return _quoted(form.token_of(ids[0]))
        except TokenError as reason:
            raise LayoutError(f"GBNF needs the text of every id: {reason}") from reason
    if ids[0] not in form.ids or ids[-1] not in form.ids:
        raise LayoutError(
            f"ids {ids[0]}..{ids[-1]} have no text form: the template spells {form.ids.start}..{form.ids.stop - 1}; "
            "make its num_ids larger."
        )
    before, after = (_quoted(part) if part else "" for part in form.template.split("{}"))
    numbers = " | ".join(_digit_patterns(ids[0] - form.first_id, ids[-1] - form.first_id))
    return " ".join(part for part in (before, f"({numbers})", after) if part)


def _quoted(text: str) -> str:
    # The escapes that JSON writes are GBNF's, too.
    return json.dumps(text, ensure_ascii=False)


def _digit_patterns(first: int, last: int) -> Iterator[str]:
    """Yield patterns that together match the decimal numbers first … last, without leading zeros.

    >>> list(_digit_patterns(10, 132))
    ['[1-9] [0-9]', '"1" [0-2] [0-9]', '"13" [0-2]']
    """
    while first <= last:
        # Numbers of one pattern share their first digits; the last ones are free, the digit before them runs on.
        free = 0
        while first and first % 10 ** (free + 1) == 0 and first + 10 ** (free + 1) - 1 <= last:
            free += 1
        stem, digit = divmod(first // 10**free, 10)
        top = min(9, digit + (last + 1 - first) // 10**free - 1)
        shared = str(stem) if stem else ""
        if top == digit:
            parts = [_quoted(f"{shared}{digit}")]
        else:
            parts = [_quoted(shared), f"[{digit}-{top}]"] if shared else [f"[{digit}-{top}]"]
        yield " ".join(parts + ["[0-9]"] * free)
        first += (top - digit + 1) * 10**free
