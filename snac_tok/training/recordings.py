"""What a user points at → recordings, one after another, each read in blocks when its turn comes.

a folder             every audio file below it, sorted
a manifest           .txt: a path a line; .csv, .tsv, .jsonl: a column of paths; relative to the manifest
a saved dataset      a folder of `Dataset.save_to_disk`
a dataset            `datasets.Dataset`, a streamed one, or a dict of splits: its audio column
any other file       one recording
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.audio import as_waveform, iter_audio
from snac_tok.corpus.metadata import FILE_COLUMNS
from snac_tok.corpus.sources import list_sources
from snac_tok.errors import MissingDependencyError, ShardError, TrainingError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snac_tok.audio import Waveform

HUB_MARK = "hf:"
MANIFEST_ENDINGS = (".txt", ".csv", ".tsv", ".jsonl")
_SAVED_DATASET_FILES = ("state.json", "dataset_dict.json")
_AUDIO_COLUMNS = ("audio", "sound", "speech", "wav")


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording, not read yet.

    Attributes:
        id: names it: its path below the folder, its row of the dataset.
        num_bytes: of its file; None where it is none.
        blocks: reads it, given `allow_truncated`; raises AudioError where it cannot be used.
    """

    id: str
    num_bytes: int | None
    blocks: Callable[[bool], Iterator[Waveform]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """Those of several inputs.

    Attributes:
        num_bytes: of all their files together; None where some are no files.
        groups: one an input.
    """

    num_bytes: int | None
    groups: tuple[Iterable[Recording], ...]

    def each(self) -> Iterator[Recording]:
        """Yield all of them, in the order of the inputs."""
        for group in self.groups:
            yield from group


def find_recordings(inputs: Sequence[Any]) -> Recordings:
    """List what is there, without decoding anything.

    Args:
        inputs: paths and datasets.

    Raises:
        TrainingError: there is no input, or no such file, folder, column or audio.
        MissingDependencyError: a dataset without the package `datasets`.

    Example:
        >>> find_recordings(["nowhere"])
        Traceback (most recent call last):
        snac_tok.errors.TrainingError: nowhere: there is no such file or folder.
    """
    if not inputs:
        raise TrainingError("there is nothing to prepare: name folders, files, manifests or datasets.")
    groups = tuple(_recordings_of(source) for source in inputs)
    files = [recording for group in groups if isinstance(group, list) for recording in group]
    all_files = all(isinstance(group, list) for group in groups)
    return Recordings(
        groups=groups, num_bytes=sum(file.num_bytes or 0 for file in files) if all_files else None
    )


def _recordings_of(source: Any) -> list[Recording] | Iterable[Recording]:
    if not isinstance(source, str | Path):
        return _of_dataset(source)
    if str(source).startswith(HUB_MARK):
        return _of_dataset(_load_hub(str(source)))
    path = Path(source)
    if path.is_dir():
        if any((path / name).is_file() for name in _SAVED_DATASET_FILES):
            return _of_dataset(_load_saved(path))
        return _of_folder(path)
    if not path.exists():
        raise TrainingError(f"{path}: there is no such file or folder.")
    if path.suffix.lower() in MANIFEST_ENDINGS:
        return _of_manifest(path)
    return [_file(path, name=path.name)]


def _of_folder(folder: Path) -> list[Recording]:
    try:
        items = list_sources(folder)
    except ShardError as error:
        raise TrainingError(str(error)) from error
    return [_file(folder / item.path, name=item.path) for item in items]


def _file(path: Path, *, name: str) -> Recording:
    """One audio file; a missing one fails when its turn comes, like any other that cannot be read."""
    num_bytes = path.stat().st_size if path.is_file() else 0
    return Recording(
        id=name,
        num_bytes=num_bytes,
        blocks=lambda allow_truncated: iter_audio(path, allow_truncated=allow_truncated),
    )


def _of_manifest(path: Path) -> list[Recording]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        names = _NAMES_OF[path.suffix.lower()](path, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError(f"{path} cannot be read as UTF-8 text: {error}.") from error
    if not names:
        raise TrainingError(f"{path} names no recording.")
    return [_file(path.parent / name, name=name) for name in names]


def _lines(_path: Path, lines: list[str]) -> list[str]:
    return [line.strip() for line in lines if line.strip()]


def _column(path: Path, lines: list[str]) -> list[str]:
    # One of LJSpeech's columns; csv's own sniffer takes a comma in a sentence for a separator.
    separator = next((mark for mark in "|\t," if lines and mark in lines[0]), ",")
    rows = csv.DictReader(lines, delimiter=separator)
    column = _known(path, rows.fieldnames or ())
    return [row[column] for row in rows if row[column]]


def _objects(path: Path, lines: list[str]) -> list[str]:
    names = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = row[_known(path, row)]
        except (ValueError, TypeError, RecursionError) as error:
            raise TrainingError(f"{path}, line {number}: no JSON object ({error}); mend the line.") from error
        if not isinstance(name, str) or not name:
            raise TrainingError(f"{path}, line {number}: {name!r} is no path; mend the line.")
        names.append(name)
    return names


def _known(path: Path, columns: Iterable[str]) -> str:
    found = next((name for name in FILE_COLUMNS if name in columns), None)
    if found is None:
        raise TrainingError(
            f"{path} has no column of recordings: one of {', '.join(FILE_COLUMNS)} is needed, got "
            f"{', '.join(map(str, columns)) or 'none'}."
        )
    return found


_NAMES_OF = {".txt": _lines, ".csv": _column, ".tsv": _column, ".jsonl": _objects}


def _load_saved(folder: Path) -> Any:
    try:
        return _datasets(str(folder)).load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder} cannot be read as a dataset: {error}") from error


def _load_hub(source: str) -> Any:
    """Open hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT for streaming."""
    name, *rest = source.removeprefix(HUB_MARK).split(":")
    config, split = rest[:-1], (rest[-1] if rest else None)
    if not name or len(config) > 1:
        raise TrainingError(f"{source}: a dataset is hf:NAME, hf:NAME:SPLIT or hf:NAME:CONFIG:SPLIT.")
    datasets = _datasets(source)
    try:
        return datasets.load_dataset(name, *config, split=split, streaming=True)
    # The hub's and its transport's errors are OSErrors; unknown names and splits are ValueErrors.
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"{source} cannot be loaded: {' '.join(str(error).split())}") from error


