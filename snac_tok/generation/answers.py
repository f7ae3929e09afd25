"""Whatever holds what a language model wrote, taken apart into answers: one row of ids, or one text, each."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.frames.arrays import to_numpy
from snac_tok.frames.id_text import are_codes, numbers_in
from snac_tok.generation.growth import new_parts
from snac_tok.generation.response_fields import is_list_of_mappings, parts_of
from snac_tok.generation.response_lines import BYTE_ORDER_MARK
from snac_tok.generation.responses import EVENT_STARTS, ResponseReader
from snac_tok.wording import counted, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snac_tok.frames import Vocabulary
    from snac_tok.generation.responses import ResponsePiece

_SPACE = " \t\r\n" + BYTE_ORDER_MARK
# What a tokenizer's call, a row of a data set, and transformers' `generate` hold ids under.
_ID_NAMES = ("input_ids", "sequences")
_VALUE = re.compile(r"[^\s,]")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """One of the things that a model wrote.

    Attributes:
        ids: (n,), or (slots, steps); None where there is text alone.
        text: the text.
        left_out: sentences about what was passed over on the way here.
        broke_off: whether its server said that more comes, and then neither more nor an end.
    """

    ids: Any = None
    text: str = ""
    left_out: tuple[str, ...] = ()
    broke_off: bool = False


def answers_in_text(text: str, table: Vocabulary) -> list[Answer]:
    """Return the answers in a text: a server's, JSON lists, numbers, or text with tokens.

    Raises:
        TokenError: none of these, or a server's error.
    """
    text = text.removeprefix(BYTE_ORDER_MARK).strip()
    has_tokens = _has_tokens(text, table)
    values = _values_in(text) if text.startswith(("[", "{")) else iter(())
    first = next(values, (None, ""))
    if _is_of_ids(first[0]) and not (has_tokens and _are_no_codes(first[0], table)):
        return _listed(chain([first], values), table)
    if (isinstance(first[0], list) and not _is_of_ids(first[0])) or text.startswith(("{", *EVENT_STARTS)):
        reader = ResponseReader()
        answers = _collected(reader, [lambda: reader.push(text), reader.flush])
        if answers or not has_tokens:
            return answers or [_nothing(reader)]
    # Words without a token are judged with what is wanted in their place; a list that is cut is not.
    is_prose = not text.startswith(("[", "{")) and any(not _is_number(word) for word in text.split())
    return (
        [Answer(text=text)] if has_tokens or is_prose or not text else [Answer(ids=numbers_in(text, table))]
    )


def answers_of_values(values: Any, table: Vocabulary) -> list[Answer]:
    """Return the answers in ids, rows of ids, pieces of text, or parsed events.

    Raises:
        TokenError: a mixture of these, or a server's error.
    """
    dimensions = 2 if table.is_parallel else 1
    if isinstance(values, (list, tuple)) and values:
        if (named := _named_ids(values)) is not None:
            return [Answer(ids=row) for ids in named for row in _rows(ids, dimensions)]
        if _begin_a_servers(values) and (found := _answers_in_lines(values, table)):
            return found
        if _holds(values, str):
            return [Answer(text="".join(_new(values)))]
        if _are_a_servers(values):
            reader = ResponseReader()
            return _collected(reader, [partial(reader.event, each) for each in values]) or [_nothing(reader)]
    return [Answer(ids=row) for row in _rows(values, dimensions)]


def _answers_in_lines(lines: Sequence[Any], table: Vocabulary) -> list[Answer]:
    """Return a server's answers in its lines or other pieces; [] for a model's text that only begins like one.

    Raises:
        TokenError: a server's error.
    """
    reader = ResponseReader()
    pushes: list[Callable[[], list[ResponsePiece]]] = [partial(reader.push, each) for each in lines]
    holds_tokens = _holds(lines, str) and _has_tokens("".join(lines), table)
    try:
        found = _collected(reader, [*pushes, reader.flush])
    except TokenError:
        if holds_tokens:
            return []
        raise
    is_heard = any(answer.ids or _has_tokens(answer.text, table) for answer in found)
    return found if is_heard or not holds_tokens else []


def _has_tokens(text: str, table: Vocabulary) -> bool:
    return table.text is not None and any(True for _ in table.text.tokens_in(text))


def _listed(values: Iterable[tuple[Any, str]], table: Vocabulary) -> list[Answer]:
    """Return the answers in lists that stand one behind the other, and what else stands behind the first one."""
    answers: list[Answer] = []
    left_out: list[str] = []
    for value, shown in values:
        if value == []:
            answers.append(Answer(ids=np.zeros(0, np.int64)))
        elif _is_of_ids(value):
            answers += answers_of_values(value if isinstance(value, list) else [value], table)
        else:
            what = counted(len(shown), "character")
            left_out.append(f"left out {what} behind the ids: {shortened(' '.join(shown.split()))}.")
    if table.is_parallel and all(np.ndim(answer.ids) == 1 for answer in answers):
        # A line each, as they are written.
        answers = [Answer(ids=[answer.ids for answer in answers])]
    return [replace(answer, left_out=(*_each_once(left_out),)) for answer in answers]


def _values_in(text: str) -> Iterator[tuple[Any, str]]:
    """Yield a text's JSON values, each as text, too; from what is no JSON on, the rest is one that is None."""
    decoder, place = json.JSONDecoder(), 0
    while found := _VALUE.search(text, place):
        begin = found.start()
        try:
            value, place = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            value, place = None, len(text)
        yield value, text[begin:place]


