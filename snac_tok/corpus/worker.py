"""The only work loop: reads the files of one shard, encodes them in batches, writes the shard.

Engines call `encode_shard`; they decide where and when, never what. A file that cannot be used becomes a
`Failure` in the shard's footer and the rest goes on; a disk, memory or device that fails stops the work,
since that says nothing about the file.

    files ─ read ─ pick channels ─ collect up to a batch ─ encode ─ flatten ─ ShardWriter
              │                                              └ fails: one by one, so that one bad clip
              │                                                takes none of its neighbours along
              └ long: alone, block by block, so that it never stands in memory whole
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from snac_tok.corpus.loading import Clip, LoadedFile, LongClip, failure_of, load
from snac_tok.errors import AudioError, CodesError
from snac_tok.shards import Failure, Record, ShardWriter, raw_codes, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snac_tok.audio import Waveform
    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.shards import CollectionInfo, ShardEntry


class Encoder(Protocol):
    """What turns sound into codes; `SnacTokenizer` is one."""

    def encode_codes(self, waveforms: list[Waveform]) -> list[list[npt.NDArray[np.int64]]]:
        """Per clip, per level, codes (T_k,); resamples by itself; a clip's codes depend on it alone."""

    def encode_blocks(self, blocks: Iterable[Waveform]) -> tuple[list[npt.NDArray[np.int64]], int]:
        """Of one clip in blocks, codes (T_k,) per level and its samples at the codec's rate: those of the whole."""

    def num_samples(self, waveform: Waveform) -> int:
        """The clip's samples at the codec's rate, before padding."""

    def describe(self) -> dict[str, Any]:
        """The fields of `CollectionInfo`."""


# Codes (T_k,) per level, and samples at the codec's rate.
_Encoded: TypeAlias = "tuple[list[npt.NDArray[np.int64]], int]"


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How much is encoded in one call; changes speed and memory, never the records.

    Attributes:
        max_seconds: of sound, all channels together; a longer file goes alone.
        max_files: at most.
        long_seconds: a file that claims to last longer, or does not say, is read and encoded block by block.
    """

    max_seconds: float = 120.0
    max_files: int = 64
    long_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """What one batch came to, for progress displays.

    Attributes:
        num_files: read, failed ones included.
        num_bytes: of these files.
        num_failures: that gave no record.
        duration_seconds: of the sound that was encoded.
    """

    num_files: int
    num_bytes: int
    num_failures: int
    duration_seconds: float


def encode_shard(
    spec: ShardSpec,
    encoder: Encoder,
    *,
    source: Path,
    out: Path,
    limits: BatchLimits | None = None,
    on_batch: Callable[[BatchDone], None] | None = None,
) -> ShardEntry:
    """Encode and publish one shard; where another attempt was faster, its (equal) shard stands.

    Args:
        spec: the unit of work, from a plan.
        encoder: what makes the codes.
        source: the folder the plan's paths are relative to.
        out: the folder the shard goes to.
        limits: of a batch.
        on_batch: called after each batch.

    Returns:
        The manifest's entry, read back from the published file.

    Raises:
        ShardError: the disk refused, or another collection's shard has the name.
        CodesError: the encoder gave codes that do not fit its own layout or codebook.
    """
    limits = limits or BatchLimits()
    collection = spec.info.collection
    with ShardWriter(out, info=spec.info) as shard:
        files = (
            load(
                item,
                source=source,
                channels=collection.channels,
                long_seconds=limits.long_seconds,
                allow_truncated=spec.allow_truncated,
            )
            for item in spec.items
        )
        for batch in _batches(files, limits):
            results = _encode_files(batch, encoder, collection, source)
            for result in results:
                if isinstance(result, Failure):
                    shard.add_failure(result)
                else:
                    shard.add(result)
            if on_batch:
                on_batch(_batch_done(batch, results, collection.sampling_rate))
    return read_entry(shard.path, expected=spec.info)


def _batches(files: Iterable[LoadedFile], limits: BatchLimits) -> Iterator[list[LoadedFile]]:
    batch: list[LoadedFile] = []
    seconds = 0.0
    for loaded in files:
        is_long = bool(loaded.long_clips)
        if batch and (is_long or seconds + loaded.seconds_in_memory > limits.max_seconds):
            yield batch
            batch, seconds = [], 0.0
        batch.append(loaded)
        seconds += loaded.seconds_in_memory
        if is_long or len(batch) >= limits.max_files or seconds >= limits.max_seconds:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def _encode_files(
    files: list[LoadedFile], encoder: Encoder, collection: CollectionInfo, source: Path
) -> list[Record | Failure]:
    """Records in the order of the files, whatever the batch did, and failures."""
    results: list[Record | Failure] = [loaded.failure for loaded in files if loaded.failure]
    clips: list[tuple[LoadedFile, Clip | LongClip]] = []
    for loaded in files:
        clips += ((loaded, clip) for clip in loaded.clips or loaded.long_clips)
    whole = [clip for _, clip in clips if isinstance(clip, Clip)]
    encoded = dict(zip(whole, _encode_clips(whole, encoder), strict=True))
    for loaded, clip in clips:
        outcome = encoded[clip] if isinstance(clip, Clip) else _encode_long(clip, encoder)
        if isinstance(outcome, AudioError):
            results.append(failure_of(loaded.item, outcome, source))
        else:
            results.append(_record(loaded, clip, outcome, collection))
    return results


def _record(
    loaded: LoadedFile, clip: Clip | LongClip, encoded: _Encoded, collection: CollectionInfo
) -> Record:
    codes, num_samples = encoded
    rate = clip.waveform.sampling_rate if isinstance(clip, Clip) else clip.sampling_rate
    return Record(
        id=clip.id,
        source=loaded.item.path,
        num_samples=num_samples,
        source_sampling_rate=rate,
        text=loaded.item.text,
        codes=raw_codes(collection.frame_layout().flatten(codes), codebook_size=collection.codebook_size),
    )


def _encode_clips(clips: list[Clip], encoder: Encoder) -> list[_Encoded | AudioError]:
    """Codes and samples per clip, or what is wrong with it."""
    if not clips:
        return []
    try:
        lengths = [encoder.num_samples(clip.waveform) for clip in clips]
        codes = encoder.encode_codes([clip.waveform for clip in clips])
    except AudioError as error:
        if len(clips) == 1:
            return [error]
        return [result for clip in clips for result in _encode_clips([clip], encoder)]
    if len(codes) != len(clips):
        raise CodesError(f"the encoder gave codes for {len(codes)} of {len(clips)} clips.")
    return list(zip(codes, lengths, strict=True))


def _encode_long(clip: LongClip, encoder: Encoder) -> _Encoded | AudioError:
    """Codes and samples of a clip that is read while it is encoded, or what is wrong with it."""
    try:
        return encoder.encode_blocks(clip.blocks())
    except AudioError as error:
        return error


def _batch_done(files: list[LoadedFile], results: list[Record | Failure], sampling_rate: int) -> BatchDone:
    num_samples = sum(result.num_samples for result in results if isinstance(result, Record))
    return BatchDone(
        num_files=len(files),
        num_bytes=sum(loaded.item.num_bytes for loaded in files),
        num_failures=sum(isinstance(result, Failure) for result in results),
        duration_seconds=num_samples / sampling_rate,
    )
