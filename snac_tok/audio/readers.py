"""Forward-only decoders on libsndfile: for one file, for MPEG, for FLAC, and for several joined files.

All have `samplerate`, `channels`, `frames`, `format`, `subtype` and `read(out=…)`, which fills an array (n, C) and
returns the filled part. Errors are raised as `soundfile.SoundFileError`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import soundfile as sf

from snac_tok.audio.mpg123_messages import caught_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snac_tok.audio.probe_result import Piece
    from snac_tok.audio.waveform import Samples

# libsndfile's value for "the header does not say".
FRAMES_UNKNOWN = (1 << 63) - 1


class Reader(Protocol):
    """The interface of a decoder."""

    @property
    def samplerate(self) -> int:
        """Hz."""

    @property
    def channels(self) -> int:
        """Number of channels."""

    @property
    def frames(self) -> int:
        """Samples per channel according to the header, or FRAMES_UNKNOWN."""

    @property
    def format(self) -> str:
        """Of the container."""

    @property
    def subtype(self) -> str:
        """Of the samples in it."""

    def read(self, *, out: Samples) -> Samples:
        """Fill an array (n, C) and return the filled part; a shorter part is the end."""

    def close(self) -> None:
        """Close the file."""


class ForwardReader(sf.SoundFile):  # type: ignore[misc, unused-ignore]
    """A forward-only SoundFile.

    SoundFile seeks to its current position before and after every read. In MP3 and Opus this resets the decoder, so
    a file read in blocks would differ from the file read whole; in FLAC without a length it fails. If the file says
    that it cannot seek, SoundFile does not.
    """

    def seekable(self) -> bool:
        """Return False, even if the file can seek."""
        return False


class MpegReader(ForwardReader):
    """A reader that captures libmpg123's messages: they are the only sign of a damaged frame, which is an error.

    Args:
        target: the file for libsndfile.
        strict: whether a damaged frame is an error.
        container: the format that contains the frames.
        skip: samples at the beginning that do not belong to the file.
    """

    def __init__(self, target: Any, *, strict: bool, container: str, skip: int = 0) -> None:
        with caught_messages():
            super().__init__(target)
        self._strict, self._container, self._skip, self._to_skip = strict, container, skip, skip

    @property
    def format(self) -> str:
        """Of the container."""
        return self._container

    @property
    def frames(self) -> int:
        """Without the skipped samples."""
        own: int = super().frames
        return own if own == FRAMES_UNKNOWN else max(0, own - self._skip)

    def read(self, *, out: Samples) -> Samples:  # type: ignore[override, unused-ignore]
        """Read; if strict, raise libmpg123's message about damage."""
        if self._to_skip:
            count, self._to_skip = self._to_skip, 0
            self.read(out=np.empty((count, self.channels), np.float32))
        with caught_messages() as said:
            got: Samples = super().read(out=out)
        faults = [line.rpartition("error: ")[2] for line in said if "error: " in line]
        if faults and self._strict:
            raise sf.SoundFileError(f"libmpg123: {faults[0].rstrip('!')}.")
        return got


class FlacReader(ForwardReader):
    """A reader that notices whether other, joined files follow the last sample, and reads them, too.

    libFLAC is asked for the last sample and one more; if this fails, the file continues.

    Args:
        target: the file for libsndfile.
        find_rest: returns a reader of the files after the first, or None.
    """

    def __init__(self, target: Any, *, find_rest: Callable[[], Reader | None]) -> None:
        super().__init__(target)
        self._find_rest = find_rest
        self._left = super().frames
        self._rest: Reader | None = None

    @property
    def frames(self) -> int:
        """The first file's, until more files are found."""
        own: int = super().frames
        return min(FRAMES_UNKNOWN, own + (self._rest.frames if self._rest else 0))

    def read(self, *, out: Samples) -> Samples:  # type: ignore[override, unused-ignore]
        """Read from the first file, then from the others."""
        filled = 0
        if self._left:
            filled = self._read_own(out[: self._left])
            self._left -= filled
        if self._rest and not self._left:
            filled += len(self._rest.read(out=out[filled:]))
        return out[:filled]

    def _read_own(self, out: Samples) -> int:
        if len(out) < self._left:
            return len(super().read(out=out))
        filled = len(super().read(out=out[:-1])) if len(out) > 1 else 0
        if filled < len(out) - 1:
            return filled
        end = np.full((2, self.channels), np.nan, np.float32)
        try:
            got = len(super().read(out=end))
        except sf.SoundFileError:
            if np.isnan(end[0]).any():
                raise
            got, self._rest = 1, self._find_rest()
        out[filled] = end[0]
        return filled + min(got, 1)


class JoinedReader:
    """Several files as one; they must have the same rate and number of channels.

    Args:
        pieces: at least one.
        open_piece: opens a reader of a piece.
        first: the index of the piece where reading begins; those before it are only compared.
    """

    def __init__(
        self, pieces: Sequence[Piece], open_piece: Callable[[Piece], Reader], *, first: int = 0
    ) -> None:
        self._pieces, self._open_piece, self._index = pieces, open_piece, first
        self.frames = 0
        kinds = set()
        for number, piece in enumerate(pieces, start=1):
            with closing(open_piece(piece)) as reader:
                self.samplerate, self.channels = reader.samplerate, reader.channels
                self.format, self.subtype = reader.format, reader.subtype
                if number > first:
                    self.frames = min(FRAMES_UNKNOWN, self.frames + reader.frames)
            kinds.add((self.samplerate, self.channels))
            if len(kinds) > 1:
                raise DifferentPiecesError(
                    f"several files were joined to this one, and number {number}, from byte {piece.start} on, has "
                    f"{self.samplerate} Hz and {_channels(self.channels)}, unlike those before it: split it there, "
                    "and convert one part."
                )
        self._current = open_piece(pieces[first])

    def read(self, *, out: Samples) -> Samples:
        """Read across the borders of files."""
        filled = 0
        while True:
            filled += len(self._current.read(out=out[filled:]))
            if filled == len(out) or self._index + 1 == len(self._pieces):
                return out[:filled]
            self._current.close()
            self._index += 1
            self._current = self._open_piece(self._pieces[self._index])

    def close(self) -> None:
        """Close the open file."""
        self._current.close()


class DifferentPiecesError(Exception):
    """Joined files differ in rate or channels; the message is put after the file's name."""


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"
