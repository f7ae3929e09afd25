"""From a batch of a dataset to waveforms, row by row: one row that cannot be read takes no neighbour along.

Whatever `datasets` puts into an audio column is accepted: paths, encoded bytes, dicts of both or of an array and its
rate, bare arrays, decoders. Nothing is encoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from snac_tok.audio import Waveform, as_waveform
from snac_tok.errors import AudioFileError, ConfigError, MissingDependencyError, WaveformError
from snac_tok.tokenizer.preprocessing import long_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.tokenizer.preprocessing import Preprocessing


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """A row's sound: prepared for the codec, or, of a file that claims to be long, in blocks as they are read."""

    waveform: Waveform | None = None
    blocks: Iterator[Waveform] | None = None

    @property
    def seconds(self) -> float:
        """How much of it stands in memory."""
        return self.waveform.duration_seconds if self.waveform is not None else 0.0


def column_of(batch: Any, name: str, *, numbers: bool = False) -> list[Any]:
    """Return a column's values, one a row; Audio columns undecoded where the batch allows it.

    Args:
        batch: of a dataset's map.
        name: of the column.
        numbers: whether its values may be numbers; where not, numbers are one row's samples.

    Raises:
        ConfigError: there is no such column, or the batch is a single row or a table.
        MissingDependencyError: the column decodes its sound itself, and torchcodec does not load.
    """
    if not isinstance(batch, Mapping):
        raise ConfigError(
            f"a batch is a dict of columns, got a {type(batch).__name__}; reset the dataset's format with "
            "with_format(None)."
        )
    if name not in batch:
        raise ConfigError(f"there is no column {name!r}; the columns are {', '.join(map(str, batch))}.")
    # datasets' lazy batches still hold the Arrow data: it needs no torchcodec, and samples keep their type.
    if type(batch).__name__ == "LazyBatch" and name in batch.keys_to_format:  # type: ignore[attr-defined]
        return [_plain(scalar) for scalar in batch.pa_table[name]]  # type: ignore[attr-defined]
    try:
        values = batch[name]
    except ImportError as error:
        raise MissingDependencyError(
            f"column {name!r} decodes its sound with torchcodec, which does not load here: "
            f'ds.cast_column("{name}", Audio(decode=False)) hands over what is in the files.'
        ) from error
    if not isinstance(values, (list, tuple)) and getattr(values, "ndim", 0) < 1:
        raise ConfigError(f"column {name!r} came as a single row; map with batched=True.")
    rows = list(values)
    if not numbers and rows and (isinstance(rows[0], (int, float)) or getattr(rows[0], "ndim", 1) == 0):
        raise ConfigError(f"column {name!r} came as one row's samples; map with batched=True.")
    return rows


def load_row(
    value: Any, sampling_rate: Any, preparation: Preprocessing, *, name: str = "the recording"
) -> Clip:
    """Return a row's sound as the codec takes it; `name` is what a warning calls it.

    Raises:
        AudioError: the row's sound is missing or unusable, or the machine failed; `audio.faults` tells them apart.
    """
    if value is None:
        raise WaveformError("the row holds no sound.")
    source = _source_of(value)
    rate = _rate_of(sampling_rate)
    allowed = preparation.allow_truncated
    if (blocks := long_file(source, rate, allow_truncated=allowed)) is not None:
        return Clip(blocks=blocks)
    waveform = as_waveform(source, sampling_rate=rate, allow_truncated=allowed)
    return Clip(waveform=_writable(preparation.whole(waveform, name=name)))


def _writable(waveform: Waveform) -> Waveform:
    """Copy samples that still lie in Arrow's memory: torch warns of tensors that must not be written to."""
    if waveform.samples.flags.writeable:
        return waveform
    return Waveform(samples=waveform.samples.copy(), sampling_rate=waveform.sampling_rate)


def _rate_of(value: Any) -> Any:
    """Unwrap numpy's and torch's numbers, and the floats that integer columns with gaps are made of."""
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _source_of(value: Any) -> Any:
    """Unwrap a dict that holds no more than a path, and fetch what lies behind an address."""
    if isinstance(value, Mapping) and value.get("array") is None and value.get("bytes") is None:
        value = value.get("path") or value
    if isinstance(value, str) and "://" in value:
        return _fetched(value)
    return value


def _fetched(address: str) -> bytes:
    from datasets.utils.file_utils import xopen

    try:
        with xopen(address, "rb") as file:
            content: bytes = file.read()
    except (FileNotFoundError, KeyError) as error:
        raise AudioFileError(f"{address!r}: there is no such file.") from error
    return content


def _plain(scalar: Any) -> Any:
    """An Arrow scalar as Python holds sound: dicts, bytes, and numpy arrays of the column's own type."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        return {name: _plain(part) for name, part in scalar.items()}
    if isinstance(scalar, (pa.ListScalar, pa.LargeListScalar)):
        if pa.types.is_primitive(scalar.values.type):
            return scalar.values.to_numpy(zero_copy_only=False)
        return [_plain(part) for part in scalar.values]
    return scalar.as_py()
