"""From what a user writes, a preset's name or a file, to the vocabulary for a codec."""

from __future__ import annotations

import os

from snac_tok.errors import LayoutError
from snac_tok.frames.presets import preset
from snac_tok.frames.vocabulary import Vocabulary
from snac_tok.frames.vocabulary_json import vocabulary_from_json


def vocabulary_for(
    wanted: str | os.PathLike[str] | Vocabulary,
    *,
    strides: tuple[int, ...],
    codebook_size: int,
    levels: int | None = None,
) -> Vocabulary:
    """Return the vocabulary that a name, a file or a table stands for.

    Args:
        wanted: A preset's name, the path of a .json file, or a `Vocabulary`, which is returned as it is.
        strides: The codec's; presets are made for them.
        codebook_size: The codec's.
        levels: Keep only the first levels; a file or a table has its own number.

    Raises:
        LayoutError: No such preset or file, ids that do not fit, or another number of levels than a table has.

    Example:
        >>> vocabulary_for("orpheus", strides=(4, 2, 1), codebook_size=4096).base
        128266
    """
    if isinstance(wanted, str) and not wanted.endswith(".json"):
        return preset(wanted, strides=strides, levels=levels, codebook_size=codebook_size)
    if isinstance(wanted, (str, os.PathLike)):
        wanted = vocabulary_from_json(wanted)
    if not isinstance(wanted, Vocabulary):
        raise LayoutError(
            f"ids need a preset's name, a .json file or a Vocabulary, got a {type(wanted).__name__}."
        )
    if levels not in (None, wanted.layout.num_levels):
        raise LayoutError(
            f"vocabulary {wanted.name!r} has {wanted.layout.num_levels} levels of its own, not {levels}; write the "
            "number into its layout."
        )
    return wanted
