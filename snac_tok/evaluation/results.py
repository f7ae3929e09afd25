"""What an evaluation found: a clip's figures, a codec's, all codecs'; means, intervals and worst clips from them."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from snac_tok.audio.optional import import_optional
from snac_tok.errors import MissingDependencyError
from snac_tok.metrics.usage import LevelUsage  # noqa: TC001 - `from_plain` reads the fields' types while it runs
from snac_tok.sources.failures import Failure  # noqa: TC001 - as above

_SIGNIFICANCE = 0.05


@dataclass(frozen=True, kw_only=True)
class ClipResult:
    """One clip through one codec.

    Attributes:
        clip: its name.
        duration_seconds: its length.
        num_bits: that the codec spent on it.
        delay_samples: by which the sound came late, at the evaluation's rate; it was removed.
        values: measure → one figure a seed.
        left_out: measure → why this clip has no such figure.
    """

    clip: str
    duration_seconds: float
    num_bits: float
    delay_samples: int
    values: dict[str, tuple[float, ...]]
    left_out: dict[str, str]

    def mean(self, measure: str) -> float | None:
        """Return the mean over the seeds, None where there is no figure."""
        values = self.values.get(measure)
        return statistics.fmean(values) if values else None


@dataclass(frozen=True, kw_only=True)
class MeasureSummary:
    """One measure of one codec over all clips that have it.

    Attributes:
        num_clips: that have a figure.
        num_left_out: that have none.
        mean: over the clips.
        std: from clip to clip; None with one clip.
        interval: half of the 95 % confidence interval of the mean (Student's t); None with one clip, or without scipy.
        noise_std: how much the mean itself changes from seed to seed; None with one seed.
    """

    num_clips: int
    num_left_out: int
    mean: float
    std: float | None
    interval: float | None
    noise_std: float | None


@dataclass(frozen=True, kw_only=True)
class CodecResult:
    """One codec over all clips.

    Attributes:
        name: of the codec.
        nominal_bits_per_second: what it claims.
        encode_seconds: spent in all.
        decode_seconds: spent in all, for one sound a clip.
        clips: in the order of evaluation.
        failures: clips that it could not take.
        usage: of its codebooks, empty where it has none.
    """

    name: str
    nominal_bits_per_second: float | None
    encode_seconds: float
    decode_seconds: float
    clips: tuple[ClipResult, ...]
    failures: tuple[Failure, ...] = ()
    usage: tuple[LevelUsage, ...] = ()

    @property
    def duration_seconds(self) -> float:
        """Length of all clips that went through."""
        return math.fsum(clip.duration_seconds for clip in self.clips)

    @property
    def bits_per_second(self) -> float | None:
        """Bits really spent a second, padding of the last frames included."""
        total = self.duration_seconds
        return math.fsum(clip.num_bits for clip in self.clips) / total if total else None

    @property
    def entropy_bits_per_second(self) -> float | None:
        """Bits that an ideal coder would spend on these codes, knowing how often each occurs and nothing else."""
        total = self.duration_seconds
        if not (self.usage and total):
            return None
        return math.fsum(level.total * level.entropy_bits for level in self.usage) / total

    @property
    def encode_speed(self) -> float | None:
        """Seconds of sound encoded in a second."""
        return self.duration_seconds / self.encode_seconds if self.encode_seconds else None

    @property
    def decode_speed(self) -> float | None:
        """Seconds of sound decoded in a second."""
        return self.duration_seconds / self.decode_seconds if self.decode_seconds else None

    def summary(self, measure: str) -> MeasureSummary | None:
        """Return a measure over the clips, None where no clip has it.

        Example:
            >>> clips = tuple(
            ...     ClipResult(clip=name, duration_seconds=1.0, num_bits=1, delay_samples=0, values=values, left_out={})
            ...     for name, values in {"a": {"pesq": (1.0, 2.0)}, "b": {"pesq": (2.0, 3.0)}, "c": {}}.items()
            ... )
            >>> codec = CodecResult(
            ...     name="x", nominal_bits_per_second=None, encode_seconds=1, decode_seconds=1, clips=clips
            ... )
            >>> found = codec.summary("pesq")
            >>> found.mean, found.num_left_out, round(found.std, 3), round(found.noise_std, 3)
            (2.0, 1, 0.707, 0.707)
        """
        rows = [values for clip in self.clips if (values := clip.values.get(measure))]
        if not rows:
            return None
        means = [statistics.fmean(row) for row in rows]
        std = statistics.stdev(means) if len(means) > 1 else None
        by_seed = [statistics.fmean(column) for column in zip(*rows, strict=True)]
        return MeasureSummary(
            num_clips=len(means),
            num_left_out=len(self.clips) - len(means),
            mean=statistics.fmean(means),
            std=std,
            interval=_interval(std, len(means)),
            noise_std=statistics.stdev(by_seed) if len(by_seed) > 1 else None,
        )

    def worst(self, measure: str, *, better: str, count: int = 3) -> list[tuple[str, float]]:
        """Return the clips with the worst figures, worst first, with them."""
        found = [(clip.clip, mean) for clip in self.clips if (mean := clip.mean(measure)) is not None]
        return sorted(found, key=lambda pair: pair[1], reverse=better == "lower")[:count]

    def left_out(self, measure: str) -> dict[str, list[str]]:
        """Return the reasons why clips have no figure, each with its clips."""
        reasons: dict[str, list[str]] = {}
        for clip in self.clips:
            if measure in clip.left_out:
                reasons.setdefault(clip.left_out[measure], []).append(clip.clip)
        return reasons


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Several codecs over the same clips.

    Attributes:
        sampling_rate: at which sounds were compared, in Hz.
        measures: that were taken, in order.
        left_out: measure → why it was not taken at all.
        num_seeds: of the noise.
        codecs: in the order of evaluation.
        failures: files that could not be read.
        versions: package → its version, of everything that has a say in the figures.
        channels: what became of a second channel.
    """

    sampling_rate: int
    measures: tuple[str, ...]
    left_out: dict[str, str]
    num_seeds: int
    codecs: tuple[CodecResult, ...]
    failures: tuple[Failure, ...]
    versions: dict[str, str]
    channels: str = "mean"


def _interval(std: float | None, count: int) -> float | None:
    if std is None:
        return None
    try:
        special = import_optional("scipy.special", extra="eval", purpose="a confidence interval")
    except MissingDependencyError:
        return None
    return float(special.stdtrit(count - 1, 1 - _SIGNIFICANCE / 2)) * std / math.sqrt(count)
