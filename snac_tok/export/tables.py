"""Rows as tables: Parquet, which Hugging Face's datasets reads, and JSON lines."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from snac_tok.export.content import Content, Row

# What is in memory at a time, and what a reader holds: some megabytes of ids, or 1024 short clips.
_GROUP_TOKENS = 1 << 20
_GROUP_ROWS = 1024


@contextlib.contextmanager
def parquet_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row to a Parquet file; its types are the arrays' own.

    Args:
        path: without the ending.
        content: what rows hold.
        columns: whether the records' own columns stand before the arrays.
    """
    schema = _schema(content, columns=columns)
    waiting: list[Row] = []
    num_tokens = 0
    with (
        path.with_name(f"{path.name}.parquet").open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):

        def add(row: Row) -> None:
            nonlocal num_tokens
            waiting.append(row)
            num_tokens += row.num_tokens
            if num_tokens >= _GROUP_TOKENS or len(waiting) >= _GROUP_ROWS:
                writer.write_batch(_batch(waiting, schema))
                waiting.clear()
                num_tokens = 0

        yield add
        if waiting:
            writer.write_batch(_batch(waiting, schema))


@contextlib.contextmanager
def jsonl_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row to a file of JSON lines; see `parquet_part`."""
    del content
    with path.with_name(f"{path.name}.jsonl").open("wb") as file:

        def add(row: Row) -> None:
            values = {name: array.tolist() for name, array in row.arrays.items()}
            line = json.dumps({**(row.columns if columns else {}), **values}, ensure_ascii=False)
            file.write(f"{line}\n".encode())

        yield add


def _schema(content: Content, *, columns: bool) -> Any:
    fields = [pa.field(name, kind) for name, kind in content.column_types.items() if columns]
    for name, dtype in content.dtypes.items():
        kind = pa.list_(pa.from_numpy_dtype(dtype))
        fields.append(pa.field(name, pa.list_(kind) if content.is_parallel else kind))
    return pa.schema(fields)


def _batch(rows: Sequence[Row], schema: Any) -> Any:
    return pa.record_batch([_column(rows, field) for field in schema], schema=schema)


def _column(rows: Sequence[Row], field: Any) -> Any:
    if field.name not in rows[0].arrays:
        return pa.array([row.columns[field.name] for row in rows], type=field.type)
    arrays = [row.arrays[field.name] for row in rows]
    if arrays[0].ndim > 1:
        arrays = [list(array) for array in arrays]  # type: ignore[misc]
    return pa.array(arrays, type=field.type)
