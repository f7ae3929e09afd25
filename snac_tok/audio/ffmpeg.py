"""Reading formats that only ffmpeg decodes (AAC, M4A, WebM, WMA): by torchcodec if it loads, else by the program.

torchcodec is imported for the first such file. It decodes whole recordings, since it does not guarantee that pieces
join without a gap; the program is a stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from snac_tok.audio.ffmpeg_program import ProgramReader, find_program
from snac_tok.audio.optional import import_optional
from snac_tok.audio.readers import FRAMES_UNKNOWN
from snac_tok.errors import AudioFileError, MissingDependencyError, first_line

if TYPE_CHECKING:
    from snac_tok.audio.foreign import ForeignKind
    from snac_tok.audio.readers import Reader
    from snac_tok.audio.views import BinaryFile
    from snac_tok.audio.waveform import Samples

HOW_TO_GET = (
    "install the program ffmpeg (Debian: apt-get install ffmpeg) or the package torchcodec, or convert the file to WAV "
    "or FLAC"
)


def open_with_ffmpeg(
    target: str | BinaryFile, name: str, kind: ForeignKind, *, strict: bool, look: bool
) -> Reader:
    """Return a reader for a kind of file that libsndfile does not decode.

    Raises:
        AudioFileError: neither torchcodec nor the program is installed, or there is no sound in the file.
    """
    try:
        return TorchcodecReader(target, name, look=look)
    except MissingDependencyError:
        program = find_program()
    if program is None:
        raise AudioFileError(f"{name}: {kind.name} is read by ffmpeg, which is not installed: {HOW_TO_GET}.")
    try:
        return ProgramReader(program, target, kind=kind, strict=strict)
    except (sf.SoundFileError, OSError) as error:
        reason = str(error).rstrip(".")
        raise AudioFileError(f"{name}: cannot be read as {kind.name} ({reason}).") from error


class TorchcodecReader:
    """A `readers.Reader` on torchcodec; it decodes the whole file, or nothing to `look` at the header.

    Raises:
        AudioFileError: ffmpeg finds no sound in it, or cannot decode it.
        MissingDependencyError: torchcodec or ffmpeg's libraries do not load.
    """

    def __init__(self, target: str | BinaryFile, name: str, *, look: bool = False) -> None:
        decoders = import_optional(
            "torchcodec.decoders", extra="ffmpeg", purpose="reading with backend='torchcodec'"
        )
        try:
            decoder = decoders.AudioDecoder(target)
        except (RuntimeError, ValueError, TypeError) as error:
            # torchcodec 0.17 imports without ffmpeg's libraries and only fails here.
            if "libtorchcodec" in str(error):
                raise MissingDependencyError(
                    "reading with backend='torchcodec' needs ffmpeg's shared libraries next to torchcodec: "
                    "install ffmpeg, or use backend='soundfile'."
                ) from error
            raise AudioFileError(f"{name}: ffmpeg finds no sound in it ({first_line(error)}).") from error
        self.frames = FRAMES_UNKNOWN  # the header's length is an estimate
        self.format = self.subtype = "ffmpeg"
        self._done = 0
        if look:
            about = decoder.metadata
            self._samples = np.empty((0, int(about.num_channels)), np.float32)
            self.samplerate, seconds = int(about.sample_rate), about.duration_seconds
            self.estimated_frames = None if seconds is None else round(seconds * self.samplerate)
            self.subtype = str(about.codec or "unknown").upper()
        else:
            samples, self.samplerate = decode_all(decoder, name)
            self._samples = samples.T
            self.estimated_frames = len(self._samples)
        self.channels = int(self._samples.shape[1])

    def read(self, *, out: Samples) -> Samples:
        """Fill an array (n, C)."""
        part = self._samples[self._done : self._done + len(out)]
        out[: len(part)] = part
        self._done += len(part)
        return out[: len(part)]

    def close(self) -> None:
        """Release the decoded samples."""
        self._samples = self._samples[:0]


def decode_all(decoder: Any, name: str) -> tuple[Samples, int]:
    """Return samples (C, T) and rate (Hz) of a torchcodec `AudioDecoder`.

    Raises:
        AudioFileError: the sound is damaged.
    """
    try:
        return samples_of(decoder.get_all_samples())
    except (RuntimeError, ValueError, TypeError) as error:
        raise AudioFileError(f"{name}: ffmpeg cannot decode it ({first_line(error)}).") from error


def samples_of(decoded: Any) -> tuple[Samples, int]:
    """Return samples (C, T) and rate (Hz) of torchcodec's `AudioSamples`."""
    samples = np.ascontiguousarray(decoded.data.detach().cpu().numpy(), dtype=np.float32)
    return samples, int(decoded.sample_rate)
