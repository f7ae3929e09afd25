"""Streams of sound to ids, while it is being recorded: the mirror of `streaming`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.audio import Resampler, StreamResampler, Waveform, check_sampling_rate
from snac_tok.audio.values import as_float32, check_values
from snac_tok.codec.chunks import ChunkEncoder
from snac_tok.errors import SamplingRateError, TokenError, WaveformError
from snac_tok.tokenizer.pairing import vocabulary_of, warn_of_trial_codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC
    from snac_tok.tokenizer.pairing import Ids


class StreamEncoder:
    """Turns sound into ids while it is being recorded.

    Args:
        codec: the network.
        layout: as in `StreamDecoder`.
        sampling_rate: of the sound that is pushed, in Hz; None is the codec's.
        resampler: how another rate is changed.

    Raises:
        SamplingRateError: an impossible rate.
        TokenError: ids in parallel rows, which are no stream.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> stream = StreamEncoder(tok.codec, tok.vocabulary)
        >>> stream.push(np.zeros(10_000)).size, stream.flush().size
        (7, 28)
    """

    def __init__(
        self,
        codec: SNAC,
        layout: Ids,
        *,
        sampling_rate: int | None = None,
        resampler: Resampler | None = None,
    ) -> None:
        self.codec = codec.ready()
        self.vocabulary = vocabulary_of(layout, codec)
        if self.vocabulary.is_parallel:
            raise TokenError(
                "ids in parallel rows are no stream; encode the whole, or take another vocabulary."
            )
        warn_of_trial_codec(codec, self.vocabulary)
        self.sampling_rate = check_sampling_rate(
            codec.sampling_rate if sampling_rate is None else sampling_rate
        )
        self._resampler = resampler or Resampler()
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next push begins another stream."""
        self._encoder = ChunkEncoder(self.codec)
        self._rates = (
            None
            if self.sampling_rate == self.codec.sampling_rate
            else StreamResampler(
                from_rate=self.sampling_rate, to_rate=self.codec.sampling_rate, resampler=self._resampler
            )
        )
        self._waiting = np.zeros((1, 0), np.float32)
        self._finished = False

    @torch.no_grad()
    def push(self, samples: Any) -> npt.NDArray[np.int64]:
        """Take the next samples (n,) of one channel, floats in [-1, 1], and return the ids (m,) they complete.

        Raises:
            WaveformError: samples of another shape or type, NaN or infinite ones, integers kept as floats, or a push
                after flush.
            SamplingRateError: a `Waveform` at another rate.
        """
        self._check_open()
        if isinstance(samples, Waveform) and samples.sampling_rate != self.sampling_rate:
            raise SamplingRateError(
                f"the stream is at {self.sampling_rate} Hz, the block at {samples.sampling_rate} Hz; make the encoder "
                f"with sampling_rate={samples.sampling_rate}."
            )
        block = checked_block(samples)
        self._waiting = np.concatenate(
            (self._waiting, block if self._rates is None else self._rates.push(block)), 1
        )
        return self._ids(list(self._whole_frames()))

    @torch.no_grad()
    def flush(self) -> npt.NDArray[np.int64]:
        """End the stream and return the remaining ids.

        Raises:
            WaveformError: the stream was flushed before.
        """
        self._check_open()
        self._finished = True
        if self._rates is not None:
            self._waiting = np.concatenate((self._waiting, self._rates.flush()), 1)
        codes = list(self._whole_frames())
        if self._encoder.num_samples or self._waiting.shape[1]:
            codes.append(self._encoder.flush(self._tensor(self._waiting)))
        return self._ids(codes)

    def _whole_frames(self) -> Iterator[list[torch.Tensor]]:
        """Encode what is whole, always one frame at a time: however the sound was cut, the codes are the same."""
        size = self.codec.config.frame_length
        while self._waiting.shape[1] >= size:
            frame, self._waiting = self._waiting[:, :size], self._waiting[:, size:]
            yield self._encoder.push(self._tensor(frame))

    def _check_open(self) -> None:
        if self._finished:
            raise WaveformError("the stream has been flushed; reset() it or make another encoder.")

    def _tensor(self, samples: npt.NDArray[np.float32]) -> torch.Tensor:
        audio = torch.from_numpy(np.ascontiguousarray(samples))[None]
        return audio.to(device=self.codec.device, dtype=self.codec.dtype)

    def _ids(self, pieces: Sequence[list[torch.Tensor]]) -> npt.NDArray[np.int64]:
        if not pieces:
            return np.zeros(0, np.int64)
        levels = [torch.cat(level, dim=-1)[0].cpu().numpy() for level in zip(*pieces, strict=True)]
        ids: npt.NDArray[np.int64] = self.vocabulary.encode(levels)
        return ids


def checked_block(samples: Any) -> npt.NDArray[np.float32]:
    """Return one channel of samples as float32 (1, n).

    Raises:
        WaveformError: another shape or type, NaN or infinite values, or integers kept as floats.
    """
    if isinstance(samples, torch.Tensor):
        # numpy has no bfloat16.
        samples = (samples.float() if samples.is_floating_point() else samples).detach().cpu()
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
