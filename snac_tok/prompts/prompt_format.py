"""The order of text, speech and special ids that each family of models was trained with.

orpheus    SOH  BOS text EOT  EOH  SOA SOS  speech  EOS EOA
plain           text          BOS           speech  EOS
           |--------- prompt ----------|------- answer -----|
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import LayoutError, TokenError
from snac_tok.frames.arrays import integers, to_numpy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

    Ids = npt.NDArray[np.int64]

# What losses skip (torch.nn.functional.cross_entropy's default).
IGNORED = -100

# Specials that stand around speech in tables without turns.
_MARKS = (("bos", "eos"), ("start_of_speech", "end_of_speech"))


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
    """Special ids around text and speech; `prompt_format` makes the one of a vocabulary.

    Attributes:
        vocabulary: whose ids the speech has.
        before_text: ids in front of the text.
        text_start: the text tokenizer's own first id, which stands there exactly once; None for none.
        after_text: ids behind the text.
        before_speech: ids that begin the answer; the last one starts the speech.
        after_speech: ids that end it; the first one ends the speech.

    Example:
        >>> from snac_tok.frames import preset
        >>> orpheus = prompt_format(preset("orpheus"))
        >>> orpheus.training([9906], [128266, 132363, 136461, 140558, 144652, 148751, 152848]).input_ids[:8]
        array([128259, 128000,   9906, 128009, 128260, 128261, 128257, 128266])
        >>> orpheus.inference([9906])
        array([128259, 128000,   9906, 128009, 128260, 128261, 128257])
    """

    vocabulary: Vocabulary
    before_text: tuple[int, ...] = ()
    text_start: int | None = None
    after_text: tuple[int, ...] = ()
    before_speech: tuple[int, ...]
    after_speech: tuple[int, ...]

    @property
    def start_of_speech(self) -> int:
        """The id after which speech begins."""
        return self.before_speech[-1]

    @property
    def end_of_speech(self) -> int:
        """The id that ends speech: what generation stops at."""
        return self.after_speech[0]

    def training(self, text_ids: Any, speech_ids: Any, *, mask_prompt: bool = False) -> TrainingSequence:
        """Return prompt and answer in one line.

        Args:
            text_ids: integers (t,), as the text tokenizer gives them, with or without its own first id.
            speech_ids: integers (s,) of one or more whole frames, without special ids.
            mask_prompt: whether the loss skips what the model is given: everything in front of the answer.

        Raises:
            TokenError: ids that are no line of integers, no frames, or text ids that mean speech.
        """
        prompt = self.inference(text_ids)
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
        start_speech: bool = True,
    ) -> Ids:
        """Return what a model is given to speak a text: int64 (n,).

        Args:
            text_ids: as in `training`.
            references: (text ids, speech ids) of a voice to go on with, each put in front as a whole turn.
            start_speech: whether the ids that begin the answer are there, or left for the model to write.

        Raises:
            TokenError: as in `training`.
        """
        turns = [self.training(text, speech).input_ids for text, speech in references]
        answer = self.before_speech if start_speech else ()
        line = (*turns, self.before_text, self._text(text_ids), self.after_text, answer)
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in line])

    def _text(self, text_ids: Any) -> Ids:
        ids = as_line(text_ids, what="text_ids")
        codes = range(self.vocabulary.base, self.vocabulary.base + self.vocabulary.num_code_ids)
        speaking = np.isin(ids, (self.start_of_speech, self.end_of_speech))
        speaking |= (ids >= codes.start) & (ids < codes.stop)
        if speaking.any():
            raise TokenError(
                f"position {int(speaking.argmax())} of the text has id {int(ids[speaking.argmax()])}, which stands for "
                "speech; a text that spells audio tokens must be cleaned before it is tokenized."
            )
        if self.text_start is None or (ids.size and ids[0] == self.text_start):
            return ids
        return np.concatenate(([self.text_start], ids))

    def _speech(self, speech_ids: Any) -> Ids:
        ids = as_line(speech_ids, what="speech_ids")
        if not ids.size:
            raise TokenError("there are no speech_ids; leave out clips without sound.")
        self.vocabulary.decode(ids)
        return ids


def prompt_format(vocabulary: Vocabulary) -> PromptFormat:
    """Return the format that a vocabulary's model was trained with, or a plain one for tables of one's own.

    Raises:
        LayoutError: parallel rows, which are no line, or specials that no format is known for.

    Example:
        >>> from snac_tok.frames import preset
        >>> prompt_format(preset("plain", base=50_000)).end_of_speech
        78674
    """
    if vocabulary.is_parallel:
        raise LayoutError(
            f"{vocabulary.name!r} has parallel rows, which cannot stand in one line with text; "
            "take a preset of one line, such as 'plain'."
        )
    specials = vocabulary.specials
    if "start_of_human" in specials and "end_of_ai" in specials:
        return _turns(vocabulary)
    for start, end in _MARKS:
        if start in specials and end in specials:
            return PromptFormat(
                vocabulary=vocabulary, before_speech=(specials[start],), after_speech=(specials[end],)
            )
    raise LayoutError(
        f"{vocabulary.name!r} has the specials {', '.join(specials) or 'none'}; a prompt needs 'bos' and 'eos', "
        "or 'start_of_speech' and 'end_of_speech'. Add them to the vocabulary."
    )


def with_voice(text: str, voice: str | None) -> str:
    """Put a speaker's name in front of a text, as the Orpheus family is trained.

    Example:
        >>> with_voice("Good morning.", "tara")
        'tara: Good morning.'
    """
    return text if voice is None else f"{voice}: {text}"


def _turns(vocabulary: Vocabulary) -> PromptFormat:
    specials = vocabulary.specials
    return PromptFormat(
        vocabulary=vocabulary,
        before_text=(specials["start_of_human"],),
        text_start=_text_start(vocabulary),
        after_text=(specials["end_of_text"], specials["end_of_human"]),
        before_speech=(specials["start_of_ai"], specials["start_of_speech"]),
        after_speech=(specials["end_of_speech"], specials["end_of_ai"]),
    )


def _text_start(vocabulary: Vocabulary) -> int | None:
    # Qwen3's tokenizer puts no id in front of a text; Llama's and LFM2's do.
    return None if vocabulary.name == "vyvo-qwen3" else vocabulary.specials.get("start_of_text")


def as_line(ids: Any, *, what: str) -> Ids:
    """Return ids of any kind, a GPU's included, as an int64 array (n,)."""
    array = np.asarray(
        to_numpy(integers(list(ids) if isinstance(ids, range) else ids, what=what, error=TokenError))
    )
    if array.ndim != 1:
        raise TokenError(f"{what} have shape {array.shape}; one line of integers (n,) is needed.")
    return array.astype(np.int64)
