"""Hugging Face datasets: which column is sound, undecoded rows, saved and streamed ones by name.

The `datasets` library is imported when it is needed. Sound is decoded here, not by `datasets`: one bad row does not
stop the others, and torchcodec is not needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.errors import SourceError
from snac_tok.sources.cells import text_of
from snac_tok.sources.recording import Recording
from snac_tok.sources.rows import Table, told_columns
from snac_tok.sources.stored import (
    arrow_batches,
    arrow_table,
    cell_sound,
    holds_samples,
    sound_column,
    sound_sizes,
)
from snac_tok.sources.tables import TEXT_COLUMNS, first_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

HUB_MARK = "hf:"
_SAVED_DATASET_FILES = ("state.json", "dataset_dict.json")
# A dataset of paths or bare arrays does not say which column is sound.
AUDIO_COLUMNS = ("audio", "sound", "speech", "wav", "file", "path")


def datasets_library() -> ModuleType:
    """Import `datasets`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_optional("datasets", extra="hf", purpose="reading a dataset")


def is_saved_dataset(folder: Path) -> bool:
    """Return whether a folder was written by `save_to_disk`."""
    return any((folder / name).is_file() for name in _SAVED_DATASET_FILES)


def load_saved(folder: Path) -> Any:
    """Open what `save_to_disk` wrote.

    Raises:
        SourceError: it is damaged.
        MissingDependencyError: `datasets` is not installed.
    """
    library = datasets_library()
    try:
        dataset = library.load_from_disk(str(folder))
        for split in splits_of(dataset).values():
            # Its files are mapped and taken as they are: places behind their end would end the process.
            split.data.select(
                [field.name for field in split.data.schema if _has_places(field.type)]
            ).validate(full=True)
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(
            f"{folder} cannot be read as a dataset, one of its files may be damaged: {reason}"
        ) from error
    return dataset


def _has_places(kind: Any) -> bool:
    """Whether a column's values lie at places that are stored beside them: texts, bytes, lists, what holds any."""
    import pyarrow as pa

    return bool(
        kind.num_fields
        or pa.types.is_dictionary(kind)
        or any(check(kind) for check in (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string))
        or any(
            check(kind)
            for check in (pa.types.is_large_binary, pa.types.is_string_view, pa.types.is_binary_view)
        )
        or isinstance(kind, pa.ExtensionType)
    )


def load_hub(source: str, *, streaming: bool = True) -> Any:
    """Open hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT.

    Args:
        source: its name.
        streaming: whether rows come over the network when they are asked for; if not, all are put into the cache.

    Raises:
        SourceError: there is no such dataset, or the hub refused.
        MissingDependencyError: `datasets` is not installed.
    """
    name, *rest = source.removeprefix(HUB_MARK).split(":")
    config, split = rest[:-1], (rest[-1] if rest else None)
    if not name or len(config) > 1:
        raise SourceError(f"{source}: a dataset is hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT.")
    library = datasets_library()
    try:
        return library.load_dataset(name, *config, split=split, streaming=streaming)
    # The hub's and its transport's errors are OSErrors; unknown names and splits are ValueErrors.
    except (OSError, ValueError, RuntimeError, library.exceptions.DatasetsError) as error:
        raise SourceError(f"{source} cannot be loaded: {' '.join(str(error).split())}") from error


def splits_of(dataset: Any) -> dict[str, Any]:
    """Return a dataset's splits by name; the name of a single split is "".

    Raises:
        SourceError: it is not a dataset of the library.
        MissingDependencyError: the library is not installed.
    """
    splits = dict(dataset) if isinstance(dataset, Mapping) else {"": dataset}
    library = datasets_library()
    known = (library.Dataset, library.IterableDataset)
    if not splits or not all(isinstance(split, known) for split in splits.values()):
        raise SourceError(
            f"a Dataset, DatasetDict or IterableDataset of the datasets library is needed, got {_kinds(dataset)}."
        )
    return splits


def audio_column_of(split: Any, *, remedy: str = "rename it with rename_column()") -> str:
    """Return the name of the column that holds sound.

    Args:
        split: a split of a dataset.
        remedy: the message's advice when the column cannot be found.

    Raises:
        SourceError: no column could be sound, or several could.
    """
    names = split.column_names
    if names is None:
        return AUDIO_COLUMNS[0]
    marked = _audio_columns(split)
    found = marked[0] if len(marked) == 1 else first_of(AUDIO_COLUMNS[:1] if marked else AUDIO_COLUMNS, names)
    if found is None or (marked and found not in marked):
        raise SourceError(
            f"{' and '.join(marked) or 'no column'} could be the sound: one Audio column is needed, or one called "
            f"{', '.join(AUDIO_COLUMNS)}; the columns are {', '.join(names)}; {remedy}."
        )
    return found


