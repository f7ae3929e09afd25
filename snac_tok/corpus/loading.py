"""From a file of the plan to what the encoder takes: its channels as clips, whole or in blocks.

A file that cannot be used, or that has changed since the plan was made, becomes a `Failure`; a disk or memory that
fails is raised, since that says nothing about the file. Nothing is encoded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.audio import Waveform, mono_blocks, select_channels
from snac_tok.errors import AudioError
from snac_tok.sources.failures import Failure, failure_of
from snac_tok.sources.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from snac_tok.audio import ChannelPolicy
    from snac_tok.corpus.plan import PlannedFile
    from snac_tok.sources.reading import LongSound


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """What becomes one record: one channel of a file, or the mix of all.

    Attributes:
        id: of the record.
        sampling_rate: of the file, in Hz.
        sound: (1, T), or the blocks of a long file, which are read as they are taken.
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


def load_file(
    file: PlannedFile,
    *,
    source: Path,
    channels: ChannelPolicy,
    long_seconds: float | None = None,
    allow_truncated: bool = False,
) -> LoadedFile:
    """Read a file, or open it and read only its header where it claims more than `long_seconds`.

    Raises:
        AudioError: the machine failed, not the file.
    """
    recording = Recording(name=file.path, sound=source / file.path, num_bytes=file.num_bytes)
    try:
        sound = recording.read(allow_truncated=allow_truncated, long_seconds=long_seconds)
        rate = sound.sampling_rate if isinstance(sound, Waveform) else sound.info.sampling_rate
        sounds = _one_channel_each(sound, channels, name=file.path)
    except AudioError as error:
        return LoadedFile(file=file, failure=file_failure(file, error, source))
    ids = [file.path] if len(sounds) == 1 else [f"{file.path}#{number}" for number in range(len(sounds))]
    clips = tuple(
        Clip(id=name, sampling_rate=rate, sound=each) for name, each in zip(ids, sounds, strict=True)
    )
    return LoadedFile(file=file, clips=clips)


def file_failure(file: PlannedFile, error: AudioError, source: Path) -> Failure:
    """The failure to note, with relative paths: a collection must not depend on where its sources were mounted.

    Raises:
        AudioError: the machine is to blame.
    """
    failure = failure_of(file.path, error)
    return Failure(source=failure.source, reason=failure.reason.replace(f"{source}/", ""))


def _one_channel_each(
    sound: Waveform | LongSound, channels: ChannelPolicy, *, name: str
) -> Sequence[Waveform | Iterator[Waveform]]:
    if isinstance(sound, Waveform):
        return select_channels(sound, channels, name=name)
    policies = range(sound.info.num_channels) if channels == "each" else [channels]
    return [mono_blocks(sound, channels=policy, name=name) for policy in policies]
