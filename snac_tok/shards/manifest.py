"""The manifest: written last, so a folder with a manifest is complete and a folder without one is not.

It lists every shard with its counts and checksum, and the settings that the collection was made with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError
from snac_tok.plain_values import to_plain
from snac_tok.shards.info import CollectionInfo, ShardInfo, parse_metadata, read_metadata
from snac_tok.shards.publish import publish_bytes
from snac_tok.shards.shard_file import ShardEntry, read_errors_named
from snac_tok.wording import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST_NAME = "_manifest.json"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The contents of a finished collection.

    Attributes:
        collection: what its codes were made with.
        plan_fingerprint: of its plan.
        shards: its shards, in order.

    Raises:
        ShardError: the shards are not 0…n−1 of n in order.
    """

    collection: CollectionInfo
    plan_fingerprint: str
    shards: tuple[ShardEntry, ...]

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.shards]
        if names != [self.shard_info(index).name for index in range(len(names))]:
            raise ShardError(f"a manifest lists all its shards in order, got {names}")

    def shard_info(self, index: int) -> ShardInfo:
        """The footer of shard `index`."""
        return ShardInfo(
            collection=self.collection,
            plan_fingerprint=self.plan_fingerprint,
            index=index,
            num_shards=len(self.shards),
        )

    @property
    def num_records(self) -> int:
        """Utterances in all shards."""
        return sum(entry.num_records for entry in self.shards)

    @property
    def num_failures(self) -> int:
        """Sources that gave no record."""
        return sum(entry.num_failures for entry in self.shards)

    @property
    def num_tokens(self) -> int:
        """Codes in all shards, all levels together."""
        return sum(entry.num_tokens for entry in self.shards)

    @property
    def num_frames(self) -> int:
        """Coarse frames in all shards."""
        return self.num_tokens // self.collection.tokens_per_frame

    @property
    def num_samples(self) -> int:
        """Samples at the codec's rate, before padding."""
        return sum(entry.num_samples for entry in self.shards)

    @property
    def hours(self) -> float:
        """Hours of sound, before padding."""
        return self.num_samples / self.collection.sampling_rate / SECONDS_PER_HOUR

    def totals(self) -> dict[str, float]:
        """The sums over all shards, by name."""
        counts = ("num_records", "num_failures", "num_tokens", "num_frames", "num_samples", "hours")
        return {"num_shards": len(self.shards), **{name: getattr(self, name) for name in counts}}


@dataclass(frozen=True, kw_only=True)
class _Stored:
    """The manifest's file: its entries, in their order."""

    format_version: int
    plan_fingerprint: str
    collection: CollectionInfo
    totals: dict[str, Any]
    shards: tuple[ShardEntry, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Publish the manifest, which completes the collection.

    Raises:
        ShardError: the disk refused, or the folder holds another manifest.
    """
    stored = _Stored(
        format_version=manifest.collection.format_version,
        plan_fingerprint=manifest.plan_fingerprint,
        collection=manifest.collection,
        totals=manifest.totals(),
        shards=manifest.shards,
    )
    text = json.dumps(to_plain(stored), indent=2, ensure_ascii=False, allow_nan=False)
    publish_bytes(folder / MANIFEST_NAME, f"{text}\n".encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished collection.

    Raises:
        ShardError: no such folder, an unfinished collection, or a manifest that is cut off, damaged or of
            another format.
    """
    path = folder / MANIFEST_NAME
    if not folder.is_dir():
        raise ShardError(f"{folder} is not a folder; give the one that `snac-tok shard` wrote.")
    if not path.exists():
        raise ShardError(
            f"{folder} has no {MANIFEST_NAME}: it is not a shard folder, or the run that writes it was "
            "interrupted; run it again with the same options to finish it."
        )
    with read_errors_named(path):
        return _parse_manifest(path.read_bytes())


def _parse_manifest(data: bytes) -> Manifest:
    stored = read_metadata(_Stored, parse_metadata(data))
    manifest = Manifest(
        collection=stored.collection, plan_fingerprint=stored.plan_fingerprint, shards=stored.shards
    )
    if manifest.totals() != stored.totals:
        raise ShardError("damaged: its totals are not the sums of its shards")
    return manifest