def _rows(values: Any, dimensions: int) -> list[Any]:
    """Return each answer's ids, of one dimension, or two in parallel rows; a batch has one more and may be ragged."""
    if isinstance(values, (list, tuple)):
        depth, inner = 0, values
        while isinstance(inner, (list, tuple)) and inner:
            depth, inner = depth + 1, inner[0]
        depth += np.ndim(to_numpy(inner)) if hasattr(inner, "shape") else 0
    else:
        depth = np.ndim(to_numpy(values))
    if depth == dimensions + 1:
        return list(values)
    return [values]


def _collected(reader: ResponseReader, reads: Iterable[Callable[[], list[ResponsePiece]]]) -> list[Answer]:
    pieces: list[ResponsePiece] = []
    broken: tuple[str, ...] = ()
    try:
        for read in reads:
            pieces += read()
    except TokenError as error:
        if not pieces:
            raise
        broken = (f"the answer breaks off: {error}",)
    by_answer: dict[int, list[ResponsePiece]] = {}
    for piece in pieces:
        by_answer.setdefault(piece.answer, []).append(piece)
    left_out = (*_each_once(reader.left_out), *broken)
    unfinished = set() if broken else reader.unfinished
    return [
        replace(_joined(by_answer[number], left_out), broke_off=number in unfinished)
        for number in sorted(by_answer)
    ]


def _each_once(sentences: list[str]) -> list[str]:
    return [
        sentence if times == 1 else f"{sentence.removesuffix('.')}, {times} times."
        for sentence, times in Counter(sentences).items()
    ]


def _joined(pieces: list[ResponsePiece], left_out: tuple[str, ...]) -> Answer:
    ids = [number for piece in pieces for number in piece.ids or ()]
    return Answer(
        ids=ids if any(piece.ids for piece in pieces) else None,
        text="".join(piece.text for piece in pieces),
        left_out=left_out,
    )


def _nothing(reader: ResponseReader) -> Answer:
    known = f"; {reader.left_out[0]}" if reader.left_out else "."
    raise TokenError(f"the server's answer holds no text and no ids{known}")


def _new(texts: Sequence[str]) -> Iterable[str]:
    """Return what is new in each text: all of it, unless each repeats the one before it."""
    repeats = len(texts) > 1 and all(later.startswith(earlier) for earlier, later in pairwise(texts))
    return new_parts(texts) if repeats else texts


def _is_of_ids(value: Any) -> bool:
    """Say whether a JSON value holds ids, or pieces of text, and is no server's."""
    if isinstance(value, Mapping):
        return _named_ids([value]) is not None
    return isinstance(value, list) and (_named_ids(value) is not None or not _are_a_servers(value))


def _are_no_codes(value: Any, table: Vocabulary) -> bool:
    """Say whether a list is of numbers none of which is a code: a remark in front of a text with tokens."""
    if not isinstance(value, list) or not all(type(each) is int and abs(each) < 1 << 62 for each in value):
        return False
    return not are_codes(np.array(value, np.int64), table).any()


def _named_ids(values: Sequence[Any]) -> list[Any] | None:
    """Return the ids that each value names as a tokenizer or `generate` does, None where one is something else."""
    found = [
        next((value[name] for name in _ID_NAMES if name in value), None)
        if isinstance(value, Mapping) and not parts_of(value)
        else None
        for value in values
    ]
    return found if found and all(ids is not None for ids in found) else None


def _are_a_servers(values: Sequence[Any]) -> bool:
    """Say whether values are a server's events or answers: objects, or lists of them where each prompt has several."""
    return bool(values) and all(
        isinstance(value, Mapping) or hasattr(value, "model_dump") or is_list_of_mappings(value)
        for value in values
    )


def _begin_a_servers(values: Sequence[Any]) -> bool:
    """Say whether pieces of text or bytes, such as lines, begin as a server's answer does."""
    if not (_holds(values, str) or _holds(values, bytes)):
        return False
    pieces = (piece if isinstance(piece, str) else piece.decode(errors="replace") for piece in values)
    first = next((piece for piece in pieces if piece.strip(_SPACE)), "")
    return first.lstrip(_SPACE).startswith(("{", *EVENT_STARTS))


def _holds(values: Any, kind: type) -> bool:
    return bool(values) and all(isinstance(each, kind) for each in values)


def _is_number(word: str) -> bool:
    return word.removeprefix("-").isdigit()
