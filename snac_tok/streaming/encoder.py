"""Streams of sound to ids, while it is being recorded: the mirror of `decoder`."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.audio import Resampler, StreamResampler, Waveform, check_sampling_rate
from snac_tok.audio.pairs import refuse_pair
from snac_tok.audio.values import as_float32, check_values
from snac_tok.codec.incremental import ChunkEncoder
from snac_tok.codec.transfers import to_device
from snac_tok.errors import SamplingRateError, WaveformError
from snac_tok.masked import refuse_masked
from snac_tok.streaming.copies import CopyableStream
from snac_tok.streaming.pairing import paired_for_streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike


@dataclass
class _Progress:
    """A stream's progress. It is replaced as a whole after a successful call, so a failed call can be repeated.

    Attributes:
        encoder: the codec's incremental encoder.
        waiting: samples (1, n) at the codec's rate, less than a frame.
        finished: whether the stream was flushed.
    """

    encoder: ChunkEncoder
    waiting: npt.NDArray[np.float32]
    finished: bool = False

    def copy(self) -> _Progress:
        return replace(self, encoder=copy.copy(self.encoder))


class StreamEncoder(CopyableStream):
    """Turns sound into ids while it is being recorded.

    A call that fails leaves the stream as it was and can be repeated. The exception is a stream that resamples: if a
    call fails after resampling its sound, the stream refuses further calls. A copy, shallow or deep, goes on by itself
    with the same codec, and a stream that has not begun can be pickled; one that resamples can be neither between its
    first push and its end.

    Args:
        codec: the network; or a `SnacTokenizer`, as in `StreamDecoder`.
        vocabulary: as in `StreamDecoder`.
        sampling_rate: the rate of the pushed sound, in Hz; None is the codec's.
        resampler: how another rate is converted.

    Raises:
        SamplingRateError: an impossible rate.
        LayoutError: no vocabulary, or one for another codec.
        TokenError: the vocabulary has parallel rows.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> stream = StreamEncoder(tok)
        >>> stream.push(np.zeros(10_000)).size, stream.flush().size
        (7, 28)
    """

    _refusal = WaveformError

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        sampling_rate: int | None = None,
        resampler: Resampler | None = None,
    ) -> None:
        self.codec, self.vocabulary = paired_for_streams(codec, vocabulary)
        self.sampling_rate = check_sampling_rate(
            self.codec.sampling_rate if sampling_rate is None else sampling_rate
        )
        self._resampler = resampler or Resampler()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next push begins another stream."""
        self._progress = _Progress(encoder=ChunkEncoder(self.codec), waiting=np.zeros((1, 0), np.float32))
        self._rates = (
            None
            if self.sampling_rate == self.codec.sampling_rate
            else StreamResampler(
                from_rate=self.sampling_rate, to_rate=self.codec.sampling_rate, resampler=self._resampler
            )
        )
        self._is_resampler_ahead = False

    @torch.no_grad()
    def push(self, samples: Any) -> npt.NDArray[np.int64]:
        """Take the next samples (n,) of one channel, floats in [-1, 1], and return the ids (m,) they complete.

        Raises:
            WaveformError: samples of another shape or type, NaN or infinite ones, integers kept as floats, or a push
                after flush; or the codec was moved or trained on since the first push.
            SamplingRateError: a `Waveform` at another rate.
        """
        progress = self._open_copy()
        if isinstance(samples, Waveform) and samples.sampling_rate != self.sampling_rate:
            raise SamplingRateError(
                f"the stream is at {self.sampling_rate} Hz, the block at {samples.sampling_rate} Hz; make the encoder "
                f"with sampling_rate={samples.sampling_rate}."
            )
        block = checked_block(samples)
        if self._rates is not None:
            self._is_resampler_ahead = True
            block = self._rates.push(block)
        progress.waiting = np.concatenate((progress.waiting, block), 1)
        return self._done(progress, list(self._whole_frames(progress)))

    @torch.no_grad()
    def flush(self) -> npt.NDArray[np.int64]:
        """End the stream and return the remaining ids.

        Raises:
            WaveformError: the stream was flushed before.
        """
        progress = self._open_copy()
        progress.finished = True
        if self._rates is not None:
            self._is_resampler_ahead = True
            progress.waiting = np.concatenate((progress.waiting, self._rates.flush()), 1)
        codes = list(self._whole_frames(progress))
        if progress.encoder.num_samples or progress.waiting.shape[1]:
            codes.append(progress.encoder.flush(self._tensor(progress.waiting)))
        return self._done(progress, codes)

    def _whole_frames(self, progress: _Progress) -> Iterator[list[torch.Tensor]]:
        """Encode one whole frame at a time, so that codes do not depend on the sizes of pushes."""
        size = self.codec.config.frame_length
        while progress.waiting.shape[1] >= size:
            frame, progress.waiting = progress.waiting[:, :size], progress.waiting[:, size:]
            yield progress.encoder.push(self._tensor(frame))

    @property
    def _has_begun(self) -> bool:
        return self._progress.encoder.has_begun

    def _own_parts(self) -> dict[str, Any]:
        return {"_rates": copy.copy(self._rates)}

    def _open_copy(self) -> _Progress:
        if self._progress.finished:
            raise WaveformError("the stream has been flushed; reset() it or make another encoder.")
        if self._is_resampler_ahead:
            raise WaveformError(
                "an earlier call failed after it had resampled its sound, which cannot be done twice; "
                "reset() the stream or make another encoder."
            )
        return self._progress.copy()

    def _done(self, progress: _Progress, codes: Sequence[list[torch.Tensor]]) -> npt.NDArray[np.int64]:
        """Return the ids of new codes, and keep the progress."""
        ids = self._ids(codes)
        self._progress, self._is_resampler_ahead = progress, False
        return ids

    def _tensor(self, samples: npt.NDArray[np.float32]) -> torch.Tensor:
        audio = torch.from_numpy(np.ascontiguousarray(samples))[None]
        return to_device(audio.to(self.codec.dtype), self.codec.device)

    def _ids(self, pieces: Sequence[list[torch.Tensor]]) -> npt.NDArray[np.int64]:
        if not pieces:
            return np.zeros(0, np.int64)
        levels = [torch.cat(level, dim=-1)[0].cpu().numpy() for level in zip(*pieces, strict=True)]
        ids: npt.NDArray[np.int64] = self.vocabulary.encode(levels)
        return ids


def checked_block(samples: Any) -> npt.NDArray[np.float32]:
    """Return one channel of samples as float32 (1, n).

    Raises:
        WaveformError: another shape or type, NaN, infinite or masked values, or integers kept as floats.
    """
    if isinstance(samples, torch.Tensor):
        # numpy has no bfloat16.
        samples = (samples.float() if samples.is_floating_point() else samples).detach().cpu()
    refuse_masked(samples, what="samples", error=WaveformError)
    refuse_pair(samples)
    array = np.asarray(samples)
    if array.ndim == 2 and array.shape[0] == 1:  # noqa: PLR2004 - (1, n)
        array = array[0]
    if array.ndim != 1 or array.dtype.kind != "f":
        scale = " (int16 is divided by 32768)" if array.dtype.kind in "iu" else ""
        raise WaveformError(
            f"a block of sound is floats (n,) of one channel{scale}; got {array.dtype} {array.shape}."
        )
    block = as_float32(array)[None]
    check_values(block)
    return block