def _datasets(source: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingDependencyError(
            f"{source} is a dataset; reading it needs the datasets package: pip install datasets."
        ) from error
    return datasets


def _of_dataset(dataset: Any) -> Iterable[Recording]:
    """Recordings of a dataset's rows, or of each of its splits'."""
    if isinstance(dataset, Mapping):
        splits = [_of_rows(rows, prefix=f"{split}/") for split, rows in dataset.items()]
        return (recording for rows in splits for recording in rows)
    return _of_rows(dataset, prefix="")


def _of_rows(dataset: Any, *, prefix: str) -> Iterator[Recording]:
    columns = getattr(dataset, "column_names", None)
    if columns is None:
        raise TrainingError(
            f"a {type(dataset).__name__} is no input: name folders, files and manifests, or hand in a dataset with "
            "known columns."
        )
    column = next((name for name in _AUDIO_COLUMNS if name in columns), None)
    if column is None:
        raise TrainingError(
            f"the dataset has no column of sound: one of {', '.join(_AUDIO_COLUMNS)} is needed, got "
            f"{', '.join(columns)}; rename it with rename_column()."
        )
    return _rows(_undecoded(dataset, column), column, prefix)


def _undecoded(dataset: Any, column: str) -> Any:
    """Have the dataset hand over what is in its files: decoding is done here, and one bad row stops nothing."""
    audio = _datasets("this input").Audio
    is_audio = isinstance((dataset.features or {}).get(column), audio)
    return dataset.cast_column(column, audio(decode=False)) if is_audio else dataset


def _rows(dataset: Any, column: str, prefix: str) -> Iterator[Recording]:
    for number, row in enumerate(dataset):
        sound = row[column]
        named = sound.get("path") if isinstance(sound, Mapping) else None
        name = f"{prefix}{number}" + (f"/{Path(named).name}" if named else "")
        yield Recording(id=name, num_bytes=None, blocks=partial(_row_blocks, sound))


def _row_blocks(sound: Any, allow_truncated: bool) -> Iterator[Waveform]:  # noqa: FBT001 - as `blocks` takes it
    if sound is None:
        raise WaveformError("the row holds no sound.")
    if isinstance(sound, Mapping) and sound.get("array") is None and sound.get("bytes") is None:
        sound = sound.get("path") or sound
    if isinstance(sound, str):
        return iter_audio(sound, allow_truncated=allow_truncated)
    return iter([as_waveform(sound, allow_truncated=allow_truncated)])
