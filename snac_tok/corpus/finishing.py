"""What completes a collection once all of its shards are there; the manifest comes last.

    _failed.jsonl    sources without a record, where there were any
    _stats.json      how long records are, and how much of each codebook they use
    _SHA256SUMS      for `sha256sum -c _SHA256SUMS`
    _README.md       a dataset card, for people and for the Hugging Face hub
    _manifest.json   counts and checksums: the collection is finished

All of it follows from the shards alone. The names begin with `_`, because readers of Parquet folders take every other
file for data. Also here: what is asked of a collection when its failed recordings are to be tried again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from snac_tok.corpus.card import dataset_card
from snac_tok.corpus.folder import CARD_NAME, FAILED_NAME, PLAN_NAME, STATISTICS_NAME, SUMS_NAME
from snac_tok.corpus.plan import Plan, with_sizes_of
from snac_tok.errors import ShardError
from snac_tok.plain_values import from_plain
from snac_tok.shards import Manifest, ShardFile, write_manifest
from snac_tok.shards.publish import publish_bytes, write_errors_named
from snac_tok.shards.statistics import CollectionStatistics
from snac_tok.sources.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from snac_tok.corpus.plan import PlanHead, PlannedFile
    from snac_tok.shards import CheckedShard, CollectionInfo, ShardEntry


class MadeShards:
    """The shards that a run has made or kept so far, in any order: their entries, failures and statistics.

    Args:
        collection: that they are of.
    """

    def __init__(self, collection: CollectionInfo) -> None:
        self.collection = collection
        self._entries: dict[int, ShardEntry] = {}
        self._failures: dict[int, tuple[Failure, ...]] = {}
        self._statistics = CollectionStatistics(collection)

    def add(self, index: int, shard: CheckedShard) -> None:
        """Take a shard that is published."""
        self._entries[index] = shard.entry
        self._failures[index] = shard.failures
        self._statistics.merge(shard.statistics)

    def __contains__(self, index: int) -> bool:
        return index in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[ShardEntry, ...]:
        """Their manifest entries, in order."""
        return tuple(self._entries[index] for index in sorted(self._entries))

    @property
    def failures(self) -> list[Failure]:
        """Sources that gave no record, in order."""
        return [failure for index in sorted(self._failures) for failure in self._failures[index]]

    def finish(self, out: Path, head: PlanHead) -> Manifest:
        """Write what completes the collection; all shards of the plan must have been added.

        Raises:
            ShardError: the disk refused, or a shard is missing.
        """
        manifest = Manifest(
            collection=head.collection, plan_fingerprint=head.fingerprint, shards=self.entries
        )
        figures = self._statistics.to_dict()
        files = {
            FAILED_NAME: _json_lines(asdict(failure) for failure in self.failures),
            STATISTICS_NAME: f"{json.dumps(figures, indent=1)}\n",
            CARD_NAME: dataset_card(manifest, figures, columns=head.options.columns),
        }
        for name, text in files.items():
            if text:
                publish_bytes(out / name, text.encode(), replace=True)
            else:  # recordings that had failed were made again, and none failed
                with write_errors_named(out / name):
                    (out / name).unlink(missing_ok=True)
        sums = _sums(out, manifest, [name for name, text in files.items() if text])
        publish_bytes(out / SUMS_NAME, sums.encode(), replace=True)
        write_manifest(out, manifest)
        return manifest


def _json_lines(rows: Iterable[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _sums(out: Path, manifest: Manifest, names: list[str]) -> str:
    """Return checksums as `sha256sum` writes them."""
    lines = [f"{entry.sha256}  {entry.name}\n" for entry in manifest.shards]
    for name in sorted([*names, PLAN_NAME]):
        with write_errors_named(out / name):
            content = (out / name).read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    return "".join(lines)


def read_failures(out: Path) -> list[Failure]:
    """The recordings that _failed.jsonl lists; none without such a file.

    Raises:
        ShardError: it is damaged.
    """
    path = out / FAILED_NAME
    if not path.exists():
        return []
    try:
        # Not splitlines(): a name may hold one of the other line ends that it knows.
        lines = path.read_text(encoding="utf-8").split("\n")
        return [from_plain(Failure, json.loads(line), error=ShardError) for line in lines if line]
    except (OSError, ValueError, RecursionError, ShardError) as error:
        reason = str(error).rstrip(".")
        raise ShardError(
            f"{path} cannot be read: {reason}; remove it and {path.parent} stays whole."
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
    return with_sizes_of(items, plan.items)
