"""What a collection's records are like: how long they are, and how much of each codebook they use.

Sums of integers, so shards can be counted in any order and added up: the figures are those of the whole.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.metrics import CodebookUsage

if TYPE_CHECKING:
    from snac_tok.shards.info import CollectionInfo
    from snac_tok.shards.record import Record

# Durations are counted in steps of so much, so that memory does not grow with their number.
STEP_SECONDS = 0.1
_PERCENTS = (1, 5, 25, 50, 75, 95, 99)
# Codes wait until there are so many: counting them has a price per call.
_WAITING_CODES = 1 << 16
# Sums of logarithms differ in their last bits from processor to processor.
_DIGITS = 6


class CollectionStatistics:
    """Counts records, one by one or those of a shard.

    Args:
        info: of the collection.

    Attributes:
        usage: of each level's codebook.
    """

    def __init__(self, info: CollectionInfo) -> None:
        self._rate, self._layout = info.sampling_rate, info.frame_layout()
        self._usage = CodebookUsage(num_levels=self._layout.num_levels, codebook_size=info.codebook_size)
        self._steps: Counter[int] = Counter()
        self._num_texts = self._num_records = self._num_samples = 0
        self._shortest: int | None = None
        self._longest: int | None = None
        self._waiting: list[Any] = []
        self._num_waiting = 0

    def add(self, record: Record) -> None:
        """Count a record."""
        self._num_records += 1
        self._num_texts += record.text is not None
        self._note_lengths(record.num_samples, record.num_samples, record.num_samples)
        self._steps[int(record.num_samples / self._rate / STEP_SECONDS)] += 1
        self._waiting.append(record.codes)
        self._num_waiting += record.codes.size
        if self._num_waiting >= _WAITING_CODES:
            self._count_waiting()

    def merge(self, other: CollectionStatistics) -> None:
        """Count all that another one has counted."""
        self._usage += other.usage
        self._steps.update(other._steps)
        self._num_records += other._num_records
        self._num_texts += other._num_texts
        if other._shortest is not None and other._longest is not None:
            self._note_lengths(other._shortest, other._longest, other._num_samples)

    @property
    def usage(self) -> CodebookUsage:
        """Of each level's codebook."""
        self._count_waiting()
        return self._usage

    def to_dict(self) -> dict[str, Any]:
        """The figures as JSON values; lengths in seconds, percentiles to a step of 0.1 s."""
        steps = range(max(self._steps, default=-1) + 1)
        return {
            "num_records": self._num_records,
            "num_texts": self._num_texts,
            "duration_seconds": {
                "total": self._num_samples / self._rate,
                "shortest": None if self._shortest is None else self._shortest / self._rate,
                "longest": None if self._longest is None else self._longest / self._rate,
                "percentiles": self._percentiles(),
                "histogram": {"step": STEP_SECONDS, "counts": [self._steps[step] for step in steps]},
            },
            "codebook_usage": [
                {name: _rounded(value) for name, value in dataclasses.asdict(level).items()}
                for level in self.usage.levels()
            ],
        }

    def _note_lengths(self, shortest: int, longest: int, num_samples: int) -> None:
        self._num_samples += num_samples
        self._shortest = shortest if self._shortest is None else min(shortest, self._shortest)
        self._longest = longest if self._longest is None else max(longest, self._longest)

    def _percentiles(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if not self._num_records:
            return found
        steps = np.array(sorted(self._steps))
        below = np.cumsum([self._steps[int(step)] for step in steps])
        for percent in _PERCENTS:
            place = int(np.searchsorted(below, self._num_records * percent / 100))
            found[str(percent)] = round(float(steps[min(place, len(steps) - 1)]) * STEP_SECONDS, 1)
        return found

    def _count_waiting(self) -> None:
        if self._waiting:
            # Each record holds whole frames, so the frames of all are those of one long record.
            self._usage.update(self._layout.unflatten(np.concatenate(self._waiting)))
            self._waiting, self._num_waiting = [], 0


def _rounded(value: Any) -> Any:
    return round(value, _DIGITS) if isinstance(value, float) else value
