"""Reads one shard file: its footer, its records row group by row group, its size and checksum.

Any fault of the file is one `ShardError` that names it. Nothing here reads other files.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.parquet as pq

from snac_tok.errors import CodesError, ShardError
from snac_tok.shards.footer import RowGroup, read_row_groups
from snac_tok.shards.info import FAILURES_KEY, FOOTER_KEY, ShardInfo, parse_metadata, read_metadata
from snac_tok.shards.page_sizes import check_chunk
from snac_tok.shards.record import STRING_COLUMNS, Record, batch_to_records, more_columns
from snac_tok.shards.statistics import CollectionStatistics
from snac_tok.sources.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """The manifest's entry for one shard.

    Attributes:
        name: the file's, in the collection's folder.
        num_records: utterances in it.
        num_failures: sources that gave no record.
        num_tokens: number of codes in all records.
        num_samples: length of all records, at the codec's rate.
        num_bytes: size of the file.
        sha256: checksum of the file, in hex.
    """

    name: str
    num_records: int
    num_failures: int
    num_tokens: int
    num_samples: int
    num_bytes: int
    sha256: str


class ShardFile:
    """One shard opened for reading; a context manager.

    Attributes:
        info: which shard of which collection it is.
        failures: sources that gave no record.
        columns: what its records keep beside the columns that every shard has.

    Args:
        path: the file.

    Raises:
        ShardError: missing, cut off, damaged, or a Parquet file of another kind.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with read_errors_named(path):
            self._metadata = pq.read_metadata(path)
        self.info, self.failures, self.columns = self._read_footer()
        with read_errors_named(path):
            self._groups = self._read_row_groups()
            self._num_records = sum(group.num_records for group in self._groups)
            # A string that many rows share is kept once: expanded, a few kilobytes could become gigabytes.
            self._file = pq.ParquetFile(
                path,
                metadata=self._metadata,
                read_dictionary=[*STRING_COLUMNS, *self.columns],
                pre_buffer=False,
                page_checksum_verification=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        return self._num_records

    def __iter__(self) -> Iterator[Record]:
        return self.records(range(self.num_groups))

    @property
    def num_groups(self) -> int:
        """How many row groups there are."""
        return len(self._groups)

    def records(self, groups: Iterable[int]) -> Iterator[Record]:
        """The records of some row groups in order; one group is in memory at a time."""
        for index in groups:
            with read_errors_named(self.path):
                self._check_pages(index)
                table = self._file.read_row_group(index, use_threads=False).combine_chunks()
                # Rows may refer to strings that their dictionary does not have.
                table.validate(full=True)
                records = [row for batch in table.to_batches() for row in batch_to_records(batch)]
            yield from records

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)

    def check_counts(self, entry: ShardEntry) -> None:
        """Compare the footer and the file's size with the manifest, before records are read.

        Raises:
            ShardError: more or fewer records, codes or bytes.
        """
        # An empty list counts as one value.
        num_values = sum(group.chunks[-1].num_values for group in self._groups)
        if len(self) != entry.num_records:
            found = f"{len(self)} records, the manifest says {entry.num_records}"
        elif not entry.num_tokens <= num_values <= entry.num_tokens + entry.num_records:
            found = f"{num_values} codes, the manifest says {entry.num_tokens}"
        elif self.path.stat().st_size != entry.num_bytes:
            found = f"{self.path.stat().st_size} bytes, the manifest says {entry.num_bytes}"
        else:
            return
        raise ShardError(f"{self.path} holds {found}; copy the file back or make the collection again.")

    def num_samples(self) -> int:
        """Length of all records at the codec's rate; only that column is read.

        Raises:
            ShardError: the column is damaged.
        """
        with read_errors_named(self.path):
            for index in range(len(self._groups)):
                self._check_pages(index, column="num_samples")
            column = self._file.read(columns=["num_samples"], use_threads=False).column(0)
            return int(sum(column.to_pylist()))

    def describe(self, statistics: CollectionStatistics | None = None) -> ShardEntry:
        """Read the whole file and return its manifest entry.

        Args:
            statistics: counts its records.

        Raises:
            ShardError: the file is damaged anywhere.
        """
        num_records = num_tokens = num_samples = 0
        for record in self:
            num_records += 1
            num_tokens += record.codes.size
            num_samples += record.num_samples
            if statistics:
                statistics.add(record)
        return ShardEntry(
            name=self.path.name,
            num_records=num_records,
            num_failures=len(self.failures),
            num_tokens=num_tokens,
            num_samples=num_samples,
            num_bytes=self.path.stat().st_size,
            sha256=file_sha256(self.path),
        )

    def _check_pages(self, index: int, *, column: str | None = None) -> None:
        """Check the sizes of a row group's pages, of all columns or of one."""
        with self.path.open("rb") as file:
            for chunk in self._groups[index].chunks:
                if column in (None, chunk.column):
                    check_chunk(file, chunk)

    def _read_row_groups(self) -> tuple[RowGroup, ...]:
        schema = self._metadata.schema
        with self.path.open("rb") as file:
            return read_row_groups(file, [schema.column(index) for index in range(len(schema))])

    def _read_footer(self) -> tuple[ShardInfo, tuple[Failure, ...], tuple[str, ...]]:
        footer: dict[bytes, bytes] = self._metadata.metadata or {}
        if FOOTER_KEY not in footer:
            raise ShardError(
                f"{self.path} is a Parquet file of another kind: its footer has no snac_tok entry."
            )
        with read_errors_named(self.path):
            info = ShardInfo.from_json(footer[FOOTER_KEY])
            failures = _parse_failures(footer.get(FAILURES_KEY, b"[]"))
            schema = self._metadata.schema.to_arrow_schema()
            columns = more_columns(schema)
            if columns is None:
                raise ShardError(f"damaged: its columns are {schema.names}")
        return info, failures, columns


