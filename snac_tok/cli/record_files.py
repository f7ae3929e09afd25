"""Which records of a shard folder are decoded, and under which names their sounds go."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from snac_tok.frames import Vocabulary
    from snac_tok.shards import Record, ShardCollection


class SoundNames:
    """Gives every record a path in one folder: its source's, with another ending.

    Args:
        folder: where the sounds go.
        ending: ".wav" or ".flac".
    """

    def __init__(self, folder: Path, *, ending: str) -> None:
        self._folder = folder
        self._ending = ending
        self._taken: set[PurePosixPath] = set()

    def path_of(self, record: Record) -> Path:
        """Return the path for a record; a.wav and a.flac, side by side, keep their endings to stay apart.

        Raises:
            ShardError: a record whose name leads out of the folder, as no shard of ours has it.
        """
        source = PurePosixPath(record.source)
        channel = record.id.removeprefix(record.source)
        if source.is_absolute() or ".." in source.parts or not source.name or {"/", "\0"} & set(channel):
            raise ShardError(
                f"the record {record.id!r} has a name that leads out of the folder; it is not written."
            )
        name = source.with_name(f"{source.stem}{channel}{self._ending}")
        if name in self._taken:
            name = source.with_name(f"{source.name}{channel}{self._ending}")
        self._taken.add(name)
        return self._folder / name


def chosen_ids(
    collection: ShardCollection, vocabulary: Vocabulary, *, ids: Sequence[str], limit: int | None
) -> Iterator[tuple[Record, Any]]:
    """Yield the records with these ids (all where none is named), `limit` at most, each with its ids (N,).

    Raises:
        ShardError: there is no record of a name; raised at the end, after the others.
    """
    missing, left = set(ids), limit
    for record, row in collection.ids(vocabulary):
        if left == 0 or (ids and not missing):
            return
        if ids and record.id not in missing:
            continue
        missing.discard(record.id)
        left = None if left is None else left - 1
        yield record, row
    if missing and left != 0:
        first = next(iter(collection), None)
        there = f"the first is {first.id!r}" if first else "it holds none"
        raise ShardError(f"{collection.folder} has no record {min(missing)!r}; {there}.")
