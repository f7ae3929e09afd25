"""Streams of ids to sound, while a language model generates them.

Every sample is returned exactly once; joined, they equal decoding the whole. The network uses future codes, so exact
sound lags behind the codes; `lookahead` trades exactness for a shorter lag:

    codes pushed        |frame 0 |frame 1 |frame 2 |
    exact               |sound...............|               lags by the receptive field, 9.3 latents at 24 kHz
    lookahead=4 latents |sound......................|        the last stretch decoded as if the clip ended there
"""

from __future__ import annotations

import copy
import math
import operator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.geometry import Conv
from snac_tok.codec.incremental import ChunkDecoder
from snac_tok.codec.noise import SeededNoise, checked_noise
from snac_tok.errors import TokenError
from snac_tok.streaming.copies import CopyableStream
from snac_tok.streaming.frame_buffer import FrameBuffer
from snac_tok.streaming.pairing import paired_for_streams
from snac_tok.streaming.repair_report import warn_of_repairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike
    from snac_tok.streaming.repair_report import OnError, RepairReport


@dataclass
class _Progress:
    """A stream's progress. It is replaced as a whole after a successful call, so a failed call can be repeated.

    Attributes:
        frames: the ids of the unfinished frame.
        decoder: the codec's exact incremental decoder.
        num_exact: how many samples it has returned.
        num_out: how many samples the stream has returned.
        finished: whether the stream was flushed.
    """

    frames: FrameBuffer
    decoder: ChunkDecoder
    num_exact: int = 0
    num_out: int = 0
    finished: bool = False

    def copy(self) -> _Progress:
        return replace(self, frames=copy.copy(self.frames), decoder=copy.copy(self.decoder))


