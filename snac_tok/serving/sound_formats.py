"""Samples as the bytes of an answer, while they come: PCM, WAV and Opus; FLAC at the end.

A WAV header of a stream has no length. Opus comes in pages of about a second, as libsndfile writes them. FLAC is
written when all is there, because readers take a file without its length for endless. Of MP3 and AAC we write none:
libsndfile's MP3 needs its header rewritten at the end, and adds silence.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

import numpy as np

from snac_tok.errors import did_you_mean
from snac_tok.generation import pcm16, wav_header
from snac_tok.serving.problems import RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snac_tok.serving.decoding import Samples

_OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)


class SoundFormat(Protocol):
    """Writes one sound."""

    content_type: str

    def push(self, sound: Samples) -> bytes:
        """Return the bytes that the next samples complete, perhaps none."""

    def flush(self) -> bytes:
        """Return the last bytes."""


class Pcm:
    """16-bit samples without a header."""

    def __init__(self, sampling_rate: int) -> None:
        self.content_type = f"audio/pcm;rate={sampling_rate};channels=1"

    def push(self, sound: Samples) -> bytes:
        """Return the samples."""
        return pcm16(sound)

    def flush(self) -> bytes:
        """Return nothing."""
        return b""


class Wav(Pcm):
    """The same behind one header, of unknown length."""

    def __init__(self, sampling_rate: int) -> None:
        self.content_type = "audio/wav"
        self._header = wav_header(sampling_rate)

    def push(self, sound: Samples) -> bytes:
        """Return the header, once, and the samples."""
        header, self._header = self._header, b""
        return header + pcm16(sound)


class Opus:
    """Ogg Opus."""

    content_type = "audio/ogg;codecs=opus"

    def __init__(self, sampling_rate: int) -> None:
        import soundfile as sf

        if sampling_rate not in _OPUS_RATES:
            raise RefusedError(
                f"Opus has no rate of {sampling_rate} Hz, which this codec speaks at; ask for wav, pcm or flac.",
                status=400,
                code="unsupported_format",
            )
        self._written = _Written()
        self._file = sf.SoundFile(
            self._written, "w", samplerate=sampling_rate, channels=1, format="OGG", subtype="OPUS"
        )

    def push(self, sound: Samples) -> bytes:
        """Return the pages that the samples complete."""
        self._file.write(np.clip(sound, -1, 1))
        return self._written.taken()

    def flush(self) -> bytes:
        """Return the last page."""
        self._file.close()
        return self._written.taken()


class Flac:
    """A whole FLAC file at the end."""

    content_type = "audio/flac"

    def __init__(self, sampling_rate: int) -> None:
        self._rate, self._sounds = sampling_rate, [np.zeros(0, np.float32)]

    def push(self, sound: Samples) -> bytes:
        """Keep the samples."""
        self._sounds.append(sound)
        return b""

    def flush(self) -> bytes:
        """Return the file."""
        return whole_file(np.concatenate(self._sounds), self._rate, "flac")


# AAC and MP3 are named so that whoever asks for OpenAI's default learns why.
FORMATS: dict[str, Callable[[int], SoundFormat]] = {"wav": Wav, "pcm": Pcm, "opus": Opus, "flac": Flac}


def sound_format(name: str, sampling_rate: int) -> SoundFormat:
    """Return a writer by OpenAI's name of its format.

    Raises:
        RefusedError: there is none, or not at this rate.
    """
    if name not in FORMATS:
        raise RefusedError(
            f"response_format {name[:20]!r} is not written here; there are {', '.join(FORMATS)}."
            f"{did_you_mean(name[:20], FORMATS)}",
            status=400,
            code="unsupported_format",
        )
    return FORMATS[name](sampling_rate)


def whole_file(sound: Samples, sampling_rate: int, name: str) -> bytes:
    """Return a whole 16-bit file, "wav" or "flac", of samples (n,)."""
    import soundfile as sf

    file = io.BytesIO()
    samples = np.frombuffer(pcm16(sound), dtype="<i2")
    sf.write(file, samples, sampling_rate, format=name.upper(), subtype="PCM_16")
    return file.getvalue()


class _Written(io.RawIOBase):
    """A file that is only ever written at its end; what was written is taken out."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = bytearray()
        self._size = 0

    def taken(self) -> bytes:
        data = bytes(self._bytes)
        self._bytes.clear()
        return data

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raw = bytes(data)  # type: ignore[call-overload]
        self._bytes += raw
        self._size += len(raw)
        return len(raw)

    def seek(self, _offset: int, _whence: int = 0) -> int:
        # libsndfile looks for the end once, before it writes.
        return self._size

    def tell(self) -> int:
        return self._size
