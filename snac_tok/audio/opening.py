"""From what a caller calls a sound file to a decoder that stands at its first sample.

Paths, encoded bytes and binary file objects; each is checked before libsndfile sees it, and its header
right after. No samples are read here.
"""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import soundfile as sf

from snac_tok.audio.sampling_rate import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE
from snac_tok.audio.wav_header import count_missing_bytes
from snac_tok.audio.waveform import MAX_CHANNELS
from snac_tok.errors import AudioFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO


class ForwardReader(sf.SoundFile):  # type: ignore[misc, unused-ignore]
    """A SoundFile that only moves forward.

    SoundFile seeks to where it already is, before and after every read. In MP3 and Opus that resets the
    decoder, so that a file read in blocks differs from the file read whole; in FLAC without a length it
    fails. Told that the file cannot seek, it does neither.
    """

    def seekable(self) -> bool:
        """Say no, whatever the file can."""
        return False


def name_of(source: AudioSource) -> str:
    """Return what messages call a source: its path, its file object's name, or its size.

    >>> name_of(b"abc")
    '<3 bytes of audio>'
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes of audio>"
    return str(getattr(source, "name", f"<{type(source).__name__}>"))


@contextmanager
def opened(source: AudioSource, *, allow_truncated: bool) -> Iterator[ForwardReader]:
    """Lend a decoder for `source`; a WAV that is visibly cut off is refused unless allowed.

    Raises:
        AudioFileError: nothing there, nothing that is sound, or a header with impossible values.
    """
    name = name_of(source)
    target = checked_source(source, name)
    if not allow_truncated:
        _refuse_cut_wav(target, name)
    try:
        reader = ForwardReader(target)
    # TypeError: soundfile asks for the rate of a headerless .raw.
    except (sf.SoundFileError, OSError, TypeError, ValueError) as error:
        reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
        if "SF_INFO struct incomplete" in reason:  # libsndfile's words for a rate of 0 or beyond 2^31
            reason = "its header claims an impossible rate"
        raise AudioFileError(
            f"{name}: not sound that soundfile reads ({reason}): convert it to WAV or FLAC, or, if "
            'ffmpeg reads it, use backend="torchcodec".'
        ) from error
    with reader:
        _check_header(reader, name)
        yield reader


def checked_source(source: AudioSource, name: str) -> str | BinaryIO:
    """Return a path that is a non-empty regular file, or a binary file object that can seek."""
    if isinstance(source, str | os.PathLike):
        return _checked_path(name)
    if isinstance(source, bytes):
        if not source:
            raise AudioFileError(f"{name}: empty, not a sound file.")
        return io.BytesIO(source)
    file: Any = source
    if isinstance(file, io.TextIOBase) or not hasattr(file, "read"):
        raise AudioFileError(f"{name}: sound is read from a path, bytes or a file opened with 'rb'.")
    seekable: BinaryIO = file if file.seekable() else io.BytesIO(file.read())
    return seekable


def _checked_path(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        # Neither libsndfile nor a shard's text columns can hold such a name.
        shown = name.encode("utf-8", "backslashreplace").decode()
        raise AudioFileError(f"{shown}: the file's name is no UTF-8; rename the file.") from error
    try:
        status = os.stat(name)  # noqa: PTH116 - a NUL inside the name raises ValueError here
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise AudioFileError(f"{name!r}: cannot be opened ({reason}).") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise AudioFileError(f"{name}: is {kind}, a sound file is needed.")
    if status.st_size == 0:
        raise AudioFileError(f"{name}: empty, 0 bytes: not a sound file.")
    return name


def _refuse_cut_wav(target: str | BinaryIO, name: str) -> None:
    try:
        if isinstance(target, str):
            with open(target, "rb") as file:  # noqa: PTH123
                missing = count_missing_bytes(file)
        else:
            missing = count_missing_bytes(target)
    except OSError as error:
        raise AudioFileError(f"{name}: cannot be read ({error.strerror}).") from error
    if missing:
        raise AudioFileError(
            f"{name}: the header promises {missing} bytes more than the file holds: it is cut off; "
            "allow_truncated=True takes what there is."
        )


def _check_header(reader: Any, name: str) -> None:
    if not 1 <= reader.channels <= MAX_CHANNELS:
        raise AudioFileError(f"{name}: the header claims {reader.channels} channels, at most {MAX_CHANNELS}.")
    if not MIN_SAMPLING_RATE <= reader.samplerate <= MAX_SAMPLING_RATE:
        raise AudioFileError(
            f"{name}: the header claims {reader.samplerate} Hz, possible are {MIN_SAMPLING_RATE} to "
            f"{MAX_SAMPLING_RATE} Hz."
        )
