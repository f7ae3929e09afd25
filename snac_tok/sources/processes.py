"""One process that reads recordings for this one; it may crash, hang or run out of memory.

A process that dies or gives nothing for too long is replaced, and the file is tried once more, alone in a new one. If
that one ends in the same way, the file is an error with a code, like any file that cannot be read. The processes run
`reading_process.serve`, which imports neither torch nor pyarrow. Nothing is pickled, and the caller's main module is
not imported again, so scripts need no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from snac_tok import errors
from snac_tok.audio import Waveform
from snac_tok.errors import AudioError, AudioFileError, SourceError
from snac_tok.sources.clips import Clips
from snac_tok.sources.limits import DECODE_MEMORY_BYTES, DECODE_TIMEOUT_SECONDS
from snac_tok.sources.stored import StoredSound

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from snac_tok.sources.clips import ReadOptions
    from snac_tok.sources.recording import Recording

_START_SECONDS = 120.0
_START = "import sys; sys.path[:] = {path!r}; from snac_tok.sources.reading_process import serve; serve()"


@dataclass(frozen=True, kw_only=True)
class ProcessOptions:
    """How recordings are read in other processes; what is read does not depend on it.

    Attributes:
        jobs: how many processes; 0 reads in this one.
        timeout_seconds: a process that gives nothing for so long is replaced.
        max_memory_bytes: of each process, where the system knows such limits.
    """

    jobs: int
    timeout_seconds: float = DECODE_TIMEOUT_SECONDS
    max_memory_bytes: int | None = DECODE_MEMORY_BYTES


@dataclass(frozen=True, kw_only=True)
class LongInfo:
    """What a long recording's header says."""

    sampling_rate: int
    num_channels: int


class _DiedError(Exception):
    """The process ended in the middle of its answer."""


