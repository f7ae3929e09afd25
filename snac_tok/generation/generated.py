"""The speech in what a language model wrote, whole: ids, text, or a server's answer, from anywhere.

prompt, text, an earlier speech …  SOA SOS | codes … | EOS EOA, pads, text …
                                           |  kept   |   the rest is left out, and said

It cuts and does not judge: what stands among the codes and is none stays, for `decode` to refuse or repair.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import TokenError
from snac_tok.files import shown_path
from snac_tok.frames.arrays import integers, to_numpy
from snac_tok.frames.faults import iter_faults
from snac_tok.frames.grammar import speech_edges
from snac_tok.frames.id_text import are_codes, ids_left_out, text_of, words_left_out
from snac_tok.frames.identify import LEAST_SHARE, identify, share_in_order
from snac_tok.generation.answers import Answer, answers_in_text, answers_of_values
from snac_tok.generation.frame_states import table_of
from snac_tok.generation.parallel_rows import cut_rows
from snac_tok.generation.responses import BROKE_OFF
from snac_tok.prompts import prompt_format
from snac_tok.prompts.prompt_format import as_line
from snac_tok.prompts.speech import find_speech
from snac_tok.wording import counted, shortened

if TYPE_CHECKING:
    from snac_tok.frames import Vocabulary
    from snac_tok.prompts.prompt_format import Ids, Prompt
    from snac_tok.streaming.pairing import CodecWithVocabulary


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedSpeech:
    """The speech of one answer.

    Attributes:
        ids: int64 (n,), or (slots, steps) where rows are parallel: what `decode` takes.
        left_out: a sentence about each thing around them.
        ended: whether the model ended its speech; otherwise generation stopped there.
    """

    ids: Any
    left_out: tuple[str, ...] = ()
    ended: bool = False


def read_generated(
    source: Any,
    vocabulary: Vocabulary | str | os.PathLike[str] | CodecWithVocabulary,
    *,
    prompt: Prompt | None = None,
    answer: int | None = None,
    name: str | None = None,
) -> GeneratedSpeech:
    """Return the speech in what a language model wrote.

    The last speech counts, from its start to its end; without a start of speech, which may have stood in the prompt,
    it begins at the first code. A last frame that is not whole is left out.

    Args:
        source: ids (n,) of any kind, or parallel rows (slots, steps); text, whole or as a list of pieces, each new or
            repeating those before it; a server's answer as text, bytes or parsed JSON, see `ResponseReader`; what a
            tokenizer's call or `generate` returned, with `input_ids` or `sequences`; a path, or a file open for reading
            bytes, with any of these. Several lists in a text, and several whole answers, are several answers.
        vocabulary: whose ids they are: a table, a preset's name, a .json file, or a `SnacTokenizer`.
        prompt: which format the model was prompted with, as in `prompt_format`; None is what the families use.
        answer: which one, counted from 0, where there are several.
        name: of the source in messages; its path unless given.

    Raises:
        TokenError: no speech, less than a frame, ids of another preset, a server's error, several answers and none
            chosen.
        LayoutError: no such vocabulary, or tokens and a vocabulary without a text form.

    Example:
        >>> found = read_generated("Sure! <custom_token_1>" + "".join(
        ...     f"<custom_token_{10 + 4096 * slot}>" for slot in range(7)) + "<custom_tok", "orpheus")
        >>> found.ids[:2].tolist(), found.left_out
        ([128266, 132362], ("left out 17 characters around the audio tokens: 'Sure! <custom_tok'.",))
    """
    table = table_of(vocabulary)
    answers = _answers(source, table, name)
    chosen = 0 if answer is None and len(answers) == 1 else answer
    if chosen is None or not 0 <= chosen < len(answers):
        known = f"0 to {len(answers) - 1}" if len(answers) > 1 else "0"
        shown = _name(source, name)
        sentence = f"answer must be {known}: it chooses one of {counted(len(answers), 'answer')}."
        raise TokenError(f"{shown}: {sentence}" if shown else sentence)
    return _speech(answers[chosen], table, prompt, _name(source, name))


def read_generated_batch(
    source: Any,
    vocabulary: Vocabulary | str | os.PathLike[str] | CodecWithVocabulary,
    *,
    prompt: Prompt | None = None,
    name: str | None = None,
) -> list[GeneratedSpeech]:
    """Return the speech of each answer: rows of a batch, of any lengths, or all answers of a server.

    Args:
        source: as in `read_generated`; ids are rows (B, n), a list of rows, or a list of parallel rows.
        vocabulary: see there.
        prompt: see there.
        name: see there.

    Raises:
        TokenError: as there; the message names the answer.
        LayoutError: as there.

    Example:
        >>> frame = [128266, 132362, 136458, 140554, 144650, 148746, 152842]
        >>> [found.ids.size for found in read_generated_batch([[128263, 128257, *frame], frame * 2], "orpheus")]
        [7, 14]
    """
    table = table_of(vocabulary)
    answers = _answers(source, table, name)
    where = _name(source, name)
    return [
        _speech(each, table, prompt, f"{where + ', ' if where else ''}answer {number}")
        for number, each in enumerate(answers)
    ]


def _answers(source: Any, table: Vocabulary, name: str | None) -> list[Answer]:
    shown = _name(source, name)
    try:
        if isinstance(source, (os.PathLike, bytes)) or hasattr(source, "read"):
            return answers_in_text(text_of(source, shown or "the answer"), table)
        if isinstance(source, str):
            return answers_in_text(source, table)
        if isinstance(source, Mapping) or hasattr(source, "model_dump"):
            return answers_of_values([source], table)
        is_lazy = isinstance(source, Iterable) and not hasattr(source, "__len__")
        return answers_of_values(list(source) if is_lazy else source, table)
    except TokenError as error:
        text = str(error)
        raise TokenError(text if shown is None or text.startswith(shown) else f"{shown}: {text}") from error


def _name(source: Any, name: str | None) -> str | None:
    return name or (shown_path(source) if isinstance(source, os.PathLike) else None)


def _speech(answer: Answer, table: Vocabulary, prompt: Prompt | None, name: str | None) -> GeneratedSpeech:
    try:
        ids, left_out = _ids_of(answer, table)
        if table.is_parallel:
            rows, ended, lost = cut_rows(ids, table)
            return _found(rows, answer, (*left_out, *lost), ended=ended)
        line = as_line(ids, what="the ids")
        cut, ended, lost = _cut_line(line, table, prompt)
    except TokenError as error:
        # Why there is too little may be what was left out: a server's error, an answer that is cut.
        reason = "; ".join([str(error), *answer.left_out[-1:]]).replace(".; ", "; ")
        raise TokenError(f"{name}: {reason}" if name else reason) from error
    return _found(cut, answer, (*left_out, *lost), ended=ended)


def _found(ids: Any, answer: Answer, left_out: tuple[str, ...], *, ended: bool) -> GeneratedSpeech:
    # Behind the end of its speech nothing of an answer is to be heard.
    lost = (BROKE_OFF,) if answer.broke_off and not ended else ()
    return GeneratedSpeech(ids=ids, left_out=(*answer.left_out, *lost, *left_out), ended=ended)


def _ids_of(answer: Answer, table: Vocabulary) -> tuple[Any, tuple[str, ...]]:
    """Return an answer's ids, read from its text where it has none, or none that are codes."""
    if answer.ids is not None:
        ids = to_numpy(integers(answer.ids, what="the ids", error=TokenError))
        if not answer.text or table.text is None or are_codes(ids, table).any():
            return ids, ()
    tokens = [] if table.text is None else list(table.text.tokens_in(answer.text))
    if not tokens:
        raise _no_speech(answer.text if answer.ids is None else answer.ids, table)
    left_out = words_left_out(answer.text, [place for place, _ in tokens])
    return np.array([number for _, number in tokens], dtype=np.int64), left_out


