"""The sounds of shards into a folder, one by one; what cannot be decoded is named at the end."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snac_tok.cli.advice import at_the_command_line
from snac_tok.cli.messages import say
from snac_tok.cli.progress import decoding_bar
from snac_tok.cli.shared_options import FILE_ENDINGS
from snac_tok.cli.sound_writing import Way, check_sound_file, made_with
from snac_tok.wording import counted, lasting, shortened

if TYPE_CHECKING:
    from snac_tok.cli.sound_names import SoundNames


@dataclass(frozen=True, kw_only=True)
class WantedRecords:
    """Which records of shards are decoded: those with these ids, or in these rows; all where neither is named."""

    ids: tuple[str, ...]
    rows: list[tuple[int, int | None]] | None
    limit: int | None

    def rows_of(self, total: int) -> list[range]:
        """Return the rows that are wanted, of so many; none where ids are."""
        from snac_tok.export.rows import merged

        return [] if self.ids else merged(self.rows, total=total, limit=self.limit)

    def number(self, rows: list[range]) -> int:
        """Return how many records are wanted."""
        return len(self.ids[: self.limit]) or sum(map(len, rows))


def decode_shards(
    source: str, output: str, way: Way, wanted: WantedRecords, *, ending: str, progress: bool | None
) -> int:
    """Decode what is wanted of shards, and return the exit code: 1 if some could not be decoded, 2 if all."""
    from snac_tok.cli.record_files import RECORD_FAULTS, chosen, records_of, write_record

    seconds, skipped = [], []
    with records_of(Path(source)) as (records, info):
        rows = wanted.rows_of(len(records))
        number = wanted.number(rows)
        names = _names(output, number, ending=ending, force=way.force)
        tokenizer = made_with(source, info.to_dict(), way)
        if not isinstance(names, Path):
            names.folder.mkdir(parents=True, exist_ok=True)
        try:
            with decoding_bar(number, progress) as bar:
                targets = chosen(records, names, ids=wanted.ids, rows=rows, source=source)
                for target in itertools.islice(targets, number):
                    try:
                        seconds.append(write_record(target, tokenizer, way))
                    except RECORD_FAULTS as error:
                        skipped.append(f"skipped {shortened(target.id)}: {at_the_command_line(error)}")
                    bar.advance(1)
        finally:  # a shard may be damaged, and what came before it is listed all the same
            if seconds or number == 0:
                say(f"decoded {counted(len(seconds), 'record')}, {lasting(sum(seconds))}, into {output}")
            for sentence in skipped:
                say(sentence)
    return 0 if not skipped else 1 if seconds else 2


def _names(output: str, number: int, *, ending: str, force: bool) -> SoundNames | Path:
    """Return how the sounds of shards are named: in a folder, or one by the file that is asked for."""
    from snac_tok.cli.sound_names import SoundNames

    target = Path(output)
    if target.is_dir() or output.endswith(("/", os.sep)) or target.suffix.lower() not in FILE_ENDINGS:
        if target.exists() and not target.is_dir():
            raise click.ClickException(
                f"{target} is a file; name a folder for the sounds, or one --id and a .wav."
            )
        return SoundNames(target, ending=ending)
    if number > 1:
        raise click.UsageError(
            f"{number} records do not go into one file, {target}; name a folder, or one --id"
        )
    check_sound_file(target, force=force)
    return target
