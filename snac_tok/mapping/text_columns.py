"""The texts of a batch as ids of the language model's own tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from snac_tok.errors import ConfigError, TokenError
from snac_tok.mapping.rows import column_of
from snac_tok.tokenizer.text_ids import as_text_tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.prompts import PromptFormat


@dataclass(frozen=True, kw_only=True)
class TextIds:
    """The column of a row's text, and the tokenizer for it.

    Attributes:
        tokenizer: a Hugging Face tokenizer; the prompt adds special ids.
        text_column: the column of texts.
        voice_column: the column of speakers' names or numbers, if there is one.
    """

    tokenizer: Any
    text_column: str
    voice_column: str | None

    @classmethod
    def of(cls, tokenizer: Any, *, text_column: str | None, voice_column: str | None) -> Self | None:
        """Return the text columns to use, None for sequences of audio only.

        Raises:
            ConfigError: one of text_column and text_tokenizer is missing, or text_tokenizer is not a tokenizer, or not
                the folder of one.
        """
        if text_column is None:
            if tokenizer is not None or voice_column is not None:
                raise ConfigError("text_tokenizer and voice_column are for texts; name the text_column.")
            return None
        if tokenizer is None:
            raise ConfigError("text_column needs a text_tokenizer: a tokenizer, or the folder of one.")
        tokenizer = as_text_tokenizer(tokenizer, error=ConfigError)
        return cls(tokenizer=tokenizer, text_column=text_column, voice_column=voice_column)

    def of_batch(self, batch: Any) -> list[tuple[Any, Any]]:
        """Return each row's text and voice.

        Raises:
            ConfigError: there is no such column.
        """
        # Numbers are no texts, but each is its own row's mistake.
        texts = column_of(batch, self.text_column, numbers=True)
        if self.voice_column is None:
            return [(text, None) for text in texts]
        return list(zip(texts, column_of(batch, self.voice_column, numbers=True), strict=True))

    def ids(self, row: tuple[Any, Any], prompt: PromptFormat) -> Sequence[int]:
        """Return the ids of one row's text with its voice, as the prompt's family combines them.

        Raises:
            TokenError: the row has no text.
        """
        text, voice = row
        if not isinstance(text, str) or not text.strip():
            raise TokenError("the row holds no text.")
        ids: Sequence[int] = self.tokenizer(prompt.with_voice(text, voice), add_special_tokens=False)[
            "input_ids"
        ]
        return ids
