"""One split of a Hugging Face dataset through a mapper, stored or streamed."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ConfigError
from snac_tok.sources.huggingface import datasets_library, undecoded

if TYPE_CHECKING:
    from snac_tok.mapping.mapper import SnacMapper


def check_count(count: Any, *, name: str) -> int:
    """Return a number of rows or processes, of any type, as an int.

    Raises:
        ConfigError: it is no whole number from 1.
    """
    try:
        number = 0 if isinstance(count, bool) else operator.index(count)
    except TypeError:
        number = 0
    if number < 1:
        raise ConfigError(f"{name} is {count!r}; a whole number from 1 is needed.")
    return number


@dataclass(frozen=True, kw_only=True)
class SplitWork:
    """How splits are mapped; its attributes are options of `tokenize_dataset`."""

    mapper: SnacMapper
    column: str
    keep_audio: bool
    batch_size: int
    num_proc: int
    rows_per_file: int | None
    load_from_cache_file: bool | None
    description: str

    def __post_init__(self) -> None:
        for name in ("batch_size", "rows_per_file"):
            if (count := getattr(self, name)) is not None or name == "batch_size":
                object.__setattr__(self, name, check_count(count, name=name))
        if self.load_from_cache_file not in (True, False, None):
            raise ConfigError(
                f"load_from_cache_file is {self.load_from_cache_file!r}; it must be True, False or None."
            )

    def mapped(self, split: Any) -> Any:
        """Return a split with the mapper's columns, and with their settings in its description.

        Raises:
            ConfigError: a new column has the name of an existing one, or rows_per_file for a dataset in memory.
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
        """Write the columns' settings where the library saves them with the data: decoding needs them."""
        record = json.dumps({"snac_tok": self.mapper.describe()}, sort_keys=True)
        split.info.description = "\n".join(filter(None, (split.info.description, record)))
        return split

    def _mapped_rows(self, rows: Any, removed: list[str]) -> Any:
        if not len(rows):
            # The library does not call a function for zero rows, so the columns would be missing.
            return self._without_rows(rows.remove_columns(removed))
        hashed = [rows._fingerprint, self.mapper, removed]  # noqa: SLF001 - there is no public name for it
        return rows.map(
            self.mapper,
            batched=True,
            batch_size=self.batch_size,
            remove_columns=removed,
            # Any number, even 1, starts processes.
            num_proc=self.num_proc if self.num_proc > 1 else None,
            load_from_cache_file=self.load_from_cache_file,
            desc=self.description,
            # The library's own fingerprint changes with the batch size, which does not change the rows.
            new_fingerprint=datasets_library().fingerprint.Hasher.hash(hashed),
        )

    def _without_rows(self, rows: Any) -> Any:
        datasets = datasets_library()
        features = datasets.Features(rows.features | self.mapper.features())
        return datasets.Dataset.from_dict(
            {name: [] for name in features}, features=features, split=rows.split
        )

    def _parts(self, split: Any) -> list[Any]:
        """Cut a split into parts, each stored in one file."""
        if self.rows_per_file is None:
            return [split]
        if not split.cache_files:
            raise ConfigError(
                "rows_per_file stores finished rows beside the dataset's files, and this dataset is only in memory: "
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
        """The types of a streamed result, as far as the source states its own."""
        if split.features is None:
            return None
        datasets = datasets_library()
        kept = {name: feature for name, feature in split.features.items() if name not in removed}
        return datasets.Features(kept | self.mapper.features())


def _as_stored(mapper: SnacMapper, batch: Any) -> dict[str, Any]:
    """Return a batch's columns as lists of ints, as a stored dataset's rows hold them, instead of narrow arrays."""
    columns = mapper(batch)
    for name in mapper.arrays:
        columns[name] = [row.tolist() for row in columns[name]]
    return columns
