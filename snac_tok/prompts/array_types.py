"""The types of what is trained on: raw codes, ids, and sequences of text and speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

if TYPE_CHECKING:
    from snac_tok.errors import SnacTokError
    from snac_tok.frames import Vocabulary

OutputDtype: TypeAlias = Literal["uint16", "int32", "int64"]


def dtype_of(wanted: OutputDtype | None, vocabulary: Vocabulary | None) -> np.dtype[Any]:
    """Return the type of a vocabulary's ids, or of raw codes if there is none: the one wanted, else a narrow one."""
    return np.dtype(wanted or ("uint16" if vocabulary is None else "int32"))


def check_dtype(
    wanted: str | None, vocabulary: Vocabulary | None, *, largest: int, error: type[SnacTokError]
) -> None:
    """Refuse a type that is not offered, or that cannot hold the largest number.

    Args:
        wanted: None for the usual one.
        vocabulary: whose ids; None for raw codes.
        largest: id or code that can occur.
        error: what is raised.
    """
    offered = get_args(OutputDtype)
    if wanted is not None and wanted not in offered:
        raise error(f"output_dtype is {wanted!r}; one of {', '.join(offered)} is possible.")
    dtype = np.dtype(wanted or dtype_of(None, vocabulary))
    if largest > np.iinfo(dtype).max:
        of = "codebook" if vocabulary is None else f"vocabulary {vocabulary.name!r}"
        raise error(
            f"{dtype} cannot hold {largest}, the largest number of the {of}: it would wrap around; take int32."
        )


def sequence_dtypes(dtype: np.dtype[Any]) -> dict[str, np.dtype[Any]]:
    """Return the arrays of a sequence to train on, with their types."""
    return {"input_ids": dtype, "attention_mask": np.dtype("int8"), "labels": dtype}
