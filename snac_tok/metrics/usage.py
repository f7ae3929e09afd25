"""How much of a codebook codes really use: entries, share, entropy, perplexity.

Counts add up, so a corpus is measured shard by shard in constant memory. Nothing here knows a model or
a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snac_tok.errors import CodesError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# Of a table of `LevelUsage.cells`.
USAGE_HEAD = ("level", "codes", "used", "share", "perplexity", "bits/code")


@dataclass(frozen=True, kw_only=True)
class LevelUsage:
    """What the codes of one level use of its codebook.

    Attributes:
        level: 0 is the coarsest.
        total: codes counted.
        used: entries that occur at all.
        share: `used` / codebook size, 0…1.
        entropy_bits: of the code distribution, in bits per code; 0…log2(codebook size).
        perplexity: 2^entropy: the size of an evenly used codebook of that entropy; 1 when nothing was
            counted.
    """

    level: int
    total: int
    used: int
    share: float
    entropy_bits: float
    perplexity: float

    def cells(self) -> tuple[str, ...]:
        """Return the figures as text, under `USAGE_HEAD`."""
        return (
            str(self.level),
            f"{self.total:,}",
            f"{self.used:,}",
            f"{self.share:.1%}",
            f"{self.perplexity:.1f}",
            f"{self.entropy_bits:.2f}",
        )


class CodebookUsage:
    """Counts codes over any number of clips; two counters of equal shape can be added.

    Args:
        num_levels: of the codec.
        codebook_size: entries per level.

    Example:
        >>> usage = CodebookUsage(num_levels=2, codebook_size=4)
        >>> usage.update([[0, 1], [2, 2, 2, 2]])
        >>> [(level.used, level.entropy_bits) for level in usage.levels()]
        [(2, 1.0), (1, 0.0)]
    """

    def __init__(self, *, num_levels: int, codebook_size: int) -> None:
        self.counts: npt.NDArray[np.int64] = np.zeros((num_levels, codebook_size), dtype=np.int64)

    def update(self, codes: Sequence[npt.ArrayLike]) -> None:
        """Count the codes of one clip or batch, one integer array of any shape per level.

        Raises:
            CodesError: a wrong number of levels, no integers, or codes outside the codebook; nothing is
                counted then.
        """
        num_levels, codebook_size = self.counts.shape
        if len(codes) != num_levels:
            raise CodesError(f"usage counts {num_levels} levels, got codes of {len(codes)}.")
        self.counts += np.stack([_bincount(level, codebook_size) for level in codes])

    def __add__(self, other: CodebookUsage) -> CodebookUsage:
        if self.counts.shape != other.counts.shape:
            raise CodesError(
                f"cannot add usage of {other.counts.shape} (levels, entries) to {self.counts.shape}; "
                "both must come from one codec."
            )
        total = CodebookUsage(num_levels=self.counts.shape[0], codebook_size=self.counts.shape[1])
        total.counts = self.counts + other.counts
        return total

    def levels(self) -> list[LevelUsage]:
        """The figures so far, coarsest level first."""
        return [_level_usage(level, counts) for level, counts in enumerate(self.counts)]


def _bincount(codes: npt.ArrayLike, codebook_size: int) -> npt.NDArray[np.intp]:
    refuse_masked(codes, what="codes", error=CodesError)
    flat = np.asarray(codes).ravel()
    if flat.size == 0:
        return np.zeros(codebook_size, dtype=np.intp)
    if flat.dtype.kind not in "iu":
        raise CodesError(f"codes must be integers, got {flat.dtype}.")
    if int(flat.min()) < 0 or int(flat.max()) >= codebook_size:
        raise CodesError(f"codes must lie in 0…{codebook_size - 1}, found {flat.min()}…{flat.max()}.")
    return np.bincount(flat.astype(np.intp), minlength=codebook_size)


def _level_usage(level: int, counts: npt.NDArray[np.int64]) -> LevelUsage:
    total, present = int(counts.sum()), counts[counts > 0]
    shares = present / max(total, 1)
    entropy = abs(float(-(shares * np.log2(shares)).sum()))  # abs: a single entry gives −0.0
    return LevelUsage(
        level=level,
        total=total,
        used=present.size,
        share=present.size / counts.size,
        entropy_bits=entropy,
        perplexity=2.0**entropy,
    )
