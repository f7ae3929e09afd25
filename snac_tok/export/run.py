"""From shards to another program's files: part by part, as much in memory as a row group.

    record ── Content.row ── arrays and columns ── Format.write ── staged files ── ExportFolder.publish

No codec runs here and nothing needs a GPU: codes become ids by arithmetic.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snac_tok.errors import ExportError
from snac_tok.export.content import LeftOutError, content_of
from snac_tok.export.folder import ExportFolder, LeftOut, Part
from snac_tok.export.formats import format_named
from snac_tok.export.rows import merged, of_shards, parts_of
from snac_tok.frames.arrays import whole_number
from snac_tok.plain_values import to_plain
from snac_tok.shards import ShardFile, open_shards
from snac_tok.shards.info import json_sha256
from snac_tok.shards.shard_file import check_info
from snac_tok.wording import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.export.content import Content, Row, What
    from snac_tok.export.formats import Format
    from snac_tok.export.rows import ShardRows
    from snac_tok.frames import Vocabulary
    from snac_tok.prompts.array_types import OutputDtype
    from snac_tok.prompts.prompt_format import Prompt
    from snac_tok.shards import Record, ShardCollection


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What an export came to.

    Attributes:
        num_records: written.
        num_tokens: ids of these, text and special ids included; or codes.
        hours: of their sound, before padding.
        num_bytes: of all files.
        num_files: that were written.
        num_parts: in which they were written, each whole or not at all.
        num_kept_parts: of these, left whole by an earlier run and kept.
        left_out: how many records were not written, by the reason; `_left_out.json` names them.
        was_finished: whether an earlier run had finished, and this one had nothing to do.
        elapsed_seconds: wall time of this run.
    """

    num_records: int
    num_tokens: int
    hours: float
    num_bytes: int
    num_files: int
    num_parts: int
    num_kept_parts: int
    left_out: dict[str, int]
    was_finished: bool
    elapsed_seconds: float

    @property
    def num_left_out(self) -> int:
        """Records that were not written."""
        return sum(self.left_out.values())


def export_shards(
    shards: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    preset: str | os.PathLike[str] | Vocabulary | None,
    levels: int | None = None,
    what: What = "ids",
    text_tokenizer: Any = None,
    voice_column: str | None = None,
    prompt: Prompt | None = None,
    mask_prompt: bool = False,
    output_dtype: OutputDtype | None = None,
    columns: bool | None = None,
    rows: Sequence[tuple[int, int | None]] | None = None,
    limit: int | None = None,
    shards_per_file: int = 1,
    progress: Callable[[int, int], None] | None = None,
    replace: bool = False,
) -> ExportReport:
    """Write the records of a shard folder in another program's format.

    The same call again goes on where it was interrupted, or finds that nothing is left to do.

    Args:
        shards: what `snac-tok shard` wrote.
        out: a new folder outside of `shards`, or that of the same export.
        to: "hf" (Parquet), "jsonl", "megatron", "datatrove", "webdataset" or "lhotse" (Shar).
        preset: whose ids, as `SnacTokenizer.from_pretrained` takes it; None for codes.
        levels: keep only the first levels of each frame.
        what: "ids", "codes", or "sequences" of text and speech to train on.
        text_tokenizer: for sequences: the language model's, or its folder.
        voice_column: the records' column of speakers, for sequences.
        prompt: the order of text and speech, for sequences; None is that of the preset's own model.
        mask_prompt: label what the model is given with -100.
        output_dtype: of ids or codes; None is uint16 for codes, int32 for ids.
        columns: whether tables have the records' own columns, too; None is all but sequences, whose trainers want
            input_ids, attention_mask and labels alone.
        rows: only these records: the first and the one behind the last, None for the end; several of them, or none.
        limit: only so many records, the first ones.
        shards_per_file: how many shards go into a file.
        progress: called with records done and in all, after each part and now and then.
        replace: whether an export with other options in `out` is removed first.

    Raises:
        ExportError: options that contradict each other or do not fit the format, `out` holds something else, or the
            disk refuses.
        LayoutError: the preset does not fit the shards' codec, or the text tokenizer does not fit the preset.
        ShardError: the shards are damaged or unfinished, or have no such rows.
        MissingDependencyError: the format's package is not installed.
    """
    started = time.monotonic()
    format_ = format_named(to)
    shards_per_file = whole_number(shards_per_file, what="shards_per_file", error=ExportError, least=1)
    collection, out = open_shards(Path(shards)), Path(out)
    _check_apart(collection.folder, out)
    chosen = merged(rows, total=len(collection), limit=limit)
    content = content_of(
        collection,
        preset=preset,
        levels=levels,
        what=what,
        text_tokenizer=text_tokenizer,
        voice_column=voice_column,
        prompt=prompt,
        mask_prompt=mask_prompt,
        output_dtype=output_dtype,
    )
    has_columns = what != "sequences" if columns is None else columns
    format_.check(content, columns=has_columns, out=out)
    parts = parts_of(
        of_shards(chosen, [entry.num_records for entry in collection.manifest.shards]),
        shards_per_file=shards_per_file,
    )
    settings = {
        "to": to,
        **content.describe(),
        "columns": has_columns and format_.has_columns,
        "rows": None if rows is None and limit is None else [[each.start, each.stop] for each in chosen],
        "shards_per_file": shards_per_file,
        "shards": json_sha256(to_plain(collection.manifest.shards)),
    }
    with ExportFolder(out, settings, num_parts=len(parts), replace=replace) as folder:
        run = _Run(collection, content, format_, folder, has_columns=has_columns, progress=progress)
        num_kept = run.write(parts)
        was_finished = num_kept == len(parts) and folder.totals is not None
        totals = run.totals(len(parts))
        if not was_finished:
            folder.finish(totals, run.parts(len(parts)))
    return ExportReport(
        **totals,
        num_parts=len(parts),
        num_kept_parts=num_kept,
        was_finished=was_finished,
        elapsed_seconds=time.monotonic() - started,
    )


