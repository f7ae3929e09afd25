"""Clips through codecs: the loop that reads, sends through, aligns and measures.

    clip ── mono ──> round trip ──> sound(s) ── resample, align ──> measures
               └────────── resample ── reference ─────────────────────┘

All codecs get the same clip one after the other, so that a report is about the same sounds. A clip that a measure
cannot judge is counted with its reason; it is never a NaN in a mean.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from snac_tok import __version__
from snac_tok.audio import Waveform, check_policy, check_sampling_rate, resample, to_mono
from snac_tok.codec.inputs import iterated
from snac_tok.errors import AudioError, EvaluationError, WaveformError
from snac_tok.evaluation.alignment import find_delay, fitted
from snac_tok.evaluation.listening import RECORDING
from snac_tok.evaluation.measures import DEFAULT_MEASURES, chosen_measures, installed
from snac_tok.evaluation.results import ClipResult, CodecResult, Evaluation
from snac_tok.metrics.usage import CodebookUsage
from snac_tok.sources.failures import Failure, failure_of
from snac_tok.sources.recording import Recording
from snac_tok.wording import what_came

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt

    from snac_tok.audio import MonoPolicy
    from snac_tok.evaluation.measures import Measure
    from snac_tok.evaluation.round_trips import Reconstruction, RoundTrip

_PACKAGES = ("torch", "torchmetrics", "auraloss", "pesq", "pystoi", "visqol-python", "soxr")


def evaluate(
    clips: Iterable[Recording],
    round_trips: Iterable[RoundTrip],
    *,
    measures: Iterable[str] = DEFAULT_MEASURES,
    sampling_rate: int = 24_000,
    num_seeds: int = 1,
    channels: MonoPolicy = "mean",
    on_step: Callable[[str, str], None] | None = None,
    on_sound: Callable[[str, str, Waveform], None] | None = None,
    allow_truncated: bool = False,
) -> Evaluation:
    """Send clips through codecs and measure what comes out.

    Args:
        clips: read one by one; files that cannot be read are noted.
        round_trips: the codecs, each with a name of its own.
        measures: names, see `MEASURES`; those whose package is not installed are left out, which is noted.
        sampling_rate: at which mel, STFT and SI-SDR are taken, in Hz; figures of two rates do not compare.
        num_seeds: that the round trips were made with, noted in the report.
        channels: which of several is taken: "mean", "left", "right" or its number, counted from 0.
        on_step: called with clip and codec before each of them.
        on_sound: called with clip, codec and sound, as it was compared, of the first seed; for the clip itself the
            codec is "(recording)".
        allow_truncated: whether what a cut-off or damaged file still holds is taken; without it the clip fails.

    Raises:
        EvaluationError: no codec, two of one name, an unknown measure, or something that is no recording or round trip.
        AudioError: an impossible rate or channel policy, or the machine failed, not a file.

    Example:
        >>> import numpy as np
        >>> from snac_tok.evaluation import Identity
        >>> from snac_tok.sources.recording import Recording
        >>> noise = {"array": np.random.default_rng(0).normal(0, 0.1, 24_000), "sampling_rate": 24_000}
        >>> found = evaluate([Recording(name="noise", sound=noise)], [Identity()], measures=["mel"])
        >>> found.codecs[0].summary("mel").mean
        0.0
    """
    round_trips = _checked_round_trips(round_trips)
    names = [codec.name for codec in round_trips]
    if not names or len(set(names)) < len(names):
        raise EvaluationError(f"each codec needs a name of its own, got {names or 'none'}.")
    sampling_rate, channels = check_sampling_rate(sampling_rate), check_policy(channels)
    usable, left_out = installed(chosen_measures(measures))
    tallies = [_Tally(round_trip) for round_trip in round_trips]
    failures = []
    for clip in _checked_clips(clips):
        try:
            waveform = _read(clip, channels, allow_truncated=allow_truncated)
        except AudioError as error:
            failures.append(failure_of(clip.name, error))
            continue
        reference = resample(waveform, sampling_rate)
        if on_sound:
            on_sound(clip.name, RECORDING, reference)
        for tally in tallies:
            if on_step:
                on_step(clip.name, tally.round_trip.name)
            sound = tally.add(clip, waveform, reference, usable)
            if on_sound and sound:
                on_sound(clip.name, tally.round_trip.name, sound)
    return Evaluation(
        sampling_rate=sampling_rate,
        measures=tuple(measure.name for measure in usable),
        left_out=left_out,
        num_seeds=num_seeds,
        channels=str(channels),
        codecs=tuple(tally.result() for tally in tallies),
        failures=tuple(failures),
        versions=_versions(),
    )


def _checked_round_trips(round_trips: Any) -> list[RoundTrip]:
    needed = "a list of round trips is needed, such as [SnacRoundTrip(codec, name=…)]"
    trips = None if isinstance(round_trips, (str, bytes)) else iterated(round_trips)
    if trips is None:
        raise EvaluationError(f"round_trips is {what_came(round_trips)}; {needed}.")
    found = list(trips)
    for at, trip in enumerate(found):
        if not callable(getattr(trip, "run", None)):
            raise EvaluationError(f"round trip {at} is {what_came(trip)}; {needed}.")
    return found


def _checked_clips(clips: Any) -> Iterator[Recording]:
    source = "find_recordings([path]) of snac_tok.sources.find gives them"
    found = None if isinstance(clips, (str, bytes)) else iterated(clips)
    if found is None:
        raise EvaluationError(f"clips is {what_came(clips)}; recordings are needed: {source}.")
    for at, clip in enumerate(found):
        if not isinstance(clip, Recording):
            raise EvaluationError(f"clip {at} is {what_came(clip)}; recordings are needed: {source}.")
        yield clip


def first_sounds(
    clips: Iterable[Recording],
    round_trips: Iterable[RoundTrip],
    *,
    channels: MonoPolicy = "mean",
    allow_truncated: bool = False,
) -> dict[str, Waveform]:
    """Return the first usable clip as it was, and as each codec gives it back, by name; {} where none is usable.

    Args:
        clips: as in `evaluate`.
        round_trips: as in `evaluate`.
        channels: as in `evaluate`.
        allow_truncated: as in `evaluate`.
    """
    for clip in _checked_clips(clips):
        try:
            waveform = _read(clip, channels, allow_truncated=allow_truncated)
            return {clip.name: waveform} | {
                codec.name: codec.run(waveform).sounds[0] for codec in round_trips
            }
        except AudioError:
            continue
    return {}


@dataclass
class _Tally:
    """What one codec has been found to do so far."""

    round_trip: RoundTrip
    clips: list[ClipResult] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    encode_seconds: float = 0.0
    decode_seconds: float = 0.0
    usage: CodebookUsage | None = None

    def add(
        self, clip: Recording, waveform: Waveform, reference: Waveform, measures: Sequence[Measure]
    ) -> Waveform | None:
        """Send one clip through, measure it, and return its first sound as it was compared; None if it failed."""
        try:
            reconstruction = self.round_trip.run(waveform)
        except AudioError as error:
            self.failures.append(failure_of(clip.name, error))
            return None
        self.encode_seconds += reconstruction.encode_seconds
        self.decode_seconds += reconstruction.decode_seconds
        self._count(reconstruction)
        estimates, delay = _comparable(reconstruction, reference, align=self.round_trip.delays)
        values, left_out = _measured(reference, estimates, measures)
        self.clips.append(
            ClipResult(
                clip=clip.name,
                duration_seconds=waveform.duration_seconds,
                num_bits=float(reconstruction.num_bits),
                delay_samples=delay,
                values=values,
                left_out=left_out,
            )
        )
        return Waveform(samples=estimates[0][None], sampling_rate=reference.sampling_rate)

    def _count(self, reconstruction: Reconstruction) -> None:
        size = self.round_trip.codebook_size
        if not (reconstruction.codes and size):
            return
        self.usage = self.usage or CodebookUsage(num_levels=len(reconstruction.codes), codebook_size=size)
        self.usage.update(reconstruction.codes)

    def result(self) -> CodecResult:
        return CodecResult(
            name=self.round_trip.name,
            nominal_bits_per_second=self.round_trip.nominal_bits_per_second,
            encode_seconds=self.encode_seconds,
            decode_seconds=self.decode_seconds,
            clips=tuple(self.clips),
            failures=tuple(self.failures),
            usage=tuple(self.usage.levels()) if self.usage else (),
        )


def _read(recording: Recording, channels: MonoPolicy, *, allow_truncated: bool) -> Waveform:
    sound = recording.whole(allow_truncated=allow_truncated)
    return to_mono(sound, channels=recording.policy(channels), name=recording.name)


def _comparable(
    reconstruction: Reconstruction, reference: Waveform, *, align: bool
) -> tuple[list[npt.NDArray[np.float32]], int]:
    """Bring what came back to the reference's rate, place and length; one delay goes for all seeds."""
    rate = reference.sampling_rate
    sounds = [resample(sound, rate).samples[0] for sound in reconstruction.sounds]
    delay = find_delay(reference.samples[0], sounds[0], sampling_rate=rate) if align else 0
    return [fitted(sound, reference.num_samples, delay=delay) for sound in sounds], delay


def _measured(
    reference: Waveform, estimates: Sequence[npt.NDArray[np.float32]], measures: Sequence[Measure]
) -> tuple[dict[str, tuple[float, ...]], dict[str, str]]:
    """Return each measure's figures, one a sound, or the reason why there are none."""
    values: dict[str, tuple[float, ...]] = {}
    left_out: dict[str, str] = {}
    target, rate = reference.samples[0], reference.sampling_rate
    for measure in measures:
        try:
            values[measure.name] = tuple(
                measure.value(target, estimate, sampling_rate=rate) for estimate in estimates
            )
        except WaveformError as error:
            left_out[measure.name] = str(error)
    return values, left_out


def _versions() -> dict[str, str]:
    versions = {"snac_tok": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
