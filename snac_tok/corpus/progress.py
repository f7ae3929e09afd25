"""How far a run is, and when so many recordings fail that it should stop."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.errors import TooManyFailuresError
from snac_tok.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.corpus.worker import BatchDone
    from snac_tok.shards import CheckedShard, Failure


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; bytes of source files tell the remaining time better than their number.

    Attributes:
        done_files: read so far, failed ones and those of adopted shards included.
        total_files: of the run.
        done_bytes: of these files.
        total_bytes: of the run.
        adopted_bytes: of the files whose shards were there before this run.
        num_failures: so far.
        num_left_out: so far, as asked for, by length or size.
        duration_seconds: of sound encoded by this run.
        reading_seconds: that the encoding process waited for files, or read them itself.
        encoding_seconds: that it encoded, or waited for a GPU; the rest of its time went into writing and all else.
        device_seconds: for how long the GPU had work meanwhile; 0 on a CPU.
        is_comparing: whether recordings are only compared yet, to leave duplicates out.
    """

    done_files: int
    total_files: int
    done_bytes: int
    total_bytes: int
    adopted_bytes: int = 0
    num_failures: int = 0
    num_left_out: int = 0
    duration_seconds: float = 0.0
    reading_seconds: float = 0.0
    encoding_seconds: float = 0.0
    device_seconds: float = 0.0
    is_comparing: bool = False


class ProgressCounter:
    """Adds up what batches and adopted shards bring, and tells the caller.

    Attributes:
        state: how far it is.

    Args:
        specs: the work of the run.
        callback: is told after each batch and each adopted shard.
        max_error_rate: the share of their recordings, 0…1, that may fail.
    """

    def __init__(
        self,
        specs: Sequence[ShardSpec],
        callback: Callable[[Progress], None] | None,
        *,
        max_error_rate: float,
    ) -> None:
        self._callback = callback
        items = [item for spec in specs for item in spec.items]
        self._max_failures = max_error_rate * len(items)
        self._codes: Counter[str] = Counter()
        self.state = Progress(
            done_files=0,
            total_files=len(items),
            done_bytes=0,
            total_bytes=sum(item.num_bytes for item in items),
        )

    def batch_done(self, done: BatchDone) -> None:
        """Count a batch.

        Raises:
            TooManyFailuresError: more recordings failed than may.
        """
        self._add_batch(done)
        self._tell(done.failures)

    def shard_adopted(self, spec: ShardSpec, shard: CheckedShard) -> None:
        """Count a shard that was there before; as `batch_done`."""
        num_bytes = sum(item.num_bytes for item in spec.items)
        self._add(shard.failures, done_files=len(spec.items), done_bytes=num_bytes, adopted_bytes=num_bytes)
        self._tell(shard.failures)

    def take_back(self, batches: Iterable[BatchDone]) -> None:
        """Forget batches of a shard that somebody must begin anew."""
        for done in batches:
            self._add_batch(done, sign=-1)

    def _add_batch(self, done: BatchDone, *, sign: int = 1) -> None:
        self._add(
            done.failures,
            sign=sign,
            done_files=done.num_files,
            done_bytes=done.num_bytes,
            duration_seconds=done.duration_seconds,
            reading_seconds=done.reading_seconds,
            encoding_seconds=done.encoding_seconds,
            device_seconds=done.device_seconds,
        )

    def _add(self, failures: Sequence[Failure], *, sign: int = 1, **amounts: float) -> None:
        """Add to the state, or take away from it."""
        failed = [failure.code for failure in failures if not failure.is_left_out]
        for code in failed:
            self._codes[code] += sign
        amounts |= {"num_failures": len(failed), "num_left_out": len(failures) - len(failed)}
        new = {name: getattr(self.state, name) + sign * amount for name, amount in amounts.items()}
        self.state = dataclasses.replace(self.state, **new)

    def _tell(self, failures: Sequence[Failure]) -> None:
        if self._callback:
            self._callback(self.state)
        self._check_rate(next((each for each in reversed(failures) if not each.is_left_out), None))

    def _check_rate(self, last: Failure | None) -> None:
        if self.state.num_failures <= self._max_failures or last is None:
            return
        codes = ", ".join(f"{number:,} {code}" for code, number in sorted(self._codes.items()) if number)
        raise TooManyFailuresError(
            f"{self.state.num_failures:,} of {counted(self.state.total_files, 'recording')} could not be used "
            f"({codes}; the last one: {last.reason.rstrip('.')}), and that is more than was allowed; finished shards "
            "are kept: mend the recordings, or allow a higher error rate, and run the same command again."
        )
