"""What completes a collection once all of its shards are there: the list of failures, then the manifest.

Also what is asked of a collection when its failed recordings are to be tried again.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from snac_tok.corpus.folder import FAILED_NAME, PLAN_NAME
from snac_tok.corpus.plan import Plan
from snac_tok.errors import ShardError
from snac_tok.shards import Manifest, ShardFile, write_manifest
from snac_tok.shards.publish import publish_bytes, write_errors_named
from snac_tok.sources.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snac_tok.corpus.plan import PlanHead, PlannedFile
    from snac_tok.shards import CheckedShard


def finish(out: Path, head: PlanHead, shards: Sequence[CheckedShard]) -> Manifest:
    """Write _failed.jsonl where there were failures, then the manifest; all shards must be published.

    Raises:
        ShardError: the disk refused.
    """
    manifest = Manifest(
        collection=head.collection,
        plan_fingerprint=head.fingerprint,
        shards=tuple(shard.entry for shard in shards),
    )
    failures = [asdict(failure) for shard in shards for failure in shard.failures]
    if failures:
        lines = "".join(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        publish_bytes(out / FAILED_NAME, lines.encode(), replace=True)
    else:  # recordings that had failed were made again, and none failed
        with write_errors_named(out / FAILED_NAME):
            (out / FAILED_NAME).unlink(missing_ok=True)
    write_manifest(out, manifest)
    return manifest


def read_failures(out: Path) -> list[Failure]:
    """The recordings that _failed.jsonl lists; none without such a file.

    Raises:
        ShardError: it is damaged.
    """
    path = out / FAILED_NAME
    if not path.exists():
        return []
    try:
        return [Failure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise ShardError(
            f"{path} cannot be read: {error}; remove it and {path.parent} stays whole."
        ) from error


def failed_before(out: Path) -> set[str]:
    """The recordings that an earlier run in `out` could not use, from the shards that are there.

    Raises:
        ShardError: a shard is damaged.
    """
    failures: list[Failure] = []
    for path in sorted(out.glob("train-*.parquet")):
        with ShardFile(path) as shard:
            failures += shard.failures
    return {failure.source for failure in failures if not failure.is_left_out}


def with_planned_sizes(items: list[PlannedFile], out: Path) -> list[PlannedFile]:
    """Give recordings the sizes that the plan in `out` knows: repairing them makes no other plan.

    Raises:
        ShardError: the plan is damaged.
    """
    if not (out / PLAN_NAME).exists():
        return items
    with write_errors_named(out / PLAN_NAME):
        plan = Plan.from_json((out / PLAN_NAME).read_bytes())
    sizes = {item.path: item.num_bytes for item in plan.items}
    return [replace(item, num_bytes=sizes.get(item.path, item.num_bytes)) for item in items]
