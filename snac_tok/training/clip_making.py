"""From recordings to a prepared folder: decoded once, brought to one rate and one channel, written end to end.

    inputs ─ decode in blocks ─ mono ─ resample ─ cut into pieces ─ level ─ samples.s16
      │                                                                      clips.json, which lists them
      └ cannot be used: failed.jsonl, and the rest goes on

    a piece    |.. piece_seconds ..|.. piece_seconds ..|. rest .|      memory does not grow with a recording
               |.. piece_seconds ..|.. piece_seconds ..rest|           a rest of nearly nothing is no piece

How the folder becomes whole, and is resumed, is in `clip_writing.py`; what can be an input in `sources.find`.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from snac_tok.audio import check_policy, check_sampling_rate, mono_blocks, resample_blocks
from snac_tok.errors import AudioError, ConfigError, TrainingError
from snac_tok.paths import checked_path
from snac_tok.sources.failures import failure_of
from snac_tok.sources.find import find_recordings
from snac_tok.training.clip_plan import ClipPlan, Counts, finished_counts
from snac_tok.training.clip_store import FULL_SCALE
from snac_tok.training.clip_writing import writing_clips
from snac_tok.training.level import active_level_db
from snac_tok.wording import what_came

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from snac_tok.audio import MonoPolicy
    from snac_tok.sources.failures import Failure
    from snac_tok.sources.recording import Recording
    from snac_tok.training.clip_writing import ClipWriter

_LEAST_PIECE_SECONDS = 1.0
_LEAST_LEVEL_DB = -90.0
# Less than this teaches nothing alone, and no distance or pitch of it means anything.
_LEAST_REST_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class PreparationOptions:
    """How recordings become clips.

    Args:
        sampling_rate: Hz of the clips; the codec's.
        channels: which of several is taken: "mean", "left", "right" or its number, counted from 0.
        min_seconds: shorter clips are left out.
        piece_seconds: a longer recording becomes several clips of this length; a rest of less than a quarter of a
            second stays with the clip before, unless `min_seconds` leaves it out.
        level_db: every clip is brought to this level (RMS of its parts that are not silent, in dB relative to full
            scale, -90 to 0), or as near to it as its peaks allow; None leaves levels as they are.
        allow_truncated: whether what a cut-off or damaged file still holds is used; without it, it is a failure.

    Raises:
        ConfigError: an impossible value.
        SamplingRateError: an impossible rate.
        WaveformError: an unknown channel policy.

    Example:
        >>> PreparationOptions(sampling_rate=24000).piece_seconds
        300.0
    """

    sampling_rate: int
    channels: MonoPolicy = "mean"
    min_seconds: float = 0.0
    piece_seconds: float = 300.0
    level_db: float | None = None
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampling_rate", check_sampling_rate(self.sampling_rate))
        object.__setattr__(self, "channels", check_policy(self.channels))
        if not 0 <= self.min_seconds <= self.piece_seconds:
            raise ConfigError(f"min_seconds is {self.min_seconds!r}; it must be 0…{self.piece_seconds:g}.")
        if not _LEAST_PIECE_SECONDS <= self.piece_seconds < float("inf"):
            raise ConfigError(
                f"piece_seconds is {self.piece_seconds!r}; it must be at least {_LEAST_PIECE_SECONDS:g}."
            )
        if self.level_db is not None and not _LEAST_LEVEL_DB <= self.level_db <= 0:
            raise ConfigError(
                f"level_db is {self.level_db!r}; 0 dB is full scale, and 16 bits hold next to nothing below "
                f"{_LEAST_LEVEL_DB:g} dB: it must be between them."
            )


@dataclass(frozen=True, kw_only=True)
class PreparationState(Counts):
    """What a preparation has come to so far, and in the end: what it counts, and the following.

    Attributes:
        total_bytes: of all files there are, read or not; None where some recordings are no files.
        num_adopted: recordings that an interrupted run had done.
        was_finished: whether an earlier run had finished the folder, and this one had nothing to do.
    """

    total_bytes: int | None = None
    num_adopted: int = 0
    was_finished: bool = False


def prepare_sound(
    inputs: Sequence[Any],
    out: str | Path,
    options: PreparationOptions,
    *,
    replace: bool = False,
    progress: Callable[[PreparationState], None] | None = None,
) -> PreparationState:
    """Make a prepared folder of recordings; see `ClipStore` for reading it.

    An interrupted call that is made again with the same inputs and options goes on where it was and ends in the same
    bytes; a finished one has nothing to do.

    Args:
        inputs: folders, audio files, manifests (.txt, .csv, .tsv, .jsonl) and Hugging Face datasets, in any mix.
        out: the folder; made where it is missing.
        options: what becomes of them.
        replace: whether a prepared folder that stands there is replaced, once the new one is whole, and one that was
            begun with other options is begun anew.
        progress: called after each recording.

    Raises:
        SourceError: an input is not there, or holds no recording.
        TrainingError: nothing could be used, `out` is taken, was made or begun with other options, or the disk refuses;
            what was in `out` before stays. Single recordings that cannot be used raise nothing: see `num_failures`.

    Example:
        >>> from snac_tok.audio import Waveform, write_audio
        >>> tone = np.sin(np.arange(44100, dtype=np.float32))[None]
        >>> _ = write_audio("tone.wav", Waveform(samples=tone, sampling_rate=44100))
        >>> prepare_sound(["tone.wav"], "ready", PreparationOptions(sampling_rate=24000)).num_samples
        24000
    """
    out = checked_path(out, name="out", needed="the path of a folder", error=TrainingError)
    if not isinstance(options, PreparationOptions):
        raise TrainingError(
            f"options is {what_came(options)}; PreparationOptions are needed, which say the sampling rate."
        )
    recordings = find_recordings(inputs)
    plan = ClipPlan(
        sampling_rate=options.sampling_rate,
        made_with=dataclasses.asdict(options),
        made_from=recordings.identity,
        rules={"rest_seconds": _LEAST_REST_SECONDS},
    )
    if not replace and (counts := finished_counts(out, plan)) is not None:
        return PreparationState(
            **dataclasses.asdict(counts), total_bytes=recordings.num_bytes, was_finished=True
        )
    with writing_clips(out, plan, replace=replace) as writer:
        preparation = _Preparation(writer, options, total_bytes=recordings.num_bytes)
        for recording in itertools.islice(recordings, writer.num_done, None):
            preparation.add(recording)
            if progress:
                progress(preparation.state)
        if not writer.clips:
            raise TrainingError(_nothing(writer, preparation.state))
    return preparation.state


class _Preparation:
    """Adds recordings to a folder and counts."""

    def __init__(self, writer: ClipWriter, options: PreparationOptions, *, total_bytes: int | None) -> None:
        self._writer, self._options = writer, options
        self.state = PreparationState(
            **dataclasses.asdict(writer.counts), total_bytes=total_bytes, num_adopted=writer.num_done
        )

    def add(self, recording: Recording) -> None:
        """Write what a recording holds; where it cannot be used to its end, what came before stays."""
        try:
            for name, samples in _named_pieces(recording, self._options):
                self._write(name, samples)
        except AudioError as error:
            self._writer.failures.append(_failure(recording, error))
            self._count(num_failures=1)
        self._count(num_recordings=1, num_bytes=recording.num_bytes or 0)
        self._writer.end_recording(
            Counts(**{field.name: getattr(self.state, field.name) for field in dataclasses.fields(Counts)})
        )

    def _write(self, name: str, samples: npt.NDArray[np.float32]) -> None:
        options = self._options
        if len(samples) < options.min_seconds * options.sampling_rate:
            self._count(num_short=1)
            return
        level = active_level_db(samples, sampling_rate=options.sampling_rate)
        gain = _gain(samples, level, wanted=options.level_db)
        level_after = round(level + 20 * float(np.log10(gain)), 2)
        self._writer.add_clip(name, _as_int16(samples * np.float32(gain)), level_db=level_after)
        self._count(num_clips=1, num_samples=len(samples))

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.state, name) + amount for name, amount in more.items()}
        self.state = dataclasses.replace(self.state, **counts)


def _failure(recording: Recording, error: AudioError) -> Failure:
    try:
        return failure_of(recording.name, error)
    except AudioError as fault:
        raise TrainingError(f"{recording.name} could not be read: {fault}") from fault


def _named_pieces(
    recording: Recording, options: PreparationOptions
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """Yield a recording's pieces at the wanted rate; one that is a whole recording has its plain name."""
    found = recording.blocks(allow_truncated=options.allow_truncated)
    mono = mono_blocks(found, channels=recording.policy(options.channels), name=recording.name)
    blocks = (block.samples[0] for block in resample_blocks(mono, options.sampling_rate))
    size = round(options.piece_seconds * options.sampling_rate)
    waiting: npt.NDArray[np.float32] | None = None
    number = 0
    for piece in _regrouped(blocks, size):
        if waiting is not None and _is_too_short(piece, options):
            waiting = np.concatenate([waiting, piece])  # it is the rest: nothing comes after it
            continue
        if waiting is not None:
            yield f"{recording.name}#{number}", waiting
            number += 1
        waiting = piece
    if waiting is not None:
        yield (f"{recording.name}#{number}" if number else recording.name), waiting


def _is_too_short(rest: npt.NDArray[np.float32], options: PreparationOptions) -> bool:
    """Whether a piece is too short to stand alone, and not left out either."""
    seconds = len(rest) / options.sampling_rate
    return options.min_seconds <= seconds < _LEAST_REST_SECONDS


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


def _nothing(writer: ClipWriter, state: PreparationState) -> str:
    first = f"; the first: {writer.failures[0].reason}" if writer.failures else ""
    return (
        f"none of {state.num_recordings} recordings could be used: {state.num_failures} failed, {state.num_short} "
        f"clips were too short{first.rstrip('.')}."
    )
