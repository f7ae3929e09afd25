"""Marks recordings whose sound another one has, before anything is encoded.

The marks are part of the plan. So which of several is kept (the first by name) depends on nothing but the recordings:
not on workers, array tasks or interruptions. The price is that everything is decoded twice; a run that is resumed, and
array tasks that find the plan, take its marks.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from snac_tok.corpus.folder import PLAN_NAME
from snac_tok.corpus.loading import file_failure, read_sounds, recording_of
from snac_tok.corpus.plan import Plan
from snac_tok.corpus.progress import Progress
from snac_tok.shards.publish import write_errors_named
from snac_tok.sources.clips import Clips
from snac_tok.sources.read_ahead import ReadingPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from snac_tok.corpus.plan import PlannedFile
    from snac_tok.sources.clips import ReadOptions
    from snac_tok.sources.processes import ProcessOptions


def marked_duplicates(
    items: Iterable[PlannedFile],
    *,
    source: Path,
    out: Path | None,
    options: ReadOptions,
    processes: ProcessOptions,
    progress: Callable[[Progress], None] | None = None,
) -> list[PlannedFile]:
    """Return the recordings in the order of a plan; those whose sound an earlier one has say so.

    Sound is compared as it is decoded, at its own rate: a WAV and its FLAC are equal. What cannot be read is equal to
    nothing.

    Args:
        items: of a plan to be.
        source: the folder that their paths are relative to.
        out: the folder of the collection, whose plan may know the marks; None where it is to be forgotten.
        options: what is taken of each.
        processes: where it is decoded.
        progress: called after each recording.

    Raises:
        SnacTokError: the machine failed, not a recording.
    """
    ordered = sorted(items, key=lambda item: item.path)
    if out and (known := _marks_of_plan(out, ordered)):
        return known
    first: dict[tuple[str, int | None], str] = {}
    marked = []
    for item, digest in zip(ordered, _digests(ordered, source, options, processes, progress), strict=True):
        path = item.path if digest is None else first.setdefault((digest, item.channel), item.path)
        marked.append(item if path == item.path else replace(item, same_as=path))
    return marked


def _marks_of_plan(out: Path, items: list[PlannedFile]) -> list[PlannedFile] | None:
    """Return the recordings as the plan in `out` has them, if it is about these and was made with marks."""
    if not (out / PLAN_NAME).exists():
        return None
    with write_errors_named(out / PLAN_NAME):
        plan = Plan.from_json((out / PLAN_NAME).read_bytes())
    same = plan.options.dedupe and [replace(item, same_as=None) for item in plan.items] == items
    return list(plan.items) if same else None


def _digests(
    items: list[PlannedFile],
    source: Path,
    options: ReadOptions,
    processes: ProcessOptions,
    progress: Callable[[Progress], None] | None,
) -> Iterator[str | None]:
    total = sum(item.num_bytes for item in items)
    done = 0
    only_digests = replace(options, only_digest=True)
    recordings = (recording_of(item, source) for item in items)
    with ReadingPool(processes) if processes.jobs else nullcontext() as pool:
        for number, sound in enumerate(read_sounds(recordings, only_digests, pool)):
            done += items[number].num_bytes
            if progress:
                progress(
                    Progress(
                        done_files=number + 1,
                        total_files=len(items),
                        done_bytes=done,
                        total_bytes=total,
                        is_comparing=True,
                    )
                )
            if isinstance(sound, Exception):
                file_failure(items[number], sound, source)  # raises what is the machine's
            yield sound.digest if isinstance(sound, Clips) else None
