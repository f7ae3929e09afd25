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

import dataclasses
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snac_tok.audio import check_policy
from snac_tok.corpus.folder import FAILED_NAME, adopt, check_apart, prepare_folder, remove_collection
from snac_tok.corpus.plan import DEFAULT_CLIPS_PER_SHARD, PlannedFile, make_plan
from snac_tok.corpus.worker import BatchDone, encode_shard
from snac_tok.shards import CheckedShard, CollectionInfo, Manifest, write_manifest
from snac_tok.shards.publish import publish_bytes
from snac_tok.sources.folders import AUDIO_EXTENSIONS, list_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus.plan import Plan, ShardSpec
    from snac_tok.corpus.worker import BatchLimits, SoundEncoder
    from snac_tok.shards import ShardEntry
    from snac_tok.sources.recording import Recording


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is; bytes of source files tell the remaining time better than their number.

    Attributes:
        done_files: read so far, failed ones and those of adopted shards included.
        total_files: of the plan.
        done_bytes: of these files.
        total_bytes: of the plan.
        num_failures: so far.
        duration_seconds: of sound encoded by this run.
    """

    done_files: int
    total_files: int
    done_bytes: int
    total_bytes: int
    num_failures: int
    duration_seconds: float


@dataclass(frozen=True, kw_only=True)
class ShardingResult:
    """What a run came to.

    Attributes:
        num_clips: records written.
        num_failures: sources that gave none; `_failed.jsonl` lists them.
        num_tokens: codes of all records.
        hours: of sound, before padding.
        num_shards: files written.
        num_adopted_shards: of these, left whole by an interrupted run and kept.
        was_finished: whether an earlier run had finished the collection, and this one had nothing to do.
        elapsed_seconds: wall time of this run.
    """

    num_clips: int
    num_failures: int
    num_tokens: int
    hours: float
    num_shards: int
    num_adopted_shards: int
    was_finished: bool
    elapsed_seconds: float


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
) -> ShardingResult:
    """Encode all audio files below `source` into a new collection in `out`.

    Args:
        source: a folder of audio files, with metadata.csv or metadata.jsonl where texts are known.
        out: a new folder outside of `source`, or that of the same run, interrupted or finished.
        encoder: what makes the codes; a `SnacTokenizer`.
        channels: which of several is encoded: "mean", "left", "right" or its number, counted from 0; "each" makes a
            record a channel; None is what the encoder says.
        clips_per_shard: files a shard.
        extensions: file endings that count as audio.
        limits: of a batch; changes the speed, never the shards.
        progress: called after each batch.
        replace: whether a collection in `out`, finished or begun, is removed first; other files stay.
        allow_truncated: whether what a cut-off or damaged file still holds becomes a record; without it the file
            is counted as failed.

    Raises:
        SourceError: no audio in `source`, or contradicting metadata.
        ShardError: `out` holds something else or lies in `source`, or the disk refused.
        WaveformError: an unknown channel policy. Single files that cannot be used raise nothing: see
            `ShardingResult.num_failures`.
    """
    started = time.monotonic()
    source, out = Path(source), Path(out)
    check_apart(source, out)
    plan = make_plan(
        (_planned(recording) for recording in list_folder(source, extensions=extensions)),
        _collection(encoder, channels),
        clips_per_shard=clips_per_shard,
        allow_truncated=allow_truncated,
    )
    if replace:
        remove_collection(out)
    manifest = prepare_folder(out, plan)
    was_finished, num_adopted = manifest is not None, plan.num_shards
    if manifest is None:
        tracker, shards, num_adopted = _Tracker(plan, progress), list[CheckedShard](), 0
        for spec in plan.specs():
            shard = adopt(spec, out)
            if shard:
                num_adopted += 1
                tracker.shard_adopted(spec, shard.entry)
            shards.append(
                shard
                or encode_shard(
                    spec, encoder, source=source, out=out, limits=limits, on_batch=tracker.batch_done
                )
            )
        manifest = finish(out, plan, shards)
    return ShardingResult(
        num_clips=manifest.num_records,
        num_failures=manifest.num_failures,
        num_tokens=manifest.num_tokens,
        hours=manifest.hours,
        num_shards=plan.num_shards,
        num_adopted_shards=num_adopted,
        was_finished=was_finished,
        elapsed_seconds=time.monotonic() - started,
    )


def _planned(recording: Recording) -> PlannedFile:
    return PlannedFile(path=recording.name, num_bytes=recording.num_bytes or 0, text=recording.text)


def _collection(encoder: SoundEncoder, channels: ChannelPolicy | None) -> CollectionInfo:
    fields = encoder.describe()
    if channels is not None:
        fields["channels"] = str(check_policy(channels, each=True))
    return CollectionInfo(**fields)


def finish(out: Path, plan: Plan, shards: Sequence[CheckedShard]) -> Manifest:
    """Write _failed.jsonl where there were failures, then the manifest; all shards must be published.

    Raises:
        ShardError: the disk refused.
    """
    manifest = Manifest(
        collection=plan.collection,
        plan_fingerprint=plan.fingerprint,
        shards=tuple(shard.entry for shard in shards),
    )
    failures = [dataclasses.asdict(failure) for shard in shards for failure in shard.failures]
    if failures:
        lines = "".join(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
        publish_bytes(out / FAILED_NAME, lines.encode(), replace=True)
    write_manifest(out, manifest)
    return manifest


class _Tracker:
    """Adds up what batches and adopted shards bring and tells the caller."""

    def __init__(self, plan: Plan, callback: Callable[[Progress], None] | None) -> None:
        self._callback = callback
        self._state = Progress(
            done_files=0,
            total_files=len(plan.items),
            done_bytes=0,
            total_bytes=sum(item.num_bytes for item in plan.items),
            num_failures=0,
            duration_seconds=0.0,
        )

    def batch_done(self, done: BatchDone) -> None:
        state = self._state
        self._state = dataclasses.replace(
            state,
            done_files=state.done_files + done.num_files,
            done_bytes=state.done_bytes + done.num_bytes,
            num_failures=state.num_failures + done.num_failures,
            duration_seconds=state.duration_seconds + done.duration_seconds,
        )
        if self._callback:
            self._callback(self._state)

    def shard_adopted(self, spec: ShardSpec, entry: ShardEntry) -> None:
        num_bytes = sum(item.num_bytes for item in spec.items)
        self.batch_done(
            BatchDone(
                num_files=len(spec.items),
                num_bytes=num_bytes,
                num_failures=entry.num_failures,
                duration_seconds=0.0,
            )
        )
