"""From sound files to waveforms: whole, in blocks, or only the header.

WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF and everything else that libsndfile decodes; AAC, M4A, WebM and WMA with
torchcodec or the program ffmpeg, if one is installed. Files joined byte by byte are read as one recording. Every
refusal is an `AudioFileError` with the file and the reason. Nothing is resampled, mixed or normalised, and headers
are not trusted: memory grows with the samples that were decoded.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import soundfile as sf

from snac_tok.audio.machine_faults import ALLOW_TRUNCATED
from snac_tok.audio.opening import AudioSource, FileBackend, name_of, opened
from snac_tok.audio.readers import FRAMES_UNKNOWN
from snac_tok.audio.values import refusing_int16_in_32_bits
from snac_tok.audio.waveform import Samples, Waveform
from snac_tok.errors import AudioError, AudioFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from snac_tok.audio.readers import Reader

logger = logging.getLogger(__name__)

DEFAULT_BLOCK_SECONDS = 30.0
# 16 MiB of float32: nearly every utterance is one block, which needs no copy.
_BLOCK_VALUES = 1 << 22
# At damage libsndfile drops the whole request, so salvage reads in small steps: 64 divides the frame sizes of FLAC
# encoders, so no whole frame is lost.
_SALVAGE_FRAMES = 64
# Headers count samples exactly, except in these containers: their counts are estimates or include padding.
_ESTIMATED_SUBTYPES = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III", "VORBIS", "OPUS"})
# An encoder may count its delay and padding: up to two frames of MP3.
_ENCODER_PADDING = 2304


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """What a file's header says; decoding may find something else.

    Args:
        sampling_rate: Hz.
        num_channels: number of channels.
        num_samples: samples per channel; None if the header does not say.
        file_format: "WAV", "FLAC", "OGG", "MP3", …
        subtype: "PCM_16", "VORBIS", …
    """

    sampling_rate: int
    num_channels: int
    num_samples: int | None
    file_format: str
    subtype: str

    @property
    def duration_seconds(self) -> float | None:
        """Length in seconds according to the header, or None."""
        return None if self.num_samples is None else self.num_samples / self.sampling_rate


def audio_info(source: AudioSource) -> AudioInfo:
    """Return what the header of a path, encoded bytes or a binary file object says.

    Raises:
        AudioFileError: there is no such file, or it is not sound.

    >>> from snac_tok.audio import write_audio
    >>> _ = write_audio("hum.wav", Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000))
    >>> audio_info("hum.wav").duration_seconds
    0.5
    """
    with opened(source, allow_truncated=True, look=True) as reader:
        return _info(reader)


class OpenAudio:
    """An open sound file: its header, and its samples, which can be read once; see `open_audio`.

    Attributes:
        info: what the header says.
    """

    def __init__(self, reader: Reader, name: str, *, allow_truncated: bool) -> None:
        self._reader, self._name, self._allow_truncated = reader, name, allow_truncated
        self.info = _info(reader)

    def read(self) -> Waveform:
        """Return the whole recording; as `read_audio`."""
        channels = self._reader.channels
        blocks = list(self._decode(max(1, _BLOCK_VALUES // channels)))
        return _checked_waveform(self._name, _join(blocks, channels), self._reader.samplerate)

    def blocks(self, *, block_seconds: float = DEFAULT_BLOCK_SECONDS) -> Iterator[Waveform]:
        """Yield the recording in blocks; as `iter_audio`."""
        start, rate = 0, self._reader.samplerate
        for block in self._decode(max(1, round(block_seconds * rate))):
            yield _checked_waveform(self._name, np.ascontiguousarray(block.T), rate, start=start)
            start += len(block)
        if start == 0:
            raise AudioFileError(_no_samples(self._name))

    def _decode(self, block_frames: int) -> Iterator[Samples]:
        return _decode(self._reader, self._name, block_frames, allow_truncated=self._allow_truncated)


@contextmanager
def open_audio(
    source: AudioSource, *, backend: FileBackend | None = None, allow_truncated: bool = False
) -> Iterator[OpenAudio]:
    """Open a file, for callers that decide by its header how to read it; a context manager.

    Args:
        source: as in `read_audio`.
        backend: as in `read_audio`.
        allow_truncated: as in `read_audio`.

    Raises:
        AudioFileError: as in `read_audio`.

    >>> from snac_tok.audio import write_audio
    >>> _ = write_audio("hum.wav", Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000))
    >>> with open_audio("hum.wav") as audio:
    ...     audio.info.num_samples, audio.read().num_samples
    (12000, 12000)
    """
    with opened(source, allow_truncated=allow_truncated, backend=backend) as reader:
        yield OpenAudio(reader, name_of(source), allow_truncated=allow_truncated)


def _info(reader: Reader) -> AudioInfo:
    estimate: int | None = getattr(reader, "estimated_frames", None)
    return AudioInfo(
        sampling_rate=reader.samplerate,
        num_channels=reader.channels,
        num_samples=estimate if reader.frames == FRAMES_UNKNOWN else reader.frames,
        file_format=reader.format,
        subtype=reader.subtype,
    )


def read_audio(
    source: AudioSource, *, backend: FileBackend | None = None, allow_truncated: bool = False
) -> Waveform:
    """Return the whole recording (C, T) at the file's own rate; full scale is ±1.

    Args:
        source: a path, the bytes of a file, or a binary file object (read from its position).
        backend: None is soundfile, and torchcodec or the program ffmpeg for formats that it does not know; "soundfile"
            or "torchcodec" is only that one.
        allow_truncated: take what can be read of a cut-off or damaged file.

    Raises:
        AudioFileError: missing, not a regular file, empty, not sound, cut off, damaged, no samples, NaN or infinite
            samples, a header with impossible values, or a format that needs ffmpeg, which is not installed.
        MissingDependencyError: torchcodec was chosen and does not load.

    >>> from snac_tok.audio import write_audio
    >>> _ = write_audio("hum.flac", Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000))
    >>> read_audio("hum.flac")
    Waveform(1 channel, 12000 samples, 24000 Hz, 0.500 s, silent)
    """
    if backend is not None and backend not in get_args(FileBackend):
        raise AudioError(f"files are read by 'soundfile' or 'torchcodec', got {backend!r}.")
    with open_audio(source, backend=backend, allow_truncated=allow_truncated) as audio:
        return audio.read()


def iter_audio(
    source: AudioSource, *, block_seconds: float = DEFAULT_BLOCK_SECONDS, allow_truncated: bool = False
) -> Iterator[Waveform]:
    """Return an iterator over a recording in blocks, for files too long for memory.

    The blocks, joined, are what `read_audio` returns; all but the last have the same length. The file is
    opened at the first `next`. A cut-off file is refused before its first block if its container shows it (WAV,
    AIFF, Ogg, MP3 and others); FLAC, and formats read by ffmpeg, at the end, after the good blocks.

    Args:
        source: as in `read_audio`.
        block_seconds: length of a block.
        allow_truncated: as in `read_audio`.

    Raises:
        AudioFileError: as in `read_audio`, while iterating.
        AudioError: `block_seconds` is not positive.

    >>> from snac_tok.audio import write_audio
    >>> _ = write_audio("hum.wav", Waveform(samples=np.zeros((1, 12000), np.float32), sampling_rate=24000))
    >>> [block.num_samples for block in iter_audio("hum.wav", block_seconds=0.2)]
    [4800, 4800, 2400]
    """
    if not 0 < block_seconds < float("inf"):
        raise AudioError(f"block_seconds must be a positive number of seconds, got {block_seconds!r}.")
    return _blocks(source, block_seconds, allow_truncated=allow_truncated)


def _blocks(source: AudioSource, block_seconds: float, *, allow_truncated: bool) -> Iterator[Waveform]:
    with open_audio(source, allow_truncated=allow_truncated) as audio:
        yield from audio.blocks(block_seconds=block_seconds)


@refusing_int16_in_32_bits
def _decode(reader: Reader, name: str, block_frames: int, *, allow_truncated: bool) -> Iterator[Samples]:
    """Yield decoded samples as arrays (n, C) of `block_frames`, the last one shorter."""
    done = 0
    step = _SALVAGE_FRAMES if allow_truncated else 1 << 62
    held = np.empty((0, reader.channels), np.float32)
    while True:
        want = min(block_frames - len(held), max(reader.frames - done, 1))
        buffer = np.empty((want, reader.channels), np.float32)
        filled, failure = _fill(reader, buffer, done, step)
        if failure is not None and not allow_truncated:
            raise AudioFileError(
                f"{name}: damaged or cut off between samples {done} and {done + want} ({failure}): repair it; "
                f"{ALLOW_TRUNCATED}."
            )
        block = np.concatenate([held, buffer[:filled]]) if len(held) else buffer[:filled]
        done += filled
        is_end = filled < want or done >= reader.frames
        # A file that turns out to continue has promised less than a block.
        held = block if len(block) < block_frames and not is_end else held[:0]
        if len(block) and not len(held):
            yield block
        if is_end:
            break
    _judge_length(reader, name, done, allow_truncated=allow_truncated)


def _fill(reader: Reader, buffer: Samples, done: int, step: int) -> tuple[int, str | None]:
    """Read into `buffer` up to each multiple of `step`, counted from the file's start.

    Returns how many frames it holds, and the decoder's complaint.
    """
    filled = 0
    while filled < len(buffer):
        part = buffer[filled : filled + step - (done + filled) % step]
        try:
            got = len(reader.read(out=part))
        except sf.SoundFileError as error:
            return filled, str(error).strip().rstrip(".") or "the decoder gave no reason"
        filled += got
        if got < len(part):
            break
    return filled, None


def _judge_length(reader: Reader, name: str, done: int, *, allow_truncated: bool) -> None:
    """Compare the decoded length with the header's."""
    if done >= reader.frames or reader.frames == FRAMES_UNKNOWN:
        return
    found = f"{name}: the header promises {reader.frames} samples, {done} could be decoded"
    is_estimate = reader.subtype in _ESTIMATED_SUBTYPES
    if not is_estimate and not allow_truncated:
        raise AudioFileError(f"{found}: the file is cut off; {ALLOW_TRUNCATED}.")
    if not is_estimate or reader.frames - done > _ENCODER_PADDING:
        logger.warning("%s.", found)


def _join(blocks: list[Samples], num_channels: int) -> Samples:
    """Blocks (n, C) → one (C, T); a single mono block becomes a view."""
    if len(blocks) == 1:
        return np.ascontiguousarray(blocks[0].T)
    joined = np.empty((num_channels, sum(map(len, blocks))), np.float32)
    start = 0
    for block in blocks:
        joined[:, start : start + len(block)] = block.T
        start += len(block)
    return joined


def _checked_waveform(name: str, samples: Samples, sampling_rate: int, *, start: int = 0) -> Waveform:
    if samples.shape[1] == 0:
        raise AudioFileError(_no_samples(name))
    where = f" (counted from sample {start})" if start else ""
    try:
        return Waveform(samples=samples, sampling_rate=sampling_rate)
    except AudioError as error:
        raise AudioFileError(f"{name}: {str(error).removesuffix('.')}{where}.") from error


def _no_samples(name: str) -> str:
    return f"{name}: holds no samples: leave it out, or record it again."
