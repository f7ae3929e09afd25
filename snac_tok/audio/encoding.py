"""Blocks of samples to a WAV or FLAC file, complete or not written at all.

blocks → integers, clipped → libsndfile → `snac_tok.files.replacing`: the new file, or still the old one

Below `Waveform`, whose `save` uses it; `writing.py` takes other forms of sound.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from snac_tok.errors import AudioError, AudioFileError
from snac_tok.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from snac_tok.audio.waveform import Samples, Waveform

logger = logging.getLogger(__name__)

_FORMATS = {".wav": "WAV", ".flac": "FLAC"}
# Bits of each integer subtype, or None for floats, which need no clipping.
_SUBTYPE_BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "FLOAT": None,
    "DOUBLE": None,
}
_BLOCK_FRAMES = 1 << 16
# The largest 32-bit length of RIFF, less room for the header.
_MAX_WAV_BYTES = (1 << 32) - (1 << 16)


def write_blocks(path: str | os.PathLike[str], blocks: Iterator[Waveform], *, subtype: str) -> int:
    """Write the blocks of one recording, all or nothing, and return how many values were clipped.

    Raises:
        AudioFileError: as in `write_audio`.
        AudioError: a subtype that the format does not have.

    >>> from snac_tok.audio import Waveform
    >>> hum = Waveform(samples=np.zeros((1, 100), np.float32), sampling_rate=24000)
    >>> write_blocks("hum.flac", iter([hum, hum]), subtype="PCM_16")
    0
    """
    target = Path(path)
    file_format = _FORMATS.get(target.suffix.lower())
    if file_format is None:
        raise AudioFileError(f"{target}: only .wav and .flac files are written, got {target.suffix!r}.")
    if subtype not in tuple(_SUBTYPE_BITS) or not sf.check_format(file_format, subtype):
        usable = [name for name in _SUBTYPE_BITS if sf.check_format(file_format, name)]
        raise AudioError(f"{file_format} files are written as {', '.join(usable)}, got {subtype!r}.")
    first = next(blocks, None)
    if first is None:
        raise AudioFileError(f"{target}: there is nothing to write: no samples were given.")
    with replacing(target, error=AudioFileError) as raw:
        file = _ErrorKeeper(raw)
        clipped = _encode(file, target, first, blocks, file_format=file_format, subtype=subtype)
    if clipped:
        logger.warning("%s: %d values beyond ±1 were clipped.", target, clipped)
    return clipped


class _ErrorKeeper:
    """The file that libsndfile writes to; it keeps the first OSError.

    An exception cannot pass through libsndfile: it would be printed and lost, and a full disk would go unnoticed.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = self.error or error
            return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        try:
            return self._file.seek(offset, whence)
        except OSError as error:  # seeking flushes, and the disk may be full
            self.error = self.error or error
            return -1

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        """Do nothing: libsndfile flushes at every close, and the real flush comes with fsync."""


def _encode(
    file: _ErrorKeeper,
    target: Path,
    first: Waveform,
    rest: Iterator[Waveform],
    *,
    file_format: str,
    subtype: str,
) -> int:
    """Write all blocks and return how many values were clipped; raise the disk's error, if any."""
    clipped = frames = 0
    kind = (first.sampling_rate, first.num_channels)
    try:
        with sf.SoundFile(file, "w", *kind, subtype, format=file_format) as sound:
            for block in _pieces(target, first, rest):
                values, over = _quantise(block, _SUBTYPE_BITS[subtype])
                frames += block.shape[1]
                clipped += over
                _check_wav_size(target, file_format, frames * first.num_channels * _bytes_per_value(subtype))
                _put(sound, values.T, file)
    except sf.SoundFileError as error:
        if file.error is None:
            # Without its prefix, which shows the file object's address in memory.
            reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
            raise AudioFileError(f"{target}: soundfile cannot write it ({reason}).") from error
    if file.error is not None:  # the header is written again at the end
        raise file.error
    if frames == 0:
        raise AudioFileError(f"{target}: there is nothing to write: the recording has no samples.")
    return clipped


def _put(sound: Any, values: NDArray[Any], file: _ErrorKeeper) -> None:
    """Write (n, C), and raise the disk's error instead of soundfile's assertion about a short write."""
    try:
        sound.write(values)
    except (AssertionError, sf.SoundFileError):
        if file.error is None:
            raise
    if file.error is not None:
        raise file.error


def _pieces(target: Path, first: Waveform, rest: Iterator[Waveform]) -> Iterator[Samples]:
    """Yield all blocks as (C, n) of at most `_BLOCK_FRAMES`, so that converting them needs little memory."""
    kind = (first.sampling_rate, first.num_channels)
    for waveform in _chain(first, rest):
        if (waveform.sampling_rate, waveform.num_channels) != kind:
            raise AudioFileError(
                f"{target}: blocks of one file share rate and channels, got {waveform!r} after {kind[0]} Hz "
                f"with {kind[1]} channels."
            )
        for start in range(0, waveform.num_samples, _BLOCK_FRAMES):
            yield waveform.samples[:, start : start + _BLOCK_FRAMES]


def _chain(first: Waveform, rest: Iterator[Waveform]) -> Iterator[Waveform]:
    yield first
    yield from rest


def _quantise(samples: Samples, bits: int | None) -> tuple[NDArray[Any], int]:
    """Floats → integers in the high bits of int16 or int32, and how many were beyond ±1.

    libsndfile's own conversion scales by 2^15 - 1 and reading divides by 2^15, which does not invert it.
    """
    if bits is None:
        return samples, 0
    over = int(np.count_nonzero(np.abs(samples) > 1.0))
    full = 1 << (bits - 1)
    # float32 is exact for up to 24 bits; 2^31 - 1 needs float64.
    scaled = samples * (np.float32(full) if bits <= 24 else np.float64(full))  # noqa: PLR2004
    whole = np.clip(np.rint(scaled), -full, full - 1)
    width: type[np.signedinteger[Any]] = np.int16 if bits <= 16 else np.int32  # noqa: PLR2004
    return whole.astype(width) << ((16 if bits <= 16 else 32) - bits), over  # noqa: PLR2004


def _bytes_per_value(subtype: str) -> int:
    return 8 if subtype == "DOUBLE" else (_SUBTYPE_BITS[subtype] or 32) // 8


def _check_wav_size(target: Path, file_format: str, num_bytes: int) -> None:
    if file_format == "WAV" and num_bytes > _MAX_WAV_BYTES:
        raise AudioFileError(f"{target}: a WAV file holds at most 4 GiB: write a .flac file.")
