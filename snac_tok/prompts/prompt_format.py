"""One text with its speech, as one line of ids: special ids in the order that a family of models was trained with.

orpheus    SOH  BOS text EOT  EOH  SOA SOS  speech  EOS EOA
           |-------- prompt ---------------|---- answer ---|

`templates` holds the orders of the published families.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames import Vocabulary
from snac_tok.frames.arrays import integers, is_list, to_numpy
from snac_tok.frames.grammar import edge_number
from snac_tok.frames.id_text import are_codes
from snac_tok.prompts.templates import NAMED_VOICE, template_for

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    import numpy.typing as npt

    Ids = npt.NDArray[np.int64]
    # A family's name, the ids around text and speech by the names of `PromptFormat`, or a format.
    Prompt: TypeAlias = "str | Mapping[str, Any] | PromptFormat"

# The fields that hold ids of their own.
_ID_LINES = ("before_text", "after_text", "before_speech", "after_speech")
# What losses skip (torch.nn.functional.cross_entropy's default).
IGNORED = -100


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingSequence:
    """One text with its speech, as a language model is trained on it.

    Attributes:
        input_ids: int64 (n,).
        labels: int64 (n,): the ids again, or -100 where no loss is wanted.
    """

    input_ids: Ids
    labels: Ids


@dataclass(frozen=True, kw_only=True)
class PromptFormat:
    """Special ids around text and speech; `prompt_format` makes the one of a family.

    Attributes:
        vocabulary: whose ids the speech has.
        before_text: ids in front of the text.
        text_start: the id that the text tokenizer itself puts in front of a text, or None; taken off, since
            `before_text` holds it where the family wants it.
        after_text: ids behind the text.
        before_speech: ids that begin the answer; the last one starts the speech.
        after_speech: ids that end it; the first one ends the speech.
        voice: how a voice and a text become one text, with {voice} and {text} in it.
        prompt_starts_speech: whether prompts end with `before_speech`, or leave it for the model to write.

    Raises:
        LayoutError: a value of another type; an id that belongs to a frame; no id before or behind the speech, or one
            that starts it and ends it; a voice without its two places.

    Example:
        >>> from snac_tok.frames import preset
        >>> orpheus = prompt_format(preset("orpheus"))
        >>> orpheus.training([9906], [128266, 132363, 136461, 140558, 144652, 148751, 152848]).input_ids[:8]
        array([128259, 128000,   9906, 128009, 128260, 128261, 128257, 128266])
        >>> orpheus.inference([9906])
        array([128259, 128000,   9906, 128009, 128260, 128261, 128257])
        >>> prompt_format(preset("orpheus"), "veena").inference([9906])
        array([128259,   9906, 128260, 128261, 128257])
    """

    vocabulary: Vocabulary
    before_text: tuple[int, ...] = ()
    text_start: int | None = None
    after_text: tuple[int, ...] = ()
    before_speech: tuple[int, ...]
    after_speech: tuple[int, ...]
    voice: str = NAMED_VOICE
    prompt_starts_speech: bool = True

    def __post_init__(self) -> None:
        _check_one_line(self.vocabulary)
        for name in _ID_LINES:
            object.__setattr__(self, name, _checked_ids(self.vocabulary, getattr(self, name), what=name))
        if self.text_start is not None:
            (start,) = _checked_ids(self.vocabulary, [self.text_start], what="text_start")
            object.__setattr__(self, "text_start", start)
        if not isinstance(self.prompt_starts_speech, (bool, np.bool_)):
            raise LayoutError(
                f"prompt_starts_speech is {self.prompt_starts_speech!r}; true or false is needed."
            )
        object.__setattr__(self, "prompt_starts_speech", bool(self.prompt_starts_speech))
        self._check_that_speech_has_ends()
        if not isinstance(self.voice, str) or "{text}" not in self.voice or "{voice}" not in self.voice:
            raise LayoutError(f"voice is {self.voice!r}; it needs {{voice}} and {{text}} in it.")

    def _check_that_speech_has_ends(self) -> None:
        if not self.before_speech or not self.after_speech:
            raise LayoutError(
                "before_speech and after_speech need an id each: those that start and end the speech."
            )
        if self.start_of_speech in self.after_speech:
            raise LayoutError(
                f"id {self.start_of_speech} starts the speech and stands in after_speech, too; what a model wrote "
                "would end where it begins: take another id."
            )

    @property
    def start_of_speech(self) -> int:
        """The id after which speech begins."""
        return self.before_speech[-1]

    @property
    def end_of_speech(self) -> int:
        """The id that ends speech: what generation stops at."""
        return self.after_speech[0]

    def with_voice(self, text: str, voice: Any) -> str:
        """Put a voice to a text, as the family does.

        Args:
            text: what is spoken.
            voice: a speaker's name, whole number or description; None, a blank and NaN are none.

        Raises:
            TokenError: the voice is something else, such as a list.

        Example:
            >>> from snac_tok.frames import preset
            >>> prompt_format(preset("orpheus")).with_voice("Good morning.", "tara")
            'tara: Good morning.'
            >>> prompt_format(preset("orpheus"), "veena").with_voice("Good morning.", "kavya")
            '<spk_kavya> Good morning.'
        """
        name = _voice_name(voice)
        if not name.strip():
            return text
        # In one pass, and not formatted: braces in a text or a description are the user's own.
        parts = {"{voice}": name, "{text}": text}
        return re.sub(r"\{(?:voice|text)\}", lambda place: parts[place[0]], self.voice)

    def to_dict(self) -> dict[str, Any]:
        """Return all but the vocabulary as JSON values; `prompt_format(vocabulary, values)` reads them."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "vocabulary"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def training(self, text_ids: Any, speech_ids: Any, *, mask_prompt: bool = False) -> TrainingSequence:
        """Return prompt and answer in one line.

        Args:
            text_ids: integers (t,), as the text tokenizer gives them, with or without its own first id.
            speech_ids: integers (s,) of one or more whole frames, without special ids.
            mask_prompt: whether the loss skips what the model is given: everything in front of the answer.

        Raises:
            TokenError: ids that are not one line of integers, not whole frames, or text ids that mean speech.
        """
        prompt = self.inference(text_ids, start_speech=True)
        ids = np.concatenate((prompt, self._speech(speech_ids), self.after_speech))
        labels = ids.copy()
        if mask_prompt:
            # The ids that begin the answer are learned: a model may have to write them itself.
            labels[: prompt.size - len(self.before_speech)] = IGNORED
        return TrainingSequence(input_ids=ids, labels=labels)

    def inference(
        self,
        text_ids: Any,
        *,
        references: Iterable[tuple[Any, Any]] = (),
        start_speech: bool | None = None,
    ) -> Ids:
        """Return what a model is given to speak a text: int64 (n,).

        Args:
            text_ids: as in `training`.
            references: pairs (text ids, speech ids) of a voice to go on with, each put in front as a whole turn.
            start_speech: whether the ids that begin the answer are there, or left for the model to write; None is
                the family's habit, `prompt_starts_speech`.

        Raises:
            TokenError: as in `training`, or references that are no pairs.
        """
        turns = [self.training(*pair).input_ids for pair in _pairs(references)]
        starts = self.prompt_starts_speech if start_speech is None else start_speech
        answer = self.before_speech if starts else ()
        line = (*turns, self.before_text, self._text(text_ids), self.after_text, answer)
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in line])

    def _text(self, text_ids: Any) -> Ids:
        ids = as_line(text_ids, what="text_ids")
        speaking = np.isin(ids, (self.start_of_speech, self.end_of_speech))
        speaking |= are_codes(ids, self.vocabulary)
        if speaking.any():
            raise TokenError(
                f"position {int(speaking.argmax())} of the text has id {int(ids[speaking.argmax()])}, which stands for "
                "speech; a text that spells audio tokens must be cleaned before it is tokenized."
            )
        return ids[1:] if ids.size and ids[0] == self.text_start else ids

    def _speech(self, speech_ids: Any) -> Ids:
        ids = as_line(speech_ids, what="speech_ids")
        if not ids.size:
            raise TokenError("there are no speech_ids; leave out clips without sound.")
        self.vocabulary.decode(ids)
        return ids


