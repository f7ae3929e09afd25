"""From recordings to a prepared folder: decoded once, brought to one rate and one channel, written end to end.

    inputs ─ decode in blocks ─ mono ─ resample ─ cut into pieces ─ level ─ samples.s16
      │                                                                      clips.json, which lists them
      └ cannot be used: failed.jsonl, and the rest goes on

    a piece    |.. piece_seconds ..|.. piece_seconds ..|. rest .|      memory does not grow with a recording

Both files are written under hidden names and get their own once both are on the disk, clips.json last: a folder that
lacks it is no whole one, and after a failure the folder that was there before is still there.
"""

from __future__ import annotations

import dataclasses
import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.audio import check_sampling_rate, resample_blocks, to_mono
from snac_tok.audio.faults import is_machine_fault
from snac_tok.errors import AudioError, ConfigError, TrainingError
from snac_tok.files import HiddenFile, naming_refusals, sync_folder, write_bytes_atomically
from snac_tok.training.clip_store import (
    CLIPS_FILE,
    FORMAT_VERSION,
    FULL_SCALE,
    SAMPLES_FILE,
    ClipEntry,
)
from snac_tok.training.level import active_level_db
from snac_tok.training.recordings import Recording, find_recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import IO

    import numpy.typing as npt

    from snac_tok.audio import MonoPolicy

FAILED_FILE = "failed.jsonl"
_LEAST_PIECE_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    """How recordings become clips.

    Args:
        sampling_rate: Hz of the clips; the codec's.
        channels: what becomes of a second channel.
        min_seconds: shorter clips are left out.
        piece_seconds: a longer recording becomes several clips of this length.
        level_db: every clip is brought to this level (RMS of its parts that are not silent, in dB relative to full
            scale), or as near to it as its peaks allow; None leaves levels as they are.

    Raises:
        ConfigError: an impossible value.
        SamplingRateError: an impossible rate.

    Example:
        >>> PreparationOptions(sampling_rate=24000).piece_seconds
        300.0
    """

    sampling_rate: int
    channels: MonoPolicy = "mean"
    min_seconds: float = 0.0
    piece_seconds: float = 300.0
    level_db: float | None = None

    def __post_init__(self) -> None:
        check_sampling_rate(self.sampling_rate)
        if not 0 <= self.min_seconds <= self.piece_seconds:
            raise ConfigError(f"min_seconds is {self.min_seconds!r}; it must be 0…{self.piece_seconds:g}.")
        if not _LEAST_PIECE_SECONDS <= self.piece_seconds < float("inf"):
            raise ConfigError(
                f"piece_seconds is {self.piece_seconds!r}; it must be at least {_LEAST_PIECE_SECONDS:g}."
            )
        if self.level_db is not None and not self.level_db <= 0:
            raise ConfigError(f"level_db is {self.level_db!r}; 0 dB is full scale, so it must be at most 0.")


@dataclass(frozen=True, kw_only=True)
class PreparationState:
    """What a preparation has come to so far, and in the end.

    Attributes:
        num_recordings: read, failed ones included.
        num_bytes: of their files, where they are files.
        num_clips: written.
        num_samples: of these clips.
        num_short: clips left out for being shorter than `min_seconds`.
        num_failures: recordings that could not be used to their end; failed.jsonl lists them.
    """

    num_recordings: int = 0
    num_bytes: int = 0
    num_clips: int = 0
    num_samples: int = 0
    num_short: int = 0
    num_failures: int = 0


def prepare_sound(
    inputs: Sequence[Any],
    out: str | Path,
    options: PreparationOptions,
    *,
    replace: bool = False,
    progress: Callable[[PreparationState, int | None], None] | None = None,
) -> PreparationState:
    """Make a prepared folder of recordings; see `ClipStore` for reading it.

    Args:
        inputs: folders, audio files, manifests (.txt, .csv, .tsv, .jsonl) and Hugging Face datasets, in any mix.
        out: the folder; made where it is missing.
        options: what becomes of them.
        replace: whether a prepared folder that stands there is replaced, once the new one is whole.
        progress: called after each recording with what was done and the bytes there are in all, if known.

    Raises:
        TrainingError: an input is not there, nothing could be used, `out` is taken, or the disk refuses; what was in
            `out` before stays. Single recordings that cannot be used raise nothing: see `num_failures`.

    Example:
        >>> from snac_tok.audio import Waveform, write_audio
        >>> tone = np.sin(np.arange(44100, dtype=np.float32))[None]
        >>> _ = write_audio("tone.wav", Waveform(samples=tone, sampling_rate=44100))
        >>> prepare_sound(["tone.wav"], "ready", PreparationOptions(sampling_rate=24000)).num_samples
        24000
    """
    out = Path(out)
    recordings = find_recordings(inputs)
    total = None if recordings.num_bytes is None else recordings.num_bytes
    _check_free(out, replace=replace)
    with _folder_in_the_making(out) as making:
        writer = _Writer(making.samples, options)
        for recording in recordings.each():
            writer.add(recording)
            if progress:
                progress(writer.state, total)
        if not writer.entries:
            raise TrainingError(_nothing(writer))
        making.clips.write(_listed(writer.entries, options))
        failures = writer.failures
    _tell_failures(out, failures)
    return writer.state


