"""Files to ids and ids to sound on one device, as `scripts/gpu_check` measures them: with and without what overlaps."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
import wave
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.networks import speech_like
from snac_tok.audio import Waveform
from snac_tok.codec.transfers import pipelined
from snac_tok.frames import FrameLayout
from snac_tok.sources.read_ahead import read_in_threads
from snac_tok.tokenizer import SnacTokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from benchmark.gpu import Check, Row

    Ids = list[Any]

# Files of a batch, as many as a call of the 24 kHz encoder takes at 15 s each twice over; timed passes of each way.
_FILES, _RUNS = 32, 2
_FULL_SCALE = 32_768


def file_rows(check: Check) -> Iterator[Row]:
    """Time files to ids: one thing after the other, one batch queued ahead, and read in threads; and ids to sound."""
    codec = check.codec()
    tok = SnacTokenizer(codec, FrameLayout(strides=codec.config.vq_strides))
    threads = min(16, os.cpu_count() or 1)
    with _files(check, tok) as (paths, total):
        ways: dict[str, Callable[[], Ids]] = {
            "one after the other": lambda: _ids(tok, map(_read, paths), ahead=0),
            "one batch ahead": lambda: _ids(tok, map(_read, paths), ahead=tok.batches_ahead),
            f"one batch ahead, {threads} threads read": lambda: _ids(
                tok, read_in_threads(_read, paths, threads=threads), ahead=tok.batches_ahead
            ),
        }
        wanted = None
        for way, run in ways.items():
            ids = run()  # warms up
            wanted = wanted or ids
            same = "the same ids" if all(map(np.array_equal, ids, wanted)) else "OTHER IDS"
            yield {"what": f"{len(paths)} files to ids, {way}", **_timed(tok, run, total, same)}
    if wanted is not None:
        tok.batch_decode(wanted)
        row = _timed(tok, lambda: tok.batch_decode(wanted), total, "copied to the host")
        yield {"what": f"{len(wanted)} rows of ids to sound", **row}


def _timed(tok: SnacTokenizer, run: Callable[[], Any], total: float, note: str) -> Row:
    """Time runs over so many seconds of sound, and say for how much of the time the device had work."""
    begin, worked = time.perf_counter(), tok.device_seconds
    for _ in range(_RUNS):
        run()
    spent = time.perf_counter() - begin
    worked = tok.device_seconds - worked
    busy = f"; the device had work for {worked / spent:.0%}" if worked else ""
    return {"value": _RUNS * total / spent, "unit": "x real time", "note": f"fp32; {note}{busy}"}


def _ids(tok: SnacTokenizer, sounds: Iterable[Waveform], *, ahead: int) -> Ids:
    sounds = iter(sounds)
    batches = iter(lambda: list(itertools.islice(sounds, _FILES)), [])
    found = pipelined(tok.begin_codes, batches, ahead=ahead)
    return [tok.vocabulary.encode(levels) for codes in found for levels in codes]


@contextmanager
def _files(check: Check, tok: SnacTokenizer) -> Iterator[tuple[list[Path], float]]:
    """Write sound of many lengths as files; yield where they are, and how many seconds they hold."""
    count, longest = check.clips
    sound = speech_like(tok.codec, longest)[0, 0].float().cpu().numpy()
    samples = (np.clip(sound, -1, 1) * (_FULL_SCALE - 1)).astype("<i2")
    # Short and long ones mixed, as in a folder.
    lengths = [longest * (1 + at * 97 % count) / count for at in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{at}.wav" for at in range(count)]
        for path, seconds in zip(paths, lengths, strict=True):
            with wave.open(str(path), "wb") as file:
                file.setparams((1, 2, tok.sampling_rate, 0, "NONE", ""))
                file.writeframes(samples[: int(seconds * tok.sampling_rate)].tobytes())
        yield paths, sum(lengths)


def _read(path: Path) -> Waveform:
    """Read a file without a package that a bare machine may lack."""
    with wave.open(str(path), "rb") as file:
        values = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        rate = file.getframerate()
    return Waveform(samples=(values.astype(np.float32) / _FULL_SCALE)[None], sampling_rate=rate)