def _pairs(references: Any) -> list[tuple[Any, Any]]:
    """Return the turns of a voice; one pair by itself is the slip that `references=` invites."""
    turns = list(references) if is_list(references) else [references]
    for turn in turns:
        if not isinstance(turn, (tuple, list)) or len(turn) != 2 or not all(map(is_list, turn)):  # noqa: PLR2004
            raise TokenError(
                f"references has {reprlib.repr(turn)} in it; a list of pairs is needed, one pair a turn: "
                "[(text_ids, speech_ids)]."
            )
    return turns


def _voice_name(voice: Any) -> str:
    if voice is None or isinstance(voice, str):
        return voice or ""
    if isinstance(voice, (int, float, np.integer, np.floating)) and not isinstance(voice, bool):
        if math.isnan(voice):
            return ""
        # A column of whole numbers with gaps is one of floats.
        if math.isfinite(voice) and int(voice) == voice:
            return str(int(voice))
    raise TokenError(
        f"the voice is {reprlib.repr(voice)}, a {type(voice).__name__}; each text takes one voice: a name, a "
        "description or a whole number, or None."
    )


def prompt_format(vocabulary: Vocabulary, prompt: Prompt | None = None) -> PromptFormat:
    """Return the format of a family, with the ids of a vocabulary.

    Args:
        vocabulary: whose ids the speech has.
        prompt: one of `prompt_names()`; what `PromptFormat.to_dict` gave; a format of one's own, which must be of this
            vocabulary; or None for the format that the vocabulary's own model was trained with.

    Raises:
        LayoutError: parallel rows; an unknown name; specials that the family needs and the
            vocabulary lacks; a format of another vocabulary.

    Example:
        >>> from snac_tok.frames import preset
        >>> prompt_format(preset("plain", base=50_000)).end_of_speech
        78674
    """
    _check_one_line(vocabulary)
    if isinstance(prompt, PromptFormat):
        if prompt.vocabulary != vocabulary:
            raise LayoutError(
                f"the prompt is of the vocabulary {prompt.vocabulary.name!r}, the ids are of {vocabulary.name!r}; "
                "make a PromptFormat of the vocabulary in use."
            )
        return prompt
    if isinstance(prompt, Mapping):
        return _from_dict(vocabulary, prompt)
    if prompt is not None and not isinstance(prompt, str):
        raise LayoutError(
            f"prompt is a {type(prompt).__name__}; a family's name, a PromptFormat or None is needed."
        )
    return _of_family(vocabulary, prompt)


