"""From a caller's sound file to a decoder at its first sample.

    source ── checked ── probed (sizes, joined files) ── libsndfile, as a whole or piece by piece
                    └ a kind that libsndfile does not know ── torchcodec, or the program ffmpeg

Paths, encoded bytes and binary file objects; each is checked before libsndfile opens it, and its header right after.
No samples are read here.
"""

from __future__ import annotations

import io
import logging
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias

import soundfile as sf

from snac_tok.audio.ffmpeg import TorchcodecReader, open_with_ffmpeg
from snac_tok.audio.flac import flac_pieces
from snac_tok.audio.foreign import foreign_kind, is_strange_ogg, shared_kind
from snac_tok.audio.machine_faults import ALLOW_TRUNCATED
from snac_tok.audio.mpeg_frames import tag_end
from snac_tok.audio.mpg123_messages import caught_messages
from snac_tok.audio.probe import probe
from snac_tok.audio.probe_result import ProbeResult
from snac_tok.audio.readers import DifferentPiecesError, FlacReader, ForwardReader, JoinedReader, MpegReader
from snac_tok.audio.riff import is_decodable_wav
from snac_tok.audio.sampling_rate import MAX_SAMPLING_RATE, MIN_SAMPLING_RATE
from snac_tok.audio.views import BinaryFile, View
from snac_tok.audio.waveform import MAX_CHANNELS
from snac_tok.errors import AudioFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.audio.foreign import ForeignKind
    from snac_tok.audio.probe_result import Piece
    from snac_tok.audio.readers import Reader

logger = logging.getLogger(__name__)

AudioSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
FileBackend = Literal["soundfile", "torchcodec"]

_BEGINNING_BYTES = 512
# libsndfile takes such a file for MPEG by its name, whatever it contains; bytes have no name.
_MPEG_ENDINGS = (".mp3", ".mp2", ".mp1")
_UNSUPPORTED = 4  # SF_ERR_UNSUPPORTED_ENCODING


def name_of(source: AudioSource) -> str:
    """Return a source's name in messages: its path, its file object's name, or its size.

    >>> name_of(b"abc")
    '<3 bytes of audio>'
    """
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source)
    if isinstance(source, bytes):
        return f"<{len(source)} bytes of audio>"
    return str(getattr(source, "name", f"<{type(source).__name__}>"))


@contextmanager
def opened(
    source: AudioSource, *, allow_truncated: bool, backend: FileBackend | None = None, look: bool = False
) -> Iterator[Reader]:
    """Open a decoder for `source`, a context manager; a cut-off or damaged file is refused unless that is allowed.

    With `look`, only the header is read: missing sound gives no error and no warning yet.

    Raises:
        AudioFileError: missing, not sound, cut off, or a header with impossible values.
        MissingDependencyError: torchcodec was chosen and does not load.
    """
    name = name_of(source)
    target = checked_source(source, name)
    with ExitStack() as stack:
        opening = _Opening(target, name, strict=not (allow_truncated or look), stack=stack)
        try:
            reader = opening.reader(backend, look=look)
            stack.callback(reader.close)
            _check_header(reader, name)
            yield reader
        except DifferentPiecesError as error:
            raise AudioFileError(f"{name}: {error}") from error
        except AudioFileError:
            if failure := opening.failure():
                raise failure from failure.__cause__
            raise
        if failure := opening.failure():
            raise failure


