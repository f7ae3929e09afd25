"""What becomes of a record: ids, raw codes, or a sequence of text and speech to train on.

ids          input_ids                               the speech alone
codes        codes                                   frame after frame, depth-first, as the shards have them
sequences    input_ids, attention_mask, labels       text and speech, as the preset's models are trained
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from snac_tok.errors import CodesError, ExportError, TokenError
from snac_tok.export.texts import largest_text_id, load_text_tokenizer, text_ids, tokenizer_sha256
from snac_tok.frames import vocabulary_for
from snac_tok.plain_values import to_plain
from snac_tok.prompts import prompt_format
from snac_tok.prompts.array_types import check_dtype, dtype_of, sequence_dtypes
from snac_tok.shards import ShardFile
from snac_tok.shards.record import SCHEMA

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from snac_tok.frames import FrameLayout, Vocabulary
    from snac_tok.prompts import PromptFormat
    from snac_tok.prompts.array_types import OutputDtype
    from snac_tok.prompts.prompt_format import Prompt
    from snac_tok.shards import CollectionInfo, Record, ShardCollection

    Array = npt.NDArray[Any]

What: TypeAlias = Literal["ids", "codes", "sequences"]


class LeftOutError(Exception):
    """A record has nothing to export; the message is the reason, in the words of a report."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One record, ready to be written.

    Attributes:
        number: of the record in the collection, from 0.
        columns: the record's own, all but its codes.
        num_frames: of its codes.
        arrays: what is exported of it, by name; see `Content.dtypes`.
    """

    number: int
    columns: dict[str, Any]
    num_frames: int
    arrays: dict[str, Array]

    @property
    def num_tokens(self) -> int:
        """Ids or codes."""
        return int(next(iter(self.arrays.values())).size)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is exported of every record.

    Attributes:
        what: ids, codes or sequences.
        info: what the shards' codes were made with.
        vocabulary: whose ids; None for codes.
        dtype: of ids or codes; None is uint16 for codes, int32 for ids.
        prompt: the order of text and speech, for sequences.
        text_tokenizer: for sequences.
        voice_column: of the records, which goes to the prompt with the text.
        mask_prompt: whether labels leave out what the model is given.
        more_columns: that these records have beside those of every shard, all of text.

    Raises:
        ExportError: a dtype that cannot hold the largest id or code.
    """

    what: What
    info: CollectionInfo
    vocabulary: Vocabulary | None
    dtype: OutputDtype | None = None
    prompt: PromptFormat | None = None
    text_tokenizer: Any = None
    voice_column: str | None = None
    mask_prompt: bool = False
    more_columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_dtype(self.dtype, self.vocabulary, largest=self.largest, error=ExportError)
        if self.voice_column is not None and self.voice_column not in self.column_types:
            raise ExportError(
                f"there is no column {self.voice_column!r}; the records have {', '.join(self.column_types)}."
            )

    @functools.cached_property
    def column_types(self) -> dict[str, Any]:
        """The records' own columns, all but the codes, with their Arrow types."""
        fixed = {field.name: field.type for field in SCHEMA if field.name != "codes"}
        return fixed | dict.fromkeys(self.more_columns, pa.string())

    @functools.cached_property
    def layout(self) -> FrameLayout:
        """Of the shards' codes; reading it from their info takes longer than making a record's ids."""
        return self.info.frame_layout()

    @property
    def largest(self) -> int:
        """The largest id or code that can occur."""
        if self.vocabulary is None:
            return self.info.codebook_size - 1
        text = -1 if self.text_tokenizer is None else largest_text_id(self.text_tokenizer)
        return max(self.vocabulary.size - 1, text)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type of ids or codes."""
        return dtype_of(self.dtype, self.vocabulary)

    @property
    def dtypes(self) -> dict[str, np.dtype[Any]]:
        """The arrays of a row with their types; the first one holds the ids or codes."""
        if self.what == "codes":
            return {"codes": self.numpy_dtype}
        if self.what == "ids":
            return {"input_ids": self.numpy_dtype}
        return sequence_dtypes(self.numpy_dtype)

    @property
    def is_parallel(self) -> bool:
        """Whether ids are parallel rows (slots, steps)."""
        return self.vocabulary is not None and self.vocabulary.is_parallel

    def describe(self) -> dict[str, Any]:
        """Return all that decides what is exported, as JSON values."""
        return {
            "what": self.what,
            "vocabulary": None if self.vocabulary is None else to_plain(self.vocabulary),
            "output_dtype": str(self.numpy_dtype),
            "prompt": None if self.prompt is None else self.prompt.to_dict(),
            "text_tokenizer": None if self.text_tokenizer is None else tokenizer_sha256(self.text_tokenizer),
            "voice_column": self.voice_column,
            "mask_prompt": self.mask_prompt,
        }

    def row(self, record: Record, *, number: int) -> Row:
        """Return what is exported of a record.

        Raises:
            LeftOutError: it has no codes, or no text where one is needed, or its text spells audio tokens.
        """
        if not record.codes.size:
            raise LeftOutError("no codes")
        more = record.columns
        columns = {
            name: more.get(name) if name in self.more_columns else getattr(record, name)
            for name in self.column_types
        }
        arrays = dict(zip(self.dtypes, self._arrays(record, columns), strict=True))
        typed = {name: _cast(array, self.dtypes[name]) for name, array in arrays.items()}
        num_frames = record.codes.size // self.layout.slots_per_frame
        return Row(number=number, columns=columns, num_frames=num_frames, arrays=typed)

    def _arrays(self, record: Record, columns: dict[str, Any]) -> list[Array]:
        if self.vocabulary is None:
            return [record.codes]
        levels = self.layout.unflatten(record.codes)
        ids = np.asarray(self.vocabulary.encode(levels[: self.vocabulary.layout.num_levels]))
        if self.prompt is None:
            return [ids]
        text = self._text_of(columns, self.prompt)
        try:
            line = self.prompt.training(text, ids, mask_prompt=self.mask_prompt)
        except TokenError as error:
            raise LeftOutError("a text that spells audio tokens") from error
        return [line.input_ids, np.ones(line.input_ids.size, np.int8), line.labels]

    def _text_of(self, columns: dict[str, Any], prompt: PromptFormat) -> Any:
        text = columns["text"]
        if not text or not text.strip():
            raise LeftOutError("no text")
        voice = None if self.voice_column is None else columns[self.voice_column]
        return text_ids(self.text_tokenizer, prompt.with_voice(text, voice))


def _cast(array: Array, dtype: np.dtype[Any]) -> Array:
    """Return an array in another type of integers.

    Raises:
        CodesError: a value does not fit, such as an id that a text tokenizer gives beyond its own length.
    """
    if array.size and not np.can_cast(array.dtype, dtype):
        low, high = int(array.min()), int(array.max())
        if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
            raise CodesError(f"{dtype} cannot hold {low} … {high}: they would wrap around.")
    return array.astype(dtype)


def content_of(
    collection: ShardCollection,
    *,
    preset: str | os.PathLike[str] | Vocabulary | None,
    levels: int | None,
    what: What,
    text_tokenizer: Any,
    voice_column: str | None,
    prompt: Prompt | None,
    mask_prompt: bool,
    output_dtype: OutputDtype | None,
) -> Content:
    """Return what is exported of each record of a collection; `export_shards` documents the options.

    Raises:
        ExportError: options that contradict each other.
        LayoutError: the preset does not fit the codec, or the text tokenizer does not fit the preset.
    """
    _check_what(what, preset=preset, levels=levels)
    of_sequences = {
        "text_tokenizer": text_tokenizer,
        "voice_column": voice_column,
        "prompt": prompt,
        "mask_prompt": mask_prompt or None,
    }
    given = [name for name, value in of_sequences.items() if value is not None]
    if what != "sequences" and given:
        raise ExportError(f"{given[0]} is for sequences of text and speech; export those, or leave it out.")
    if what == "sequences" and text_tokenizer is None:
        raise ExportError(
            "text_tokenizer must be named for sequences of text and speech: the language model's, or its folder."
        )
    info, more = collection.info, _more_columns(collection)
    if preset is None:
        return Content(what=what, info=info, vocabulary=None, dtype=output_dtype, more_columns=more)
    vocabulary = vocabulary_for(
        preset, strides=collection.layout.strides, codebook_size=info.codebook_size, levels=levels
    )
    collection.ids(vocabulary)  # checks at once that it fits the shards' codec
    is_sequence = what == "sequences"
    return Content(
        what=what,
        info=info,
        vocabulary=vocabulary,
        dtype=output_dtype,
        prompt=prompt_format(vocabulary, prompt) if is_sequence else None,
        text_tokenizer=load_text_tokenizer(text_tokenizer, vocabulary) if is_sequence else None,
        voice_column=voice_column,
        mask_prompt=mask_prompt,
        more_columns=more,
    )


def _more_columns(collection: ShardCollection) -> tuple[str, ...]:
    """Return what the records of a collection keep beside the columns of every shard; it is the same in all of them."""
    for entry in collection.manifest.shards[:1]:
        with ShardFile(collection.folder / entry.name) as shard:
            return tuple(shard.columns)
    return ()


def _check_what(what: What, *, preset: object, levels: int | None) -> None:
    if what not in ("ids", "codes", "sequences"):
        raise ExportError(f"what is {what!r}; ids, codes or sequences can be exported.")
    if what == "codes" and (preset is not None or levels is not None):
        raise ExportError("raw codes are of no preset and have all levels; export ids for those.")
    if what != "codes" and preset is None:
        raise ExportError(f"preset must be named: whose ids the {what} have; raw codes do without.")
