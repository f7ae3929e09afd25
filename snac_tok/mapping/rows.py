"""From a batch of a dataset to waveforms, row by row: a row that cannot be read does not affect the others.

All forms that `datasets` gives an audio column are accepted: paths, encoded bytes, dicts of both or of an array and
its rate, bare arrays, decoders. Nothing is encoded here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from snac_tok.audio import Waveform
from snac_tok.errors import ConfigError, MissingDependencyError
from snac_tok.sources.recording import Recording

if TYPE_CHECKING:
    from snac_tok.sources.reading import LongSound
    from snac_tok.tokenizer.preprocessing import Preprocessing


def column_of(batch: Any, name: str, *, numbers: bool = False) -> list[Any]:
    """Return a column's values, one per row; Audio columns undecoded if the batch allows it.

    Args:
        batch: of a dataset's map.
        name: of the column.
        numbers: whether its values may be numbers; if not, numbers are the samples of a single row.

    Raises:
        ConfigError: there is no such column, or the batch is a single row or a table.
        MissingDependencyError: the column decodes its sound itself, and torchcodec does not load.
    """
    if isinstance(batch, (list, tuple)):
        raise ConfigError(
            f"a batch is a dict of columns, got a {type(batch).__name__} of {len(batch)} rows; leave input_columns "
            "out of the call of map: the mapper picks its columns itself."
        )
    if not isinstance(batch, Mapping):
        raise ConfigError(
            f"a batch is a dict of columns, got a {type(batch).__name__}; reset the dataset's format with "
            "with_format(None)."
        )
    if name not in batch:
        raise ConfigError(f"there is no column {name!r}; the columns are {', '.join(map(str, batch))}.")
    # datasets' lazy batches still hold the Arrow data, which needs no torchcodec and keeps the samples' type.
    if type(batch).__name__ == "LazyBatch" and name in batch.keys_to_format:  # type: ignore[attr-defined]
        return [_plain(scalar) for scalar in batch.pa_table[name]]  # type: ignore[attr-defined]
    try:
        values = batch[name]
    except ImportError as error:
        raise MissingDependencyError(
            f"column {name!r} decodes its sound with torchcodec, which does not load here: "
            f'ds.cast_column("{name}", Audio(decode=False)) returns the encoded bytes instead.'
        ) from error
    if not isinstance(values, (list, tuple)) and getattr(values, "ndim", 0) < 1:
        raise ConfigError(f"column {name!r} came as a single row; map with batched=True.")
    rows = [_python_value(row) for row in values]
    if not numbers and rows and isinstance(rows[0], (int, float)):
        raise ConfigError(f"column {name!r} came as one row's samples; map with batched=True.")
    return rows


def load_row(
    value: Any, sampling_rate: Any, preparation: Preprocessing, *, name: str = "the recording"
) -> Waveform | LongSound:
    """Return a row's sound as the codec takes it, or the blocks of a long file; `name` is what a warning calls it.

    Raises:
        AudioError: the row's sound is missing or unusable, or the machine failed; `audio.machine_faults` distinguishes
            them.
    """
    recording = Recording(name=name, sound=value, sampling_rate=sampling_rate)
    sound = recording.read(allow_truncated=preparation.allow_truncated)
    return _writable(preparation.whole(sound, name=name)) if isinstance(sound, Waveform) else sound


def _writable(waveform: Waveform) -> Waveform:
    """Copy samples that are still in Arrow's memory: torch warns about read-only arrays."""
    if waveform.samples.flags.writeable:
        return waveform
    return Waveform(samples=waveform.samples.copy(), sampling_rate=waveform.sampling_rate)


def _python_value(row: Any) -> Any:
    """Return a row of a formatted dataset, where numbers are arrays or tensors without axes, and texts numpy's own."""
    return row.item() if getattr(row, "ndim", None) == 0 and hasattr(row, "item") else row


def _plain(scalar: Any) -> Any:
    """Convert an Arrow scalar to Python: dicts, bytes, and numpy arrays of the column's own type."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        return {name: _plain(part) for name, part in scalar.items()}
    if isinstance(scalar, (pa.ListScalar, pa.LargeListScalar)):
        if pa.types.is_primitive(scalar.values.type):
            return scalar.values.to_numpy(zero_copy_only=False)
        return [_plain(part) for part in scalar.values]
    return scalar.as_py()
