"""One utterance as a shard stores it, and the definition of its Parquet columns.

Codes are raw: integers 0…codebook_size−1 in canonical depth-first frame order, all levels of the codec.
Ids with offsets are computed when reading (`reader.ShardCollection.ids`) and never stored: uint16 cannot hold them.
Nothing here reads or writes files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from snac_tok.errors import CodesError, ShardError
from snac_tok.masked import refuse_masked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

MAX_CODEBOOK_SIZE = 65536  # what the uint16 column can hold

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("num_samples", pa.int64(), nullable=False),
        pa.field("source_sampling_rate", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=True),
        pa.field("codes", pa.list_(pa.uint16()), nullable=False),
    ]
)
STRING_COLUMNS = [field.name for field in SCHEMA if field.type == pa.string()]
_NUM_FIXED = len(SCHEMA)


def schema_with(columns: Sequence[str]) -> pa.Schema:
    """The schema of shards that keep more of each recording: nullable strings between the text and the codes.

    >>> schema_with(["speaker"]).names[-3:]
    ['text', 'speaker', 'codes']
    """
    more = [pa.field(name, pa.string(), nullable=True) for name in columns]
    return pa.schema(
        [*(SCHEMA.field(at) for at in range(_NUM_FIXED - 1)), *more, SCHEMA.field(_NUM_FIXED - 1)]
    )


def more_columns(schema: pa.Schema) -> tuple[str, ...] | None:
    """The columns that a shard keeps beside those of every shard; None if it has other columns than shards have."""
    columns = tuple(schema.names[_NUM_FIXED - 1 : -1])
    return (
        columns
        if len(set(schema.names)) == len(schema.names) and schema.equals(schema_with(columns))
        else None
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One utterance: where it came from, how long it is, and its raw codes (N,).

    Attributes:
        id: unique in the collection: the source path, plus `#channel` where channels were split.
        source: path relative to the source folder, with `/` between its parts.
        num_samples: samples at the codec's rate before padding: what decoding trims to.
        source_sampling_rate: of the file it was read from, in Hz.
        text: what is said, if known.
        columns: what else is known, by the names of the shard's columns: the speaker, the language, ….
        codes: (N,) uint16, flat in canonical depth-first frame order. Sums of uint16 wrap around at 65,536: widen them,
            `codes.astype(np.int64)`, before offsets are added.

    Raises:
        ShardError: an empty id or source, a negative length or a rate below 1.
        CodesError: codes that are not a flat uint16 array.

    Example:
        >>> codes = raw_codes([5, 17, 4095, 0, 9, 9, 9], codebook_size=4096)
        >>> Record(id="a.wav", source="a.wav", num_samples=1900, source_sampling_rate=16000, codes=codes)
        Record('a.wav', 1900 samples, 7 codes)
    """

    id: str
    source: str
    num_samples: int
    source_sampling_rate: int
    text: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    codes: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        if not self.id or not self.source:
            raise ShardError(
                f"a record needs an id and a source, got id {self.id!r}, source {self.source!r}."
            )
        if self.num_samples < 0 or self.source_sampling_rate < 1:
            raise ShardError(
                f"record {self.id!r} says {self.num_samples} samples and a source rate of "
                f"{self.source_sampling_rate} Hz; the first must be at least 0, the second at least 1."
            )
        refuse_masked(self.codes, what=f"codes of record {self.id!r}", error=CodesError)
        if not isinstance(self.codes, np.ndarray) or self.codes.dtype != np.uint16 or self.codes.ndim != 1:
            raise CodesError(
                f"record {self.id!r} needs flat uint16 codes; make them with "
                "raw_codes(flat, codebook_size=...), which also checks their range."
            )

    def __repr__(self) -> str:
        return f"Record({self.id!r}, {self.num_samples} samples, {self.codes.size} codes)"


def raw_codes(flat: npt.ArrayLike, *, codebook_size: int) -> npt.NDArray[np.uint16]:
    """Return flat codes (N,) of any integer type as uint16; values that would wrap around are refused.

    Raises:
        CodesError: not flat, not integers, or a code outside 0…codebook_size−1.

    Example:
        >>> raw_codes([0, 4095], codebook_size=4096)
        array([   0, 4095], dtype=uint16)
    """
    refuse_masked(flat, what="codes", error=CodesError)
    codes = np.asarray(flat)
    if codes.size == 0:
        return np.zeros(0, dtype=np.uint16)
    if codes.ndim != 1 or codes.dtype.kind not in "iu":
        raise CodesError(f"codes must be flat integers, got shape {codes.shape} of {codes.dtype}.")
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= codebook_size:
        raise CodesError(f"codes must lie in 0…{codebook_size - 1}, found {low}…{high}.")
    return codes.astype(np.uint16)


def records_to_batch(records: Sequence[Record], *, columns: Sequence[str] = ()) -> Any:
    """The records as one Arrow record batch with `schema_with(columns)`."""
    offsets = np.cumsum([0, *(record.codes.size for record in records)], dtype=np.int32)
    flat = np.concatenate([np.zeros(0, dtype=np.uint16), *(record.codes for record in records)])
    fixed = [
        pa.array([getattr(record, part.name) for record in records], type=part.type)
        for part in SCHEMA
        if part.name != "codes"
    ]
    more = [pa.array([record.columns.get(name) for record in records], type=pa.string()) for name in columns]
    codes = pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))
    return pa.record_batch([*fixed, *more, codes], schema=schema_with(columns))


def batch_to_records(batch: Any) -> Iterator[Record]:
    """The records of an Arrow record batch with a schema of `schema_with`, in order.

    Columns of strings may be dictionaries: rows with equal strings then share one.

    Codes are copied, so that keeping one record does not keep its whole batch in memory.
    """
    names = [name for name in SCHEMA.names if name != "codes"]
    more = [name for name in batch.schema.names if name not in SCHEMA.names]
    rows = zip(*(_values(batch.column(name)) for name in [*names, *more]), strict=True)
    lists = batch.column("codes")
    offsets, flat = lists.offsets.to_numpy(), lists.values.to_numpy()
    for number, row in enumerate(rows):
        codes = flat[offsets[number] : offsets[number + 1]].copy()
        yield Record(
            **dict(zip(names, row, strict=False)),
            columns=dict(zip(more, row[len(names) :], strict=True)),
            codes=codes,
        )


def _values(column: Any) -> list[Any]:
    """Return a column's values; a dictionary column keeps each string once."""
    if not isinstance(column, pa.DictionaryArray):
        values: list[Any] = column.to_pylist()
        return values
    strings = column.dictionary.to_pylist()
    return [None if number is None else strings[number] for number in column.indices.to_pylist()]
