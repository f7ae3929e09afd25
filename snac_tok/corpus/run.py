"""From a folder of sound to a finished collection: plan, encode shard by shard, manifest last.

    OUT/
    ├── _plan.json        written first: what goes where
    ├── train-….parquet   each whole or absent
    ├── _failed.jsonl     sources that gave no record, where there were any
    └── _manifest.json    written last: the collection is finished

A run that was interrupted leaves whole shards; the same call again adopts them, and where nothing was left to do it
does nothing. Anything else in the way is refused, and only a collection is replaced, when asked for.
"""

from __future__ import annotations

import time
from contextlib import closing, nullcontext
from dataclasses import replace as replace_fields
from typing import TYPE_CHECKING

from snac_tok.audio.loudness import check_loudness
from snac_tok.corpus.duplicates import marked_duplicates
from snac_tok.corpus.finishing import MadeShards, failed_before, read_failures, with_planned_sizes
from snac_tok.corpus.folder import adopt, check_apart, prepare_folder, remove_collection
from snac_tok.corpus.jobs import num_jobs
from snac_tok.corpus.plan import DEFAULT_CLIPS_PER_SHARD, PlanOptions, make_plan
from snac_tok.corpus.planning import (
    check_encoder,
    checked_collection,
    checked_source,
    collection_of,
    planned_items,
)
from snac_tok.corpus.progress import ProgressCounter
from snac_tok.corpus.result import ShardingResult, result_before, result_of
from snac_tok.corpus.work import ShardWork, loaded_shards, shard_maker
from snac_tok.corpus.worker import BatchLimits
from snac_tok.errors import ShardError
from snac_tok.sources.clips import ReadOptions
from snac_tok.sources.folders import AUDIO_EXTENSIONS
from snac_tok.sources.limits import DECODE_MEMORY_BYTES, DECODE_TIMEOUT_SECONDS, Limits
from snac_tok.sources.processes import ProcessOptions
from snac_tok.sources.read_ahead import ReadingPool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus.plan import Plan, PlannedFile, ShardSpec
    from snac_tok.corpus.progress import Progress
    from snac_tok.corpus.ray_engine import RayEngine
    from snac_tok.corpus.worker import SoundEncoder


