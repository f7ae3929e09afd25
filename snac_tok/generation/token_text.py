"""Ids out of a text that arrives in pieces, its tokens cut anywhere: what servers stream back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import LayoutError

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

# A number of the form has ten digits at most.
_DIGITS = 10


class TokenText:
    """Reads the tokens of a vocabulary's text form; other text between them is passed over.

    Example:
        >>> from snac_tok.frames import preset
        >>> text = TokenText(preset("orpheus"))
        >>> text.push("Hm. <custom_token_1><custom_to").tolist(), text.push("ken_10>").tolist()
        ([128257], [128266])
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        if vocabulary.text is None:
            raise LayoutError(
                f"vocabulary {vocabulary.name!r} has no text form; hand over ids, or construct it with "
                "text=TextForm(...)."
            )
        self._form = vocabulary.text
        template = self._form.template
        # Without text behind the number, another digit may follow in the next piece.
        self._is_open_ended = template.endswith("{}")
        self._longest = max([len(template) + _DIGITS, *map(len, self._form.literals)])
        self._waiting = ""

    def push(self, text: str) -> npt.NDArray[np.int64]:
        """Take the next piece and return the ids of the tokens now whole.

        Raises:
            TokenError: a number outside the form.
        """
        text = self._waiting + text
        ids, end = [], 0
        for span, number in self._form.tokens_in(text):
            if self._is_open_ended and span.stop == len(text):
                break
            ids.append(number)
            end = span.stop
        # What may be the beginning of a token.
        self._waiting = text[max(end, len(text) - self._longest) :]
        return np.array(ids, dtype=np.int64)

    def flush(self) -> npt.NDArray[np.int64]:
        """Return the ids of a last token that only the end of the text makes whole."""
        ids = [number for _, number in self._form.tokens_in(self._waiting)]
        self._waiting = ""
        return np.array(ids, dtype=np.int64)
