"""What a run came to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.wording import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.corpus.progress import Progress
    from snac_tok.shards import Failure, Manifest, ShardEntry


@dataclass(frozen=True, kw_only=True)
class ShardingResult:
    """What a run came to; that of an array task is about its own shards.

    Attributes:
        num_clips: records written.
        num_failures: sources that gave none; `_failed.jsonl` lists them.
        num_left_out: sources that were left out as asked for, by length or size; listed there, too.
        num_tokens: codes of all records.
        hours: of sound, before padding.
        num_shards: files written.
        num_adopted_shards: of these, left whole by an interrupted run and kept.
        was_finished: whether an earlier run had finished the collection, and this one had nothing to do.
        is_complete: whether the collection has its manifest now; after an array task it may not.
        elapsed_seconds: wall time of this run.
        reading_seconds: of them, waiting for files in the encoding process, or reading them there.
        encoding_seconds: of them, encoding, or waiting for a GPU.
        device_seconds: of them, those in which the GPU had work; 0 on a CPU.
    """

    num_clips: int
    num_failures: int
    num_left_out: int
    num_tokens: int
    hours: float
    num_shards: int
    num_adopted_shards: int
    was_finished: bool = False
    is_complete: bool = True
    elapsed_seconds: float
    reading_seconds: float = 0.0
    encoding_seconds: float = 0.0
    device_seconds: float = 0.0


def result_of(
    entries: Sequence[ShardEntry],
    failures: Sequence[Failure],
    *,
    sampling_rate: int,
    started: float,
    num_adopted: int,
    was_finished: bool = False,
    is_complete: bool = True,
    progress: Progress | None = None,
) -> ShardingResult:
    """Add up shards and failures of a run that was begun at `started` on the monotonic clock.

    Args:
        entries: of the shards that it made or kept.
        failures: that are listed of them; a folder may have lost its list.
        sampling_rate: of the codec, in Hz.
        started: when it was begun.
        num_adopted: as in the result, like the next two.
        was_finished: likewise.
        is_complete: likewise.
        progress: what it came to in the end; None for a run that did nothing.
    """
    num_left_out = sum(failure.is_left_out for failure in failures)
    return ShardingResult(
        num_clips=sum(entry.num_records for entry in entries),
        num_failures=sum(entry.num_failures for entry in entries) - num_left_out,
        num_left_out=num_left_out,
        num_tokens=sum(entry.num_tokens for entry in entries),
        hours=sum(entry.num_samples for entry in entries) / sampling_rate / SECONDS_PER_HOUR,
        num_shards=len(entries),
        num_adopted_shards=num_adopted,
        was_finished=was_finished,
        is_complete=is_complete,
        elapsed_seconds=time.monotonic() - started,
        reading_seconds=progress.reading_seconds if progress else 0.0,
        encoding_seconds=progress.encoding_seconds if progress else 0.0,
        device_seconds=progress.device_seconds if progress else 0.0,
    )


def result_before(manifest: Manifest, failures: Sequence[Failure], *, started: float) -> ShardingResult:
    """Tell of a collection that an earlier run has finished."""
    return result_of(
        manifest.shards,
        failures,
        sampling_rate=manifest.collection.sampling_rate,
        started=started,
        num_adopted=len(manifest.shards),
        was_finished=True,
    )