def _of_family(vocabulary: Vocabulary, name: str | None) -> PromptFormat:
    template = template_for(vocabulary, name)
    # Qwen3's tokenizer puts no id in front of a text; Llama's and LFM2's do.
    text_start = None if vocabulary.name == "vyvo-qwen3" else vocabulary.specials.get("start_of_text")

    def ids(names: tuple[str, ...]) -> tuple[int, ...]:
        wanted = (name for name in names if name != "start_of_text" or text_start is not None)
        return tuple(vocabulary.specials[name] for name in wanted)

    return PromptFormat(
        vocabulary=vocabulary,
        before_text=ids(template.before_text),
        text_start=text_start,
        after_text=ids(template.after_text),
        before_speech=ids(template.before_speech),
        after_speech=ids(template.after_speech),
        voice=template.voice,
        prompt_starts_speech=template.prompt_starts_speech,
    )


def _checked_ids(vocabulary: Vocabulary, ids: Any, *, what: str) -> tuple[int, ...]:
    if not is_list(ids):
        raise LayoutError(f"{what} is {reprlib.repr(ids)}; a list of ids is needed, which may be empty.")
    return tuple(edge_number(vocabulary, number, where=what) for number in ids)


def check_is_vocabulary(vocabulary: object) -> None:
    """Refuse what is no `Vocabulary`, such as the name of a preset.

    Raises:
        LayoutError: it is none.
    """
    if not isinstance(vocabulary, Vocabulary):
        raise LayoutError(
            f"the vocabulary is {reprlib.repr(vocabulary)}; a Vocabulary is needed, such as preset('orpheus')."
        )


def _check_one_line(vocabulary: Vocabulary) -> None:
    check_is_vocabulary(vocabulary)
    if vocabulary.is_parallel:
        raise LayoutError(
            f"{vocabulary.name!r} has parallel rows, which cannot stand in one line with text; "
            "take a preset of one line, such as 'plain'."
        )


def _from_dict(vocabulary: Vocabulary, values: Mapping[str, Any]) -> PromptFormat:
    known = {each.name for each in fields(PromptFormat)} - {"vocabulary"}
    if set(values) - known or {"before_speech", "after_speech"} - set(values):
        raise LayoutError(
            f"a prompt's settings are {', '.join(sorted(known))}, of which before_speech and after_speech must be "
            f"there; found {', '.join(map(str, values)) or 'none'}."
        )
    return PromptFormat(vocabulary=vocabulary, **values)


def as_line(ids: Any, *, what: str, error: type[TokenError | LayoutError] = TokenError) -> Ids:
    """Return ids of any kind, a GPU's included, as an int64 array (n,)."""
    array = np.asarray(
        to_numpy(integers(list(ids) if isinstance(ids, range) else ids, what=what, error=error))
    )
    if array.ndim != 1:
        raise error(f"{what} have shape {array.shape}; one line of integers (n,) is needed.")
    return array.astype(np.int64)
