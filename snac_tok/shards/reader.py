"""Reads a finished collection: iterate its records, see them as ids of any preset, check its files.

Everything is lazy: opening reads only the manifest, iterating holds one row group in memory. Errors are
`ShardError`s that name the file. Nothing here decodes to sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from snac_tok.errors import LayoutError, ShardError
from snac_tok.frames import published_name, vocabulary_for
from snac_tok.frames.arrays import whole_number
from snac_tok.paths import checked_path
from snac_tok.shards.manifest import read_manifest
from snac_tok.shards.shard_file import ShardFile, check_info, file_sha256
from snac_tok.shards.statistics import CollectionStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snac_tok.frames import FrameLayout, Vocabulary
    from snac_tok.shards.info import CollectionInfo
    from snac_tok.shards.manifest import Manifest
    from snac_tok.shards.record import Record
    from snac_tok.shards.shard_file import ShardEntry
    from snac_tok.sources.failures import Failure


@dataclass(frozen=True, kw_only=True)
class ShardFault:
    """What `verify` found wrong with one file.

    Attributes:
        name: the file's, in the collection's folder.
        reason: one sentence for people.
    """

    name: str
    reason: str


class ShardCollection:
    """A finished collection on disk; made by `open_shards`.

    Attributes:
        folder: where it is stored.
        manifest: its shards, counts and checksums.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def __len__(self) -> int:
        return self.manifest.num_records

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    def __repr__(self) -> str:
        return f"ShardCollection({str(self.folder)!r}, {len(self)} records, {self.hours:.3f} h)"

    @property
    def info(self) -> CollectionInfo:
        """The codec and settings that made the codes."""
        return self.manifest.collection

    @property
    def layout(self) -> FrameLayout:
        """The canonical layout the codes are stored in."""
        return self.info.frame_layout()

    @property
    def hours(self) -> float:
        """Hours of sound in the whole collection."""
        return self.manifest.hours

    def records(self, *, verify: bool = False, part: tuple[int, int] = (0, 1)) -> Iterator[Record]:
        """All records, shard by shard in order, or those of one of several readers.

        Args:
            verify: compare each shard with the manifest's checksum before its first record.
            part: (index, count): of `count` readers, such as the workers of a DataLoader, the records that fall to
                this one. All parts together are all records, each once. They are dealt out a row group at a time,
                1,024 records or fewer.

        Raises:
            ShardError: a shard is missing, damaged, of another collection or, with `verify`, changed; at once if
                there is no such part.
        """
        return self._records(_checked_part(part), verify=verify)

    def _records(self, part: tuple[int, int], *, verify: bool) -> Iterator[Record]:
        index, count = part
        num_before = 0  # row groups
        for number, entry in enumerate(self.manifest.shards):
            if verify:
                self._check_bytes(entry)
            with self._open_shard(number, entry) as shard:
                yield from shard.records(range((index - num_before) % count, shard.num_groups, count))
                num_before += shard.num_groups

    def codes(
        self, *, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Record, list[npt.NDArray[np.int64]]]]:
        """Every record with its codes per level (T_k,), coarsest first, as a codec decodes them.

        Args:
            part: as in `records`.

        Raises:
            ShardError: as `records`.
        """
        layout = self.layout
        return ((record, layout.unflatten(record.codes)) for record in self.records(part=part))

    def ids(
        self, vocabulary: Vocabulary | str, *, part: tuple[int, int] = (0, 1)
    ) -> Iterator[tuple[Record, npt.NDArray[Any]]]:
        """Every record with its ids in `vocabulary`, as a language model sees them.

        Args:
            vocabulary: one for this codec, or for its first levels only; or a preset's name, which is adapted to
                this codec; or the path of a vocabulary's .json file.
            part: as in `records`.

        Raises:
            LayoutError: at once for an unknown preset, or frames that do not fit the codec's levels.
            ShardError: as `records`.
        """
        table = vocabulary_for(vocabulary, strides=self.layout.strides, codebook_size=self.info.codebook_size)
        _warn_of_trial_codec(self.info, table)
        counts = _fitting_levels(self.layout, table.layout)
        return ((record, table.encode(levels[:counts])) for record, levels in self.codes(part=part))

    def failures(self) -> Iterator[Failure]:
        """Sources that gave no record, and why."""
        for index, entry in enumerate(self.manifest.shards):
            with self._open_shard(index, entry) as shard:
                yield from shard.failures

    def statistics(self) -> CollectionStatistics:
        """How long the records are, and how much of each codebook they use; every record is read."""
        statistics = CollectionStatistics(self.info)
        for record in self:
            statistics.add(record)
        return statistics

    def verify(self, *, read_data: bool = True) -> list[ShardFault]:
        """Check every shard's size, checksum, footer and pages; an empty list means all is well.

        Args:
            read_data: False leaves out what needs every byte: checksums and pages.
        """
        faults = []
        for index, entry in enumerate(self.manifest.shards):
            try:
                if read_data:
                    self._check_bytes(entry)
                with self._open_shard(index, entry) as shard:
                    if read_data:
                        shard.describe()
            except ShardError as error:
                faults.append(ShardFault(name=entry.name, reason=str(error)))
        return faults + self._strangers()

    def _open_shard(self, index: int, entry: ShardEntry) -> ShardFile:
        shard = ShardFile(self.folder / entry.name)
        try:
            self._check_shard(shard, index, entry)
        except BaseException:
            shard.close()
            raise
        return shard

    def _check_shard(self, shard: ShardFile, index: int, entry: ShardEntry) -> None:
        check_info(shard.path, shard.info, expected=self.manifest.shard_info(index))
        shard.check_counts(entry)

    def _check_bytes(self, entry: ShardEntry) -> None:
        path = self.folder / entry.name
        found = file_sha256(path)
        if found != entry.sha256:
            raise ShardError(
                f"{path} is not the file the manifest lists: its sha256 is {found[:12]}…, expected "
                f"{entry.sha256[:12]}…; copy it back or make the collection again."
            )

    def _strangers(self) -> list[ShardFault]:
        known = {entry.name for entry in self.manifest.shards}
        found = sorted(path.name for path in self.folder.glob("*.parquet"))
        reason = "it is not in the manifest; whatever reads *.parquet would take it in"
        return [ShardFault(name=name, reason=reason) for name in found if name not in known]


