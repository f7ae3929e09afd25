"""Which records of a shard folder are decoded, and each one's way into a file of its own."""

from __future__ import annotations

import contextlib
import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.cli.shared_options import refuse_existing
from snac_tok.cli.sound_names import NAME_REFUSALS, SoundNames
from snac_tok.cli.sound_writing import write_sound
from snac_tok.errors import AudioFileError, CodesError, ShardError, TokenError, WaveformError
from snac_tok.wording import shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from snac_tok.cli.sound_writing import Way
    from snac_tok.shards import CollectionInfo, Record, ShardCollection, ShardFile
    from snac_tok.tokenizer import SnacTokenizer

# What is wrong with one record alone: the others can be decoded.
RECORD_FAULTS = (ShardError, CodesError, TokenError, WaveformError)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A record that was asked for, and where its sound goes.

    Attributes:
        id: of the record.
        record: None where there is none of this id.
        path: of its sound; None where it cannot have one.
        fault: why one of them is None.
    """

    id: str
    record: Record | None = None
    path: Path | None = None
    fault: str = ""


@contextlib.contextmanager
def records_of(source: Path) -> Iterator[tuple[ShardCollection | ShardFile, CollectionInfo]]:
    """Lend the records of a shard folder, or of one of its files alone, and what made them.

    Raises:
        ShardError: it is damaged, unfinished or of another kind.
    """
    from snac_tok.shards import ShardFile, open_shards

    if source.is_dir():
        collection = open_shards(source)
        yield collection, collection.info
        return
    with ShardFile(source) as shard:
        yield shard, shard.info.collection


def chosen(
    records: Iterable[Record],
    names: SoundNames | Path,
    *,
    ids: Sequence[str],
    rows: Sequence[range],
    source: str,
) -> Iterator[Target]:
    """Yield the records with these ids, or in these rows where none is named, each with its sound's path.

    Args:
        records: of the shards.
        names: how sounds are named in a folder, or the file for the one record.
        ids: of the records that are wanted.
        rows: that are wanted, counted from 0, in order.
        source: of the records, for messages.

    Raises:
        ShardError: a shard is damaged.
    """
    missing, first = dict.fromkeys(ids), "it holds none"
    last = rows[-1].stop if rows else 0
    for row, record in enumerate(records):
        if not missing if ids else row >= last:
            return
        if row == 0:
            first = f"the first is {shortened(record.id)}"
        # Of every record, wanted or not: names must not depend on which ones are decoded together.
        target = _target(record, names)
        if record.id in missing if ids else any(row in each for each in rows):
            missing.pop(record.id, None)
            yield target
    for name in missing:
        yield Target(id=name, fault=f"{source} has no such record; {first}")


def write_record(target: Target, tokenizer: SnacTokenizer, way: Way) -> float:
    """Decode a record into its file and return its seconds.

    Raises:
        ShardError: there is no such record, or no file can have its name; the others of `RECORD_FAULTS`: its codes
            or its length cannot be decoded.
        click.ClickException: the file is already there.
        AudioFileError: the disk refuses.
    """
    if target.record is None or target.path is None:
        alone = "" if target.record is None else "; --id with -o FILE.wav decodes it alone"
        raise ShardError(f"{target.fault}{alone}.")
    levels = tokenizer.layout.unflatten(target.record.codes)
    blocks = tokenizer.decode_code_blocks(levels, num_samples=target.record.num_samples, noise=way.seed)
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        if target.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "a folder has this name")
        refuse_existing(target.path, force=way.force)
        return write_sound(target.path, blocks)
    except (OSError, AudioFileError) as error:
        refusal = error if isinstance(error, OSError) else error.__cause__
        if not isinstance(refusal, OSError) or refusal.errno not in NAME_REFUSALS:
            raise
        raise ShardError(f"no file can have its name ({os.strerror(refusal.errno)}).") from error


def _target(record: Record, names: SoundNames | Path) -> Target:
    if not isinstance(names, SoundNames):
        return Target(id=record.id, record=record, path=names)
    try:
        return Target(id=record.id, record=record, path=names.path_of(record))
    except ShardError as error:
        return Target(id=record.id, record=record, fault=str(error))
