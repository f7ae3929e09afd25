"""Decides what goes into which shard, before anything is encoded, from the list of recordings alone.

The unit of work is one shard. Whoever runs it, wherever and in whatever order, writes the same file; an
engine only says who runs which. The plan's fingerprint stands in every shard and tells whether work left over
from an interrupted run is this run's.

On disk a plan is one JSON object with a line for what all recordings share, and a line a recording:

    {"plan_version": 3, "fingerprint": "…", "options": {…}, "items": [
    {"path": "a.wav", "num_bytes": 48044, "text": "Good day."},
    {"path": "b.wav", "num_bytes": 96044}
    ]}
"""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError, SnacTokError
from snac_tok.plain_values import from_plain, to_plain
from snac_tok.shards import CollectionInfo, ShardInfo
from snac_tok.shards.info import canonical_json, parse_metadata
from snac_tok.sources.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from snac_tok.sources.parts import Part

PLAN_VERSION = 3
DEFAULT_CLIPS_PER_SHARD = 1000
_NAMES = {
    "clips_per_shard": "clips_per_shard",
    "allow_truncated": "truncated files (allowed or not)",
    "limits": "limits on duration or file size",
    "loudness": "loudness",
    "dedupe": "duplicates (left out or kept)",
    "columns": "columns that are kept",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFile:
    """One recording to encode.

    Attributes:
        path: its name: where it is below the source's folder, with `/` between its parts, unless `file` says more.
        num_bytes: of its sound as it is stored; tells a changed file, and how much work is left.
        text: what is said, where the source tells it.
        file: where its sound is, relative to the source's folder, if not at `path`.
        at: where in `file` it begins: an offset in a .tar, a row of a .parquet.
        part: (start, end) in seconds where only a part of the sound is meant.
        channel: the one that is meant, whatever is asked for of the others.
        columns: what else is kept of it; a value for each of the plan's columns, None where there is none.
        same_as: the name of another recording with the same sound; this one is left out then.
    """

    path: str
    num_bytes: int
    text: str | None = None
    file: str | None = None
    at: int | None = None
    part: Part | None = None
    channel: int | None = None
    columns: tuple[str | None, ...] = ()
    same_as: str | None = None

    def to_json(self) -> bytes:
        """The item's line in a plan: what it does not have is left out."""
        fields: dict[str, Any] = {"path": self.path, "num_bytes": self.num_bytes}
        for name in ("text", "file", "at", "part", "channel", "same_as"):
            if (value := getattr(self, name)) is not None:
                fields[name] = value
        if self.columns:
            fields["columns"] = self.columns
        return json.dumps(fields).encode()

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> PlannedFile:
        """The item of a plan's line."""
        for name in ("part", "columns"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What is asked for, beside the codec; records depend on all of it.

    Attributes:
        clips_per_shard: recordings in each shard but the last.
        allow_truncated: whether what a cut-off or damaged file still holds becomes a record.
        limits: which recordings are left out.
        columns: what is kept of each recording beside its text, in the order of `PlannedFile.columns`.
        loudness: that recordings are brought to, in LUFS.
        dedupe: whether a recording is left out if an earlier one has the same sound.
    """

    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD
    allow_truncated: bool = False
    limits: Limits = field(default_factory=Limits)
    columns: tuple[str, ...] = ()
    loudness: float | None = None
    dedupe: bool = False

    def __post_init__(self) -> None:
        if self.clips_per_shard < 1:
            raise ShardError(f"clips_per_shard must be at least 1, got {self.clips_per_shard}.")


@dataclass(frozen=True, kw_only=True)
class ShardSpec:
    """One unit of work: the recordings of one shard.

    Attributes:
        info: which shard of which collection.
        items: its recordings, in the order of their records.
        options: what was asked for.
    """

    info: ShardInfo
    items: tuple[PlannedFile, ...]
    options: PlanOptions


@dataclass(frozen=True, kw_only=True)
class PlanHead:
    """What the first line of a stored plan says.

    Attributes:
        fingerprint: of the plan.
        num_items: how many recordings it has.
        collection: what the codes are made with.
        options: what was asked for.
    """

    fingerprint: str
    num_items: int
    collection: CollectionInfo
    options: PlanOptions

    @property
    def num_shards(self) -> int:
        """How many shards it makes."""
        return -(-self.num_items // self.options.clips_per_shard)

    def shard_info(self, index: int) -> ShardInfo:
        """The footer of shard `index`."""
        return ShardInfo(
            collection=self.collection,
            plan_fingerprint=self.fingerprint,
            index=index,
            num_shards=self.num_shards,
        )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole job; make it with `make_plan`.

    Attributes:
        collection: what the codes are made with.
        items: all recordings, sorted by path.
        options: what was asked for.
    """

    collection: CollectionInfo
    items: tuple[PlannedFile, ...]
    options: PlanOptions = field(default_factory=PlanOptions)

    def __post_init__(self) -> None:
        if not self.items:
            raise ShardError("a plan needs at least one audio file, got none.")
        for first, second in itertools.pairwise(self.items):
            if first.path == second.path:
                raise ShardError(
                    f"two recordings are called {first.path!r}; each needs a name, or a part, of its own."
                )
            if first.path > second.path:
                raise ShardError(
                    f"a plan's files must be sorted by path; {second.path!r} follows {first.path!r}."
                )

    @cached_property
    def head(self) -> PlanHead:
        """What all recordings share; its fingerprint is the sha256 of everything the records depend on."""
        digest = hashlib.sha256(canonical_json(self._shared()) + b"\n")
        digest.update(self._lines)
        return PlanHead(
            fingerprint=digest.hexdigest(),
            num_items=len(self.items),
            collection=self.collection,
            options=self.options,
        )

    @property
    def fingerprint(self) -> str:
        """As in `head`."""
        return self.head.fingerprint

    @property
    def num_shards(self) -> int:
        """How many shards it makes."""
        return self.head.num_shards

    def shard(self, index: int) -> ShardSpec:
        """The unit of work `index`, 0…num_shards−1."""
        first = index * self.options.clips_per_shard
        items = self.items[first : first + self.options.clips_per_shard]
        return ShardSpec(info=self.head.shard_info(index), items=items, options=self.options)

    def specs(self) -> Iterator[ShardSpec]:
        """All units of work, in order."""
        return map(self.shard, range(self.num_shards))

    def to_json(self) -> bytes:
        """The plan as it is written to disk, with its fingerprint; equal plans give equal bytes."""
        head = {**self._shared(), "fingerprint": self.fingerprint}
        first = json.dumps(head, sort_keys=True, allow_nan=False).removesuffix("}").encode()
        return first + b', "items": [\n' + self._lines + b"\n]}\n"

    @classmethod
    def from_json(cls, data: bytes) -> Plan:
        """The plan that `to_json` wrote.

        Raises:
            ShardError: cut off, changed, or of another format.
        """
        fields = parse_metadata(data)
        head = _head_of(fields)
        try:
            items = tuple(map(PlannedFile.from_json, fields["items"]))
            plan = cls(collection=head.collection, items=items, options=head.options)
        except (KeyError, TypeError, AttributeError) as error:
            raise ShardError(f"damaged plan: {error}.") from error
        if head.fingerprint != plan.fingerprint:
            raise ShardError("damaged plan: its fingerprint is not that of its contents.")
        return plan

    def differences(self, other: Plan) -> list[str]:
        """Names of what differs between two plans; empty when their fingerprints are equal."""
        names = self.collection.differences(other.collection)
        names += [
            words
            for name, words in _NAMES.items()
            if getattr(self.options, name) != getattr(other.options, name)
        ]
        if self.items != other.items:
            names.append("source files or texts")
        return names

    def resized(self, other: Plan) -> list[str]:
        """Names of the recordings that have another size in another plan, if nothing else differs; else none."""
        same_sizes = replace(self, items=tuple(with_sizes_of(self.items, other.items)))
        if same_sizes.differences(other):
            return []
        return [item.path for item, there in zip(self.items, other.items, strict=True) if item != there]

    @cached_property
    def _lines(self) -> bytes:
        return b",\n".join(item.to_json() for item in self.items)

    def _shared(self) -> dict[str, object]:
        return {
            "plan_version": PLAN_VERSION,
            "num_items": len(self.items),
            "collection": self.collection.to_dict(),
            "options": to_plain(self.options),
        }


def with_sizes_of(items: Iterable[PlannedFile], known: Iterable[PlannedFile]) -> list[PlannedFile]:
    """Return recordings with the sizes that they have among the known ones; new ones keep theirs."""
    sizes = {item.path: item.num_bytes for item in known}
    return [replace(item, num_bytes=sizes.get(item.path, item.num_bytes)) for item in items]


def read_head(path: Path) -> PlanHead:
    """What a stored plan's first line says, however many recordings follow.

    Raises:
        ShardError: damaged, or of another format.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        line = file.readline()
    return _head_of(parse_metadata(line.rstrip() + b"]}"))


def _head_of(fields: Any) -> PlanHead:
    if not isinstance(fields, dict) or fields.get("plan_version") != PLAN_VERSION:
        raise ShardError(f"no plan of version {PLAN_VERSION}; make it again with this snac_tok.")
    values = {name: value for name, value in fields.items() if name not in ("items", "plan_version")}
    try:
        return from_plain(PlanHead, values, what="damaged plan: it", error=ShardError, complete=True)
    except ShardError:
        raise
    except SnacTokError as error:
        raise ShardError(f"damaged plan: {error}") from error


def make_plan(
    items: Iterable[PlannedFile], collection: CollectionInfo, options: PlanOptions | None = None
) -> Plan:
    """Plan the shards of `items`, whatever order they come in.

    Raises:
        ShardError: no items, or one path twice.
    """
    ordered = tuple(sorted(items, key=lambda item: item.path))
    return Plan(collection=collection, items=ordered, options=options or PlanOptions())
