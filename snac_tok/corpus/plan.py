"""Decides what goes into which shard, before anything is encoded, from the sorted list of files alone.

The unit of work is one shard. Whoever runs it, wherever and in whatever order, writes the same file; an
engine only says who runs which. The plan's fingerprint stands in every shard and tells whether work left over
from an interrupted run is this run's.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from snac_tok.errors import ShardError
from snac_tok.shards import CollectionInfo, ShardInfo
from snac_tok.shards.info import json_sha256, parse_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAN_VERSION = 1
DEFAULT_CLIPS_PER_SHARD = 1000


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One audio file to encode.

    Attributes:
        path: relative to the source folder, with `/` between its parts.
        num_bytes: of the file; tells a changed file, and how much work is left.
        text: what is said, where the source tells it.
    """

    path: str
    num_bytes: int
    text: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """One unit of work: the files of one shard.

    Attributes:
        info: which shard of which collection.
        items: its files, in the order of their records.
        allow_truncated: whether what a cut-off or damaged file still holds becomes a record.
    """

    info: ShardInfo
    items: tuple[PlannedFile, ...]
    allow_truncated: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole job; make it with `make_plan`.

    Attributes:
        collection: what the codes are made with.
        clips_per_shard: files in each shard but the last.
        items: all files, sorted by path.
        allow_truncated: whether what a cut-off or damaged file still holds becomes a record.
    """

    collection: CollectionInfo
    clips_per_shard: int
    items: tuple[PlannedFile, ...]
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        if self.clips_per_shard < 1:
            raise ShardError(f"clips_per_shard must be at least 1, got {self.clips_per_shard}.")
        if not self.items:
            raise ShardError("a plan needs at least one audio file, got none.")
        paths = [item.path for item in self.items]
        if any(first >= second for first, second in itertools.pairwise(paths)):
            raise ShardError("a plan's files must be sorted by path, each once; use make_plan.")

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of everything the records depend on."""
        return json_sha256(self._fields())

    @property
    def num_shards(self) -> int:
        """How many shards it makes."""
        return -(-len(self.items) // self.clips_per_shard)

    def shard(self, index: int) -> ShardSpec:
        """The unit of work `index`, 0…num_shards−1."""
        info = ShardInfo(
            collection=self.collection,
            plan_fingerprint=self.fingerprint,
            index=index,
            num_shards=self.num_shards,
        )
        first = index * self.clips_per_shard
        items = self.items[first : first + self.clips_per_shard]
        return ShardSpec(info=info, items=items, allow_truncated=self.allow_truncated)

    def specs(self) -> Iterator[ShardSpec]:
        """All units of work, in order."""
        return map(self.shard, range(self.num_shards))

    def to_json(self) -> bytes:
        """The plan as it is written to disk, with its fingerprint; equal plans give equal bytes."""
        fields = {**self._fields(), "fingerprint": self.fingerprint}
        return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            ShardError: cut off, changed, or of a newer format.
        """
        fields = parse_metadata(data)
        if not isinstance(fields, dict) or fields.get("plan_version") != PLAN_VERSION:
            raise ShardError(f"no plan of version {PLAN_VERSION}; make it again with this snac_tok.")
        try:
            plan = cls(
                collection=CollectionInfo.from_dict(fields["collection"]),
                clips_per_shard=fields["clips_per_shard"],
                items=tuple(PlannedFile(**item) for item in fields["items"]),
                allow_truncated=fields["allow_truncated"],
            )
        except (KeyError, TypeError) as error:
            raise ShardError(f"damaged plan: {error}.") from error
        if fields.get("fingerprint") != plan.fingerprint:
            raise ShardError("damaged plan: its fingerprint is not that of its contents.")
        return plan

    def differences(self, other: Plan) -> list[str]:
        """Names of what differs between two plans; empty when their fingerprints are equal."""
        names = self.collection.differences(other.collection)
        if self.clips_per_shard != other.clips_per_shard:
            names.append("clips_per_shard")
        if self.items != other.items:
            names.append("source files or texts")
        if self.allow_truncated != other.allow_truncated:
            names.append("truncated files (allowed or not)")
        return names

    def _fields(self) -> dict[str, object]:
        return {
            "plan_version": PLAN_VERSION,
            "collection": self.collection.to_dict(),
            "clips_per_shard": self.clips_per_shard,
            "items": [dataclasses.asdict(item) for item in self.items],
            "allow_truncated": self.allow_truncated,
        }


def make_plan(
    items: Iterable[PlannedFile],
    collection: CollectionInfo,
    *,
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD,
    allow_truncated: bool = False,
) -> Plan:
    """Plan the shards of `items`, whatever order they come in.

    Raises:
        ShardError: no items, one path twice, or clips_per_shard below 1.
    """
    ordered = tuple(sorted(items, key=lambda item: item.path))
    return Plan(
        collection=collection,
        clips_per_shard=clips_per_shard,
        items=ordered,
        allow_truncated=allow_truncated,
    )
