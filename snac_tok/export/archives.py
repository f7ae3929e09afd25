"""Rows as members of tar archives: WebDataset, and Lhotse Shar with its manifest of cuts.

Archives say when their members were made. Here that is always 0, so that two runs give the same bytes.
"""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.codec.config import CodecConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.export.content import Content, Row

# Where a gzip file says when it was made (RFC 1952, section 2.3).
_GZIP_TIME_AT = 4


@contextlib.contextmanager
def webdataset_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row as a sample; see `tables.parquet_part`.

    A sample's key is its record's number: WebDataset cuts keys at the first dot, which names of files have.
    """
    del content, columns
    webdataset = import_optional("webdataset", extra="export", purpose="WebDataset's format")
    with (
        path.with_name(f"{path.name}.tar").open("wb") as file,
        webdataset.TarWriter(file, mtime=0) as writer,
    ):

        def add(row: Row) -> None:
            arrays = {f"{name}.npy": array for name, array in row.arrays.items()}
            writer.write({"__key__": f"{row.number:09d}", "json": row.columns, **arrays})

        yield add


@contextlib.contextmanager
def shar_part(path: Path, content: Content, *, columns: bool) -> Iterator[Callable[[Row], None]]:
    """Lend a function that adds a row as a cut without a recording; see `tables.parquet_part`.

    Raw codes are frames by slots, and are cut in time with their cut. A cut is as long as its codes, which the codec
    pads to whole frames; its supervision is as long as the sound.
    """
    del columns
    shar = import_optional("lhotse.shar", extra="export", purpose="Lhotse's format")
    cuts_path = path.with_name(f"cuts.{path.name}.jsonl.gz")
    config = CodecConfig.from_dict(content.info.codec_config)
    frame_shift = config.frame_length / config.sampling_rate
    with contextlib.ExitStack() as stack:
        cuts = stack.enter_context(shar.JsonlShardWriter(str(cuts_path), shard_size=None))
        tars = {}
        for name in content.dtypes:
            tar_path = str(path.with_name(f"{name}.{path.name}.tar"))
            tars[name] = stack.enter_context(shar.ArrayTarWriter(tar_path, shard_size=None))

        def add(row: Row) -> None:
            cut = _cut(row, content, duration=row.num_frames * frame_shift)
            cuts.write(cut)
            for name, array in row.arrays.items():
                is_codes = content.what == "codes"
                value = array.reshape(-1, content.layout.slots_per_frame) if is_codes else array
                tars[name].write(
                    cut.id, value, _manifest(value, frame_shift=frame_shift if is_codes else None)
                )

        yield add
    _without_time(cuts_path)


def _cut(row: Row, content: Content, *, duration: float) -> Any:
    lhotse = import_optional("lhotse", extra="export", purpose="Lhotse's format")
    name, rate = _cut_id(row), content.info.sampling_rate
    columns = {key: value for key, value in row.columns.items() if key not in ("id", "text")}
    said = lhotse.SupervisionSegment(
        id=name,
        recording_id=name,
        start=0,
        duration=row.columns["num_samples"] / rate,
        text=row.columns["text"],
        speaker=row.columns.get("speaker"),
        language=row.columns.get("language"),
    )
    return lhotse.MonoCut(
        id=name,
        start=0,
        duration=duration,
        channel=0,
        supervisions=[said],
        # Without a recording a cut has no rate of its own, and cannot be cut without one.
        custom={**columns, "sampling_rate": rate, "record_id": row.columns["id"]},
    )


def _cut_id(row: Row) -> str:
    """Return the record's id, or its number where the id does not come back from a path: a reader compares them."""
    name: str = row.columns["id"]
    back = PurePosixPath(f"{name}.npy")
    return name if str(back.parent / back.stem) == name else f"{row.number:09d}"


def _manifest(value: Any, *, frame_shift: float | None) -> Any:
    """Return what Lhotse says of an array; one with a frame shift is cut in time."""
    arrays = import_optional("lhotse.array", extra="export", purpose="Lhotse's format")
    array = arrays.Array(storage_type="shar", storage_path="", storage_key="", shape=list(value.shape))
    if frame_shift is None:
        return array
    # Lhotse cuts arrays of a Shar along their first axis, whatever temporal_dim says.
    return arrays.TemporalArray(array=array, temporal_dim=0, frame_shift=frame_shift, start=0)


def _without_time(path: Path) -> None:
    """Set the time in a gzip file to 0; a part without rows has no file."""
    if path.exists():
        with path.open("r+b") as file:
            file.seek(_GZIP_TIME_AT)
            file.write(bytes(4))
