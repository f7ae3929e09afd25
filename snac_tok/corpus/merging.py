"""Completes a collection whose shards were made by tasks side by side: only the list of failures and the manifest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from snac_tok.corpus.finishing import MadeShards, read_failures
from snac_tok.corpus.folder import PLAN_NAME
from snac_tok.corpus.plan import read_head
from snac_tok.corpus.planning import checked_collection
from snac_tok.corpus.result import result_before, result_of
from snac_tok.corpus.status import collection_status
from snac_tok.errors import ShardError
from snac_tok.shards import check_shard, read_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from snac_tok.corpus.result import ShardingResult


def merge_shards(out: str | Path) -> ShardingResult:
    """Check the shards of a planned collection, list their failures and write the manifest.

    Neither the recordings nor the codec are needed. The files are those of one run.

    Raises:
        ShardError: a shard is missing, damaged or of another run.
    """
    started, out = time.monotonic(), checked_collection(out)
    status = collection_status(out)
    if status.missing:
        raise ShardError(
            f"{out} lacks {len(status.missing)} of {status.num_shards} shards, {status.missing[0]} for one; run the "
            "tasks again that make them, then merge; or run the command without --shard-index, which makes them all."
        )
    if status.is_finished:
        return result_before(read_manifest(out), read_failures(out), started=started)
    head = read_head(out / PLAN_NAME)
    shards = MadeShards(head.collection)
    for index in range(head.num_shards):
        info = head.shard_info(index)
        shards.add(index, check_shard(out / info.name, expected=info))
    shards.finish(out, head)
    return result_of(
        shards.entries,
        shards.failures,
        sampling_rate=shards.collection.sampling_rate,
        started=started,
        num_adopted=len(shards),
    )
