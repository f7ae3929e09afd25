"""From one sampling rate to another, whole or block by block, with identical results.

soxr is the default and the only backend for streams; torchaudio is imported only if chosen. Nothing is clipped or
normalised: a full-scale recording may become slightly louder than ±1.

    input   |x x x x x x x x| 0 0 0        zeros after the end flush the last samples out of the filter
    output  |y y y y y y y y y y|cut       to exactly ceil(T · new / old) samples

Measured with soxr 1.1.0 over ten pairs of rates: streams in blocks of any size, the one-shot call and a
channel taken alone agree to the last bit, so one code path serves all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import soxr

from snac_tok.audio.optional import import_optional
from snac_tok.audio.sampling_rate import check_sampling_rate
from snac_tok.audio.waveform import (
    MAX_CHANNELS,
    Samples,
    Waveform,
    check_count,
)
from snac_tok.errors import AudioError, SamplingRateError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Backend = Literal["soxr", "torchaudio"]
Quality = Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]

# soxr is a third faster on pieces that fit the cache than on ten minutes at once.
_BLOCK_SAMPLES = 65_536

# The largest 64-bit count.
_MAX_SAMPLES = (1 << 63) - 1

# torchaudio has no named qualities: its default, and the two settings for kaiser filters in its documentation.
_TORCHAUDIO_SETTINGS: dict[str, dict[str, Any]] = {
    "LQ": {},
    "HQ": {
        "lowpass_filter_width": 16,
        "rolloff": 0.85,
        "resampling_method": "sinc_interp_kaiser",
        "beta": 8.555504641634386,
    },
    "VHQ": {
        "lowpass_filter_width": 64,
        "rolloff": 0.9475937167399596,
        "resampling_method": "sinc_interp_kaiser",
        "beta": 14.769656459379492,
    },
}


@dataclass(frozen=True, kw_only=True)
class Resampler:
    """The resampler and its quality.

    The default, soxr "HQ", is also librosa's, so tokens made here match those of data prepared with librosa. "VHQ"
    takes a seventh more time and differs from it by about -68 dB on speech, near the upper edge of the band.

    Args:
        backend: "soxr", or "torchaudio" (imported when used; never streams).
        quality: "QQ", "LQ", "MQ", "HQ" or "VHQ"; torchaudio has "LQ" (its default), "HQ" and "VHQ"
            (kaiser windows).

    Raises:
        AudioError: an unknown backend or quality.

    >>> Resampler().quality
    'HQ'
    """

    backend: Backend = "soxr"
    quality: Quality = "HQ"

    def __post_init__(self) -> None:
        if self.backend not in get_args(Backend):
            raise AudioError(f"the resampler backend is 'soxr' or 'torchaudio', got {self.backend!r}.")
        known = get_args(Quality) if self.backend == "soxr" else tuple(_TORCHAUDIO_SETTINGS)
        if self.quality not in known:
            raise AudioError(
                f"the {self.backend} resampler has the qualities {', '.join(known)}, got {self.quality!r}."
            )

    def describe(self) -> dict[str, str]:
        """Return what decides the result: backend, quality and the library's versions.

        Raises:
            MissingDependencyError: the chosen backend does not load.

        >>> sorted(Resampler().describe())
        ['backend', 'quality', 'soxr_library_version', 'soxr_version']
        """
        chosen = dataclasses.asdict(self)
        if self.backend == "soxr":
            return {
                **chosen,
                "soxr_version": str(soxr.__version__),
                "soxr_library_version": str(soxr.__libsoxr_version__),
            }
        return {**chosen, "torchaudio_version": str(_torchaudio("torchaudio").__version__)}


_DEFAULT = Resampler()


def check_resampler(resampler: Any) -> Resampler:
    """Return a resampler.

    Raises:
        AudioError: it is something else, such as the name of a backend.
    """
    if not isinstance(resampler, Resampler):
        raise AudioError(
            f'resampler is {resampler!r}; a Resampler is needed: Resampler(backend="soxr", quality="HQ").'
        )
    return resampler


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Return how many samples `resample` makes of `num_samples`: ceil(num_samples · to / from).

    Raises:
        AudioError: not a number of samples.
        SamplingRateError: an impossible rate.

    >>> resampled_length(22050, 22050, 24000), resampled_length(1, 192000, 24000)
    (24000, 1)
    """
    count = check_count(num_samples, what="num_samples", least=0, most=_MAX_SAMPLES)
    return -(-count * check_sampling_rate(to_rate) // check_sampling_rate(from_rate))


def resample(waveform: Waveform, sampling_rate: int, *, resampler: Resampler = _DEFAULT) -> Waveform:
    """Return the recording at another rate (Hz); the same object when it has that rate already.

    Each channel is resampled separately, and has exactly `resampled_length` samples.

    Raises:
        SamplingRateError: an impossible rate.
        MissingDependencyError: torchaudio was chosen and does not load.

    >>> resample(Waveform(samples=np.zeros((1, 441), np.float32), sampling_rate=44100), 24000).num_samples
    240
    """
    rate = check_sampling_rate(sampling_rate)
    if rate == waveform.sampling_rate:
        return waveform
    if resampler.backend == "torchaudio":
        return _resample_torchaudio(waveform, rate, resampler)
    length = resampled_length(waveform.num_samples, waveform.sampling_rate, rate)
    samples = np.empty((waveform.num_channels, length), np.float32)
    done = 0
    for block in _soxr_pieces(waveform, rate, resampler):
        samples[:, done : done + block.shape[1]] = block
        done += block.shape[1]
    return Waveform(samples=samples, sampling_rate=rate)


def _soxr_pieces(waveform: Waveform, rate: int, resampler: Resampler) -> Iterator[Samples]:
    stream = StreamResampler(
        from_rate=waveform.sampling_rate,
        to_rate=rate,
        num_channels=waveform.num_channels,
        resampler=resampler,
    )
    for start in range(0, waveform.num_samples, _BLOCK_SAMPLES):
        yield stream.push(waveform.samples[:, start : start + _BLOCK_SAMPLES])
    yield stream.flush()


class StreamResampler:
    """A resampler for a recording in blocks: `push` them, then `flush` once.

    The joined result equals `resample` of the whole to the last bit, for any sizes of blocks. Memory does not grow
    with the recording. It can be copied and pickled before the first block and after the end.

    Args:
        from_rate: Hz of the pushed blocks.
        to_rate: Hz of the returned blocks.
        num_channels: channels of every block.
        resampler: must be a soxr one.

    Raises:
        AudioError: torchaudio was chosen (it has no streams), or an impossible number of channels.
        SamplingRateError: an impossible rate.

    >>> stream = StreamResampler(from_rate=48000, to_rate=24000)
    >>> first = stream.push(np.zeros((1, 1000), np.float32))
    >>> first.shape[1] + stream.flush().shape[1]
    500
    """

    def __init__(
        self, *, from_rate: int, to_rate: int, num_channels: int = 1, resampler: Resampler = _DEFAULT
    ) -> None:
        if resampler.backend != "soxr":
            raise AudioError("only the soxr backend resamples block by block: use Resampler(backend='soxr').")
        self.from_rate = check_sampling_rate(from_rate)
        self.to_rate = check_sampling_rate(to_rate)
        self.num_channels = check_count(num_channels, what="num_channels", least=1, most=MAX_CHANNELS)
        self._quality = resampler.quality
        self._soxr: Any = None  # only between the first block and the end
        self._num_in = 0
        self._num_out = 0
        self._flushed = False

    def push(self, samples: Samples) -> Samples:
        """Take (C, n) float32 samples and return those (C, m) that are now final; m may be 0.

        Raises:
            WaveformError: another shape or dtype, or the stream was flushed.
        """
        if self._flushed:
            raise WaveformError("this resampler was flushed: make a new one for the next recording.")
        if samples.ndim != 2 or len(samples) != self.num_channels or samples.dtype != np.float32:  # noqa: PLR2004
            raise WaveformError(
                f"a block must be float32 of shape ({self.num_channels}, n), got {samples.dtype} of shape "
                f"{samples.shape}."
            )
        self._num_in += samples.shape[1]
        if self.from_rate == self.to_rate or not self._num_in:
            return samples
        return self._process(samples, last=False)

    def flush(self) -> Samples:
        """Return the samples (C, m) still inside; nothing can be pushed afterwards.

        Raises:
            WaveformError: the stream was flushed before.
        """
        if self._flushed:
            raise WaveformError("this resampler was flushed: make a new one for the next recording.")
        self._flushed = True
        if self.from_rate == self.to_rate or self._num_in == 0:
            return np.empty((self.num_channels, 0), np.float32)
        # soxr rounds the length; silence for two output samples flushes the last one, which it may hold back.
        silence = 2 * -(-self.from_rate // self.to_rate) + 1
        left = resampled_length(self._num_in, self.from_rate, self.to_rate) - self._num_out
        rest = self._process(np.zeros((self.num_channels, silence), np.float32), last=True)
        self._soxr = None
        assert 0 <= left <= rest.shape[1]
        return rest[:, :left]

    def __getstate__(self) -> dict[str, Any]:
        # Copies are made of this, too: a soxr stream has no copies, and two that shared it would mix their sound.
        if self._soxr is not None:
            raise AudioError(
                "a stream that resamples cannot be copied or pickled in the middle of a recording; do it before the "
                f"first block, or push sound that is at {self.to_rate} Hz already."
            )
        return vars(self)

    def _process(self, samples: Samples, *, last: bool) -> Samples:
        if self._soxr is None:
            self._soxr = soxr.ResampleStream(
                self.from_rate, self.to_rate, self.num_channels, dtype="float32", quality=self._quality
            )
        interleaved = np.ascontiguousarray(samples.T)  # (n, C), no copy for one channel
        out: Samples = self._soxr.resample_chunk(interleaved, last=last).T
        self._num_out += out.shape[1]
        return np.ascontiguousarray(out)


def resample_blocks(
    blocks: Iterable[Waveform], sampling_rate: int, *, resampler: Resampler = _DEFAULT
) -> Iterator[Waveform]:
    """Resample an iterator of a recording's blocks (`iter_audio`), in bounded memory.

    Blocks are yielded when they are final; empty ones are left out.

    Raises:
        SamplingRateError: the rate changes between blocks, or is impossible.
        WaveformError: the number of channels changes between blocks.

    >>> halves = [Waveform(samples=np.zeros((1, 48000), np.float32), sampling_rate=48000)] * 2
    >>> sum(block.num_samples for block in resample_blocks(halves, 24000))
    48000
    """
    stream: StreamResampler | None = None
    for block in blocks:
        if stream is None:
            stream = StreamResampler(
                from_rate=block.sampling_rate,
                to_rate=sampling_rate,
                num_channels=block.num_channels,
                resampler=resampler,
            )
        if block.sampling_rate != stream.from_rate:
            raise SamplingRateError(
                f"the blocks of one recording share one rate, got {block.sampling_rate} Hz after "
                f"{stream.from_rate} Hz."
            )
        yield from _nonempty(stream.push(block.samples), stream.to_rate)
    if stream is not None:
        yield from _nonempty(stream.flush(), stream.to_rate)


def _nonempty(samples: Samples, rate: int) -> Iterator[Waveform]:
    if samples.shape[1]:
        yield Waveform(samples=samples, sampling_rate=rate)


def _resample_torchaudio(waveform: Waveform, rate: int, resampler: Resampler) -> Waveform:
    functional = _torchaudio("torchaudio.functional")
    torch: Any = import_optional("torch", extra="torchaudio", purpose="the torchaudio resampler")
    out = functional.resample(
        torch.from_numpy(waveform.samples),
        waveform.sampling_rate,
        rate,
        **_TORCHAUDIO_SETTINGS[resampler.quality],
    )
    return Waveform(samples=np.ascontiguousarray(out.numpy()), sampling_rate=rate)


def _torchaudio(module: str) -> Any:
    return import_optional(module, extra="torchaudio", purpose="the torchaudio resampler")
