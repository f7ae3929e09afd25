"""From a file of the plan to what the encoder takes: its channels as clips, or as blocks where it is long.

A file that cannot be used, or that has changed since the plan was made, becomes a `Failure`; a disk or memory that
fails is raised, since that says nothing about the file. Nothing is encoded here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from snac_tok.audio import audio_info, check_policy, iter_audio, mono_blocks, read_audio, select_channels
from snac_tok.audio.faults import is_machine_fault, reason_of
from snac_tok.errors import AudioError, AudioFileError, WaveformError
from snac_tok.files import shown_path
from snac_tok.shards import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from snac_tok.audio import AudioInfo, Waveform
    from snac_tok.corpus.sources import SourceItem


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One waveform to encode: a file's only one, or one of its channels."""

    id: str
    waveform: Waveform


@dataclass(frozen=True, kw_only=True, eq=False)
class LongClip:
    """A clip that does not stand in memory.

    Attributes:
        id: of its record.
        path: of its file.
        channels: the policy that makes clips of the file.
        index: of this clip among those.
        sampling_rate: of the file, in Hz.
        num_bytes: of the file, by the plan.
        allow_truncated: whether what a cut-off or damaged file still holds is taken.
    """

    id: str
    path: Path
    channels: str
    index: int
    sampling_rate: int
    num_bytes: int
    allow_truncated: bool = False

    def blocks(self) -> Iterator[Waveform]:
        """The clip in blocks, read as they are taken.

        Raises:
            AudioError: the file cannot be used, or has changed since the plan, while iterating.
        """
        each = self.channels == "each"
        policy = self.index if each else check_policy(self.channels)
        with _staying(self.path, num_bytes=self.num_bytes):
            blocks = iter_audio(self.path, allow_truncated=self.allow_truncated)
            yield from mono_blocks(blocks, channels=cast("Any", policy), name=self.id)


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedFile:
    """A file with its clips, all of them short or all long, or with the reason why there are none."""

    item: SourceItem
    clips: tuple[Clip, ...] = ()
    long_clips: tuple[LongClip, ...] = ()
    failure: Failure | None = None

    @property
    def seconds_in_memory(self) -> float:
        """Length of the clips that stand in memory."""
        return sum(clip.waveform.duration_seconds for clip in self.clips)


def load(
    item: SourceItem, *, source: Path, channels: str, long_seconds: float, allow_truncated: bool = False
) -> LoadedFile:
    """Read a file, or only its header where that claims more than `long_seconds` or does not say.

    Raises:
        AudioError: the machine failed, not the file.
    """
    path = source / item.path
    try:
        _check_name(item)
        info = _long_info(path, long_seconds)
        if info is not None:
            num_clips = info.num_channels if channels == "each" else 1
            long_clips = tuple(
                LongClip(
                    id=name,
                    path=path,
                    channels=channels,
                    index=k,
                    sampling_rate=info.sampling_rate,
                    num_bytes=item.num_bytes,
                    allow_truncated=allow_truncated,
                )
                for k, name in enumerate(_ids(item, num_clips))
            )
            return LoadedFile(item=item, long_clips=long_clips)
        with _staying(path, num_bytes=item.num_bytes):
            waveform = read_audio(path, allow_truncated=allow_truncated)
        if waveform.num_samples == 0:
            raise WaveformError("it holds no samples.")
        waveforms = select_channels(waveform, cast("Any", channels), name=item.path)
    except AudioError as error:
        return LoadedFile(item=item, failure=failure_of(item, error, source))
    named = zip(_ids(item, len(waveforms)), waveforms, strict=True)
    return LoadedFile(item=item, clips=tuple(Clip(id=name, waveform=channel) for name, channel in named))


def failure_of(item: SourceItem, error: AudioError, source: Path) -> Failure:
    """The failure to note, unless the machine is to blame: then the error goes on up."""
    if is_machine_fault(error):
        raise error
    # Relative paths: a collection must not depend on where its sources were mounted.
    reason = reason_of(error).replace(f"{source}/", "")
    return Failure(source=shown_path(item.path), reason=reason)


@contextlib.contextmanager
def _staying(path: Path, *, num_bytes: int) -> Iterator[None]:
    """Refuse a file whose size is not the plan's, before it is read or after."""
    _check_size(path, num_bytes)
    yield
    _check_size(path, num_bytes)


def _check_size(path: Path, num_bytes: int) -> None:
    try:
        found = path.stat().st_size
    except (OSError, ValueError):
        return  # reading it says best what is wrong
    if found != num_bytes:
        raise AudioFileError(
            f"{path} had {num_bytes} bytes when the run was planned and has {found} now: it changed while the run "
            "went on; shard it again when it no longer changes."
        )


def _long_info(path: Path, long_seconds: float) -> AudioInfo | None:
    """The header of a file that is to be read in blocks, None for any other."""
    try:
        info = audio_info(path)
    except AudioError:
        return None  # reading it whole says best what is wrong
    seconds = info.duration_seconds
    return info if seconds is None or seconds > long_seconds else None


def _ids(item: SourceItem, num_clips: int) -> list[str]:
    return [item.path] if num_clips == 1 else [f"{item.path}#{k}" for k in range(num_clips)]


def _check_name(item: SourceItem) -> None:
    try:
        item.path.encode()
    except UnicodeEncodeError as error:
        raise AudioError("its name is not valid UTF-8; rename it.") from error