class _Writer:
    """Adds recordings to a file of samples and remembers where they lie."""

    def __init__(self, file: IO[bytes], options: PreparationOptions) -> None:
        self._file, self._options = file, options
        self.entries: list[ClipEntry] = []
        self.failures: list[dict[str, str]] = []
        self.state = PreparationState()

    def add(self, recording: Recording) -> None:
        """Write what a recording holds; where it cannot be used to its end, what came before stays."""
        pieces = _named_pieces(recording, self._options)
        try:
            for name, samples in pieces:
                self._write(name, samples)
        except AudioError as error:
            if is_machine_fault(error):
                raise TrainingError(f"{recording.id} could not be read: {error}") from error
            self.failures.append({"source": _printable(recording.id), "reason": str(error)})
        self._count(num_recordings=1, num_bytes=recording.num_bytes or 0)
        self.state = dataclasses.replace(self.state, num_failures=len(self.failures))

    def _write(self, name: str, samples: npt.NDArray[np.float32]) -> None:
        options = self._options
        if len(samples) < options.min_seconds * options.sampling_rate:
            self._count(num_short=1)
            return
        level = active_level_db(samples, sampling_rate=options.sampling_rate)
        gain = _gain(samples, level, wanted=options.level_db)
        self._file.write(_as_int16(samples * np.float32(gain)).tobytes())
        entry = ClipEntry(
            id=_printable(name),
            start=self.state.num_samples,
            num_samples=len(samples),
            level_db=round(level + 20 * float(np.log10(gain)), 2),
        )
        self.entries.append(entry)
        self._count(num_clips=1, num_samples=len(samples))

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.state, name) + amount for name, amount in more.items()}
        self.state = dataclasses.replace(self.state, **counts)


def _named_pieces(
    recording: Recording, options: PreparationOptions
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield a recording's pieces at the wanted rate; one that is a whole recording has its plain name."""
    mono = (to_mono(block, channels=options.channels) for block in recording.blocks())
    blocks = (block.samples[0] for block in resample_blocks(mono, options.sampling_rate))
    size = round(options.piece_seconds * options.sampling_rate)
    waiting: npt.NDArray[np.float32] | None = None
    number = 0
    for piece in _regrouped(blocks, size):
        if waiting is not None:
            yield f"{recording.id}#{number}", waiting
            number += 1
        waiting = piece
    if waiting is not None:
        yield (f"{recording.id}#{number}" if number else recording.id), waiting


def _regrouped(blocks: Iterator[npt.NDArray[np.float32]], size: int) -> Iterator[npt.NDArray[np.float32]]:
    held: list[npt.NDArray[np.float32]] = []
    num_held = 0
    for block in blocks:
        rest = block
        while num_held + len(rest) >= size:
            head, rest = rest[: size - num_held], rest[size - num_held :]
            yield np.concatenate([*held, head])
            held, num_held = [], 0
        if len(rest):
            held.append(rest)
            num_held += len(rest)
    if held:
        yield np.concatenate(held)


def _gain(samples: npt.NDArray[np.float32], level_db: float, *, wanted: float | None) -> float:
    """Return the factor to the wanted level that lets no sample go beyond full scale."""
    peak = float(np.abs(samples).max())
    if peak == 0:
        return 1.0
    gain = 1.0 if wanted is None else 10 ** ((wanted - level_db) / 20)
    return min(gain, 1.0 / peak)


def _as_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    # Full scale is 32768, so that 16-bit recordings of the right rate come through as they are; +1 itself has no place.
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2")


def _listed(entries: list[ClipEntry], options: PreparationOptions) -> bytes:
    described = {
        "format_version": FORMAT_VERSION,
        "sampling_rate": options.sampling_rate,
        "options": dataclasses.asdict(options),
        "clips": [dataclasses.asdict(entry) for entry in entries],
    }
    return json.dumps(described, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _check_free(out: Path, *, replace: bool) -> None:
    """Refuse what is no folder of ours, before hours of decoding."""
    if (out / CLIPS_FILE).exists() and not replace:
        raise TrainingError(
            f"{out} already holds prepared sound; choose another folder, or replace it (--force)."
        )
    # Without a list nobody knows whose samples these are: a run that was killed in its last moment, or another program.
    if (out / SAMPLES_FILE).exists() and not (out / CLIPS_FILE).exists() and not replace:
        raise TrainingError(f"{out} holds {SAMPLES_FILE} of an unfinished preparation; replace it (--force).")


@dataclass(frozen=True, kw_only=True)
class _Making:
    samples: IO[bytes]
    clips: IO[bytes]


@contextmanager
def _folder_in_the_making(out: Path) -> Iterator[_Making]:
    """Lend the two files of a folder, which get their names if nothing goes wrong inside, and vanish otherwise."""
    with naming_refusals(out, error=TrainingError):
        out.mkdir(parents=True, exist_ok=True)
        hidden: list[HiddenFile] = []
        try:
            hidden += [HiddenFile(out / SAMPLES_FILE)]
            hidden += [HiddenFile(out / CLIPS_FILE)]
            yield _Making(samples=hidden[0].handle, clips=hidden[1].handle)
            for file in hidden:
                file.complete()
            # From here on nothing is written any more: no full disk can come between.
            (out / CLIPS_FILE).unlink(missing_ok=True)
            hidden[0].path.replace(out / SAMPLES_FILE)
            hidden[1].path.replace(out / CLIPS_FILE)
            sync_folder(out)
        finally:
            for file in hidden:
                file.discard()


def _tell_failures(out: Path, failures: list[dict[str, str]]) -> None:
    if not failures:
        with naming_refusals(out, error=TrainingError):
            (out / FAILED_FILE).unlink(missing_ok=True)
        return
    lines = "".join(json.dumps(failure, ensure_ascii=False) + "\n" for failure in failures)
    write_bytes_atomically(out / FAILED_FILE, lines.encode(), error=TrainingError)


def _nothing(writer: _Writer) -> str:
    state = writer.state
    first = f"; the first: {writer.failures[0]['reason']}" if writer.failures else ""
    return (
        f"none of {state.num_recordings} recordings could be used: {state.num_failures} failed, {state.num_short} "
        f"clips were too short{first.rstrip('.')}."
    )


def _printable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
