"""One recording, not read yet: what every source gives."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from snac_tok.audio import as_waveform
from snac_tok.errors import AudioFileError, MissingDependencyError, WaveformError
from snac_tok.sources.limits import Limits
from snac_tok.sources.parts import cut_part
from snac_tok.sources.reading import LongSound, noticed, read_blocks, read_on_if_in_doubt, read_sound
from snac_tok.sources.stored import StoredSound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from snac_tok.audio import Waveform
    from snac_tok.sources.parts import Part


P = TypeVar("P")


_log = logging.getLogger(__name__)

# By how much lists round the end of a part up.
_ROUNDED_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One recording of a source.

    Attributes:
        name: its path below its folder, or its row of a dataset; reports use it.
        sound: a path, an address, or anything else that `as_waveform` takes.
        sampling_rate: the rate of bare samples, in Hz.
        num_bytes: the size of its file; a file of another size has changed since it was listed, and is refused.
        text: what is said, if the source has it.
        part: (start, end) in seconds where only a part of the sound is meant; without an end it goes on to the last
            sample.
        channel: the one that is meant, counted from 0, if the source says it.
        columns: what else the source says of it, by the names of its columns: the speaker, the language, ….

    Example:
        >>> import numpy as np
        >>> hum = Recording(name="hum", sound=np.zeros(12000, np.float32), sampling_rate=24000)
        >>> hum.read()
        Waveform(1 channel, 12000 samples, 24000 Hz, 0.500 s, silent)
        >>> [block.num_samples for block in hum.blocks()]
        [12000]
    """

    name: str
    sound: Any
    sampling_rate: Any = None
    num_bytes: int | None = None
    text: str | None = None
    part: Part | None = None
    channel: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def policy(self, channels: P) -> P | int:
        """Return the channel that is meant; where the source says none, the policy that is asked for."""
        return channels if self.channel is None else self.channel

    def read(
        self,
        *,
        allow_truncated: bool = False,
        long_seconds: float | None = None,
        limits: Limits | None = None,
        on_block: Callable[[], None] | None = None,
    ) -> Waveform | LongSound:
        """Return the sound, in blocks where its file is long; see `read_sound`. A part is never in blocks.

        Args:
            allow_truncated: as in `read_sound`.
            long_seconds: as there.
            limits: as there.
            on_block: called after each block that is read on the way to a part.

        Raises:
            AudioError: it cannot be used, or its file has changed; pass the error to `failure_of`.
        """
        limits = limits or Limits()
        limits.check_bytes(self.num_bytes)
        self._check_size()
        if self.part:
            cut = self._cut(self.part, limits, allow_truncated=allow_truncated, on_block=on_block)
            return self._used(cut)
        found = read_sound(
            self._source(),
            sampling_rate=_plain_rate(self.sampling_rate),
            allow_truncated=allow_truncated,
            long_seconds=long_seconds,
            limits=limits,
        )
        return found.checked(self._check_size) if isinstance(found, LongSound) else self._used(found)

    def _cut(
        self,
        part: Part,
        limits: Limits,
        *,
        allow_truncated: bool,
        on_block: Callable[[], None] | None = None,
    ) -> Waveform:
        """Read blocks up to the part's end, and keep the part."""
        source, rate = self._source(), _plain_rate(self.sampling_rate)
        blocks = noticed(read_blocks(source, sampling_rate=rate, allow_truncated=allow_truncated), on_block)
        cut = cut_part(blocks, part)
        start, end = part
        if end is not None and (missing := end - start - cut.duration_seconds) > _ROUNDED_SECONDS:
            _log.warning("%s: its recording ends %.2f s before the part does.", self.name, missing)
        limits.check_seconds(cut.duration_seconds)
        read_on_if_in_doubt(source, cut, blocks)
        return cut

    def whole(self, *, allow_truncated: bool = False) -> Waveform:
        """Return the sound as a whole, however long it is.

        Raises:
            AudioError: as in `read`.
        """
        self._check_size()
        rate = _plain_rate(self.sampling_rate)
        if self.part:
            return self._used(self._cut(self.part, Limits(), allow_truncated=allow_truncated))
        return self._used(as_waveform(self._source(), sampling_rate=rate, allow_truncated=allow_truncated))

    def blocks(self, *, allow_truncated: bool = False) -> Iterator[Waveform]:
        """Yield the sound in blocks, whatever its length.

        Raises:
            AudioError: as in `read`, while iterating.
        """
        self._check_size()
        rate = _plain_rate(self.sampling_rate)
        if self.part:
            yield self._cut(self.part, Limits(), allow_truncated=allow_truncated)
        else:
            yield from read_blocks(self._source(), sampling_rate=rate, allow_truncated=allow_truncated)
        self._check_size()

    def _used(self, waveform: Waveform) -> Waveform:
        self._check_size()
        if waveform.num_samples == 0:
            raise WaveformError("it holds no samples.")
        return waveform

    def _source(self) -> Any:
        """What is read: the path in a dict that has only a path, the bytes behind an address."""
        sound = self.sound
        if sound is None:
            raise WaveformError("the row holds no sound.")
        if isinstance(sound, Mapping) and sound.get("array") is None and sound.get("bytes") is None:
            sound = sound.get("path") or sound
        if isinstance(sound, StoredSound):
            return sound.read()
        if isinstance(sound, str) and "://" in sound:
            return _fetched(sound)
        return sound

    def _check_size(self) -> None:
        if self.num_bytes is None or isinstance(self.sound, StoredSound):
            return
        try:
            status = os.stat(self.sound)  # noqa: PTH116 - a NUL inside the name raises ValueError here
        except (OSError, ValueError):
            return  # reading the file gives the better error
        if stat.S_ISDIR(status.st_mode):
            return  # so does reading a folder, whose size says nothing
        found = status.st_size
        if found != self.num_bytes:
            raise AudioFileError(
                f"{self.sound} had {self.num_bytes} bytes when the run was planned and has {found} now: it changed "
                "while the run went on; run it again when it no longer changes.",
                code="changed",
            )


def file_recording(path: Path, *, name: str) -> Recording:
    """Return the recording of one file; a missing file fails when it is read, like any other unreadable one."""
    return Recording(name=name, sound=path, num_bytes=path.stat().st_size if path.is_file() else 0)


def _plain_rate(value: Any) -> Any:
    """Unwrap numpy's and torch's numbers; integer columns with gaps hold floats."""
    number = value.item() if hasattr(value, "item") else value
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _fetched(address: str) -> bytes:
    try:
        from datasets.utils.file_utils import xopen
    except ImportError as error:
        raise MissingDependencyError(
            f"{address} is an address; fetching it needs the datasets package: pip install datasets."
        ) from error
    try:
        with xopen(address, "rb") as file:
            content: bytes = file.read()
    except (FileNotFoundError, KeyError) as error:
        raise AudioFileError(f"{address!r}: there is no such file.") from error
    return content
