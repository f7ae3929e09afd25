"""Paths and datasets that a user names → recordings, one after another, not read yet.

a folder             every audio file below it, sorted
a pattern            data/**/*.flac: every audio file, and every .tar, that it means
a manifest           .txt: a path a line; .csv, .tsv, .jsonl, .parquet: a column of paths, relative to the manifest
a .parquet, a .tar   with encoded sound in it
a saved dataset      a folder of `Dataset.save_to_disk`
a Lhotse Shar        a folder of cuts.….jsonl.gz and recording.….tar
hf:NAME:SPLIT        a dataset of the hub, streamed
a dataset            `datasets.Dataset`, a streamed one, or a dict of splits: its audio column
any other file       one recording
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import SourceError
from snac_tok.sources.folders import AUDIO_EXTENSIONS, list_folder
from snac_tok.sources.globs import is_pattern, matching
from snac_tok.sources.huggingface import (
    HUB_MARK,
    dataset_identity,
    dataset_recordings,
    is_saved_dataset,
    load_hub,
    load_saved,
    stored_recordings,
)
from snac_tok.sources.manifests import is_manifest, list_manifest
from snac_tok.sources.recording import file_recording
from snac_tok.sources.shar import is_shar, list_shar
from snac_tok.sources.tars import TAR_ENDINGS, list_tar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from snac_tok.sources.recording import Recording


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """What one input holds.

    Attributes:
        recordings: a list where they are files, else an iterator that gives them once.
        num_bytes: of all files together; None where the recordings are rows of a dataset.
        identity: JSON values that are equal for equal recordings; None if equality cannot be known.
        base: the folder that names are relative to; None where the recordings are rows of a dataset.
    """

    recordings: Iterable[Recording]
    num_bytes: int | None
    identity: Any
    base: Path | None = None

    @classmethod
    def of_files(cls, recordings: list[Recording], base: Path) -> Source:
        """Return a source of files, which are known by their names and sizes."""
        sizes = [_identity(recording) for recording in recordings]
        digest = hashlib.sha256(json.dumps(sizes).encode()).hexdigest()
        num_bytes = sum(recording.num_bytes or 0 for recording in recordings)
        return cls(recordings=recordings, num_bytes=num_bytes, identity=digest, base=base)

    @classmethod
    def of_dataset(cls, dataset: Any, *, name: str | None = None) -> Source:
        """Return a source of rows; a streamed dataset is known by its name, where it has one."""
        recordings = dataset_recordings(dataset)
        return cls(recordings=recordings, num_bytes=None, identity=dataset_identity(dataset) or name)

    @classmethod
    def of_stored(cls, dataset: Any, *, keep: Sequence[str]) -> Source:
        """Return a source of rows in files."""
        base, recordings = stored_recordings(dataset, keep=keep)
        return cls.of_files(recordings, base)


def _identity(recording: Recording) -> list[Any]:
    """What a file is known by; what only some recordings have is named, so that others stay known as they were."""
    part = [recording.part] if recording.part else []
    channel = [] if recording.channel is None else [{"channel": recording.channel}]
    return [recording.name, recording.num_bytes, *part, *channel]


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """The recordings of several inputs.

    Attributes:
        sources: one per input.
    """

    sources: tuple[Source, ...]

    def __iter__(self) -> Iterator[Recording]:
        for source in self.sources:
            yield from source.recordings

    @property
    def num_bytes(self) -> int | None:
        """Size of all files together; None if some recordings are not files."""
        sizes = [source.num_bytes for source in self.sources]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def identity(self) -> str | None:
        """A digest that is equal for equal recordings in the same order; None if equality cannot be known."""
        parts = [source.identity for source in self.sources]
        return None if None in parts else hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_recordings(inputs: Sequence[Any]) -> Recordings:
    """List the recordings of some inputs, without decoding anything.

    Args:
        inputs: paths and datasets.

    Raises:
        SourceError: there is no input, or no such file, folder, column or audio.
        MissingDependencyError: a dataset without the package `datasets`.

    Example:
        >>> find_recordings(["nowhere"])
        Traceback (most recent call last):
        snac_tok.errors.SourceError: nowhere: there is no such file or folder.
    """
    if isinstance(inputs, (str, Path)):  # a text would be read letter by letter
        raise SourceError(f"inputs is {str(inputs)!r}; a list of inputs is needed: [{str(inputs)!r}].")
    if not inputs:
        raise SourceError("there is nothing to read: name folders, files, manifests or datasets.")
    return Recordings(sources=tuple(map(find_source, inputs)))


def is_collection(named: str | Path) -> bool:
    """Return whether a name means several recordings: a dataset, a folder, a pattern, a manifest or an archive.

    >>> is_collection("hf:mozilla/speech:train"), is_collection("train.tsv"), is_collection("a.wav")
    (True, True, False)
    """
    path = Path(named)
    by_name = str(named).startswith(HUB_MARK) or path.name.lower().endswith(TAR_ENDINGS)
    return by_name or is_manifest(path) or is_pattern(path) or path.is_dir()


def find_source(
    named: Any,
    *,
    extensions: Collection[str] = AUDIO_EXTENSIONS,
    keep: Sequence[str] = (),
    is_stored: bool = False,
) -> Source:
    """List the recordings of one input; as `find_recordings`.

    Args:
        named: a path, a pattern or a dataset.
        extensions: file endings that count as audio in a folder.
        keep: columns that are kept beside speaker and language.
        is_stored: whether each recording must be found again later, in other processes too: a dataset of the hub is
            then not streamed but put into the cache.
    """
    if not isinstance(named, str | Path):
        if not (isinstance(named, Mapping) or hasattr(named, "column_names")):
            raise SourceError(
                f"a {type(named).__name__} is not an input: name folders, files and manifests, or pass a dataset."
            )
        return Source.of_dataset(named)
    if not str(named):  # as a path it would be the current folder
        raise SourceError("an empty name is not an input: name folders, files, manifests or datasets.")
    if str(named).startswith(HUB_MARK):
        dataset = load_hub(str(named), streaming=not is_stored)
        return (
            Source.of_stored(dataset, keep=keep) if is_stored else Source.of_dataset(dataset, name=str(named))
        )
    path = Path(named)
    if path.is_dir():
        return _of_folder(path, extensions=extensions, keep=keep, is_stored=is_stored)
    if is_pattern(path):
        return _of_pattern(path, extensions=extensions, keep=keep)
    if not path.exists():
        raise SourceError(f"{path}: there is no such file or folder.")
    return Source.of_files(_of_file(path, keep=keep), path.parent)


def _of_folder(folder: Path, *, extensions: Collection[str], keep: Sequence[str], is_stored: bool) -> Source:
    if is_saved_dataset(folder):
        dataset = load_saved(folder)
        return Source.of_stored(dataset, keep=keep) if is_stored else Source.of_dataset(dataset)
    if is_shar(folder):
        return Source.of_files(list_shar(folder, keep=keep), folder)
    return Source.of_files(list_folder(folder, extensions=extensions, keep=keep), folder)


def _of_file(path: Path, *, keep: Sequence[str]) -> list[Recording]:
    if path.name.lower().endswith(TAR_ENDINGS):
        return list_tar(path, keep=keep)
    if is_manifest(path):
        return list_manifest(path, keep=keep)
    return [file_recording(path, name=path.name)]


def _of_pattern(pattern: Path, *, extensions: Collection[str], keep: Sequence[str]) -> Source:
    """List audio files by their paths below the pattern's folder; what is in tars and tables, below theirs, too."""
    base, paths = matching(pattern)
    found: list[Recording] = []
    for path in paths:
        name = path.relative_to(base)
        if path.suffix.lower() in extensions:
            found.append(file_recording(path, name=name.as_posix()))
        elif path.name.lower().endswith((*TAR_ENDINGS, ".parquet")):
            prefix = "" if name.parent == Path() else f"{name.parent.as_posix()}/"
            found += [replace(each, name=f"{prefix}{each.name}") for each in _of_file(path, keep=keep)]
    if not found:
        raise SourceError(
            f"{pattern} means {len(paths)} files, and none of them is audio or an archive of it."
        )
    return Source.of_files(found, base)
