"""What it takes to make the shards of a plan, on whichever machine: all that a worker needs beside their numbers.

Engines take `loaded_shards` one after another and encode those that nobody has made; `ShardWork` can be sent elsewhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING

from snac_tok.audio import Resampler, check_policy
from snac_tok.corpus.folder import adopt
from snac_tok.corpus.loading import load_files
from snac_tok.corpus.plan import PlanOptions
from snac_tok.corpus.worker import encode_shard
from snac_tok.sources.clips import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from snac_tok.corpus.loading import LoadedFile
    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.corpus.worker import BatchDone, BatchLimits, SoundEncoder
    from snac_tok.shards import CheckedShard, CollectionInfo
    from snac_tok.sources.processes import ProcessOptions
    from snac_tok.sources.read_ahead import ReadingPool


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """How the shards of a plan are made.

    Attributes:
        encoder: what makes the codes.
        collection: what the plan says of it.
        source: the folder that the plan's paths are relative to.
        out: the folder that the shards go to.
        limits: of a batch.
        processes: how files are decoded.
        repaired: recordings that failed before; where there are any, shards are made again.
    """

    encoder: SoundEncoder
    collection: CollectionInfo
    source: Path
    out: Path
    limits: BatchLimits
    processes: ProcessOptions
    repaired: frozenset[str] = frozenset()


def shard_maker(work: ShardWork, on_batch: Callable[[BatchDone], None]) -> Callable[..., CheckedShard]:
    """Return `encode_shard` as a function of a shard and its `files`."""
    return partial(
        encode_shard,
        encoder=work.encoder,
        source=work.source,
        out=work.out,
        limits=work.limits,
        on_batch=on_batch,
        replace=bool(work.repaired),
    )


def loaded_shards(
    work: ShardWork, specs: Sequence[ShardSpec], pool: ReadingPool | None
) -> Iterator[tuple[ShardSpec, Iterator[LoadedFile], CheckedShard | None]]:
    """Yield shards with their files, which must be taken, or with what stands there, where another run was faster.

    Args:
        work: how they are made.
        specs: which, in order.
        pool: reads files in other processes; None reads them in this one.

    Raises:
        ShardError: what stands there is damaged or of another collection.
    """
    files = _loaded_files(work, specs, pool)
    for spec in specs:
        own = islice(files, len(spec.items))
        late = None if work.repaired else adopt(spec, work.out)
        if late:
            deque(own, maxlen=0)
        yield spec, own, late


def _loaded_files(
    work: ShardWork, specs: Sequence[ShardSpec], pool: ReadingPool | None
) -> Iterator[LoadedFile]:
    """Read the files of shards that follow each other as one line, so that reading ahead goes on between them."""
    options, resampler = specs[0].options if specs else PlanOptions(), work.encoder.resampler
    return load_files(
        list(chain.from_iterable(spec.items for spec in specs)),
        source=work.source,
        options=ReadOptions(
            allow_truncated=options.allow_truncated,
            long_seconds=work.limits.long_seconds,
            limits=options.limits,
            loudness=options.loudness,
            channels=check_policy(work.collection.channels, each=True),
            sampling_rate=work.collection.sampling_rate if resampler else None,
            resampler=resampler or Resampler(),
        ),
        pool=pool,
        repaired=work.repaired,
    )
