"""Sound inside another file: a member of a .tar, a cell of a .parquet or .arrow; read when it is needed."""

from __future__ import annotations

import json
from bisect import bisect_right
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.errors import AudioFileError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# Columns that datasets keep sound in: bytes, or a struct of bytes and path.
SOUND_COLUMNS = ("audio", "sound", "speech", "wav", "bytes", "audio_bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSound:
    """Where encoded sound is.

    Attributes:
        path: of the .tar, .parquet or .arrow.
        at: the offset of a member's bytes, or the number of a row.
        num_bytes: of the sound.
    """

    path: Path
    at: int
    num_bytes: int

    def read(self) -> bytes:
        """Return the bytes of the sound file.

        Raises:
            AudioFileError: they are not there any more.
        """
        try:
            content = self._member() if self.path.suffix.lower() == ".tar" else _cell(self.path, self.at)
        except OSError as error:
            raise AudioFileError(f"{self.path}: cannot be read ({error.strerror or error}).") from error
        if len(content) != self.num_bytes:
            raise AudioFileError(
                f"{self.path} held {self.num_bytes} bytes of sound at {self.at} when the run was planned and holds "
                f"{len(content)} now: it changed while the run went on.",
                code="changed",
            )
        return content

    def _member(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.at)
            return file.read(self.num_bytes)


def parquet_file(path: Path) -> Any:
    """Open a .parquet.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        OSError: it is damaged, or not there.
    """
    import_optional("pyarrow", extra="shards", purpose="reading Parquet")
    import pyarrow.parquet as pq

    with _damage_as_os_error("Parquet"):
        return pq.ParquetFile(path)


def parquet_rows(file: Any, *, batch_size: int) -> Iterator[dict[str, Any]]:
    """Return an open .parquet's rows, of which so many are in memory at once.

    Raises:
        OSError: it is damaged.
    """
    with _damage_as_os_error("Parquet"):
        for batch in file.iter_batches(batch_size=batch_size):
            yield from batch.to_pylist()


def sound_column(schema: Any) -> str | None:
    """Return the name of the column that holds encoded sound, if there is one."""
    for name in (*_marked_columns(schema), *SOUND_COLUMNS):
        if name in schema.names and _holds_sound(schema.field(name).type):
            return name
    return None


def _marked_columns(schema: Any) -> list[str]:
    """Return the columns that `datasets` has marked as sound."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return [name for name, feature in features.items() if feature.get("_type") == "Audio"]
    except (KeyError, TypeError, ValueError, AttributeError):
        return []


def arrow_table(path: Path) -> Any:
    """Map one of the .arrow files of `datasets` into memory; nothing of it is read yet.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        OSError: it is damaged, or not there.
    """
    import_optional("pyarrow", extra="shards", purpose="reading Arrow files")
    import pyarrow as pa

    with _damage_as_os_error("Arrow"):
        return pa.ipc.open_stream(pa.memory_map(str(path))).read_all()


def arrow_batches(table: Any, columns: Sequence[str]) -> Iterator[Any]:
    """Return some columns of a mapped table, batch by batch.

    What is mapped is taken as it is, and places behind its end would end the process: they are looked for first.

    Raises:
        OSError: it is damaged.
    """
    with _damage_as_os_error("Arrow"):
        for batch in table.select(columns).to_batches():
            batch.validate(full=True)
            yield batch


def cell_bytes(value: Any) -> bytes | None:
    """Return the sound in a cell: its bytes, or those of a struct."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) else None


def cell_sound(
    path: Path, row: int, size: int | None, place: str | None, *, has_samples: bool = False
) -> tuple[StoredSound | Path, int]:
    """Return where a cell's sound is, and its size: in the cell, or in the file that it names.

    Args:
        path: of the table.
        row: of the cell.
        size: of the bytes in the cell; None if there are none.
        place: the path in the cell, relative to the table's folder.
        has_samples: whether the cell holds samples, too, as `holds_samples` says of its column.

    Raises:
        SourceError: it holds samples, and there is no file at its path.
    """
    if has_samples and not (place and (path.parent / place).is_file()):
        raise samples_error(f"{path}, row {row + 1}")
    if size is None and place:
        sound = path.parent / place
        return sound, sound.stat().st_size if sound.is_file() else 0
    return StoredSound(path=path, at=row, num_bytes=size or 0), size or 0


def holds_samples(kind: Any) -> bool:
    """Return whether a column's cells hold decoded samples and no encoded sound, as `datasets` gives decoded rows."""
    import pyarrow as pa

    names = {field.name for field in kind} if pa.types.is_struct(kind) else set()
    return "array" in names and "bytes" not in names


def samples_error(place: object) -> SourceError:
    """Return the error for a cell of decoded samples."""
    return SourceError(
        f"{place}: the sound is decoded samples, where the bytes of a sound file or the path of one are needed; "
        "dataset.cast_column(column, datasets.Audio()) makes bytes of them (it needs torchcodec): save "
        "the dataset again after it."
    )


def sound_sizes(column: Any) -> tuple[list[int | None], list[str | None]]:
    """Return, a row each, how many bytes of sound its cell holds and which path; None where it holds none."""
    import pyarrow as pa

    fields = (
        {field.name: column.field(field.name) for field in column.type}
        if pa.types.is_struct(column.type)
        else {}
    )
    sizes = fields.get("bytes", column)
    paths = fields.get("path", pa.nulls(len(column), pa.string()))
    return _byte_lengths(sizes), paths.to_pylist()


def _byte_lengths(column: Any) -> list[int | None]:
    import pyarrow.compute as pc

    if _is_bytes(column.type):
        lengths: list[int | None] = pc.binary_length(column).to_pylist()
        return lengths
    return [None] * len(column)


def _holds_sound(kind: Any) -> bool:
    """Return whether a column may hold encoded sound: a number called `bytes` may be the size of a file."""
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return _is_bytes(kind)
    types = {field.name: field.type for field in kind}
    return _is_bytes(types.get("bytes", pa.null())) or _is_text(types.get("path", pa.null()))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _cell(path: Path, row: int) -> bytes:
    status = path.stat()
    version = status.st_size, status.st_mtime_ns
    if path.suffix == ".arrow":
        cells = _arrow_column(path, version)
    else:
        starts = _group_starts(path, version)
        place = bisect_right(starts, row) - 1
        cells, row = _group_column(path, place, version), row - starts[place]
    # A table that got shorter has no such row; its reader sees that from the number of bytes.
    return (cell_bytes(cells[row].as_py()) if row < len(cells) else None) or b""


@lru_cache(maxsize=16)
def _group_starts(path: Path, version: tuple[int, int]) -> list[int]:
    del version  # a file that changed is another key
    metadata, starts = parquet_file(path).metadata, [0]
    for number in range(metadata.num_row_groups - 1):
        starts.append(starts[-1] + metadata.row_group(number).num_rows)
    return starts


@lru_cache(maxsize=16)
def _arrow_column(path: Path, version: tuple[int, int]) -> Any:
    import pyarrow as pa

    del version
    table = arrow_table(path)
    name = _there(sound_column(table.schema))
    return pa.chunked_array(
        [batch.column(name) for batch in arrow_batches(table, [name])], type=table.schema.field(name).type
    )


@lru_cache(maxsize=2)
def _group_column(path: Path, place: int, version: tuple[int, int]) -> Any:
    del version
    file = parquet_file(path)
    name = _there(sound_column(file.schema_arrow))
    with _damage_as_os_error("Parquet"):
        return file.read_row_group(place, columns=[name], use_threads=False).column(0).combine_chunks()


def _there(column: str | None) -> str:
    """Return a column of sound that was there when the table was listed."""
    if column is None:
        raise OSError("its column of sound is gone")
    return column


@contextmanager
def _damage_as_os_error(kind: str) -> Iterator[None]:
    """Raise OSError for whatever pyarrow raises where a table is damaged: its own errors, and Python's for bad text."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        # The system's errors have a number; without one, it is pyarrow's word for damage.
        if error.errno is not None:
            raise
        raise _damaged(kind, error) from error
    except (pa.ArrowException, ValueError, LookupError, OverflowError) as error:
        raise _damaged(kind, error) from error


def _damaged(kind: str, error: Exception) -> OSError:
    reason = " ".join(str(error).split()).rstrip(".")
    return OSError(f"it is no {kind} file, or a damaged one: {reason}")