class _Opening:
    """Opens one source; keeps errors that the source itself raised.

    Args:
        target: a checked path or file object.
        name: for messages.
        strict: whether missing sound is an error.
        stack: closes what was opened.
    """

    def __init__(self, target: str | BinaryIO, name: str, *, strict: bool, stack: ExitStack) -> None:
        self._target, self._name, self._strict = target, name, strict
        self._views: list[View] = []
        self._look = False
        self._may_use_ffmpeg = True
        try:
            self._file = stack.enter_context(open(target, "rb")) if isinstance(target, str) else target  # noqa: PTH123, SIM115
            self._here = self._file.tell()
            self._size = self._file.seek(0, os.SEEK_END)
            self._file.seek(self._here)
            self._beginning = self._file.read(_BEGINNING_BYTES)
        except OSError as error:
            raise self._unreadable(error) from error

    def reader(self, backend: FileBackend | None, *, look: bool) -> Reader:
        """Return the decoder that the caller chose or that the file needs."""
        self._look, self._may_use_ffmpeg = look, backend is None
        if backend == "torchcodec":
            return TorchcodecReader(self._source(), self._name, look=look)
        found = self._probe()
        kind = foreign_kind(self._after_tags(self._file, self._here, self._size, self._beginning))
        if kind is not None and backend is None:
            return self._by_ffmpeg(self._source(), kind)
        return self._of_probe(found)

    def _decoder(self, target: str | View, make: Callable[[str | View], Reader]) -> Reader:
        """Open one sound file with libsndfile, or with ffmpeg if libsndfile does not decode it."""
        try:
            return make(target)
        # TypeError: soundfile asks for the rate of a headerless .raw.
        except (sf.SoundFileError, OSError, TypeError, ValueError) as error:
            if failure := self.failure():
                raise failure from error
            kind = self._kind_of_contents(target, code=getattr(error, "code", None))
            if kind is not None and self._may_use_ffmpeg:
                return self._by_ffmpeg(target, kind)
            raise AudioFileError(_not_sound(self._name, error, kind)) from error

    def _kind_of_contents(self, target: str | View, *, code: int | None) -> ForeignKind | None:
        """Return ffmpeg's reader for a container that libsndfile knows with a codec that it does not."""
        file: Any = self._file if isinstance(target, str) else target
        start = self._here if isinstance(target, str) else 0
        size = file.seek(0, os.SEEK_END)
        file.seek(start)
        beginning = self._after_tags(file, start, size, file.read(_BEGINNING_BYTES))
        is_strange = is_strange_ogg(beginning) or not is_decodable_wav(file, start, size)
        return shared_kind(beginning) if is_strange or code == _UNSUPPORTED else foreign_kind(beginning)

    def _by_ffmpeg(self, target: str | BinaryFile, kind: ForeignKind) -> Reader:
        if isinstance(target, View):
            target.seek(0)
        return open_with_ffmpeg(target, self._name, kind, strict=self._strict, look=self._look)

    def failure(self) -> AudioFileError | None:
        """Return the source's own read error, which a decoder takes for the end of the file."""
        error = next((view.error for view in self._views if view.error), None)
        if error is None:
            return None
        failure = self._unreadable(error)
        failure.__cause__ = error
        return failure

    def _unreadable(self, error: Exception) -> AudioFileError:
        return AudioFileError(f"{self._name}: cannot be read ({getattr(error, 'strerror', None) or error}).")

    def _source(self) -> str | BinaryIO:
        """The source from its first position on."""
        self._file.seek(self._here)
        return self._target

    def _behind_tags(self) -> int:
        """Return where a file begins behind ID3 tags: of other kinds libsndfile leaves out as much at the end."""
        if self._after_tags(self._file, self._here, self._size, self._beginning).startswith(b"fLaC"):
            return self._here
        return tag_end(self._file, self._here, self._size)

    @staticmethod
    def _after_tags(file: Any, start: int, size: int, beginning: bytes) -> bytes:
        if beginning.startswith(b"ID3"):
            file.seek(tag_end(file, start, size))
            beginning = file.read(_BEGINNING_BYTES)
        return beginning

    def _probe(self) -> ProbeResult:
        self._file.seek(self._here)
        try:
            found = probe(self._file)
        except OSError as error:
            raise self._unreadable(error) from error
        except (ValueError, OverflowError):  # an offset that no file can have
            found = ProbeResult(fault="its header names sizes beyond any file's")
        if found.fault and self._strict:
            raise AudioFileError(f"{self._name}: cut off or damaged, since {found.fault}; {ALLOW_TRUNCATED}.")
        if (found.fault or found.note) and not self._look:
            logger.warning("%s: %s.", self._name, found.fault or found.note)
        return found

    def _of_probe(self, found: ProbeResult) -> Reader:
        if len(found.pieces) > 1:
            return JoinedReader(found.pieces, lambda piece: self._of_piece(piece, is_mpeg=found.is_mpeg))
        if found.pieces:
            return self._of_piece(found.pieces[0], is_mpeg=found.is_mpeg)
        start = self._here if found.is_mpeg else self._behind_tags()
        by_path = isinstance(self._target, str) and not self._target.lower().endswith(_MPEG_ENDINGS)
        target: Any = self._target if by_path and start == self._here else self._view(((start, self._size),))
        if self._beginning.startswith(b"fLaC"):
            return self._decoder(target, lambda source: FlacReader(source, find_rest=self._rest_of_flac))
        return self._decoder(target, self._plain_or_mpeg(found.is_mpeg))

    def _of_piece(self, piece: Piece, *, is_mpeg: bool) -> Reader:
        view = self._view(piece.stretches, head=piece.head)
        return self._decoder(view, self._plain_or_mpeg(is_mpeg, skip=piece.skip))

    def _plain_or_mpeg(self, is_mpeg: bool, *, skip: int = 0) -> Callable[[str | View], Reader]:  # noqa: FBT001
        if not is_mpeg:
            return self._plain
        container = "WAV" if self._beginning.startswith((b"RIFF", b"RF64")) else "MP3"
        return lambda source: MpegReader(source, strict=self._strict, container=container, skip=skip)

    def _plain(self, source: str | View) -> Reader:
        # libsndfile may take unknown bytes for MPEG, whose decoder then prints messages about them.
        with caught_messages():
            reader = ForwardReader(source)
        if reader.format != "MP3":
            return reader
        reader.close()
        if isinstance(source, View):
            source.seek(0)
        return MpegReader(source, strict=self._strict, container="MP3")

    def _view(self, stretches: tuple[tuple[int, int], ...], *, head: bytes = b"") -> View:
        view = View(self._file, stretches, head=head)
        self._views.append(view)
        return view

    def _rest_of_flac(self) -> Reader | None:
        pieces = flac_pieces(self._file, self._here, self._size)
        if len(pieces) < 2:  # noqa: PLR2004 - itself
            return None
        return JoinedReader(pieces, lambda piece: self._of_piece(piece, is_mpeg=False), first=1)


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
        raise AudioFileError(f"{shown}: the file's name is not UTF-8; rename the file.") from error
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


def _not_sound(name: str, error: Exception, kind: ForeignKind | None) -> str:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
    if "SF_INFO struct incomplete" in reason:  # libsndfile's message for a rate of 0 or beyond 2^31
        reason = "its header claims an impossible rate"
    if kind is not None:
        return f"{name}: soundfile does not read {kind.name} ({reason}): leave the backend out, and ffmpeg is used."
    return f"{name}: not sound that soundfile reads ({reason}): convert it to WAV or FLAC."


def _check_header(reader: Any, name: str) -> None:
    if not 1 <= reader.channels <= MAX_CHANNELS:
        raise AudioFileError(f"{name}: the header claims {reader.channels} channels, at most {MAX_CHANNELS}.")
    if not MIN_SAMPLING_RATE <= reader.samplerate <= MAX_SAMPLING_RATE:
        raise AudioFileError(
            f"{name}: the header claims {reader.samplerate} Hz, possible are {MIN_SAMPLING_RATE} to "
            f"{MAX_SAMPLING_RATE} Hz."
        )
