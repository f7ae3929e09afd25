"""Writes one shard: records in, one Parquet file with a self-describing footer out, complete or not at all.

The same records with the same info give the same bytes (with one version of pyarrow): the file contains no time,
host or random name. The footer lists failed sources, so a shard is the whole result of its unit of work and an
interrupted run does not lose failures.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Self

import pyarrow.parquet as pq

from snac_tok.errors import CodesError, ShardError
from snac_tok.shards.info import FAILURES_KEY, FOOTER_KEY, canonical_json
from snac_tok.shards.page_sizes import MAX_STRING_BYTES
from snac_tok.shards.publish import PendingFile, write_errors_named
from snac_tok.shards.record import records_to_batch, schema_with

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from snac_tok.shards.info import ShardInfo
    from snac_tok.shards.record import Record
    from snac_tok.sources.failures import Failure

# A reader holds one row group in memory: about 2 MB of codes, or 1024 short clips.
ROW_GROUP_TOKENS = 1 << 20
ROW_GROUP_RECORDS = 1024
# Limit for a group's texts, unless a single text is longer.
ROW_GROUP_TEXT_BYTES = 1 << 23
MAX_TEXT_BYTES = MAX_STRING_BYTES // 2


class ShardWriter:
    """A context manager that takes records one by one and publishes the shard on leaving without error.

    Args:
        folder: where the shard goes; must exist.
        info: which shard of which collection this is; gives the file its name.
        columns: what records keep beside the columns that every shard has.
        replace: whether a shard that has the name already is replaced; by default the first one stands.

    Raises:
        ShardError: the disk refused (on any call, and on leaving), an id came twice, or a text is too long
            for one recording (32 MiB).
        CodesError: codes out of the codebook's range, or not whole frames.

    Example:
        >>> import pathlib, tempfile
        >>> from snac_tok.shards import CollectionInfo, Failure, ShardInfo
        >>> collection = CollectionInfo(
        ...     codec_id="tiny", weights_sha256="0" * 64, codec_config={}, sampling_rate=24000,
        ...     layout={"strides": [4, 2, 1], "order": "depth-first", "levels": 3}, codebook_size=4096,
        ...     resampler={}, channels="mean", package_version="0.1.0")
        >>> info = ShardInfo(collection=collection, plan_fingerprint="f", index=0, num_shards=1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ShardWriter(pathlib.Path(folder), info=info) as shard:
        ...         shard.add_failure(Failure(source="a.wav", reason="it is empty"))
        ...     [path.name for path in pathlib.Path(folder).iterdir()]
        ['train-00000-of-00001.parquet']
    """

    def __init__(
        self, folder: Path, *, info: ShardInfo, columns: Sequence[str] = (), replace: bool = False
    ) -> None:
        self.path = folder / info.name
        self._columns = tuple(columns)
        self._replace = replace
        self._info = info
        self._tokens_per_frame = info.collection.tokens_per_frame
        self._rows: list[Record] = []
        self._num_waiting_tokens = self._num_waiting_bytes = 0
        self._ids: set[str] = set()
        self._failures: list[Failure] = []

    def __enter__(self) -> Self:
        self._pending = PendingFile(self.path)
        try:
            with write_errors_named(self.path):
                self._parquet = self._open_parquet()
        except BaseException:
            self._pending.discard()
            raise
        return self

    def add(self, record: Record) -> None:
        """Append a record; its id must be new in this shard."""
        self._check(record)
        self._ids.add(record.id)
        self._rows.append(record)
        self._num_waiting_tokens += record.codes.size
        self._num_waiting_bytes += _text_bytes(record)
        if (
            self._num_waiting_tokens >= ROW_GROUP_TOKENS
            or self._num_waiting_bytes >= ROW_GROUP_TEXT_BYTES
            or len(self._rows) >= ROW_GROUP_RECORDS
        ):
            with write_errors_named(self.path):
                self._write_row_group()

    def add_failure(self, failure: Failure) -> None:
        """Note a source that gave no record; the footer lists them sorted."""
        self._failures.append(failure)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with write_errors_named(self.path):
                    self._write_footer()
                # The file exists now, whether this attempt or a racing one gave it its name.
                self._pending.commit(replace=self._replace)
        finally:
            self._abandon()

    def _open_parquet(self) -> Any:
        schema = schema_with(self._columns).with_metadata({FOOTER_KEY: self._info.to_json()})
        # Page checksums let a reader detect damage even before the manifest is written.
        return pq.ParquetWriter(self._pending.handle, schema, compression="zstd", write_page_checksum=True)

    def _check(self, record: Record) -> None:
        collection = self._info.collection
        if record.id in self._ids:
            raise ShardError(f"record {record.id!r} came twice for {self.path.name}; ids must be unique.")
        if _text_bytes(record) > MAX_TEXT_BYTES:
            raise ShardError(
                f"record {record.id!r} has a text of {_text_bytes(record)} bytes, the most are {MAX_TEXT_BYTES}: no "
                "recording has so many words; mend the metadata."
            )
        if record.codes.size % self._tokens_per_frame:
            raise CodesError(
                f"record {record.id!r} has {record.codes.size} codes, not a multiple of the layout's "
                f"{self._tokens_per_frame} per frame; store whole frames."
            )
        if record.codes.size and int(record.codes.max()) >= collection.codebook_size:
            raise CodesError(
                f"record {record.id!r} holds code {int(record.codes.max())}, outside the codebook's "
                f"0…{collection.codebook_size - 1}."
            )

    def _write_row_group(self) -> None:
        self._parquet.write_batch(records_to_batch(self._rows, columns=self._columns))
        self._rows.clear()
        self._num_waiting_tokens = self._num_waiting_bytes = 0

    def _write_footer(self) -> None:
        if self._rows:
            self._write_row_group()
        # Sorted: the order in which files are read depends on how clips are batched.
        ordered = sorted(self._failures, key=lambda failure: (failure.source, failure.reason))
        failures = [dataclasses.asdict(failure) for failure in ordered]
        self._parquet.add_key_value_metadata({FAILURES_KEY: canonical_json(failures)})
        self._parquet.close()

    def _abandon(self) -> None:
        # Closed explicitly: in its finalizer, a second failure on a full disk would print a traceback.
        with contextlib.suppress(Exception):
            self._parquet.close()
        self._pending.discard()


def _text_bytes(record: Record) -> int:
    texts = [record.text, *record.columns.values()]
    return sum(len((text or "").encode(errors="surrogatepass")) for text in texts)


def write_shard(
    folder: Path, records: list[Record], *, info: ShardInfo, failures: list[Failure] | None = None
) -> Path:
    """Write one shard of `records` in their order and return its path; see `ShardWriter` for the errors."""
    with ShardWriter(folder, info=info) as shard:
        for record in records:
            shard.add(record)
        for failure in failures or []:
            shard.add_failure(failure)
    return shard.path
