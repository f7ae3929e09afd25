"""The only work loop: reads the files of one shard, encodes them in batches, writes the shard.

Engines call `encode_shard`; they decide where and when, never what. A file that cannot be used becomes a
`Failure` in the shard's footer and the rest goes on; a disk, memory or device that fails stops the work,
since that says nothing about the file.

    files ─ read ─ pick channels ─ collect up to a batch ─ encode ─ flatten ─ ShardWriter
                                                              └ fails: one by one, so that one bad clip
                                                                takes none of its neighbours along
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from snac_tok.audio import read_audio, select_channels
from snac_tok.errors import AudioError, CodesError, WaveformError
from snac_tok.shards import Failure, Record, ShardWriter, raw_codes, read_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from snac_tok.audio import Waveform
    from snac_tok.corpus.plan import ShardSpec
    from snac_tok.corpus.sources import SourceItem
    from snac_tok.shards import CollectionInfo, ShardEntry

# Reading failed because of the machine, not the file: going on would quarantine every file that follows.
_MACHINE_ERRNOS = {
    errno.EIO,
    errno.ENOSPC,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.EHOSTDOWN,
}


class Encoder(Protocol):
    """What turns sound into codes; `SnacTokenizer` is one."""

    def encode_codes(self, waveforms: list[Waveform]) -> list[list[npt.NDArray[np.int64]]]:
        """Per clip, per level, codes (T_k,); resamples by itself; a clip's codes depend on it alone."""

    def num_samples(self, waveform: Waveform) -> int:
        """The clip's samples at the codec's rate, before padding."""

    def describe(self) -> dict[str, Any]:
        """The fields of `CollectionInfo`."""


@dataclass(frozen=True, kw_only=True)
class BatchLimits:
    """How many files are encoded in one call; changes the speed, never the shards.

    Attributes:
        max_seconds: of sound, all channels together; a longer file goes alone.
        max_files: at most.
    """

    max_seconds: float = 120.0
    max_files: int = 64


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


@dataclass(frozen=True, kw_only=True, eq=False)
class _Clip:
    """One waveform to encode: a file's only one, or one of its channels."""

    id: str
    waveform: Waveform
    num_samples: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _LoadedFile:
    item: SourceItem
    clips: list[_Clip] = field(default_factory=list)
    failure: Failure | None = None

    @property
    def duration_seconds(self) -> float:
        return sum(clip.waveform.duration_seconds for clip in self.clips)


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
    with ShardWriter(out, info=spec.info) as shard:
        files = (_load(item, encoder, source, spec.info.collection) for item in spec.items)
        for batch in _batches(files, limits or BatchLimits()):
            results = _encode_files(batch, encoder, spec.info.collection, source)
            for result in results:
                if isinstance(result, Failure):
                    shard.add_failure(result)
                else:
                    shard.add(result)
            if on_batch:
                on_batch(_batch_done(batch, results))
    return read_entry(shard.path, expected=spec.info)


def _load(item: SourceItem, encoder: Encoder, source: Path, collection: CollectionInfo) -> _LoadedFile:
    try:
        _check_name(item)
        waveform = read_audio(source / item.path)
        if waveform.num_samples == 0:
            raise WaveformError("it holds no samples.")
        channels = select_channels(waveform, cast("Any", collection.channels))
        ids = [item.path] if len(channels) == 1 else [f"{item.path}#{k}" for k in range(len(channels))]
        clips = [
            _Clip(id=name, waveform=channel, num_samples=encoder.num_samples(channel))
            for name, channel in zip(ids, channels, strict=True)
        ]
    except AudioError as error:
        return _LoadedFile(item=item, failure=_failure(item, error, source))
    return _LoadedFile(item=item, clips=clips)


def _check_name(item: SourceItem) -> None:
    try:
        item.path.encode()
    except UnicodeEncodeError as error:
        raise AudioError("its name is not valid UTF-8; rename it.") from error


def _batches(files: Iterable[_LoadedFile], limits: BatchLimits) -> Iterator[list[_LoadedFile]]:
    batch: list[_LoadedFile] = []
    seconds = 0.0
    for loaded in files:
        if batch and seconds + loaded.duration_seconds > limits.max_seconds:
            yield batch
            batch, seconds = [], 0.0
        batch.append(loaded)
        seconds += loaded.duration_seconds
        if len(batch) >= limits.max_files or seconds >= limits.max_seconds:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch


def _encode_files(
    files: list[_LoadedFile], encoder: Encoder, collection: CollectionInfo, source: Path
) -> list[Record | Failure]:
    """Records and failures in the order of the files, whatever the batch did."""
    clips = [(loaded.item, clip) for loaded in files for clip in loaded.clips]
    layout = collection.frame_layout()
    encoded = _encode_clips([clip.waveform for _, clip in clips], encoder)
    results: list[Record | Failure] = [loaded.failure for loaded in files if loaded.failure]
    for (item, clip), codes in zip(clips, encoded, strict=True):
        if isinstance(codes, AudioError):
            results.append(_failure(item, codes, source))
            continue
        flat = raw_codes(layout.flatten(codes), codebook_size=collection.codebook_size)
        results.append(
            Record(
                id=clip.id,
                source=item.path,
                num_samples=clip.num_samples,
                source_sampling_rate=clip.waveform.sampling_rate,
                text=item.text,
                codes=flat,
            )
        )
    return results


def _encode_clips(waveforms: list[Waveform], encoder: Encoder) -> list[list[Any] | AudioError]:
    """Codes per clip, or what is wrong with it."""
    if not waveforms:
        return []
    try:
        codes = encoder.encode_codes(waveforms)
    except AudioError as error:
        if len(waveforms) == 1:
            return [error]
        return [result for waveform in waveforms for result in _encode_clips([waveform], encoder)]
    if len(codes) != len(waveforms):
        raise CodesError(f"the encoder gave codes for {len(codes)} of {len(waveforms)} clips.")
    return list(codes)


def _failure(item: SourceItem, error: AudioError, source: Path) -> Failure:
    """The failure to note, unless the machine is to blame: then the error goes on up."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or getattr(cause, "errno", None) in _MACHINE_ERRNOS:
            raise error
        cause = cause.__cause__
    # Relative paths: a collection must not depend on where its sources were mounted.
    reason = str(error).replace(f"{source}/", "")
    return Failure(source=printable_path(item.path), reason=reason)


def printable_path(path: str) -> str:
    r"""A path that can be stored as text: bytes that are no UTF-8 become ``\xNN``.

    Example:
        >>> print(printable_path("caf\udce9.wav"))
        caf\xe9.wav
    """
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _batch_done(files: list[_LoadedFile], results: list[Record | Failure]) -> BatchDone:
    return BatchDone(
        num_files=len(files),
        num_bytes=sum(loaded.item.num_bytes for loaded in files),
        num_failures=sum(isinstance(result, Failure) for result in results),
        duration_seconds=sum(loaded.duration_seconds for loaded in files),
    )
