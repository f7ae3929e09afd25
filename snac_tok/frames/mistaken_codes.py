"""Recognises raw codes where ids are due, for messages: it decides nothing about values that can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.frames.arrays import is_integers, is_torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.frames.layout import FrameLayout

# Of a list that may be as long as a recording.
_SHOWN = 3


def shapes_of_codes(value: Any, layout: FrameLayout) -> list[tuple[int, ...]]:
    """Return the shapes of raw codes of this layout's levels, (T_k,) or (B, T_k) each, and [] for anything else.

    Example:
        >>> from snac_tok.frames import FrameLayout
        >>> shapes_of_codes([[[7]], [[8, 9]]], FrameLayout((2, 1))), shapes_of_codes([7, 8, 9], FrameLayout((2, 1)))
        ([(1, 1), (1, 2)], [])
    """
    if not isinstance(value, (list, tuple)) or not layout.num_levels <= len(value) <= len(layout.strides):
        return []
    shapes = shapes_in(value)
    first = shapes[0]
    if not 1 <= len(first) <= 2 or 0 in first:  # noqa: PLR2004 - (B, T)
        return []
    factors = [layout.strides[0] // stride for stride in layout.strides]
    needed = [(*first[:-1], first[-1] * factor) for factor in factors[: len(shapes)]]
    return shapes if shapes == needed and len(shapes) > 1 else []


def shapes_in(values: Sequence[Any]) -> list[tuple[int, ...]]:
    """Return the shape of each of some arrays, tensors or lists; (-1,) for what has none."""
    return [_shape(value) for value in values]


def shown(shapes: Sequence[tuple[int, ...]]) -> str:
    """Return the first shapes of a list as text.

    Example:
        >>> shown([(1, 12), (1, 24)]), shown([()] * 84)
        ('(1, 12), (1, 24)', '(), (), () and 81 more')
    """
    more = f" and {len(shapes) - _SHOWN} more" if len(shapes) > _SHOWN else ""
    return ", ".join(map(str, shapes[:_SHOWN])) + more


def advice(value: Any, layout: FrameLayout, codebook_size: int, *, is_sure: bool = True) -> str:
    """Return a sentence for whoever gives raw codes where ids are due, "" where these are no raw codes.

    Args:
        value: what was given.
        layout: of the frames.
        codebook_size: how many codes each level has.
        is_sure: False where rows of ids may look like this, too: the sentence then follows what is wrong with them.
    """
    shapes = shapes_of_codes(value, layout)
    # Rows of ids may have such lengths, too, but not such values.
    if not shapes or not all(_is_code(level, codebook_size) for level in value):
        return ""
    guess = "these look like" if is_sure else "These may also be"
    found = f"{guess} raw codes, one array for each level ({shown(shapes)}), not ids: "
    ids = "tokenizer.vocabulary.encode(codes) makes ids of them"
    if len(shapes[0]) == 1:
        return f"{found}tokenizer.decode_codes(codes) makes sound of them, {ids}."
    if all(map(is_torch, value)):
        return f"{found}tokenizer.codec.decode(codes) makes sound of them, {ids}."
    return f"{found}{ids}."


def _is_code(level: Any, codebook_size: int) -> bool:
    codes: Any = level if is_torch(level) else np.asarray(level)
    if not is_integers(codes):
        return False
    codes = codes.long() if is_torch(codes) else codes  # torch has no minimum of unsigned tensors
    return int(codes.min()) >= 0 and int(codes.max()) < codebook_size


def _shape(value: Any) -> tuple[int, ...]:
    if hasattr(value, "shape"):
        return tuple(value.shape)
    try:
        return np.shape(value)
    except ValueError:  # lists of unequal lengths
        return (-1,)