def undecoded(split: Any) -> Any:
    """Return a split whose Audio columns give encoded bytes, which needs no torchcodec."""
    audio = datasets_library().Audio(decode=False)
    for name in _audio_columns(split):
        if split.features[name].decode:
            split = split.cast_column(name, audio)
    return split


def dataset_recordings(dataset: Any) -> Iterator[Recording]:
    """Return the recordings of a dataset's rows, split after split.

    Raises:
        SourceError: it is not a dataset, or has no column of sound.
    """
    splits = splits_of(dataset)
    named = [
        (f"{name}/" if name else "", undecoded(split), audio_column_of(split))
        for name, split in splits.items()
    ]
    return (recording for prefix, split, column in named for recording in _rows(split, column, prefix))


def stored_recordings(dataset: Any, *, keep: Sequence[str] = ()) -> tuple[Path, list[Recording]]:
    """Return the rows of a dataset that lies in .arrow files, each by its file and row, and the folder of the files.

    Rows of several splits are called after their split. Their sound is bytes, or a path.

    Raises:
        SourceError: it lies in no files, has no column of sound, or a file is damaged.
    """
    splits = splits_of(dataset)
    files = {name: [Path(file["filename"]) for file in split.cache_files] for name, split in splits.items()}
    if not all(files.values()):
        raise SourceError(
            "a dataset in memory has no rows that can be found again; save it to a folder, and name that."
        )
    base = Path(os.path.commonpath([path.parent for paths in files.values() for path in paths]))
    found: list[Recording] = []
    for split, paths in files.items():
        prefix, number = (f"{split}/" if split else ""), 0
        for path in paths:
            try:
                rows = list(_of_arrow(path, prefix, number, keep))
            except OSError as error:
                raise SourceError(f"{path} cannot be read: {error}.") from error
            found, number = found + rows, number + len(rows)
    return base, found


def _of_arrow(path: Path, prefix: str, first: int, keep: Sequence[str]) -> Iterator[Recording]:
    table = Table(path, keep=keep)
    content = arrow_table(path)
    column = sound_column(content.schema)
    if column is None:
        raise SourceError(
            f"{path} has no column of sound; the columns are {', '.join(content.column_names)}."
        )
    # Lists and structs are read only where a text or a kept column is one: others may be long.
    told = told_columns(content.column_names, keep)
    names = [
        field.name
        for field in content.schema
        if field.name != column and (field.name in told or not field.type.num_fields)
    ]
    row, has_samples = 0, holds_samples(content.schema.field(column).type)
    for batch in arrow_batches(content, [*names, column]):
        sizes, paths = sound_sizes(batch.column(column))
        for fields, size, place in zip(batch.select(names).to_pylist(), sizes, paths, strict=True):
            sound, num_bytes = cell_sound(path, row, size, place, has_samples=has_samples)
            yield table.recording(
                fields,
                name=f"{prefix}{first + row:08d}",
                sound=sound,
                num_bytes=num_bytes,
            )
            row += 1


def dataset_identity(dataset: Any) -> list[Any] | None:
    """Return JSON values that are equal for equal datasets; None for streams, whose rows are not known."""
    prints = [getattr(split, "_fingerprint", None) for split in splits_of(dataset).values()]
    return None if None in prints else prints


def _rows(split: Any, column: str, prefix: str) -> Iterator[Recording]:
    for number, row in enumerate(split):
        sound, text = row.get(column), row.get(first_of(TEXT_COLUMNS, row) or "")
        path = sound.get("path") if isinstance(sound, Mapping) else None
        name = f"{prefix}{number}" + (f"/{Path(path).name}" if path else "")
        yield Recording(name=name, sound=sound, text=text_of(text, place=f"row {name}"))


def _audio_columns(split: Any) -> list[str]:
    audio = datasets_library().Audio
    return [name for name, feature in (split.features or {}).items() if isinstance(feature, audio)]


def _kinds(dataset: Any) -> str:
    if isinstance(dataset, Mapping):
        kinds = sorted({type(split).__name__ for split in dataset.values()})
        return f"a dict of {', '.join(kinds) or 'nothing'}"
    return f"a {type(dataset).__name__}"