def open_shards(folder: str | Path) -> ShardCollection:
    """Open a finished collection; reads only its manifest.

    Raises:
        ShardError: no such folder, an unfinished collection, or a damaged manifest or one of another format.
    """
    needed = "the path of a folder with shards"
    path = checked_path(folder, name="folder", needed=needed, error=ShardError)
    return ShardCollection(path, read_manifest(path))


def read_shards(
    folder: str | Path, *, verify: bool = False, part: tuple[int, int] = (0, 1)
) -> Iterator[Record]:
    """Iterate the records of a finished collection, one row group in memory at a time.

    Codes are uint16: `codes + 65000` wraps around silently, and so does `np.diff`. Widen them before adding,
    `codes.astype(np.int64)`, or take ids from `open_shards(folder).ids(preset)`, which are int64.

    Args:
        folder: what `snac-tok shard` wrote.
        verify: compare each shard with the manifest's checksum before its first record.
        part: as in `ShardCollection.records`.

    Raises:
        ShardError: at once for a folder that holds no finished collection; while iterating for a shard that
            is missing, damaged or, with `verify`, changed.
    """
    return open_shards(folder).records(verify=verify, part=part)


def _warn_of_trial_codec(info: CollectionInfo, table: Vocabulary) -> None:
    """Warn when a published model's preset makes ids of the trial codec's codes."""
    preset_name = published_name(table)
    if preset_name is None:
        return
    from snac_tok.codec.trial import (
        TRIAL_CODEC,
        warn_of_trial_ids,
    )  # imports torch, which reading codes does not need

    if info.codec_id == TRIAL_CODEC:
        warn_of_trial_ids(preset_name)


def _checked_part(part: tuple[int, int]) -> tuple[int, int]:
    """Return (index, count) as plain numbers.

    Raises:
        ShardError: it is none.
    """
    if not isinstance(part, (tuple, list)) or len(part) != 2:  # noqa: PLR2004 - a pair
        raise ShardError(
            f"part is {part!r}; (index, count) is needed, such as (0, 4) for the first of 4 readers."
        )
    count = whole_number(part[1], what="the count of parts", error=ShardError, least=1)
    return whole_number(part[0], what="the index of a part", error=ShardError, size=count), count


def _fitting_levels(stored: FrameLayout, wanted: FrameLayout) -> int:
    have, need = stored.codes_per_frame, wanted.codes_per_frame
    if need != have[: len(need)]:
        raise LayoutError(
            f"the vocabulary's frames hold {need} codes per level, the shards' codec makes {have}; choose a "
            "preset for this codec."
        )
    return len(need)
