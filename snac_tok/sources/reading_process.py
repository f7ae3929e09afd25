"""A process that reads recordings for another one, so that a decoder that crashes takes nothing along.

    stdin    a request: a line of JSON, then the file's bytes where the sound is no path
    stdout   its answers: lines of JSON, each followed by its samples; the last one has a "kind" of
             "end", "long" (ask again for blocks) or "failed"; "alive" says that a long one goes on

Samples travel as plain float32 and everything else as JSON: what a damaged file makes of this process, its parent
never executes. It ends as soon as its parent does. `processes.py` is the parent's side.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

from snac_tok import errors
from snac_tok.audio import Resampler
from snac_tok.sources.clips import Clips, ReadOptions, read_clips
from snac_tok.sources.failures import code_of, unexpected
from snac_tok.sources.limits import Limits
from snac_tok.sources.reading import LongSound
from snac_tok.sources.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Shorter than any file, so that every file is read in blocks.
_WANTS_BLOCKS = -1.0
_ALIVE_SECONDS = 1.0


def serve() -> None:
    """Answer requests until stdin ends; the entry point of the process."""
    # Decoders print what they like on stdout: from here on that goes to stderr.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()
    threading.Thread(target=_take_requests, args=(sys.stdin.buffer, requests), daemon=True).start()
    logging.getLogger("snac_tok").addHandler(_Forwarding(answers))
    _leave_no_core()
    _send(answers, {"kind": "ready"})
    while True:
        fields, content = requests.get()
        with contextlib.suppress(BrokenPipeError):
            _answer(answers, fields, content)


def _take_requests(stream: IO[bytes], requests: SimpleQueue[tuple[dict[str, Any], bytes]]) -> None:
    while line := stream.readline():
        fields = json.loads(line)
        requests.put((fields, stream.read(fields["num_content"] or 0)))
    # The parent has gone. A decoder that hangs would keep any gentler end from happening.
    os._exit(0)


def _answer(answers: IO[bytes], fields: dict[str, Any], content: bytes) -> None:
    try:
        _limit_memory(fields["max_memory"])
        found = _read(fields, content, on_block=_alive(answers))
        if isinstance(found, LongSound):
            info = found.info
            _send(answers, {"kind": "long", "rate": info.sampling_rate, "channels": info.num_channels})
            return
        for number, clips in enumerate(found):
            _send_clips(answers, clips, wanted=number >= fields["first_block"])
        _send(answers, {"kind": "end"})
    except MemoryError:
        _send(answers, {"kind": "failed", "error": "MemoryError", "message": "", "code": "memory"})
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent decides what becomes of the run
        _send(answers, _failure(error))


def _alive(answers: IO[bytes]) -> Callable[[], None]:
    """Return what tells the parent, once a second at most, that a long file is being read."""
    told = time.monotonic()

    def tell() -> None:
        nonlocal told
        if time.monotonic() >= told + _ALIVE_SECONDS:
            told = time.monotonic()
            _send(answers, {"kind": "alive"})

    return tell


def _read(
    fields: dict[str, Any], content: bytes, *, on_block: Callable[[], None]
) -> LongSound | Iterator[Clips]:
    recording = Recording(
        name=fields["name"],
        sound=content if fields["num_content"] is not None else Path(fields["path"]),
        num_bytes=fields["num_bytes"],
        part=None if fields["part"] is None else tuple(fields["part"]),
        channel=fields["channel"],
    )
    found = read_clips(recording, _options(fields), on_block=on_block)
    if not isinstance(found, LongSound):
        return iter([found])
    if fields["first_block"] < 0:
        return found
    return (Clips(waveform=block, source_rate=block.sampling_rate) for block in found)


def _options(fields: dict[str, Any]) -> ReadOptions:
    given = fields["options"]
    given |= {"limits": Limits(**given["limits"]), "resampler": Resampler(**given["resampler"])}
    if fields["first_block"] >= 0:
        given["long_seconds"] = _WANTS_BLOCKS
    return ReadOptions(**given)


def _failure(error: Exception) -> dict[str, Any]:
    """Describe an error, so that the parent can raise one that is equal in all that it looks at."""
    if not isinstance(error, errors.SnacTokError):
        error = unexpected(error)
    name = type(error).__name__
    numbers = [link.errno for link in errors.causes_of(error) if isinstance(link, OSError)]
    return {
        "kind": "failed",
        "error": name if hasattr(errors, name) else "AudioFileError",
        "message": str(error),
        "code": code_of(error),
        "errno": numbers[0] if numbers else None,
    }


def _send_clips(answers: IO[bytes], clips: Clips, *, wanted: bool) -> None:
    waveform = clips.waveform
    num_samples = waveform.num_samples if wanted else 0
    # A block that another process has delivered before it died comes without its samples.
    shape = [waveform.num_channels, num_samples]
    told = {"rate": waveform.sampling_rate, "source_rate": clips.source_rate, "digest": clips.digest}
    _send(answers, {"kind": "sound", **told, "shape": shape}, flush=not wanted)
    if wanted:
        answers.write(waveform.samples.tobytes())
        answers.flush()


def _send(answers: IO[bytes], fields: dict[str, Any], *, flush: bool = True) -> None:
    answers.write(json.dumps(fields).encode() + b"\n")
    if flush:
        answers.flush()


class _Forwarding(logging.Handler):
    """Sends the library's warnings to the parent, which logs them."""

    def __init__(self, answers: IO[bytes]) -> None:
        super().__init__(logging.WARNING)
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        _send(self._answers, {"kind": "warning", "logger": record.name, "message": record.getMessage()})


def _leave_no_core() -> None:
    """Write no core file when a decoder crashes: a corpus may have thousands of files that make it crash."""
    if importlib.util.find_spec("resource") is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _limit_memory(num_bytes: int | None) -> None:
    """Make allocations beyond a limit fail in this process, where the system knows such limits."""
    if num_bytes is None or importlib.util.find_spec("resource") is None:
        return
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = num_bytes if hard == resource.RLIM_INFINITY else min(num_bytes, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
