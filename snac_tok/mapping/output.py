"""From a row's codes to the columns of the new dataset: raw codes, ids, or sequences to train on.

    raw codes    codes_0, codes_1, …, num_samples
    ids          input_ids, num_samples
    sequences    input_ids, attention_mask, labels          text and audio, as the preset's models are trained

followed by "error" if rows may fail. Values are numpy arrays of narrow types: Python ints would be stored in eight
bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.errors import ConfigError
from snac_tok.prompts.array_types import check_dtype, dtype_of, sequence_dtypes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from snac_tok.frames import Vocabulary
    from snac_tok.mapping.encoding import Encoded
    from snac_tok.prompts import PromptFormat
    from snac_tok.prompts.array_types import OutputDtype

    Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Output:
    """The new columns and their types.

    Args:
        vocabulary: turns codes into ids; None keeps raw codes.
        num_levels: how many levels of raw codes are kept.
        codebook_size: raw codes are less than this.
        dtype: of codes or ids; None is uint16 for raw codes, int32 for ids.
        prompt: makes sequences of text and audio; None gives ids of the audio only.
        mask_prompt: whether a sequence's labels leave out its prompt.

    Raises:
        ConfigError: an unknown type, or one that cannot hold the largest code or id.
    """

    vocabulary: Vocabulary | None
    num_levels: int
    codebook_size: int
    dtype: OutputDtype | None = None
    prompt: PromptFormat | None = None
    mask_prompt: bool = False

    def __post_init__(self) -> None:
        largest = self.codebook_size - 1 if self.vocabulary is None else self.vocabulary.size - 1
        check_dtype(self.dtype, self.vocabulary, largest=largest, error=ConfigError)
        if self.prompt is not None and self.dtype == "uint16":
            raise ConfigError(
                'labels may have -100 in them, which uint16 cannot hold; leave output_dtype out, or take "int32".'
            )

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type of codes or ids."""
        return dtype_of(self.dtype, self.vocabulary)

    @property
    def arrays(self) -> dict[str, np.dtype[Any]]:
        """Columns that hold one array per row, with their types."""
        if self.vocabulary is None:
            return {f"codes_{level}": self.numpy_dtype for level in range(self.num_levels)}
        if self.prompt is None:
            return {"input_ids": self.numpy_dtype}
        return sequence_dtypes(self.numpy_dtype)

    @property
    def counts_samples(self) -> bool:
        """Whether rows have their number of samples; a sequence with text is not decoded as a whole."""
        return self.prompt is None

    def features(self, datasets: Any) -> dict[str, Any]:
        """Return the columns' types by name, as the `datasets` library names them."""
        wrap = datasets.List
        types = {name: wrap(datasets.Value(str(dtype))) for name, dtype in self.arrays.items()}
        if self._slots:
            types = {name: wrap(feature) for name, feature in types.items()}
        return types | ({"num_samples": datasets.Value("int64")} if self.counts_samples else {})

    def row(self, encoded: Encoded, text_ids: Sequence[int] | None) -> list[Array]:
        """Return one row's arrays.

        Raises:
            TokenError: text that cannot be part of a sequence.
        """
        if self.vocabulary is None:
            return [level.astype(self.numpy_dtype) for level in encoded.codes[: self.num_levels]]
        ids = self.vocabulary.encode(encoded.codes)
        if self.prompt is None:
            return [ids.astype(self.numpy_dtype)]
        sequence = self.prompt.training(text_ids, ids, mask_prompt=self.mask_prompt)
        mask = np.ones(len(sequence.input_ids), np.int8)
        return [sequence.input_ids.astype(self.numpy_dtype), mask, sequence.labels.astype(self.numpy_dtype)]

    def columns(self, rows: Sequence[list[Array] | None]) -> dict[str, Any]:
        """Join rows to columns; None is a failed row, whose arrays are empty."""
        return {
            name: self._column([None if row is None else row[at] for row in rows], dtype)
            for at, (name, dtype) in enumerate(self.arrays.items())
        }

    def _column(self, values: list[Array | None], dtype: np.dtype[Any]) -> Any:
        lead = self._slots
        if all(value is None for value in values):
            # `datasets` would infer a column of nulls from a list of empty arrays.
            return np.zeros((len(values), *lead, 0), dtype)
        return [np.zeros((*lead, 0), dtype) if value is None else value for value in values]

    @property
    def _slots(self) -> tuple[int, ...]:
        """The leading dimensions of ids: none, or the rows of a parallel vocabulary."""
        is_parallel = self.vocabulary is not None and self.vocabulary.is_parallel
        return (self.vocabulary.layout.slots_per_frame,) if self.vocabulary and is_parallel else ()
