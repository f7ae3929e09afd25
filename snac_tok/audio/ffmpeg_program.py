"""Decoding with the program `ffmpeg`, as a stream from a pipe: any length in bounded memory.

    file ── ffmpeg -f KIND -i file:… -f au pipe:1 ──> header (rate, channels) | float32 samples

No shell, no network, no file but the named one; a program without output for a minute is stopped. ffmpeg continues
after damage and reports it, so its reports show whether sound is missing.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf

from snac_tok.audio.readers import FRAMES_UNKNOWN

if TYPE_CHECKING:
    from snac_tok.audio.foreign import ForeignKind
    from snac_tok.audio.views import BinaryFile
    from snac_tok.audio.waveform import Samples

PROGRAM = "ffmpeg"
_STALL_SECONDS = 60.0
_COPY_BYTES = 1 << 20
_MAX_REPORT_BYTES = 1 << 16
_AU_HEADER = struct.Struct(">4s5I")  # magic, where samples begin, their bytes, encoding, rate, channels
# Anchored, since the report also contains texts from the file.
_FAULT = re.compile(r"^(?:\[[^\]]+ @ 0x[0-9a-f]+\] )?\[(?:error|fatal|panic)\] (.*)", re.MULTILINE)
_DURATION = re.compile(r"^\[info\]   Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_CODEC = re.compile(r"^\[info\]   Stream #.*: Audio: (\w+)", re.MULTILINE)


def find_program() -> str | None:
    """Return ffmpeg's path, None if it is not installed."""
    return shutil.which(PROGRAM)


class ProgramReader:
    """A `readers.Reader` on a running ffmpeg.

    Args:
        program: its path.
        target: a path, or a file that is copied to a temporary one, since MP4 cannot be read from a pipe.
        kind: how ffmpeg should read it.
        strict: whether errors that ffmpeg reports are raised.

    Raises:
        soundfile.SoundFileError: ffmpeg finds no sound, or does not answer; so does `read`.
    """

    def __init__(self, program: str, target: str | BinaryFile, *, kind: ForeignKind, strict: bool) -> None:
        self._strict = strict
        self.frames = FRAMES_UNKNOWN  # ffmpeg's length is an estimate
        self.format = kind.name
        with ExitStack() as stack:
            path = target if isinstance(target, str) else _copied(target, stack)
            self._report = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(  # noqa: S603 - arguments are ours, and no shell reads them
                _command(program, path, kind),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._report,
            )
            stack.callback(self._stop)
            self._read_header()
            self._stack = stack.pop_all()
        report = self._reported()
        codec, duration = _CODEC.search(report), _DURATION.search(report)
        self.subtype = codec[1].upper() if codec else "unknown"
        self.estimated_frames = _seconds(duration, self.samplerate) if duration else None

    def read(self, *, out: Samples) -> Samples:
        """Fill an array (n, C); at the end, check that ffmpeg succeeded."""
        got = self._read_bytes(out.nbytes)
        frames = len(got) // (4 * self.channels)
        values = np.frombuffer(got, ">f4", count=frames * self.channels)
        out[:frames] = values.reshape(frames, self.channels)
        if frames < len(out):
            self._judge()
        return out[:frames]

    def close(self) -> None:
        """Stop the program and remove the temporary copy."""
        self._stack.close()

    def _read_header(self) -> None:
        header = self._read_bytes(_AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            self._process.wait()
            raise sf.SoundFileError(self._first_fault() or "ffmpeg finds no sound in it.")
        _, begin, _, _, self.samplerate, self.channels = _AU_HEADER.unpack(header)
        self._read_bytes(begin - _AU_HEADER.size)

    def _read_bytes(self, count: int) -> bytes:
        """Read that many bytes, fewer at the end; a program that stalls is killed."""
        stalled = threading.Event()

        def stop() -> None:
            stalled.set()
            self._process.kill()

        watch = threading.Timer(_STALL_SECONDS, stop)
        watch.daemon = True
        watch.start()
        try:
            assert self._process.stdout is not None
            got = self._process.stdout.read(count)
        finally:
            watch.cancel()
        if stalled.is_set():
            raise sf.SoundFileError(f"ffmpeg gave nothing for {_STALL_SECONDS:g} s and was stopped.")
        return got

    def _judge(self) -> None:
        code = self._process.wait()
        fault = self._first_fault()
        if self._strict and (code or fault):
            raise sf.SoundFileError(f"ffmpeg: {fault or f'it ended with code {code}'}.")

    def _first_fault(self) -> str | None:
        found = _FAULT.search(self._reported())
        return found[1].strip().rstrip(".") if found else None

    def _reported(self) -> str:
        self._report.seek(0)
        return self._report.read(_MAX_REPORT_BYTES).decode(errors="replace")

    def _stop(self) -> None:
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.kill()
        self._process.wait()


def _command(program: str, path: str, kind: ForeignKind) -> list[str]:
    quiet = ["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]
    source = ["-threads", "1", "-protocol_whitelist", "file", "-f", kind.demuxer, "-i", f"file:{path}"]
    sound = ["-map", "0:a:0", "-vn", "-sn", "-dn", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    return [program, *quiet, *source, *sound]


def _copied(source: BinaryFile, stack: ExitStack) -> str:
    """Copy a file to a temporary one, which `stack` removes."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="snac-tok-"))
    path = Path(folder) / "sound"
    with path.open("wb") as file:
        shutil.copyfileobj(source, file, _COPY_BYTES)
    return str(path)


def _seconds(duration: re.Match[str], sampling_rate: int) -> int:
    hours, minutes, seconds = duration.groups()
    return round((int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * sampling_rate)