def shard_folder(
    source: str | Path,
    out: str | Path,
    encoder: SoundEncoder,
    *,
    channels: ChannelPolicy | None = None,
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD,
    extensions: Collection[str] = AUDIO_EXTENSIONS,
    limits: BatchLimits | None = None,
    progress: Callable[[Progress], None] | None = None,
    replace: bool = False,
    allow_truncated: bool = False,
    min_duration: float = 0.0,
    max_duration: float | None = None,
    max_file_bytes: int | None = None,
    loudness: float | None = None,
    dedupe: bool = False,
    max_error_rate: float = 1.0,
    rerun_errors: bool = False,
    array_task: tuple[int, int] | None = None,
    keep_columns: Sequence[str] | None = None,
    jobs: int | None = None,
    decode_timeout: float = DECODE_TIMEOUT_SECONDS,
    decode_memory: int | None = DECODE_MEMORY_BYTES,
    engine: RayEngine | None = None,
) -> ShardingResult:
    """Encode all recordings of `source` into a new collection in `out`.

    Args:
        source: a folder of audio files, with metadata.csv or metadata.jsonl where texts are known; a pattern such as
            `data/**/*.flac`; a manifest (.csv, .tsv, .jsonl, .txt, .parquet) that lists recordings or parts of them; a
            .tar or .parquet with sound in it; a Lhotse Shar; a dataset, as `hf:NAME:SPLIT` or saved by `save_to_disk`.
        out: a new folder outside of `source`, or that of the same run, interrupted or finished.
        encoder: what makes the codes; a `SnacTokenizer`.
        channels: which of several is encoded: "mean", "left", "right" or its number, counted from 0; "each" makes a
            record a channel; None is what the encoder says.
        clips_per_shard: files a shard.
        extensions: file endings that count as audio.
        limits: of a batch; changes the speed, never the shards.
        progress: called after each batch.
        replace: whether a collection in `out`, finished or begun, is removed first; other files stay. Not with
            `array_task`.
        allow_truncated: whether what a cut-off or damaged file still holds becomes a record; without it the file
            is counted as failed.
        min_duration: shorter recordings, in seconds, are left out, counted and listed.
        max_duration: longer ones, too; None takes any length.
        max_file_bytes: so are larger files.
        loudness: that each recording is brought to before it is encoded, in LUFS (EBU R128); None leaves it as it is.
            Needs pyloudnorm, and reads files whole, however long they are.
        dedupe: whether a recording is left out, counted and listed if one before it, by name, has the same samples.
            Everything is decoded once more, before the plan is written.
        max_error_rate: the share of the recordings, 0…1, that may fail before the run stops.
        rerun_errors: whether shards with failed recordings are made again; a recording that failed before may have
            another size by now, because it was repaired.
        array_task: (i, n) makes only the shards of task i, 0…n−1, of n tasks that run side by side, on other machines
            for example, and no manifest; `merge_shards` or the same call without it completes the collection.
        keep_columns: what metadata, manifests and archives tell of recordings and shards keep, beside the text; None
            keeps speaker and language where there are any.
        jobs: in how many other processes files are decoded, while this one encodes; 0 decodes in this one. None is 0
            for small collections and otherwise one for every four cores, or on a GPU for all cores but one; with an
            engine, one for each of its workers.
            Changes the speed, never the shards.
        decode_timeout: seconds after which a decoder that gives nothing is ended; not with jobs=0.
        decode_memory: bytes that each decoding process may take; None sets no limit; not with jobs=0.
        engine: where the work runs: None is this process, `RayEngine` the machines of a cluster. The shards are the
            same, so one may begin and the other go on.

    Raises:
        ConfigError: `encoder` is a name or something else that makes no codes.
        SourceError: no audio in `source`, contradicting metadata, or impossible limits.
        ShardError: `out` holds something else or lies in `source`, the disk refused, or both `replace` and
            `array_task` are given.
        TooManyFailuresError: more recordings failed than `max_error_rate` allows.
        WaveformError: an unknown channel policy. Single files that cannot be used raise nothing: see
            `ShardingResult.num_failures`.
    """
    started = time.monotonic()
    source, out = checked_source(source), checked_collection(out)
    check_encoder(encoder)
    check_apart(source, out)
    _check_replaced_once(replace=replace, array_task=array_task)
    limits, max_error_rate = limits or BatchLimits(), _checked_rate(max_error_rate)
    options = PlanOptions(
        clips_per_shard=clips_per_shard,
        allow_truncated=allow_truncated,
        limits=Limits(min_seconds=min_duration, max_seconds=max_duration, max_bytes=max_file_bytes),
        loudness=None if loudness is None else check_loudness(loudness),
        dedupe=dedupe,
    )

    def decoding(items: Sequence[PlannedFile]) -> ProcessOptions:
        return ProcessOptions(
            jobs=num_jobs(
                jobs, items, on_ray=engine is not None, on_gpu=getattr(encoder, "batches_ahead", 0) > 0
            ),
            timeout_seconds=decode_timeout,
            max_memory_bytes=decode_memory,
        )

    base, columns, planned = planned_items(source, extensions=extensions, keep_columns=keep_columns)
    options = replace_fields(options, columns=columns)
    # Where all is made anew nothing is tried again.
    planned, failed = _tried_again(planned, out, rerun_errors=rerun_errors and not replace)
    if dedupe:
        planned = marked_duplicates(
            planned,
            source=base,
            out=None if replace else out,
            options=ReadOptions(allow_truncated=allow_truncated, limits=options.limits),
            processes=decoding(planned),
            progress=progress,
        )
    plan = make_plan(planned, collection_of(encoder, channels), options)
    if replace:
        remove_collection(out)
    manifest = prepare_folder(out, plan, reopen=bool(failed))
    if manifest:
        return result_before(manifest, read_failures(out), started=started)
    specs = _specs_of(plan, array_task)
    counter = ProgressCounter(specs, progress, max_error_rate=max_error_rate)
    shards = _adopted(plan, specs, out, counter, but_those_with=failed)
    num_adopted = len(shards)
    missing = [spec for spec in specs if spec.info.index not in shards]
    processes = decoding([item for spec in missing for item in spec.items])
    work = ShardWork(
        encoder=encoder,
        collection=plan.collection,
        source=base,
        out=out,
        limits=limits,
        processes=processes,
        repaired=frozenset(failed),
    )
    if engine:
        with closing(engine.make_shards(work, missing, counter)) as made:
            for index, shard in made:
                shards.add(index, shard)
    else:
        make = shard_maker(work, counter.batch_done)
        with ReadingPool(processes) if processes.jobs and missing else nullcontext() as pool:
            for spec, files, late in loaded_shards(work, missing, pool):
                if late:
                    counter.shard_adopted(spec, late)
                shards.add(spec.info.index, late or make(spec, files=files))
    if array_task is None:
        shards.finish(out, plan.head)
    return result_of(
        shards.entries,
        shards.failures,
        sampling_rate=shards.collection.sampling_rate,
        started=started,
        num_adopted=num_adopted,
        is_complete=array_task is None,
        progress=counter.state,
    )


def _tried_again(
    planned: list[PlannedFile], out: Path, *, rerun_errors: bool
) -> tuple[list[PlannedFile], set[str]]:
    """Return what is planned, and the names of those recordings that failed before and are made again."""
    if not rerun_errors:
        return planned, set()
    return with_planned_sizes(planned, out), failed_before(out)


def _check_replaced_once(*, replace: bool, array_task: tuple[int, int] | None) -> None:
    if replace and array_task:
        number, count = array_task
        raise ShardError(
            f"task {number} of {count} was asked to replace the collection, and would remove what the other tasks have "
            "made; begin anew once, without tasks, or choose a new folder."
        )


def _specs_of(plan: Plan, array_task: tuple[int, int] | None) -> list[ShardSpec]:
    number, count = array_task or (0, 1)
    if not 0 <= number < count:
        raise ShardError(f"array task {number} of {count} is none; tasks are numbered from 0 to n-1.")
    return [plan.shard(index) for index in range(number, plan.num_shards, count)]


def _checked_rate(max_error_rate: float) -> float:
    if not 0 <= max_error_rate <= 1:
        raise ShardError(f"max_error_rate is {max_error_rate}; a share from 0 to 1 is needed.")
    return max_error_rate


def _adopted(
    plan: Plan, specs: Sequence[ShardSpec], out: Path, counter: ProgressCounter, *, but_those_with: set[str]
) -> MadeShards:
    """Check the shards that an interrupted run has left, and count them; those with some recordings are left out."""
    shards = MadeShards(plan.collection)
    for spec in specs:
        shard = adopt(spec, out)
        if shard and not any(failure.source in but_those_with for failure in shard.failures):
            counter.shard_adopted(spec, shard)
            shards.add(spec.info.index, shard)
    return shards
