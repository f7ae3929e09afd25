"""What makes a shard self-describing: the codec, layout and options its codes were made with.

`CollectionInfo` is the same in every shard of a collection; `ShardInfo` adds which shard this is. Both are
stored as JSON in the Parquet footer, the first also in the manifest. Nothing here reads or writes files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import reprlib
import textwrap
from dataclasses import dataclass, field
from typing import Any, TypeVar

from snac_tok.errors import LayoutError, ShardError
from snac_tok.frames import FrameLayout
from snac_tok.plain_values import UNWRITTEN_DEFAULT, from_plain, parse_json, to_plain
from snac_tok.shards.record import MAX_CODEBOOK_SIZE

# 1 had other file names: a manifest.json and shard-….parquet, which no other reader could open as one folder.
FORMAT_VERSION = 2
FOOTER_KEY = b"snac_tok"
FAILURES_KEY = b"snac_tok.failures"
Info = TypeVar("Info")
PRECISIONS = ("fp32", "tf32x3", "tf32", "bf16", "fp16", "fp64")
CHANNEL_POLICIES = ("mean", "left", "right", "each")


@dataclass(frozen=True, kw_only=True)
class CollectionInfo:
    """Everything needed to decode a collection, and to see whether two were made the same way.

    Attributes:
        codec_id: name, repository or folder that the codec was loaded from.
        weights_sha256: of its weights; differs between two codecs of the same name.
        codec_config: the codec's own configuration, JSON values only.
        sampling_rate: the codec's, in Hz; `Record.num_samples` counts in it.
        layout: arguments of the canonical `FrameLayout`: strides, order, levels.
        codebook_size: entries per codebook, at most 65536.
        resampler: the resampler that converted the sources to `sampling_rate`, and its quality.
        channels: `"mean"`, `"left"`, `"right"`, the number of a channel or `"each"` (a record per channel).
        package_version: the version of snac_tok that encoded.
        format_version: the version of the shard format.
        precision: in which the codec computed, `SNAC.precision`; "fp32" is not written down.

    Raises:
        ShardError: a codebook that uint16 cannot hold, an unknown channel policy, impossible numbers.

    Example:
        >>> info = CollectionInfo(
        ...     codec_id="tiny", weights_sha256="0" * 64, codec_config={}, sampling_rate=24000,
        ...     layout={"strides": [4, 2, 1], "order": "depth-first", "levels": 3}, codebook_size=4096,
        ...     resampler={"name": "soxr", "quality": "HQ"}, channels="mean", package_version="0.1.0")
        >>> CollectionInfo.from_dict(info.to_dict()) == info
        True
    """

    codec_id: str
    weights_sha256: str
    codec_config: dict[str, Any]
    sampling_rate: int
    layout: dict[str, Any]
    codebook_size: int
    resampler: dict[str, Any]
    channels: str
    package_version: str
    format_version: int = FORMAT_VERSION
    # Shards from before there were others do not say it.
    precision: str = field(default="fp32", metadata=UNWRITTEN_DEFAULT)

    def __post_init__(self) -> None:
        # JSON has no tuples: with lists, equal infos compare equal after a round trip.
        for name in ("codec_config", "layout", "resampler"):
            object.__setattr__(self, name, json.loads(canonical_json(getattr(self, name))))
        if not 1 <= self.codebook_size <= MAX_CODEBOOK_SIZE:
            raise ShardError(
                f"shards store codes as uint16: a codebook may have 1…{MAX_CODEBOOK_SIZE} entries, "
                f"this codec has {self.codebook_size}."
            )
        if self.sampling_rate < 1:
            raise ShardError(f"the codec's sampling_rate must be at least 1 Hz, got {self.sampling_rate}.")
        if self.channels not in CHANNEL_POLICIES and not str(self.channels).isdecimal():
            known = ", ".join(CHANNEL_POLICIES)
            raise ShardError(f"channels must be one of {known} or a channel's number, got {self.channels!r}.")
        if self.precision not in PRECISIONS:
            known = ", ".join(PRECISIONS)
            raise ShardError(f"precision must be one of {known}, got {self.precision!r}.")
        layout = self.frame_layout()
        # Stored in one canonical form, with explicit levels for those who read the footer.
        spelt = {"strides": list(layout.strides), "order": layout.order, "levels": layout.num_levels}
        object.__setattr__(self, "layout", spelt)

    def frame_layout(self) -> FrameLayout:
        """The canonical layout the codes are stored in: depth-first, all levels.

        Raises:
            ShardError: the stored strides, order and levels do not make such a layout.
        """
        try:
            layout = FrameLayout(**{**self.layout, "strides": tuple(self.layout["strides"])})
        except (KeyError, TypeError, LayoutError) as error:
            raise ShardError(
                f"the stored layout {reprlib.repr(self.layout)} cannot be used: "
                f"{textwrap.shorten(str(error), 300, placeholder='…').removesuffix('.')}."
            ) from error
        if layout != FrameLayout(strides=layout.strides):
            raise ShardError(
                f"shards hold all levels in depth-first order, got layout {reprlib.repr(self.layout)}."
            )
        return layout

    @property
    def tokens_per_frame(self) -> int:
        """Codes per frame, all levels together."""
        return self.frame_layout().slots_per_frame

    def to_dict(self) -> dict[str, Any]:
        """The info as JSON values, which `from_dict` reads back to an equal info."""
        fields: dict[str, Any] = to_plain(self)
        return fields

    @classmethod
    def from_dict(cls, fields: Any) -> CollectionInfo:
        """The info that `to_dict` described.

        Raises:
            ShardError: another format, or fields that are missing, unknown or of a wrong type.
        """
        return read_metadata(cls, fields)

    def differences(self, other: CollectionInfo) -> list[str]:
        """Names of the fields in which two infos differ."""
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return [name for name in mine if mine[name] != theirs[name]]


@dataclass(frozen=True, kw_only=True)
class ShardInfo:
    """Which shard of which collection a file is; stored in the file's footer.

    Attributes:
        collection: what all shards of the collection share.
        plan_fingerprint: of the plan that assigned recordings to shards.
        index: 0…num_shards−1.
        num_shards: in the whole collection.
    """

    collection: CollectionInfo
    plan_fingerprint: str
    index: int
    num_shards: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.num_shards:
            raise ShardError(f"shard index {self.index} is not in 0…{self.num_shards - 1}.")

    @property
    def name(self) -> str:
        """The file's name: `train-00000-of-00003.parquet`."""
        return shard_name(self.index, self.num_shards)

    def to_json(self) -> bytes:
        """The footer's value under `FOOTER_KEY`."""
        return canonical_json(to_plain(self))

    @classmethod
    def from_json(cls, data: bytes) -> ShardInfo:
        """The info that `to_json` wrote.

        Raises:
            ShardError: not JSON, another format, or fields that are missing, unknown or of a wrong type.
        """
        return read_metadata(cls, parse_metadata(data))


