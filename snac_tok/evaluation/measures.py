"""The figures that an evaluation can give a clip: their names, which way is better, and what they need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from snac_tok.audio.optional import import_optional
from snac_tok.errors import EvaluationError, MissingDependencyError, WaveformError, did_you_mean
from snac_tok.frames.arrays import is_list
from snac_tok.metrics.distances import si_sdr, stft_distance
from snac_tok.metrics.perceptual import extended_stoi, pesq_wideband, stoi, visqol, visqol_audio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy as np
    import numpy.typing as npt

    Samples = npt.NDArray[np.floating]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column of a report.

    Attributes:
        name: as it is chosen and stored.
        title: as it is shown.
        better: "higher" or "lower" values.
        digits: worth showing after the point.
        bounded: whether there is a best value, which identical sounds get.
        needs: module of the package it comes from, None for our own.
        function: (reference (T,), estimate (T,), sampling_rate=…) -> figure.
    """

    name: str
    title: str
    better: Literal["higher", "lower"]
    digits: int
    bounded: bool
    needs: str | None
    function: Callable[..., float]

    def value(self, reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
        """Return the figure of one clip, which is always finite.

        Raises:
            WaveformError: the clip has no such figure; the message says why.
        """
        found = self.function(reference, estimate, sampling_rate=sampling_rate)
        if not math.isfinite(found):
            raise WaveformError(f"the figure came out as {found}.")
        return found


def _mel(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    import torch

    from snac_tok.metrics.mel import mel_distance

    pair = [torch.from_numpy(samples).float()[None, None] for samples in (reference, estimate)]  # (1, 1, T)
    with torch.no_grad():
        return float(mel_distance(*pair, sampling_rate=sampling_rate))


def _voiced_share(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    from snac_tok.metrics.voicing import voiced_share

    return voiced_share(reference, estimate, sampling_rate=sampling_rate)


def _f0_error(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    from snac_tok.metrics.voicing import f0_error

    return f0_error(reference, estimate, sampling_rate=sampling_rate)


def _measure(
    name: str,
    title: str,
    function: Callable[..., float],
    *,
    better: Literal["higher", "lower"] = "higher",
    digits: int = 2,
    bounded: bool = True,
    needs: str | None = None,
) -> tuple[str, Measure]:
    return name, Measure(
        name=name, title=title, better=better, digits=digits, bounded=bounded, needs=needs, function=function
    )


MEASURES: dict[str, Measure] = dict(
    (
        _measure("mel", "mel", _mel, better="lower"),
        _measure("stft", "STFT", stft_distance, better="lower", needs="auraloss.freq"),
        _measure("si_sdr", "SI-SDR", si_sdr, digits=1, bounded=False, needs="torchmetrics.functional.audio"),
        _measure("pesq", "PESQ", pesq_wideband, needs="pesq"),
        _measure("stoi", "STOI", stoi, digits=3, needs="pystoi"),
        _measure("estoi", "ESTOI", extended_stoi, digits=3, needs="pystoi"),
        # A share that is too high is no better than the recording's, so identical sounds do not have the best one.
        _measure("voiced", "voiced", _voiced_share, bounded=False),
        _measure("f0", "F0 error", _f0_error, better="lower"),
        _measure("visqol", "ViSQOL", visqol, needs="visqol"),
        _measure("visqol_audio", "ViSQOL-A", visqol_audio, needs="visqol"),
    )
)

# ViSQOL takes ten times as long as all others together, so it has to be asked for.
DEFAULT_MEASURES = ("mel", "stft", "si_sdr", "pesq", "stoi", "estoi", "voiced", "f0")


def chosen_measures(names: Iterable[str]) -> list[Measure]:
    """Return measures by name, in the order of a report; "all" is every one, "default" the quick ones.

    Raises:
        EvaluationError: an unknown name, or no list.

    Example:
        >>> [measure.name for measure in chosen_measures(["pesq", "mel"])]
        ['mel', 'pesq']
    """
    if not is_list(names):
        raise EvaluationError(f"measures is {names!r}; a list of names is needed, such as ['mel', 'pesq'].")
    wanted: set[str] = set()
    for name in map(str, names):
        if name not in (*MEASURES, "all", "default"):
            near = did_you_mean(name, (*MEASURES, "all", "default"))
            raise EvaluationError(
                f"there is no measure {name!r}; there are {', '.join(MEASURES)} and all.{near}"
            )
        wanted |= {"all": set(MEASURES), "default": set(DEFAULT_MEASURES)}.get(name, {name})
    return [measure for name, measure in MEASURES.items() if name in wanted]


def installed(measures: Iterable[Measure]) -> tuple[list[Measure], dict[str, str]]:
    """Tell apart what can be measured here and what cannot, with the reasons.

    Example:
        >>> installed([MEASURES["mel"]])[1]
        {}
    """
    usable, left_out = [], {}
    for measure in measures:
        try:
            _load(measure)
        except MissingDependencyError as error:
            left_out[measure.name] = str(error)
        else:
            usable.append(measure)
    return usable, left_out


def _load(measure: Measure) -> Any:
    return measure.needs and import_optional(
        measure.needs, extra="eval", purpose=f"the measure {measure.name}"
    )