class ReadingProcess:
    """One process that reads recordings; it is started when it is first needed, and again after it has died."""

    def __init__(self, options: ProcessOptions) -> None:
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._timed_out = self._is_busy = self._is_closed = False
        self._ended: str | None = None

    def interrupt(self) -> None:
        """End the process, and whatever it has started, from another thread than that which reads."""
        self._is_closed = True
        if process := self._process:
            _kill_session(process)

    def close(self) -> None:
        """End the process and forget it."""
        self._is_closed = True
        self._kill()

    def read(self, recording: Recording, options: ReadOptions) -> Clips | LongInfo:
        """Return the recording's clips, or what its header says where it is long.

        Raises:
            AudioError: as in `read_clips`, or its reading killed two processes.
        """
        options.limits.check_bytes(recording.num_bytes)
        request, content = self._request(recording, options)
        for is_last in (False, True):
            try:
                answers: list[Clips | LongInfo] = list(self._answers(request, content))
            except _DiedError:
                self._after_death(recording, is_last=is_last)
            except AudioError as error:
                if error.code != "memory" or is_last:
                    raise
                self._kill()  # a new one has more memory left
            else:
                return answers[0]
        raise AssertionError("the second attempt returns or raises")

    def blocks(self, recording: Recording, options: ReadOptions) -> Iterator[Waveform]:
        """Yield a recording in blocks; a second process goes on where a first one died.

        Raises:
            AudioError: as in `read`, while iterating.
        """
        num_taken = 0
        for is_last in (False, True):
            request, content = self._request(recording, options, first_block=num_taken)
            try:
                for number, block in enumerate(self._answers(request, content)):
                    if number >= num_taken:
                        num_taken += 1
                        yield block.waveform
            except _DiedError:
                self._after_death(recording, is_last=is_last)
            else:
                return

    def _after_death(self, recording: Recording, *, is_last: bool) -> None:
        """Let the file be tried once more, or say what it did to two processes."""
        ended = self._ended
        if self._is_closed:
            raise AudioFileError(f"{recording.name}: nobody waits for it any more.")
        if not is_last:
            return
        name, seconds = recording.name, self._options.timeout_seconds
        if ended is None:
            raise AudioFileError(
                f"{name}: its decoder gave nothing for {seconds:g} s, twice: repair the file, or leave it out.",
                code="timeout",
            )
        raise AudioFileError(
            f"{name}: its decoder was ended by {ended}, twice: repair the file, or leave it out.",
            code="crashed",
        )

    def _request(
        self, recording: Recording, options: ReadOptions, *, first_block: int = -1
    ) -> tuple[bytes, bytes]:
        sound = recording.sound.read() if isinstance(recording.sound, StoredSound) else recording.sound
        content = sound if isinstance(sound, bytes) else None
        fields = {
            "name": recording.name,
            "path": None if content is not None else os.fspath(sound),
            "num_content": None if content is None else len(content),
            "num_bytes": None if content is not None else recording.num_bytes,
            "part": recording.part,
            "channel": recording.channel,
            "options": dataclasses.asdict(options),
            "first_block": first_block,
            "max_memory": self._options.max_memory_bytes,
        }
        return json.dumps(fields).encode() + b"\n", content or b""

    def _answers(self, request: bytes, content: bytes) -> Iterator[Any]:
        if self._is_busy:
            self._kill()  # it would go on with blocks that nobody takes
        process = self._started()
        self._is_busy = True
        try:
            assert process.stdin is not None
            process.stdin.write(request + content)
            process.stdin.flush()
        except OSError as error:
            raise self._death() from error
        while True:
            fields = self._message(process)
            if fields["kind"] == "sound":
                yield self._clips(process, fields)
                continue
            self._is_busy = False
            if fields["kind"] == "failed":
                raise _error_of(fields)
            if fields["kind"] == "long":
                yield LongInfo(sampling_rate=fields["rate"], num_channels=fields["channels"])
            return

    def _message(self, process: subprocess.Popen[bytes], *, seconds: float | None = None) -> dict[str, Any]:
        """Return the next answer; warnings before it are logged, and signs of life are waited behind."""
        assert process.stdout is not None
        while True:
            with self._watched(process, seconds):
                line = process.stdout.readline()
            if not line.endswith(b"\n"):
                raise self._death()
            fields: dict[str, Any] = json.loads(line)
            if fields["kind"] == "warning":
                logging.getLogger(fields["logger"]).warning("%s", fields["message"])
            elif fields["kind"] != "alive":
                return fields

    def _clips(self, process: subprocess.Popen[bytes], fields: dict[str, Any]) -> Clips:
        assert process.stdout is not None
        samples = np.empty(fields["shape"], np.float32)
        with self._watched(process, None):
            num_bytes = _read_into(process.stdout, samples)
        if num_bytes < samples.nbytes:
            raise self._death()
        waveform = Waveform(samples=samples, sampling_rate=fields["rate"])
        return Clips(waveform=waveform, source_rate=fields["source_rate"], digest=fields["digest"])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._timed_out = self._is_busy = False
            code = _START.format(path=sys.path)
            process = subprocess.Popen(  # noqa: S603 - this very interpreter
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                # In a session of its own: Control-C reaches the parent alone, and its decoders die with it.
                start_new_session=True,
            )
            self._process = process
            try:
                self._message(process, seconds=_START_SECONDS)
            except _DiedError as error:
                raise SourceError(
                    f"the processes that read recordings cannot be started ({self._ended or 'no answer'}); with 0 "
                    "jobs none is needed."
                ) from error
        return self._process

    @contextlib.contextmanager
    def _watched(self, process: subprocess.Popen[bytes], seconds: float | None) -> Iterator[None]:
        """Kill the process if it gives nothing for too long: then the waiting ends as if it had died."""

        def expire() -> None:
            self._timed_out = True
            _kill_session(process)

        timer = threading.Timer(seconds or self._options.timeout_seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _death(self) -> _DiedError:
        # Its pipe is closed, so it has ended or is about to: how is known in a moment.
        self._kill(wait_seconds=1.0)
        return _DiedError()

    def _kill(self, *, wait_seconds: float = 0.0) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            status = process.wait(timeout=wait_seconds)
        except subprocess.TimeoutExpired:
            _kill_session(process)
            status = process.wait()
        self._ended = None if self._timed_out else _ending(status)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


def _read_into(stream: IO[bytes], samples: npt.NDArray[np.float32]) -> int:
    buffer, done = samples.reshape(-1).view(np.uint8).data, 0
    while done < len(buffer):
        got: int | None = stream.readinto(buffer[done:])  # type: ignore[attr-defined]
        if not got:
            break
        done += got
    return done


def _error_of(fields: dict[str, Any]) -> Exception:
    """Return the error that reading raised in the other process."""
    code, message = fields["code"], fields["message"]
    if fields["error"] == "MemoryError":
        return AudioFileError(
            "its decoder needed more memory than it may have: allow more, repair the file, or leave it out.",
            code="memory",
        )
    kind = getattr(errors, fields["error"])
    error: Exception = kind(message, code=code) if issubclass(kind, AudioError) else kind(message)
    if fields["errno"] is not None:
        error.__cause__ = OSError(fields["errno"], os.strerror(fields["errno"]))
    return error


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(status: int) -> str:
    """Say how a process ended: the signal's name, or its exit code."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