class _Run:
    """One run: what is exported, whereto, and how far it is."""

    def __init__(
        self,
        collection: ShardCollection,
        content: Content,
        format_: Format,
        folder: ExportFolder,
        *,
        has_columns: bool,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._collection = collection
        self._content = content
        self._format = format_
        self._folder = folder
        self._has_columns = has_columns
        self._progress = progress
        self._num_done = self._num_records = 0

    def write(self, parts: Sequence[tuple[ShardRows, ...]]) -> int:
        """Write the parts that are not there, and return how many were."""
        self._num_records = sum(_num_rows(part) for part in parts)
        num_kept = 0
        for index, shards in enumerate(parts):
            if self._folder.part(index) is not None:
                num_kept += 1
                self._count(_num_rows(shards))
                continue
            stem = self._format.stem(index, len(parts))
            self._folder.remember(index, self._write_part(shards, stem))
        return num_kept

    def parts(self, count: int) -> Iterator[Part]:
        """Yield what the parts hold, one in memory at a time."""
        for index in range(count):
            part = self._folder.part(index)
            if part is None:
                raise ExportError(
                    f"a file of {self._folder.path} was changed while it was exported; run again."
                )
            yield part

    def totals(self, count: int) -> dict[str, Any]:
        """Return the sums over all parts, as the report has them."""
        sums, left_out = Counter[str](), Counter[str]()
        for part in self.parts(count):
            sums["records"] += part.num_records
            sums["tokens"] += part.num_tokens
            sums["samples"] += part.num_samples
            sums["files"] += len(part.files)
            sums["bytes"] += sum(part.files.values())
            left_out.update(each.reason for each in part.left_out)
        rate = self._content.info.sampling_rate
        return {
            "num_records": sums["records"],
            "num_tokens": sums["tokens"],
            "hours": sums["samples"] / rate / SECONDS_PER_HOUR,
            "num_bytes": sums["bytes"],
            "num_files": sums["files"],
            "left_out": dict(sorted(left_out.items())),
        }

    def _write_part(self, shards: Sequence[ShardRows], stem: str) -> Part:
        left_out: list[LeftOut] = []
        sums = Counter[str]()
        with self._folder.staging(stem) as path:
            rows = self._rows(shards, left_out)
            first = list(itertools.islice(rows, 1))
            if first or self._format.writes_empty:
                with self._format.write(path, self._content, columns=self._has_columns) as add:
                    for row in itertools.chain(first, rows):
                        add(row)
                        sums.update(records=1, tokens=row.num_tokens, samples=row.columns["num_samples"])
            files = self._folder.publish()
        return Part(
            num_records=sums["records"],
            num_tokens=sums["tokens"],
            num_samples=sums["samples"],
            files=files,
            left_out=tuple(left_out),
        )

    def _rows(self, shards: Sequence[ShardRows], left_out: list[LeftOut]) -> Iterator[Row]:
        """Yield what is written of the shards; what is not is put into `left_out`."""
        for shard in shards:
            for number, record in self._records(shard):
                try:
                    yield self._content.row(record, number=number)
                except LeftOutError as error:
                    left_out.append(LeftOut(id=record.id, reason=str(error)))
                self._count(1)

    def _records(self, rows: ShardRows) -> Iterator[tuple[int, Record]]:
        """Yield the wanted records of a shard with their numbers in the collection."""
        manifest = self._collection.manifest
        entry = manifest.shards[rows.shard]
        with ShardFile(self._collection.folder / entry.name) as shard:
            check_info(shard.path, shard.info, expected=manifest.shard_info(rows.shard))
            shard.check_counts(entry)
            for number, record in enumerate(shard, start=rows.first_row):
                if number >= rows.wanted[-1].stop:
                    return
                if any(number in wanted for wanted in rows.wanted):
                    yield number, record

    def _count(self, number: int) -> None:
        self._num_done += number
        if self._progress is not None:
            self._progress(self._num_done, self._num_records)


def _check_apart(shards: Path, out: Path) -> None:
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(shards)):
        raise ExportError(
            f"the export cannot go into {out}: it is {shards}, the folder of the shards, or lies in it; choose another."
        )


def _num_rows(shards: Sequence[ShardRows]) -> int:
    return sum(len(wanted) for shard in shards for wanted in shard.wanted)
