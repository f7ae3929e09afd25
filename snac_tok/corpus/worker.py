"""The only work loop: reads the files of one shard, encodes them in batches, writes the shard.

Engines call `encode_shard`; they decide where and when, never what. A file that cannot be used becomes a
`Failure` in the shard's footer and the rest goes on; a disk, memory or device that fails stops the work,
since that says nothing about the file.

    files ─ read ─ pick channels ─ collect up to a batch ─ encode ─ flatten ─ ShardWriter
              │                                              └ fails: one by one, so that one bad clip
              │                                                takes none of its neighbours along
              └ long: alone, block by block, so that it never stands in memory whole

On a GPU the next batch is read, and its encoding is begun, before the codes of this one are waited for (`pipelined`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from snac_tok.audio import Waveform
from snac_tok.codec.transfers import pipelined
from snac_tok.corpus.batches import Clock, Reading
from snac_tok.corpus.loading import file_failure
from snac_tok.errors import AudioError, CodesError
from snac_tok.shards import Record, ShardWriter, check_shard, raw_codes
from snac_tok.sources.reading import LONG_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snac_tok.audio import Resampler
    from snac_tok.corpus.loading import Clip, LoadedFile
    from snac_tok.corpus.plan import PlannedFile, ShardSpec
    from snac_tok.shards import CheckedShard, Failure


class SoundEncoder(Protocol):
    """What turns sound into codes; `SnacTokenizer` is one."""

    @property
    def resampler(self) -> Resampler | None:
        """How clips are to be brought to the codec's rate while they are read; None if they are to be left alone."""

    @property
    def seconds_per_call(self) -> float:
        """How much sound one call of `encode_codes` should have to be fast."""

    def encode_codes(self, waveforms: list[Waveform]) -> list[list[npt.NDArray[np.int64]]]:
        """Per clip, per level, codes (T_k,); resamples by itself; a clip's codes depend on it alone."""

    def encode_blocks(self, blocks: Iterable[Waveform]) -> tuple[list[npt.NDArray[np.int64]], int]:
        """Of one clip in blocks, codes (T_k,) per level and its samples at the codec's rate: those of the whole."""

    def num_samples(self, waveform: Waveform) -> int:
        """The clip's samples at the codec's rate, before padding."""

    def describe(self) -> dict[str, Any]:
        """The fields of `CollectionInfo`."""


@runtime_checkable
class BackgroundEncoder(Protocol):
    """A `SoundEncoder` that can encode on a device of its own, while the next batch is read; `SnacTokenizer` is one."""

    @property
    def batches_ahead(self) -> int:
        """How many batches are to be begun before one is waited for; 0 where there is no such device."""

    @property
    def device_seconds(self) -> float:
        """For how long the device has had batches to work on, so far."""

    def begin_codes(self, waveforms: list[Waveform]) -> Callable[[], list[list[npt.NDArray[np.int64]]]]:
        """Begin what `encode_codes` does, raise what it raises, and return what waits for the codes."""