class StreamDecoder(CopyableStream):
    """Turns a stream of ids or codes into sound as it arrives.

    A call that fails, for any reason, leaves the stream as it was and can be repeated. A copy, shallow or deep, goes on
    by itself with the same codec; a stream that has begun cannot be pickled.

    Args:
        codec: the network; or a `SnacTokenizer`, which has a vocabulary, too.
        vocabulary: the `Vocabulary` of the ids, a preset's name or a .json file; a `FrameLayout` for raw codes in its
            order, None for raw codes in the canonical one. "auto" is the tokenizer's; a codec alone needs one.
        noise: with an int seed or "off" the stream equals decoding the whole; "random" draws a seed from torch's
            generator.
        lookahead: None for exact sound. Otherwise how many future latents the stream waits for, 0 or more: with
            fewer, sound comes sooner and is less exact.
        on_error: "strict" refuses ids that are out of place; "resync" leaves their frame out and "conceal" fills it
            from the one before, which keeps the time (docs/serving.md). Both warn once, at the end.

    Raises:
        LayoutError: no vocabulary, or one for another codec.
        TokenError: `lookahead` is not a number of latents, `on_error` none of the three, or the vocabulary has
            parallel rows.
        CodesError: `noise` is not one of the values above.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> ids = tok.encode(np.zeros(24_000), sampling_rate=24_000)
        >>> stream = StreamDecoder(tok)
        >>> [stream.push(ids[start : start + 7]).size for start in range(0, 35, 7)]
        [0, 0, 1387, 2048, 2048]
        >>> stream.push(ids[35:]).size + stream.flush().size
        19093
    """

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        noise: Noise = 0,
        lookahead: int | None = None,
        on_error: OnError = "strict",
    ) -> None:
        self.codec, self.vocabulary = paired_for_streams(codec, vocabulary)
        self.lookahead = _checked_lookahead(lookahead)
        self.on_error = on_error
        self._noise = stream_noise(noise, self.codec)
        self.reset()

    @property
    def sampling_rate(self) -> int:
        """The rate of the returned samples, in Hz."""
        return self.codec.sampling_rate

    @property
    def lag_samples(self) -> int:
        """The largest lag, in samples, of the returned sound behind the end of the last whole frame pushed."""
        exact = exact_lag_samples(self.codec)
        return exact if self.lookahead is None else min(exact, self.lookahead * self.codec.hop_length)

    @property
    def report(self) -> RepairReport:
        """What was repaired in this stream so far."""
        return self._progress.frames.report

    def reset(self) -> None:
        """Forget everything; the next push begins another stream, with the same noise."""
        self._progress = _Progress(
            frames=FrameBuffer(self.vocabulary, self.codec.config, on_error=self.on_error),
            decoder=ChunkDecoder(self.codec, self._noise),
        )

    @torch.no_grad()
    def push(self, ids: Any) -> npt.NDArray[np.float32]:
        """Take the next ids or codes and return the samples (n,) that can be played now, n possibly 0.

        Args:
            ids: integers (n,), any number, frames may be cut anywhere; special ids may come before the first code
                and after the last. Or codes: one integer array (T_k,) per level, whole frames.

        Raises:
            TokenError: an id that does not belong to its slot, in a strict stream, or a push after flush. The stream
                stays as it was.
            CodesError: codes of wrong lengths or values, or the codec was moved or trained on since the first push.
        """
        progress = self._open_copy()
        codes = progress.frames.push(ids)
        sound = (
            np.zeros(0, np.float32)
            if codes is None
            else self._due(progress, progress.decoder.push(codes), last=False)
        )
        self._progress = progress
        return sound

    @torch.no_grad()
    def flush(self, *, drop_partial: bool = False) -> npt.NDArray[np.float32]:
        """End the stream and return the remaining samples (n,).

        Args:
            drop_partial: drop the ids of an incomplete last frame instead of raising an error or repairing it.

        Raises:
            TokenError: a strict stream ended in the middle of a frame, or it was flushed before.

        Warns:
            LostSpeechWarning: what was repaired.
        """
        progress = self._open_copy()
        codes = progress.frames.end(drop_partial=drop_partial)
        progress.finished = True
        sounds = [np.zeros(0, np.float32)]
        if codes is not None:
            sounds.append(self._due(progress, progress.decoder.push(codes), last=False))
        if progress.decoder.state.kept:
            sounds.append(self._due(progress, progress.decoder.rest(), last=True))
        # A warning may be an error to the caller, and then this call has failed, too.
        warn_of_repairs({"": progress.frames.report})
        self._progress = progress
        return np.concatenate(sounds)

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Make several calls one: where the block fails, the stream is again as it was before the block."""
        before = self._progress
        try:
            yield
        except BaseException:
            self._progress = before
            raise

    @property
    def _has_begun(self) -> bool:
        return self._progress.decoder.has_begun

    def _open_copy(self) -> _Progress:
        if self._progress.finished:
            raise TokenError("the stream has been flushed; reset() it or make another decoder.")
        return self._progress.copy()

    def _due(self, progress: _Progress, exact: torch.Tensor, *, last: bool) -> npt.NDArray[np.float32]:
        """Return the samples (n,) for the caller: the new exact ones (1, 1, n), and with lookahead approximate ones."""
        begin = progress.num_exact
        progress.num_exact += exact.shape[-1]
        sound = exact[0, 0]
        wanted = progress.num_exact if last or self.lookahead is None else self._num_due(progress)
        if wanted > progress.num_exact:
            sound = torch.cat((sound, progress.decoder.rest()[0, 0]))
        sound = sound[progress.num_out - begin : max(wanted, progress.num_out) - begin]
        progress.num_out += sound.shape[-1]
        return sound.float().cpu().numpy()

    def _num_due(self, progress: _Progress) -> int:
        assert self.lookahead is not None
        latents = progress.frames.num_frames * self.codec.config.latents_per_frame
        return max(progress.num_exact, (latents - self.lookahead) * self.codec.hop_length)


def _checked_lookahead(lookahead: Any) -> int | None:
    try:
        number = None if lookahead is None or isinstance(lookahead, bool) else operator.index(lookahead)
    except TypeError:
        number = None
    if (number is None and lookahead is not None) or (number is not None and number < 0):
        raise TokenError(f"lookahead is {lookahead!r}; None or a number of latents from 0 on is possible.")
    return number


def exact_lag_samples(codec: SNAC) -> int:
    """Return the largest lag of exact sound, in samples: the decoder's lookahead plus an unfinished window."""
    window = codec.decoder.window_size
    step = math.gcd(window, codec.config.latents_per_frame)
    # The convolution before the attention needs future latents, too, so the frame that fills a window does not complete
    # it.
    unfinished = window - step + -Conv().padding % step
    return unfinished * codec.hop_length - codec.decoder.influence.first


def stream_noise(noise: Noise, codec: SNAC) -> SeededNoise | None:
    """Return the noise of a stream, whose length is unknown: a function of seed and position.

    Raises:
        CodesError: as `SNAC.decode`.
    """
    if checked_noise(noise) == "off" or not codec.config.noise:
        return None
    return SeededNoise(seed=int(torch.randint(2**62, (), device="cpu")) if noise == "random" else int(noise))