@dataclass(frozen=True, kw_only=True)
class CheckedShard:
    """A shard that was read from its first byte to its last.

    Attributes:
        entry: its manifest entry.
        failures: sources that gave no record.
        statistics: of its records.
    """

    entry: ShardEntry
    failures: tuple[Failure, ...]
    statistics: CollectionStatistics


def check_shard(path: Path, *, expected: ShardInfo) -> CheckedShard:
    """Read the shard at `path` whole.

    Raises:
        ShardError: damaged, or not the shard that is expected; it names what differs.
    """
    with ShardFile(path) as shard:
        check_info(path, shard.info, expected=expected)
        statistics = CollectionStatistics(expected.collection)
        return CheckedShard(entry=shard.describe(statistics), failures=shard.failures, statistics=statistics)


def check_info(path: Path, found: ShardInfo, *, expected: ShardInfo) -> None:
    """Raise `ShardError` naming what differs, unless the shard at `path` is the expected one."""
    if found == expected:
        return
    keys = found.collection.differences(expected.collection)
    keys += [
        key
        for key in ("plan_fingerprint", "index", "num_shards")
        if getattr(found, key) != getattr(expected, key)
    ]
    raise ShardError(
        f"{path} belongs to another collection (it differs in {', '.join(keys)}); "
        "keep every collection in a folder of its own."
    )


def file_sha256(path: Path) -> str:
    """The sha256 of a file, in hex.

    Raises:
        ShardError: it cannot be read.
    """
    with read_errors_named(path), path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def read_errors_named(path: Path) -> Iterator[None]:
    """Turn any error while reading `path` into a `ShardError` that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise ShardError(f"{path} is missing; copy it back or make the collection again.") from error
    except (pa.ArrowException, OSError, CodesError, ShardError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ShardError(f"{path} cannot be read: {reason}.") from error


def _parse_failures(data: bytes) -> tuple[Failure, ...]:
    # Shards that were written before reasons had codes have none.
    rows = [{"code": "unknown", **row} for row in parse_metadata(data)]
    return tuple(read_metadata(Failure, row) for row in rows)