# Codes (T_k,) per level, and samples at the codec's rate.
_Encoded: TypeAlias = "tuple[list[npt.NDArray[np.int64]], int]"


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How much is encoded in one call; changes speed and memory, never the records.

    Attributes:
        max_seconds: of sound, all channels together; a longer file goes alone; None is what the encoder says. It puts
            clips of similar length together.
        max_files: at most.
        long_seconds: a file that claims to last longer, or does not say, is read and encoded block by block.
    """

    max_seconds: float | None = None
    max_files: int = 1024
    long_seconds: float = LONG_SECONDS


@dataclass(frozen=True, kw_only=True)
class BatchDone:
    """What one batch came to, for progress displays.

    Attributes:
        num_files: read, failed ones included.
        num_bytes: of these files.
        failures: of those that gave no record.
        duration_seconds: of the sound that was encoded.
        reading_seconds: that this process waited for the files, or read them itself.
        encoding_seconds: that it encoded, or waited for the device that does.
        device_seconds: for how long that device had work, while this process also read and wrote; 0 on a CPU.
    """

    num_files: int
    num_bytes: int
    failures: tuple[Failure, ...]
    duration_seconds: float
    reading_seconds: float = 0.0
    encoding_seconds: float = 0.0
    device_seconds: float = 0.0


def encode_shard(
    spec: ShardSpec,
    encoder: SoundEncoder,
    *,
    files: Iterable[LoadedFile],
    source: Path,
    out: Path,
    limits: BatchLimits | None = None,
    on_batch: Callable[[BatchDone], None] | None = None,
    replace: bool = False,
) -> CheckedShard:
    """Encode and publish one shard; where another attempt was faster, its (equal) shard stands.

    Args:
        spec: the unit of work, from a plan.
        encoder: what makes the codes.
        files: the plan's, loaded, in their order.
        source: the folder the plan's paths are relative to.
        out: the folder the shard goes to.
        limits: of a batch.
        on_batch: called after each batch.
        replace: whether it takes the place of a shard of the same name.

    Returns:
        What stands in the published file, read back.

    Raises:
        ShardError: the disk refused, or another collection's shard has the name.
        CodesError: the encoder gave codes that do not fit its own layout or codebook.
    """
    limits = limits or BatchLimits()
    most_seconds = encoder.seconds_per_call if limits.max_seconds is None else limits.max_seconds
    rate, size = spec.info.collection.sampling_rate, spec.info.collection.codebook_size
    names = spec.options.columns
    flatten = spec.info.collection.frame_layout().flatten
    with ShardWriter(out, info=spec.info, columns=names, replace=replace) as shard:
        reading = Reading(files, max_seconds=most_seconds, max_files=limits.max_files)
        background = encoder if isinstance(encoder, BackgroundEncoder) else None
        ahead = background.batches_ahead if background else 0
        clock = Clock(reading, lambda: background.device_seconds if background else 0.0)
        for outcomes in pipelined(partial(_begin_clips, encoder=encoder), reading, ahead=ahead):
            times, batch = clock.lap(), reading.taken.popleft()
            failures = [loaded.failure for loaded in batch if loaded.failure]
            clips = [(clip, loaded.file) for loaded in batch for clip in loaded.clips]
            num_samples = 0
            for (clip, file), outcome in zip(clips, outcomes, strict=True):
                if isinstance(outcome, AudioError):
                    failures.append(file_failure(file, outcome, source))
                    continue
                codes, length = outcome
                flat = raw_codes(flatten(codes), codebook_size=size)
                shard.add(_record(clip, file, flat, num_samples=length, columns=names))
                num_samples += length
            for failure in failures:
                shard.add_failure(failure)
            if on_batch:
                on_batch(_batch_done(batch, failures, num_samples / rate, times))
            clock.start()
    return check_shard(shard.path, expected=spec.info)


def _begin_clips(clips: Sequence[Clip], encoder: SoundEncoder) -> Callable[[], list[_Encoded | AudioError]]:
    """Begin to encode clips; what does not stand in memory goes alone.

    Returns:
        what waits for codes and samples per clip, or what is wrong with it.
    """
    try:
        if len(clips) == 1 and not isinstance(clips[0].sound, Waveform):
            whole = encoder.encode_blocks(clips[0].sound)
            return lambda: [whole]
        waveforms = [clip.sound for clip in clips if isinstance(clip.sound, Waveform)]
        if len(waveforms) == len(clips):
            lengths = [encoder.num_samples(waveform) for waveform in waveforms]
            if isinstance(encoder, BackgroundEncoder) and encoder.batches_ahead:
                return partial(_with_lengths, encoder.begin_codes(waveforms), lengths)
            codes = encoder.encode_codes(waveforms) if waveforms else []
            return partial(_with_lengths, lambda: codes, lengths)
    except AudioError as error:
        if len(clips) == 1:
            failures: list[_Encoded | AudioError] = [error]
            return lambda: failures
    except StopIteration as error:  # `map` would take it for the end
        raise CodesError("the encoder raised StopIteration; batches are never ended this way.") from error
    # One bad clip takes none of its neighbours along; of a long file each channel is read by itself.
    outcomes = [outcome for clip in clips for outcome in _begin_clips([clip], encoder)()]
    return lambda: outcomes


def _with_lengths(
    finish: Callable[[], list[list[npt.NDArray[np.int64]]]], lengths: list[int]
) -> list[_Encoded | AudioError]:
    codes = finish()
    if len(codes) != len(lengths):
        raise CodesError(f"the encoder gave codes for {len(codes)} of {len(lengths)} clips.")
    return list(zip(codes, lengths, strict=True))


def _record(
    clip: Clip,
    file: PlannedFile,
    codes: npt.NDArray[np.uint16],
    *,
    num_samples: int,
    columns: Sequence[str],
) -> Record:
    return Record(
        id=clip.id,
        source=file.path if file.part is None else file.file or file.path,
        columns=dict(zip(columns, file.columns, strict=True)),
        num_samples=num_samples,
        source_sampling_rate=clip.sampling_rate,
        text=file.text,
        codes=codes,
    )


def _batch_done(
    files: list[LoadedFile], failures: list[Failure], duration_seconds: float, times: dict[str, float]
) -> BatchDone:
    return BatchDone(
        num_files=len(files),
        num_bytes=sum(loaded.file.num_bytes for loaded in files),
        failures=tuple(failures),
        duration_seconds=duration_seconds,
        **times,
    )