def _cut_line(ids: Ids, table: Vocabulary, prompt: Prompt | None) -> tuple[Ids, bool, tuple[str, ...]]:
    start, ends = _edges(table, prompt)
    place, ended = find_speech(ids, table, start_of_speech=start, after_speech=ends)
    codes = np.flatnonzero(are_codes(ids[place], table))
    if not codes.size:
        raise _no_speech(ids, table)
    first, last = place.start + int(codes[0]), place.start + int(codes[-1]) + 1
    speech, lost = ids[first:last], [*ids_left_out(np.concatenate((ids[:first], ids[last:])), table)]
    for where, around in (("in front of the last start", ids[:first]), ("behind the end", ids[last:])):
        if number := int(are_codes(around, table).sum()):
            lost.append(f"left out {counted(number, 'id')} of speech {where} of speech.")
    over = len(speech) % table.ids_per_frame
    faults = list(islice(iter_faults(table, speech), 2))
    if faults:
        _check_preset(speech, table)
    if over and len(faults) == 1:
        lost.append(f"left out the last {counted(over, 'id')}, a frame that is not whole.")
        speech = speech[:-over]
    if not speech.size:
        raise TokenError(
            f"the speech has {counted(over, 'id')}, less than one frame of {table.ids_per_frame}; let the model write "
            "more."
        )
    return speech, ended, tuple(lost)


def _edges(table: Vocabulary, prompt: Prompt | None) -> tuple[int | None, tuple[int, ...]]:
    if prompt is not None:
        line = prompt_format(table, prompt)
        return line.start_of_speech, line.after_speech
    before, after = speech_edges(table, before_speech=None, after_speech=None)
    return (before[-1] if before else None), after


def _check_preset(ids: Ids, table: Vocabulary) -> None:
    """Refuse ids that another preset explains and this one does not."""
    slots = table.layout.slots_per_frame
    is_own = share_in_order(ids, base=table.base, block=table.block, slots=slots) >= LEAST_SHARE
    found = None if is_own or table.offsets != "slot" else identify(ids)
    if found is not None and table.name not in found.presets:
        raise TokenError(f"these are not the ids of {table.name!r}: {found}.")


def _no_speech(source: Any, table: Vocabulary) -> TokenError:
    found = identify(source)
    codes = f"ids from {table.code_ids[0]} to {table.code_ids[-1]}"
    spelled = f", spelled {table.text.token_of(table.base)} and so on" if table.text is not None else ""
    advice = (
        str(found)
        if found
        else "name the preset of the model that wrote it, and let it write at least one frame"
    )
    what = shortened(" ".join(source.split())) if isinstance(source, str) and source else "it"
    return TokenError(
        f"there is no speech of {table.name!r} in {what}: its codes are {codes}{spelled}; {advice}."
    )
