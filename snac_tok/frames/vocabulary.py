"""From codes to the ids a language model sees and back: `Vocabulary` is one id table with its frame layout.

It does not repair: `decode` takes exactly what `encode` makes and names the first fault, `validate` lists
them all. Sequences around the audio (prompts, start and end ids) are not built here either; special ids
are only known by name.

    codes ── layout ──> slots ── + base + block · block_size ──> ids, one line (…, N)
                                 or, with delays, parallel rows (…, slots, steps):

    delays (1, 2, 3), 2 frames   row 0   pad  c0   c0   END  pad  pad
                                 row 1   pad  pad  c1   c1   END  pad
                                 row 2   pad  pad  pad  c2   c2   END
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import CodesError, LayoutError, TokenError
from snac_tok.frames import description, faults, grammar
from snac_tok.frames.arrays import Array, all_below, integers, new_like, to_numpy
from snac_tok.frames.id_table import IdTable
from snac_tok.frames.layout import read_slots, write_slots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.frames.grammar import EdgeIds, GrammarForm
    from snac_tok.frames.text import TextForm


@dataclass(frozen=True, kw_only=True)
class Vocabulary(IdTable):
    """An id table that turns whole arrays of codes into ids and back; its arguments are those of `IdTable`.

    Example:
        >>> from snac_tok.frames import FrameLayout
        >>> vocabulary = Vocabulary(FrameLayout((2, 1)), codebook_size=8, base=100)
        >>> vocabulary.encode([[1], [2, 3]])
        array([101, 110, 119])
    """

    def encode(self, codes: Iterable[Any]) -> Array:
        """Turn codes into ids.

        Args:
            codes: One integer array (…, T_k) per level, as `FrameLayout.flatten` takes them.

        Returns:
            int64 ids (…, N), or (…, slots, steps) for parallel rows; numpy, or torch on the same device.

        Raises:
            CodesError: As `FrameLayout.flatten`, or a code outside 0 … codebook_size−1.

        Example:
            >>> from snac_tok.frames import FrameLayout
            >>> vocabulary = Vocabulary(FrameLayout((1,)), codebook_size=8,
            ...     specials={"sep": 9}, separator="sep")
            >>> vocabulary.encode([[5, 6]])
            array([9, 5, 9, 6])
        """
        levels = self.layout.check_codes(codes)
        _check_code_range(levels, self.codebook_size)
        batch, num_frames = levels[0].shape[:-1], levels[0].shape[-1]
        rows = (self.layout.slots_per_frame,) if self.is_parallel else ()
        ids = new_like(levels[0], (*batch, *rows, self.length_of(num_frames)))
        for place, special in self.marks(num_frames):
            ids[place] = special
        write_slots(self.layout, levels, self._slot_views(ids, num_frames), self.slot_bases)
        return ids

    def decode(self, ids: Any) -> list[Array]:
        """Turn ids back into codes: the exact inverse of `encode`, and strict.

        Args:
            ids: Integers (…, N), or (…, slots, steps) for parallel rows.

        Returns:
            One int64 array (…, T_k) of codes per kept level, coarsest first.

        Raises:
            TokenError: An id outside its slot's range, a partial frame, a special id among the codes; the
                message names position, id and expected range. `validate` lists every fault.

        Example:
            >>> from snac_tok.frames import FrameLayout
            >>> Vocabulary(FrameLayout((2, 1)), codebook_size=8).decode([1, 10, 19])
            [array([1]), array([2, 3])]
        """
        array = integers(ids, what="ids", error=TokenError)
        num_frames = self._whole_frames(array)
        if num_frames is not None:
            levels = read_slots(self.layout, self._slot_views(array, num_frames), self.slot_bases)
            marks = all(bool((array[place] == special).all()) for place, special in self.marks(num_frames))
            if marks and all(all_below(level, self.codebook_size) for level in levels):
                return levels
        raise TokenError(faults.first_fault(self, ids))

    def validate(self, ids: Any) -> list[faults.Fault]:
        """List every fault that `decode` would refuse, in order, without raising; empty when there is none.

        Example:
            >>> from snac_tok.frames import FrameLayout
            >>> vocabulary = Vocabulary(FrameLayout((2, 1)), codebook_size=8)
            >>> [str(fault) for fault in vocabulary.validate([1, 3, 19, 2])]  # doctest: +NORMALIZE_WHITESPACE
            ['position 1: id 3 is code 3 of slot 0; slot 1 takes 8..15',
             'position 4: the last frame is partial, 1 of 3 ids; slot 1 takes 8..15']
        """
        return faults.find_faults(self, ids)

    def _whole_frames(self, ids: Array) -> int | None:
        if self.is_parallel and (ids.ndim < 2 or ids.shape[-2] != self.layout.slots_per_frame):  # noqa: PLR2004
            return None
        return self.frames_in(ids.shape[-1])

    def _slot_views(self, ids: Array, num_frames: int) -> list[Array]:
        """Return each slot's codes as a view (…, frames) into the ids."""
        slots = range(self.layout.slots_per_frame)
        if self.delays is not None:
            return [ids[..., s, self.delays[s] : self.delays[s] + num_frames] for s in slots]
        lead = self.ids_per_frame - len(slots)
        return [ids[..., lead + s :: self.ids_per_frame] for s in slots]

    def ids_to_text(self, ids: Any) -> str:
        """Spell one line of ids, codes and specials alike, as a text tokenizer writes them.

        Raises:
            LayoutError: This vocabulary has no text form.
            TokenError: An id without a spelling, with its position.

        >>> from snac_tok.frames import FrameLayout, TextForm
        >>> form = TextForm(template="<|audio_{}|>", first_id=0, num_ids=24)
        >>> Vocabulary(FrameLayout((2, 1)), codebook_size=8, text=form).ids_to_text([1, 10])
        '<|audio_1|><|audio_10|>'
        """
        return self._text_form().to_text(ids)

    def text_to_ids(self, text: str) -> Array:
        """Read what `ids_to_text` writes, as int64 numpy; strict, errors name the character position.

        >>> from snac_tok.frames import FrameLayout, TextForm
        >>> form = TextForm(template="<|audio_{}|>", first_id=0, num_ids=24)
        >>> vocabulary = Vocabulary(FrameLayout((2, 1)), codebook_size=8, text=form)
        >>> vocabulary.text_to_ids("<|audio_1|><|audio_10|>")
        array([ 1, 10])
        """
        return self._text_form().to_ids(text)

    def _text_form(self) -> TextForm:
        if self.text is None:
            raise LayoutError(
                f"vocabulary {self.name!r} has no text form; construct it with text=TextForm(...)."
            )
        return self.text

    def grammar(
        self,
        form: GrammarForm = "lark",
        *,
        min_frames: int = 1,
        max_frames: int | None = None,
        before_speech: EdgeIds | None = None,
        after_speech: EdgeIds | None = None,
    ) -> str:
        """Return a grammar of whole frames for engines that constrain what a language model writes.

        Args:
            form: "lark" with ranges of ids (llguidance, xgrammar, vLLM, llama.cpp with llguidance), "ebnf" (xgrammar
                and SGLang), or "gbnf" over the tokens' text (llama.cpp).
            min_frames: the fewest frames.
            max_frames: the most; None is any number.
            before_speech: names of specials, or ids, that may stand before the speech, each of them optional; None
                is those of start_of_ai, start_of_speech and bos that there are.
            after_speech: the same after it; None is those of end_of_speech, end_of_ai and eos that there are.

        Raises:
            LayoutError: parallel rows, which are no line of ids; counts or specials that make no sense; for "gbnf",
                ids without a text form.

        Example:
            >>> from snac_tok.frames import FrameLayout
            >>> table = Vocabulary(layout=FrameLayout(strides=(2, 1)), codebook_size=8, specials={"eos": 24})
            >>> print(table.grammar(max_frames=600), end="")
            start: frame{1,600} <[24]>?
            frame: <[0-7]> <[8-15]> <[16-23]>
        """
        return grammar.grammar_text(
            self,
            form=form,
            min_frames=min_frames,
            max_frames=max_frames,
            before_speech=before_speech,
            after_speech=after_speech,
        )

    def describe(self) -> str:
        """Return the whole id table as aligned text for a terminal.

        >>> from snac_tok.frames import FrameLayout
        >>> print(Vocabulary(FrameLayout((2, 1)), name="tiny", codebook_size=8).describe())
        tiny: 3 slots a frame, depth-first, strides (2, 1), all levels
        ids for codes: 24 (offsets: slot, codebook size 8), vocabulary size: 24
        <BLANKLINE>
        slot  level  step  first id  last id
           0      0     0         0        7
           1      1     0         8       15
           2      1     1        16       23
        """
        return description.describe(self)


def _check_code_range(levels: Sequence[Array], codebook_size: int) -> None:
    """Refuse codes outside 0 … codebook_size−1, naming the first one."""
    for k, level in enumerate(levels):
        if not all_below(level, codebook_size):
            codes = to_numpy(level)
            index = tuple(int(i) for i in np.argwhere((codes < 0) | (codes >= codebook_size))[0])
            raise CodesError(
                f"level {k} has code {codes[index]} at index {index}; codes must be 0..{codebook_size - 1}."
            )
