"""Refuses numpy's masked arrays where something in them is masked: what they hide would count as values.

It knows no shapes, types or ranges; each door checks those itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from snac_tok.errors import SnacTokError


def refuse_masked(value: Any, *, what: str, error: type[SnacTokError]) -> None:
    """Refuse an array, or a list of arrays, with masked values; one in which nothing is masked is an array.

    Args:
        value: of any kind.
        what: How the error names it, in the plural.
        error: The class to raise.

    Raises:
        SnacTokError: As `error`.

    Example:
        >>> from snac_tok.errors import TokenError
        >>> refuse_masked(np.ma.masked_array([7, 8], mask=[0, 1]), what="ids", error=TokenError)
        ... # doctest: +ELLIPSIS
        Traceback (most recent call last):
        snac_tok.errors.TokenError: ids must have no masked values, got 1 of 2 masked: ...
    """
    # Long lists of numbers cost one look at their first entry.
    is_of_arrays = isinstance(value, (list, tuple)) and len(value) > 0 and isinstance(value[0], np.ndarray)
    for array in value if is_of_arrays else (value,):
        if type(array) is np.ndarray or not isinstance(array, np.ma.MaskedArray):
            continue
        num_masked = int(np.ma.getmaskarray(array).sum())
        if num_masked:
            raise error(
                f"{what} must have no masked values, got {num_masked} of {array.size} masked: leave them out with "
                ".compressed(), or give them values with .filled(value)."
            )
