"""From a planned file to what the encoder takes: its channels as clips, whole or in blocks.

A file that cannot be used, or that has changed since the plan was made, becomes a `Failure`; a disk or memory that
fails is raised, since that says nothing about the file. Files are read here or, ahead, in other processes: what comes
of them is the same. Nothing is encoded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.audio import Waveform, mono_blocks
from snac_tok.errors import AudioError, SnacTokError
from snac_tok.files import shown_path
from snac_tok.sources.clips import Clips, read_clips
from snac_tok.sources.failures import Failure, failure_of, unexpected
from snac_tok.sources.recording import Recording
from snac_tok.sources.stored import StoredSound

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from snac_tok.corpus.plan import PlannedFile
    from snac_tok.sources.clips import ReadOptions
    from snac_tok.sources.read_ahead import ReadingPool, RemoteLongSound
    from snac_tok.sources.reading import LongSound


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """What becomes one record: one channel of a file, or the mix of all.

    Attributes:
        id: of the record.
        sampling_rate: of the file, in Hz.
        sound: (1, T), at the rate that was asked for, or the blocks of a long file, which are read as they are taken.
    """

    id: str
    sampling_rate: int
    sound: Waveform | Iterator[Waveform]


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedFile:
    """A file with its clips, all of them whole or all in blocks, or with the reason why there are none."""

    file: PlannedFile
    clips: tuple[Clip, ...] = ()
    failure: Failure | None = None

    @property
    def is_long(self) -> bool:
        """Whether its clips come in blocks."""
        return any(not isinstance(clip.sound, Waveform) for clip in self.clips)

    @property
    def seconds_in_memory(self) -> float:
        """Length of the clips that stand in memory."""
        sounds = [clip.sound for clip in self.clips]
        return sum(sound.duration_seconds for sound in sounds if isinstance(sound, Waveform))


def load_files(
    files: Sequence[PlannedFile],
    *,
    source: Path,
    options: ReadOptions,
    pool: ReadingPool | None = None,
    repaired: Container[str] = (),
) -> Iterator[LoadedFile]:
    """Read files in their order; of one that claims to be long only the header is read yet.

    Args:
        files: of a plan.
        source: the folder that their paths are relative to.
        options: what is taken of each file; it says which of several channels become clips.
        pool: reads in other processes; None reads here, when the file is asked for.
        repaired: names of those whose size may have changed since the plan was made.

    Raises:
        SnacTokError: the machine failed, not a file.
    """
    recordings = (
        recording_of(file, source, is_repaired=shown_path(file.path) in repaired)
        for file in files
        if file.same_as is None
    )
    sounds = read_sounds(recordings, options, pool)
    for file in files:
        if file.same_as is None:
            yield _loaded(file, next(sounds), source=source, options=options)
        else:
            reason = f"its sound is that of {shown_path(file.same_as)}."
            failure = Failure(source=shown_path(file.path), reason=reason, code="duplicate")
            yield LoadedFile(file=file, failure=failure)


def read_sounds(
    recordings: Iterable[Recording], options: ReadOptions, pool: ReadingPool | None
) -> Iterator[Clips | LongSound | RemoteLongSound | Exception]:
    """Yield what comes of each recording, or what reading it raised, in their order; as `ReadingPool.read`."""
    if pool:
        yield from pool.read(recordings, options)
    else:
        yield from (_read_here(each, options) for each in recordings)


def recording_of(file: PlannedFile, source: Path, *, is_repaired: bool = False) -> Recording:
    """Return a planned file as a recording that can be read; one that was repaired may have another size."""
    path = source / (file.file or file.path)
    sound = path if file.at is None else StoredSound(path=path, at=file.at, num_bytes=file.num_bytes)
    num_bytes = None if is_repaired else file.num_bytes
    return Recording(name=file.path, sound=sound, num_bytes=num_bytes, part=file.part, channel=file.channel)


def file_failure(file: PlannedFile, error: Exception, source: Path) -> Failure:
    """The failure to note, with relative paths: a collection must not depend on where its sources were mounted.

    Raises:
        Exception: `error`, if the machine is to blame.
    """
    if isinstance(error, SnacTokError) and not isinstance(error, AudioError):
        raise error
    failure = failure_of(file.path, error if isinstance(error, AudioError) else unexpected(error))
    reason = failure.reason.replace(f"{source}/", "")
    # Where sound is read, bytes that are not UTF-8 are spelled another way.
    reason = reason.replace(file.path.encode("utf-8", "backslashreplace").decode(), failure.source)
    return Failure(source=failure.source, reason=reason, code=failure.code)


def _read_here(recording: Recording, options: ReadOptions) -> Clips | LongSound | RemoteLongSound | Exception:
    try:
        return read_clips(recording, options)
    except Exception as error:  # noqa: BLE001 - decoders raise what they like; `file_failure` decides
        return error


def _loaded(
    file: PlannedFile,
    sound: Clips | LongSound | RemoteLongSound | Exception,
    *,
    source: Path,
    options: ReadOptions,
) -> LoadedFile:
    if isinstance(sound, Exception):
        return LoadedFile(file=file, failure=file_failure(file, sound, source))
    if isinstance(sound, Clips):
        return _with_clips(file, sound.each(), sound.source_rate)
    return _with_clips(file, _long_clips(sound, file, options), sound.info.sampling_rate)


def _with_clips(file: PlannedFile, sounds: Sequence[Waveform | Iterator[Waveform]], rate: int) -> LoadedFile:
    ids = [file.path] if len(sounds) == 1 else [f"{file.path}#{number}" for number in range(len(sounds))]
    clips = tuple(
        Clip(id=name, sampling_rate=rate, sound=each) for name, each in zip(ids, sounds, strict=True)
    )
    return LoadedFile(file=file, clips=clips)


def _long_clips(
    sound: LongSound | RemoteLongSound, file: PlannedFile, options: ReadOptions
) -> list[Iterator[Waveform]]:
    channels = options.channels if file.channel is None else file.channel
    policies = range(sound.info.num_channels) if channels == "each" else [channels or "mean"]
    return [mono_blocks(_guarded(sound), channels=policy, name=file.path) for policy in policies]


def _guarded(blocks: Iterable[Waveform]) -> Iterator[Waveform]:
    """Yield blocks; what a decoder raises in the middle of them is one more way in which a file cannot be read."""
    blocks = iter(blocks)
    while True:
        try:
            block = next(blocks, None)
        except (SnacTokError, MemoryError):
            raise
        except Exception as error:
            raise unexpected(error) from error
        if block is None:
            return
        yield block
