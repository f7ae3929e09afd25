"""The tokenizer's vocabulary under the names that Hugging Face tokenizers use for it.

Integers and strings only. Of the codec, only its sizes are used.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from snac_tok.errors import LayoutError, TokenError, WaveformError
from snac_tok.masked import refuse_masked
from snac_tok.prompts.edges import edge_ids, inner_span

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC
    from snac_tok.frames import TextForm, Vocabulary

# The Hugging Face role of a special id, by the names that vocabularies give it.
_ROLES = {"bos": ("bos", "start_of_speech"), "eos": ("eos", "end_of_speech"), "pad": ("pad",)}


class TokenNames:
    """Sizes, tokens and special ids of `self.vocabulary`.

    `vocab_size` and `len()` are the rows that a language model's embedding needs, as `resize_token_embeddings` takes
    them: one more than the largest id, whether or not every id below has a meaning here. `vocabulary.num_code_ids`
    counts the ids that are codes.
    """

    vocabulary: Vocabulary
    codec: SNAC

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, specials counted."""
        return self.vocabulary.size

    def __len__(self) -> int:
        return self.vocab_size

    def get_vocab(self) -> dict[str, int]:
        """Return every token's text with its id, specials included.

        Raises:
            LayoutError: the vocabulary has no text form.
        """
        form = self._text_form()
        slots = range(self.vocabulary.layout.slots_per_frame)
        codes = (token_id for slot in slots for token_id in self.vocabulary.id_range(slot))
        spelled = ((self._spelling(token_id), token_id) for token_id in self.all_special_ids)
        vocab = {form.token_of(token_id): token_id for token_id in sorted(codes)}
        return vocab | {token: token_id for token, token_id in spelled if token is not None}

    @overload
    def convert_ids_to_tokens(self, ids: int) -> str: ...
    @overload
    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]: ...
    def convert_ids_to_tokens(self, ids: int | Sequence[int]) -> str | list[str]:
        """Return the text of one id, or of each in a list.

        Raises:
            LayoutError: the vocabulary has no text form.
            TokenError: an id without a text.
        """
        form = self._text_form()
        if np.ndim(ids) == 0:
            return form.token_of(int(ids))  # type: ignore[arg-type]
        return [form.token_of(int(token_id)) for token_id in ids]  # type: ignore[union-attr]

    @overload
    def convert_tokens_to_ids(self, tokens: str) -> int: ...
    @overload
    def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]: ...
    def convert_tokens_to_ids(self, tokens: str | list[str]) -> int | list[int]:
        """Return the id of one token's text, or of each in a list.

        Raises:
            LayoutError: the vocabulary has no text form.
            TokenError: a text that is not a token of this vocabulary.
        """
        form = self._text_form()
        return form.id_of(tokens) if isinstance(tokens, str) else [form.id_of(token) for token in tokens]

    @property
    def bos_token_id(self) -> int | None:
        """The id that starts speech, None where the vocabulary has none."""
        return self._role("bos")

    @property
    def eos_token_id(self) -> int | None:
        """The id that ends speech, None where the vocabulary has none."""
        return self._role("eos")

    @property
    def pad_token_id(self) -> int | None:
        """The id that fills rows up, None where the vocabulary has none, or one for each parallel row."""
        return self._role("pad")

    @property
    def bos_token(self) -> str | None:
        """The text of `bos_token_id`."""
        return self._text(self.bos_token_id)

    @property
    def eos_token(self) -> str | None:
        """The text of `eos_token_id`."""
        return self._text(self.eos_token_id)

    @property
    def pad_token(self) -> str | None:
        """The text of `pad_token_id`."""
        return self._text(self.pad_token_id)

    @property
    def special_tokens_map(self) -> dict[str, str]:
        """The texts of the special tokens there are, by Hugging Face's names."""
        named = {"bos_token": self.bos_token, "eos_token": self.eos_token, "pad_token": self.pad_token}
        return {name: token for name, token in named.items() if token is not None}

    @property
    def all_special_ids(self) -> list[int]:
        """Every special id in ascending order; parallel rows have each special once a row."""
        if not self.vocabulary.is_parallel:
            return sorted(self.vocabulary.specials.values())
        rows = range(self.vocabulary.layout.slots_per_frame)
        return sorted(
            self.vocabulary.special_id(name, slot=row) for name in self.vocabulary.specials for row in rows
        )

    @property
    def all_special_tokens(self) -> list[str]:
        """The text of every special id that has one here; the others are spelled by the text tokenizer alone."""
        texts = (self._spelling(token_id) for token_id in self.all_special_ids)
        return [text for text in texts if text is not None]

    def tokens_for(self, seconds: float) -> int:
        """Return how many ids (steps, for parallel rows) a recording of this length becomes, specials not counted."""
        if not 0 <= seconds < math.inf:
            raise WaveformError(f"{seconds!r} seconds is not a length of a recording.")
        return self.vocabulary.length_of(
            self.codec.config.num_frames(round(seconds * self.codec.sampling_rate))
        )

    def seconds_for(self, tokens: int) -> float:
        """Return how many seconds this many ids (or steps) sound; a partial frame does not."""
        overhead = self.vocabulary.length_of(0)
        frames = max(0, tokens - overhead) // (self.vocabulary.length_of(1) - overhead)
        return frames * self.codec.config.frame_length / self.codec.sampling_rate

    def pad_values(self) -> npt.NDArray[np.int64]:
        """Return the pad id () of a line, or (slots,) of parallel rows.

        Raises:
            LayoutError: the vocabulary has no pad.
        """
        if "pad" not in self.vocabulary.specials:
            raise LayoutError(
                f"vocabulary {self.vocabulary.name!r} has no pad id; ask for lists without padding, or add a "
                '"pad" to its specials.'
            )
        if not self.vocabulary.is_parallel:
            return np.array(self.vocabulary.special_id("pad"))
        rows = range(self.vocabulary.layout.slots_per_frame)
        return np.array([self.vocabulary.special_id("pad", slot=row) for row in rows])

    def add_specials(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Put start and end of speech around one line of ids.

        Raises:
            LayoutError: the vocabulary has none.
        """
        bos, eos = self.bos_token_id, self.eos_token_id
        if bos is None or eos is None:
            raise LayoutError(
                f"vocabulary {self.vocabulary.name!r} has no start and end of speech to put around the codes; "
                "call without add_special_tokens."
            )
        return np.concatenate(([bos], ids, [eos]))

    def strip_specials(self, ids: Any) -> Any:
        """Cut special ids off both ends of one line of ids; those between codes stay, and decoding refuses them."""
        refuse_masked(ids, what="ids", error=TokenError)
        array = np.asarray(ids.cpu() if hasattr(ids, "cpu") else ids)
        if self.vocabulary.is_parallel or array.ndim != 1 or array.dtype.kind not in "iu":
            return ids
        return array[inner_span(array, edge_ids(self.vocabulary))]

    def _role(self, role: str) -> int | None:
        if self.vocabulary.is_parallel:
            return None
        return next(
            (self.vocabulary.specials[name] for name in _ROLES[role] if name in self.vocabulary.specials),
            None,
        )

    def _text(self, token_id: int | None) -> str | None:
        return None if token_id is None or self.vocabulary.text is None else self._spelling(token_id)

    def _spelling(self, token_id: int) -> str | None:
        try:
            return self._text_form().token_of(token_id)
        except TokenError:
            return None  # a special of the text tokenizer, spelled there

    def _text_form(self) -> TextForm:
        if self.vocabulary.text is None:
            raise LayoutError(
                f"vocabulary {self.vocabulary.name!r} does not say how its ids are spelled; give it text=TextForm(…)."
            )
        return self.vocabulary.text


def check_specials_skipped(*, skip_special_tokens: bool) -> None:
    """Refuse `skip_special_tokens=False`, which text tokenizers allow.

    Raises:
        TokenError: it is False; special ids make no sound.
    """
    if not skip_special_tokens:
        raise TokenError(
            "special ids make no sound, so decoding always skips them: leave skip_special_tokens=False out; "
            "convert_ids_to_tokens writes ids as text."
        )
