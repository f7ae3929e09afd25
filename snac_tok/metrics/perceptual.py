"""What listeners would say of speech, and whether they would understand it: PESQ, STOI, ViSQOL.

The measures are those of the packages pesq, pystoi and visqol-python; here they get sound at the rate they are
defined for, and every sound that they cannot judge becomes one kind of error. PESQ and ViSQOL find delays by
themselves, STOI does not.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.audio import Waveform, resample
from snac_tok.audio.optional import import_optional
from snac_tok.errors import WaveformError
from snac_tok.metrics.pairs import check_audible, checked_pair

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    Samples = npt.NDArray[np.floating]

_SPEECH_RATE = 16_000
_SOUND_RATE = 48_000

# The C code of PESQ keeps 50 utterances and writes behind them without a check: longer speech ends the process.
# An utterance and the pause after it last at least 0.4 s (pesq.h: 50 frames of 4 ms each), so 20 s are safe.
_PESQ_SECONDS = 15.0
_LEAST_PESQ_SECONDS = 0.25
# The end of the scale of PESQ-WB (P.862.2), for silence in the place of speech.
_LOWEST_PESQ = 1.04

# 30 frames of 12.8 ms with one more half (pystoi: N, N_FRAME).
_LEAST_STOI_SECONDS = 0.4

# A patch of 20 frames of 20 ms in speech mode, 30 in the other, with room for the search.
_LEAST_VISQOL_SECONDS = 1.0


def pesq_wideband(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return PESQ's wideband score of speech (ITU-T P.862.2): 1.04 bad … 4.64 no difference.

    More than 15 s are judged in equal stretches, and the mean of those with speech is returned.

    Args:
        reference: (T,) samples, 0.25 s at least.
        estimate: (T,) samples.
        sampling_rate: of both, in Hz; they are resampled to 16 kHz.

    Raises:
        WaveformError: the sounds do not fit each other or are too short, or PESQ finds no speech.
        MissingDependencyError: pesq is not installed.

    >>> speech = np.random.default_rng(0).normal(0, 0.1, 16_000)
    >>> round(pesq_wideband(speech, speech, sampling_rate=16_000), 2)
    4.64
    """
    reference, estimate = checked_pair(
        reference, estimate, sampling_rate=sampling_rate, least_seconds=_LEAST_PESQ_SECONDS
    )
    check_audible(estimate)
    pesq = import_optional("pesq", extra="eval", purpose="PESQ")
    target, found = _resampled(reference, estimate, sampling_rate, _SPEECH_RATE)
    num_stretches = int(np.ceil(len(target) / (_PESQ_SECONDS * _SPEECH_RATE)))
    pairs = zip(np.array_split(target, num_stretches), np.array_split(found, num_stretches), strict=True)
    scores = [score for pair in pairs if (score := _pesq(pesq, *pair)) is not None]
    if not scores:
        raise WaveformError("PESQ finds no speech in the sound.")
    return float(np.mean(scores))


def _pesq(pesq: Any, reference: Samples, estimate: Samples) -> float | None:
    """Return the score of one stretch, None where the recording has no speech."""
    if not reference.any():
        return None
    if not estimate.any():
        return _LOWEST_PESQ
    try:
        return float(pesq.pesq(_SPEECH_RATE, reference, estimate, "wb"))
    except (pesq.NoUtterancesError, pesq.BufferTooShortError):
        return None
    except (pesq.PesqError, ValueError) as error:  # ValueError: NaN out of an estimate that is all but silent
        raise WaveformError(f"PESQ cannot judge the sound ({_said(error)}).") from error


