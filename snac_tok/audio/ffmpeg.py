"""Reading through torchcodec, for what only ffmpeg decodes (AAC, M4A, WebM, video).

torchcodec is imported when somebody asks for it, never before. Whole recordings only: it has no promise
that pieces join without a gap, so `iter_audio` stays with soundfile.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from snac_tok.audio.optional import import_optional
from snac_tok.errors import AudioFileError, MissingDependencyError

if TYPE_CHECKING:
    from snac_tok.audio.waveform import Samples


def read_with_torchcodec(target: str | BinaryIO, name: str) -> tuple[Samples, int]:
    """Return samples (C, T) and rate (Hz) of a path or a binary file object.

    Raises:
        AudioFileError: ffmpeg finds no sound in it.
        MissingDependencyError: torchcodec or ffmpeg's libraries do not load.
    """
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
        raise AudioFileError(f"{name}: ffmpeg finds no sound in it ({_first_line(error)}).") from error
    return decode_all(decoder, name)


def decode_all(decoder: Any, name: str) -> tuple[Samples, int]:
    """Return samples (C, T) and rate (Hz) of a torchcodec `AudioDecoder`.

    Raises:
        AudioFileError: the sound is damaged.
    """
    try:
        return samples_of(decoder.get_all_samples())
    except (RuntimeError, ValueError, TypeError) as error:
        raise AudioFileError(f"{name}: ffmpeg cannot decode it ({_first_line(error)}).") from error


def samples_of(decoded: Any) -> tuple[Samples, int]:
    """Return samples (C, T) and rate (Hz) of torchcodec's `AudioSamples`."""
    samples = np.ascontiguousarray(decoded.data.detach().cpu().numpy(), dtype=np.float32)
    return samples, int(decoded.sample_rate)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
