"""Special ids around codes: which they are, and where the codes between them begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from snac_tok.frames import Vocabulary

    Ids = npt.NDArray[np.int64]


def edge_ids(vocabulary: Vocabulary) -> Ids:
    """Return the special ids that may stand around codes: all but the separator, which belongs to a frame.

    Example:
        >>> from snac_tok.frames import preset
        >>> edge_ids(preset("plain")).tolist()
        [28672, 28673, 28674]
    """
    specials = vocabulary.specials.items()
    return np.array([number for name, number in specials if name != vocabulary.separator], dtype=np.int64)


def inner_span(line: Ids, edges: Ids) -> slice:
    """Return where a line (n,) is without the edges at both its ends; what stands between its codes stays.

    Example:
        >>> inner_span(np.array([9, 9, 1, 2, 9, 3, 9]), np.array([8, 9]))
        slice(2, 6, None)
        >>> inner_span(np.array([9, 9]), np.array([8, 9]))
        slice(0, 0, None)
    """
    # Faster than numpy.isin for the few ids of a push.
    inner = np.flatnonzero((line[:, None] != edges).all(axis=1))
    return slice(int(inner[0]), int(inner[-1]) + 1) if inner.size else slice(0, 0)