def stoi(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return the short-time objective intelligibility of speech (Taal et al. 2011): 0 none … 1 all.

    Args:
        reference: (T,) samples, 0.4 s of speech at least.
        estimate: (T,) samples, aligned with it.
        sampling_rate: of both, in Hz; pystoi resamples to its 10 kHz.

    Raises:
        WaveformError: the sounds do not fit each other, or there is too little sound.
        MissingDependencyError: pystoi is not installed.

    >>> speech = np.random.default_rng(0).normal(0, 0.1, 16_000)
    >>> round(stoi(speech, speech, sampling_rate=16_000), 6)
    1.0
    """
    return _stoi(reference, estimate, sampling_rate, extended=False)


def extended_stoi(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return the extended STOI (Jensen and Taal 2016), which also judges modulated noise; as `stoi`.

    Raises:
        WaveformError: as in `stoi`.
        MissingDependencyError: as in `stoi`.

    >>> speech = np.random.default_rng(0).normal(0, 0.1, 16_000)
    >>> round(extended_stoi(speech, speech, sampling_rate=16_000), 2)
    1.0
    """
    return _stoi(reference, estimate, sampling_rate, extended=True)


def _stoi(reference: Samples, estimate: Samples, sampling_rate: int, *, extended: bool) -> float:
    reference, estimate = checked_pair(
        reference, estimate, sampling_rate=sampling_rate, least_seconds=_LEAST_STOI_SECONDS
    )
    pystoi = import_optional("pystoi", extra="eval", purpose="STOI")
    with warnings.catch_warnings():
        # With too little left after silence has been cut, pystoi warns and returns 0.00001.
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            with _numpy_noise_pinned():
                return float(pystoi.stoi(reference, estimate, sampling_rate, extended=extended))
        except RuntimeWarning as warning:
            raise WaveformError("STOI needs 0.4 s of sound besides silence.") from warning


@contextmanager
def _numpy_noise_pinned() -> Iterator[None]:
    """Keep numpy's global generator as it was: pystoi's extended measure takes a speck of noise from it."""
    state = np.random.get_state()  # noqa: NPY002 - pystoi uses this one
    np.random.seed(0)  # noqa: NPY002 - as above
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002 - as above


def visqol(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return ViSQOL's estimate of speech quality (Chinen et al. 2020, v3): 1 bad … 5 no difference.

    The mapping to the scale is the polynomial one, which needs no TensorFlow; it takes about a second per second
    of sound, and a fraction of that where numba is installed.

    Args:
        reference: (T,) samples, 1 s at least.
        estimate: (T,) samples.
        sampling_rate: of both, in Hz; they are resampled to 16 kHz.

    Raises:
        WaveformError: the sounds do not fit each other or are too short, or there is nothing to judge.
        MissingDependencyError: visqol-python is not installed.

    >>> speech = np.random.default_rng(0).normal(0, 0.1, 16_000)
    >>> visqol(speech, speech, sampling_rate=16_000)
    5.0
    """
    return _visqol("speech", _SPEECH_RATE, reference, estimate, sampling_rate)


def visqol_audio(reference: Samples, estimate: Samples, *, sampling_rate: int) -> float:
    """Return ViSQOL's estimate for music and other sound, 1 … 4.7, at 48 kHz; as `visqol`.

    Raises:
        WaveformError: as in `visqol`.
        MissingDependencyError: as in `visqol`.

    >>> noise = np.random.default_rng(0).normal(0, 0.1, 48_000)
    >>> round(visqol_audio(noise, noise, sampling_rate=48_000), 1)
    4.7
    """
    return _visqol("audio", _SOUND_RATE, reference, estimate, sampling_rate)


def _visqol(mode: str, rate: int, reference: Samples, estimate: Samples, sampling_rate: int) -> float:
    reference, estimate = checked_pair(
        reference, estimate, sampling_rate=sampling_rate, least_seconds=_LEAST_VISQOL_SECONDS
    )
    check_audible(estimate)
    target, found = _resampled(reference, estimate, sampling_rate, rate)
    try:
        with _torch_threads_kept():
            result = _visqol_api(mode).measure_from_arrays(target, found, rate)
    except (IndexError, ValueError) as error:  # what its arrays say of a sound with no patch to judge
        raise WaveformError(f"ViSQOL cannot judge the sound ({_said(error)}).") from error
    if not np.isfinite(result.moslqo):
        raise WaveformError("ViSQOL finds nothing to judge in the sound.")
    return float(result.moslqo)


@contextmanager
def _torch_threads_kept() -> Iterator[None]:
    """Keep torch's number of threads: numba's parallel loops, which ViSQOL has, set OpenMP's, and that is torch's."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def _visqol_api(mode: str) -> Any:
    visqol_package = import_optional("visqol", extra="eval", purpose="ViSQOL")
    api = visqol_package.VisqolApi()
    api.create(mode=mode, use_lattice_model=False)
    return api


def _resampled(
    reference: Samples, estimate: Samples, sampling_rate: int, rate: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Bring both to a rate in one go, so that the resampler treats them alike."""
    both = Waveform(samples=np.stack([reference, estimate]).astype(np.float32), sampling_rate=sampling_rate)
    target, found = resample(both, rate).samples.astype(np.float64)
    return target, found


def _said(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".") or type(error).__name__
