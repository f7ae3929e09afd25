"""Sound of any kind → a `Waveform`, or blocks where a file is long: the one rule for long files.

    path ── opened once ─┬─ short ── read whole ── Waveform
                         └─ long, or of unknown length ── LongSound: blocks, read as they are taken
    anything else ── as_waveform ── Waveform

Blocks encode to the same codes as the whole recording, so the rule changes memory and never a result.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from snac_tok.audio import as_waveform, audio_info, check_sampling_rate, open_audio
from snac_tok.audio.values import may_be_int16_in_32_bits
from snac_tok.errors import SamplingRateError
from snac_tok.sources.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from snac_tok.audio import AudioInfo, OpenAudio, Waveform

# A file that claims to be longer, or does not say how long it is, is read block by block.
LONG_SECONDS = 600.0


class LongSound:
    """A sound file that is never in memory as a whole: iterating over it yields its blocks.

    The first iteration reads the file that was opened for its header; later ones open it again.

    Attributes:
        info: what the header claims.
    """

    def __init__(
        self,
        path: Any,
        info: AudioInfo,
        opened: tuple[ExitStack, OpenAudio],
        *,
        allow_truncated: bool,
        limits: Limits,
    ) -> None:
        self.info = info
        self._path, self._allow_truncated, self._limits = path, allow_truncated, limits
        self._opened: tuple[ExitStack, OpenAudio] | None = opened
        self._check: Callable[[], None] = lambda: None

    def checked(self, check: Callable[[], None]) -> LongSound:
        """Return the same sound, with a check that runs before the first block and after the last."""
        self._check = check
        return self

    def __iter__(self) -> Iterator[Waveform]:
        self._check()
        stack, audio = self._opened or _open(self._path, allow_truncated=self._allow_truncated)
        self._opened = None
        with stack:
            yield from self._limits.checked(audio.blocks())
        self._check()


def noticed(blocks: Iterable[Waveform], on_block: Callable[[], None] | None) -> Iterator[Waveform]:
    """Yield blocks, and call a function after each."""
    for block in blocks:
        yield block
        if on_block:
            on_block()


def read_sound(
    audio: Any,
    *,
    sampling_rate: int | None = None,
    allow_truncated: bool = False,
    long_seconds: float | None = None,
    limits: Limits | None = None,
) -> Waveform | LongSound:
    """Return what `as_waveform` returns, or the blocks of a path whose file claims to be long.

    Args:
        audio: as in `as_waveform`.
        sampling_rate: as in `as_waveform`.
        allow_truncated: as in `as_waveform`.
        long_seconds: a longer file is read in blocks; None is `LONG_SECONDS`.
        limits: what is too short or too long; a header that says so is believed.

    Raises:
        AudioError: as in `as_waveform`, or outside the limits; of a long file's samples, while iterating.

    >>> import numpy as np
    >>> from snac_tok.audio import Waveform, write_audio
    >>> _ = write_audio("hum.wav", Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000))
    >>> read_sound("hum.wav")
    Waveform(1 channel, 12000 samples, 24000 Hz, 0.500 s, silent)
    >>> [block.num_samples for block in read_sound("hum.wav", long_seconds=0.1)]
    [12000]
    """
    limits = limits or Limits()
    if not isinstance(audio, str | os.PathLike):
        waveform = as_waveform(audio, sampling_rate=sampling_rate, allow_truncated=allow_truncated)
        limits.check_seconds(waveform.duration_seconds)
        return waveform
    rate = None if sampling_rate is None else check_sampling_rate(sampling_rate)
    stack, opened = _open(audio, allow_truncated=allow_truncated)
    with stack:
        info = opened.info
        if rate not in (None, info.sampling_rate):
            raise SamplingRateError(
                f"the file has {info.sampling_rate} Hz, sampling_rate={rate} was given: leave it out, and call "
                "resample() if another rate is wanted."
            )
        if info.duration_seconds is not None:
            limits.check_seconds(info.duration_seconds)
        if _is_short(info, LONG_SECONDS if long_seconds is None else long_seconds):
            waveform = opened.read()
            limits.check_seconds(waveform.duration_seconds)
            return waveform
        return LongSound(
            audio, info, (stack.pop_all(), opened), allow_truncated=allow_truncated, limits=limits
        )


def read_blocks(
    audio: Any, *, sampling_rate: int | None = None, allow_truncated: bool = False
) -> Iterator[Waveform]:
    """Yield the blocks of a path of any length; of anything else one block.

    Raises:
        AudioError: as in `read_sound`, while iterating.
    """
    sound = read_sound(audio, sampling_rate=sampling_rate, allow_truncated=allow_truncated, long_seconds=-1)
    yield from sound if isinstance(sound, LongSound) else [sound]


def read_on_if_in_doubt(audio: Any, part: Waveform, blocks: Iterator[Waveform]) -> None:
    """Read a 32-bit file to its end where a part of it looks like 16-bit values: only the whole file can tell.

    Args:
        audio: that `blocks` are of.
        part: what is wanted of it.
        blocks: those behind the part.

    Raises:
        AudioFileError: all of it looks like that.
    """
    is_path = isinstance(audio, str | os.PathLike)
    if is_path and may_be_int16_in_32_bits(part.samples) and audio_info(audio).subtype == "PCM_32":
        deque(blocks, maxlen=0)


def _open(path: str | os.PathLike[str] | Path, *, allow_truncated: bool) -> tuple[ExitStack, OpenAudio]:
    stack = ExitStack()
    return stack, stack.enter_context(open_audio(path, allow_truncated=allow_truncated))


def _is_short(info: AudioInfo, long_seconds: float) -> bool:
    return info.duration_seconds is not None and info.duration_seconds <= long_seconds
