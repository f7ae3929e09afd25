"""One split of a Hugging Face dataset through a mapper, stored or streamed; and which column is its sound."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from snac_tok.audio.optional import import_optional
from snac_tok.errors import ConfigError

if TYPE_CHECKING:
    from types import ModuleType

    from snac_tok.mapping.mapper import SnacMapper

# A dataset of paths or bare arrays does not say which column is sound.
_USUAL_NAMES = ("audio", "speech", "wav", "file", "path")


@dataclass(frozen=True, kw_only=True)
class SplitWork:
    """How splits are mapped; its attributes are options of `tokenize_dataset`."""

    mapper: SnacMapper
    column: str
    keep_audio: bool
    batch_size: int
    num_proc: int
    rows_per_file: int | None
    description: str

    def __post_init__(self) -> None:
        counts = {
            "batch_size": self.batch_size,
            "num_proc": self.num_proc,
            "rows_per_file": self.rows_per_file,
        }
        for name, count in counts.items():
            if count is None and name == "rows_per_file":
                continue
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ConfigError(f"{name} is {count!r}; a whole number from 1 is needed.")

    def mapped(self, split: Any) -> Any:
        """Return a split with the mapper's columns, and with what made them in its description.

        Raises:
            ConfigError: a new column has the name of another one, or rows_per_file is for a dataset without files.
        """
        datasets = datasets_library()
        self._check_names(split.column_names or [])
        split = undecoded(split)
        removed = [] if self.keep_audio else [self.column]
        if isinstance(split, datasets.IterableDataset):
            mapped = split.map(
                partial(_as_stored, self.mapper),
                batched=True,
                batch_size=self.batch_size,
                remove_columns=removed,
                features=self._features(split, removed),
            )
            return self._described(mapped)
        done = [self._mapped_rows(rows, removed) for rows in self._parts(split)]
        return self._described(done[0] if len(done) == 1 else datasets.concatenate_datasets(done))

    def _described(self, split: Any) -> Any:
        """Write what made the columns where the library saves it along; nobody could decode them without."""
        record = json.dumps({"snac_tok": self.mapper.describe()}, sort_keys=True)
        split.info.description = "\n".join(filter(None, (split.info.description, record)))
        return split

    def _mapped_rows(self, rows: Any, removed: list[str]) -> Any:
        if not len(rows):
            # The library does not ask a function about no rows, so that the columns would be missing.
            return self._without_rows(rows.remove_columns(removed))
        hashed = [rows._fingerprint, self.mapper, removed]  # noqa: SLF001 - there is no public name for it
        return rows.map(
            self.mapper,
            batched=True,
            batch_size=self.batch_size,
            remove_columns=removed,
            # A number, even 1, starts processes.
            num_proc=self.num_proc if self.num_proc > 1 else None,
            desc=self.description,
            # The library's own would change with the batch size, which changes no row.
            new_fingerprint=datasets_library().fingerprint.Hasher.hash(hashed),
        )

    def _without_rows(self, rows: Any) -> Any:
        datasets = datasets_library()
        features = datasets.Features(rows.features | self.mapper.features())
        return datasets.Dataset.from_dict(
            {name: [] for name in features}, features=features, split=rows.split
        )

    def _parts(self, split: Any) -> list[Any]:
        """Cut a split into what is stored in one file."""
        if self.rows_per_file is None:
            return [split]
        if not split.cache_files:
            raise ConfigError(
                "rows_per_file stores what is done beside the dataset's files, and this one is in memory alone: "
                "save_to_disk and load_from_disk give it files, or leave rows_per_file out."
            )
        starts = range(0, max(len(split), 1), self.rows_per_file)
        return [split.select(range(at, min(at + self.rows_per_file, len(split)))) for at in starts]

    def _check_names(self, names: list[str]) -> None:
        if names and self.column not in names:
            raise ConfigError(f"there is no column {self.column!r}; the columns are {', '.join(names)}.")
        kept = set(names) - (set() if self.keep_audio else {self.column})
        if taken := sorted(kept & set(self.mapper.columns)):
            raise ConfigError(
                f"the dataset already has {', '.join(taken)}, which the new columns would replace; rename or remove "
                "them first."
            )

    def _features(self, split: Any, removed: list[str]) -> Any:
        """The types of a streamed result, as far as the source says its own."""
        if split.features is None:
            return None
        datasets = datasets_library()
        kept = {name: feature for name, feature in split.features.items() if name not in removed}
        return datasets.Features(kept | self.mapper.features())


def _as_stored(mapper: SnacMapper, batch: Any) -> dict[str, Any]:
    """Return a batch's columns as lists of ints, which a stored dataset's rows hold, instead of narrow arrays."""
    columns = mapper(batch)
    for name in mapper.arrays:
        columns[name] = [row.tolist() for row in columns[name]]
    return columns


def splits_of(dataset: Any) -> list[Any]:
    """Return a dataset's splits.

    Raises:
        ConfigError: it is no dataset of the library.
        MissingDependencyError: the library is not installed.
    """
    datasets = datasets_library()
    splits = list(dataset.values()) if isinstance(dataset, dict) else [dataset]
    known = (datasets.Dataset, datasets.IterableDataset)
    if not splits or not all(isinstance(split, known) for split in splits):
        raise ConfigError(
            f"a Dataset, DatasetDict or IterableDataset of the datasets library is needed, got {_kinds(dataset)}."
        )
    return splits


def audio_column_of(split: Any) -> str:
    """Return the name of the column that is sound.

    Raises:
        ConfigError: none or several could be.
    """
    names = split.column_names
    if names is None:
        return _USUAL_NAMES[0]
    marked = _audio_columns(split)
    usual = [name for name in _USUAL_NAMES if name in names]
    if len(marked) > 1 or not (marked or usual):
        raise ConfigError(
            f"{' and '.join(marked) or 'no column'} could be the sound; name it: audio_column=. The columns are "
            f"{', '.join(names)}."
        )
    return (marked or usual)[0]


def undecoded(split: Any) -> Any:
    """Return a split whose Audio columns hand over what is in the files, which needs no torchcodec."""
    audio = datasets_library().Audio(decode=False)
    for name in _audio_columns(split):
        if split.features[name].decode:
            split = split.cast_column(name, audio)
    return split


def datasets_library() -> ModuleType:
    """Import `datasets`.

    Raises:
        MissingDependencyError: it is not installed.
    """
    return import_optional("datasets", extra="hf", purpose="tokenizing a dataset")


def _audio_columns(split: Any) -> list[str]:
    audio = datasets_library().Audio
    return [name for name, feature in (split.features or {}).items() if isinstance(feature, audio)]


def _kinds(dataset: Any) -> str:
    if isinstance(dataset, dict):
        kinds = sorted({type(split).__name__ for split in dataset.values()})
        return f"a dict of {', '.join(kinds) or 'nothing'}"
    return f"a {type(dataset).__name__}"
