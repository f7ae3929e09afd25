"""How far a collection is, and whether its files are what they should be; nothing is changed or encoded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.corpus.finishing import read_failures
from snac_tok.corpus.folder import PLAN_NAME
from snac_tok.corpus.plan import read_head
from snac_tok.corpus.planning import checked_collection
from snac_tok.errors import ShardError
from snac_tok.files import living_writers
from snac_tok.shards import MANIFEST_NAME, ShardFault, ShardFile, check_info, open_shards
from snac_tok.wording import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snac_tok.corpus.plan import PlanHead
    from snac_tok.shards import Failure, ShardInfo


@dataclass(frozen=True, kw_only=True)
class CollectionStatus:
    """What a folder of shards holds of what was planned for it.

    Attributes:
        folder: of the collection.
        is_finished: whether it has its manifest.
        num_shards: planned.
        num_done_shards: published.
        num_recordings: planned.
        num_done_recordings: of published shards.
        num_records: in published shards.
        hours: of their sound, before padding.
        num_failures: recordings of published shards that could not be used.
        num_left_out: those that were left out as asked for.
        codes: how many failures and recordings left out there are of each reason code.
        missing: names of shards that are not there.
        being_written: those of them that a running process writes just now, on this machine.
    """

    folder: str
    is_finished: bool
    num_shards: int
    num_done_shards: int
    num_recordings: int
    num_done_recordings: int
    num_records: int
    hours: float
    num_failures: int
    num_left_out: int
    codes: dict[str, int]
    missing: tuple[str, ...]
    being_written: tuple[str, ...]


def collection_status(out: str | Path) -> CollectionStatus:
    """Say how far the collection in `out` is; of published shards only footers and lengths are read.

    Raises:
        ShardError: there is none, or its plan or a shard is damaged.
    """
    out = checked_collection(out)
    head = _head(out)
    per_shard = head.options.clips_per_shard
    there = [index for index in range(head.num_shards) if (out / head.shard_info(index).name).exists()]
    names = {head.shard_info(index).name for index in range(head.num_shards)}
    names -= {head.shard_info(index).name for index in there}
    num_records = num_samples = 0
    failures: list[Failure] = []
    for index in there:
        with _opened(out, head.shard_info(index)) as shard:
            num_records += len(shard)
            num_samples += shard.num_samples()
            failures += shard.failures
    left_out = sum(failure.is_left_out for failure in failures)
    return CollectionStatus(
        folder=str(out),
        is_finished=(out / MANIFEST_NAME).exists(),
        num_shards=head.num_shards,
        num_done_shards=len(there),
        num_recordings=head.num_items,
        num_done_recordings=sum(min(per_shard, head.num_items - index * per_shard) for index in there),
        num_records=num_records,
        hours=num_samples / head.collection.sampling_rate / SECONDS_PER_HOUR,
        num_failures=len(failures) - left_out,
        num_left_out=left_out,
        codes=dict(sorted(Counter(failure.code for failure in failures).items())),
        missing=tuple(sorted(names)),
        being_written=tuple(sorted(name for name in names if living_writers(out / name))),
    )


def verify_collection(out: str | Path, *, read_data: bool = False) -> list[ShardFault]:
    """Check the files of a collection, finished or not; an empty list means all is well.

    Args:
        out: its folder.
        read_data: whether shards are read to their last byte and compared with their checksums; without it, sizes,
            footers and numbers of records are compared.

    Raises:
        ShardError: there is no collection, or its plan or manifest is damaged.
    """
    out = checked_collection(out)
    if (out / MANIFEST_NAME).exists():
        collection = open_shards(out)
        return [
            *collection.verify(read_data=read_data),
            *_failure_faults(out, collection.manifest.num_failures),
        ]
    return list(_faults_of_begun(out, read_data=read_data))


def _faults_of_begun(out: Path, *, read_data: bool) -> Iterator[ShardFault]:
    head = _head(out)
    names = [head.shard_info(index).name for index in range(head.num_shards)]
    for index, name in enumerate(names):
        if not (out / name).exists():
            continue
        try:
            with _opened(out, head.shard_info(index)) as shard:
                if read_data:
                    shard.describe()
        except ShardError as error:
            yield ShardFault(name=name, reason=str(error))
    for path in sorted(out.glob("*.parquet")):
        if path.name not in names:
            yield ShardFault(name=path.name, reason="it is not of this run")


def _failure_faults(out: Path, num_failures: int) -> Iterator[ShardFault]:
    try:
        found = len(read_failures(out))
    except ShardError as error:
        yield ShardFault(name="_failed.jsonl", reason=str(error))
        return
    if found != num_failures:
        reason = f"it lists {found} recordings, the manifest counts {num_failures}"
        yield ShardFault(name="_failed.jsonl", reason=reason)


def _head(out: Path) -> PlanHead:
    path = out / PLAN_NAME
    if not out.is_dir():
        raise ShardError(f"{out} is not a folder; give the one that `snac-tok shard` writes.")
    if not path.exists():
        raise ShardError(f"{out} has no {PLAN_NAME}: `snac-tok shard` has not written it, or not begun.")
    try:
        return read_head(path)
    except (OSError, ShardError) as error:
        raise ShardError(f"{path} cannot be read: {error}") from error


def _opened(out: Path, info: ShardInfo) -> ShardFile:
    shard = ShardFile(out / info.name)
    try:
        check_info(shard.path, shard.info, expected=info)
    except BaseException:
        shard.close()
        raise
    return shard