def shard_name(index: int, num_shards: int) -> str:
    """The file name of shard `index` of `num_shards`; names sort in shard order.

    It begins with `train` because `datasets` takes the split of a file from its name.

    Example:
        >>> shard_name(0, 3)
        'train-00000-of-00003.parquet'
    """
    width = max(5, len(str(num_shards)))
    return f"train-{index:0{width}d}-of-{num_shards:0{width}d}.parquet"


def canonical_json(value: Any) -> bytes:
    """Write `value` in a canonical form, so that equal values give equal bytes and fingerprints.

    Raises:
        ShardError: a value that JSON cannot hold (NaN, an object).

    Example:
        >>> canonical_json({"b": (1, 2), "a": None})
        b'{"a":null,"b":[1,2]}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        raise ShardError(f"shard metadata must be plain JSON values: {error}.") from error


def json_sha256(value: Any) -> str:
    """The sha256 of `canonical_json(value)`, in hex."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def parse_metadata(data: bytes) -> Any:
    """The JSON value in `data`.

    Raises:
        ShardError: not JSON, for example because the file was cut off.
    """
    return parse_json(data, what="damaged or cut off: it", error=ShardError)


def read_metadata(kind: type[Info], values: Any) -> Info:
    """Build the dataclass `kind` from stored values, which must be exactly its fields.

    Raises:
        ShardError: another format, or fields that are missing, unknown or of a wrong type.
    """
    for level in (values, values.get("collection") if isinstance(values, dict) else None):
        _check_version(level)
    return from_plain(kind, values, what="its metadata", error=ShardError, complete=True)


def _check_version(values: Any) -> None:
    """Refuse metadata of another format version before reading its fields, which may have other names."""
    found = values.get("format_version", FORMAT_VERSION) if isinstance(values, dict) else FORMAT_VERSION
    if type(found) is not int or found > FORMAT_VERSION:
        raise ShardError(
            f"format version {found!r} is newer than {FORMAT_VERSION}; update snac_tok to read it"
        )
    if found < FORMAT_VERSION:
        raise ShardError(
            f"format version {found} is older than {FORMAT_VERSION}, the one this snac_tok reads; make the shards again"
        )
