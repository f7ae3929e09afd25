"""Many microphones at once: each gets the ids it would get alone, and streams in the same state share a network call.

The mirror of `batch_decoder`: `push` only checks, resamples and keeps sound; `step` encodes whole frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.audio import Resampler, StreamResampler, Waveform, check_sampling_rate
from snac_tok.codec.as_built import check_as_built
from snac_tok.codec.inference import encode_chunk
from snac_tok.codec.state_tables import StateRow, StateTables
from snac_tok.codec.transfers import to_device
from snac_tok.codec.unchanged import Unchanged
from snac_tok.errors import SamplingRateError, WaveformError
from snac_tok.streaming.encoder import checked_block
from snac_tok.streaming.pairing import paired_for_streams
from snac_tok.streaming.side_by_side import Stream, StreamsByName, in_parts, note_failure

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC
    from snac_tok.codec.state import StreamState
    from snac_tok.codec.unchanged import Version
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike

    Samples = npt.NDArray[np.float32]  # (1, n)


@dataclass(frozen=True, kw_only=True)
class _Stream(Stream):
    """One stream of sound.

    Attributes:
        rates: brings its sound to the codec's rate.
        frame_length: samples of a frame.
        latents: where the latents of an unfinished frame are.
        waiting: samples (1, n) at the codec's rate that are not encoded yet.
        num_samples: how many have been encoded.
        is_resampling: whether a block is in the resampler, which cannot take it back.
    """

    rates: StreamResampler
    frame_length: int
    latents: StateRow = field(default_factory=StateRow)
    waiting: Samples = field(default_factory=lambda: np.zeros((1, 0), np.float32))
    num_samples: int = 0
    is_resampling: bool = False

    @property
    def is_ready(self) -> bool:
        return self.has_frame or (self.ending and not self.ended)

    @property
    def has_frame(self) -> bool:
        return len(self.waiting[0]) >= self.frame_length

    def next_piece(self) -> Samples:
        """Return the samples of the next call: a whole frame, as `StreamEncoder` takes it; at the end what is left."""
        return self.waiting[:, : self.frame_length] if self.has_frame else self.waiting


class BatchStreamEncoder(StreamsByName[_Stream]):
    """Encodes any number of streams of sound side by side.

    With open streams it cannot be copied or pickled.

    Args:
        codec: the network; or a `SnacTokenizer`, as in `StreamEncoder`.
        vocabulary: as in `StreamEncoder`, the same for all streams.
        resampler: how other rates than the codec's are converted.

    Raises:
        LayoutError: no vocabulary, or one for another codec.
        TokenError: the vocabulary has parallel rows.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> streams = BatchStreamEncoder(tok)
        >>> streams.open("a"), streams.open("b", sampling_rate=48_000)
        (None, None)
        >>> streams.push("a", np.zeros(10_000)); streams.push("b", np.zeros(9_000))
        >>> {name: ids.size for name, ids in streams.step().items()}
        {'a': 7, 'b': 0}
        >>> streams.end("a")
        >>> {name: ids.size for name, ids in streams.step().items()}
        {'a': 28}
    """

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        resampler: Resampler | None = None,
    ) -> None:
        super().__init__()
        self.codec, self.vocabulary = paired_for_streams(codec, vocabulary)
        self._resampler = resampler or Resampler()
        self._unchanged = Unchanged(self.codec, self.codec.encoder, WaveformError)
        self._unfinished = StateTables()

    def open(self, name: Hashable, *, sampling_rate: int | None = None) -> None:
        """Open a stream under a name that no open stream has.

        Args:
            name: of the stream.
            sampling_rate: the rate of its sound, in Hz; None is the codec's.

        Raises:
            TokenError: the name is taken, or not hashable.
            SamplingRateError: an impossible rate.
        """
        self._check_free(name)
        here = self.codec.sampling_rate
        rate = here if sampling_rate is None else check_sampling_rate(sampling_rate)
        # The codec's own rate is not resampled, so any resampler will do.
        resampler = Resampler() if rate == here else self._resampler
        self._streams[name] = _Stream(
            rates=StreamResampler(from_rate=rate, to_rate=here, resampler=resampler),
            frame_length=self.codec.config.frame_length,
        )

    def push(self, name: Hashable, samples: Any) -> None:
        """Keep a stream's next samples, as `StreamEncoder.push` takes them, until the next step.

        Raises:
            TokenError: no such stream, or an ended one.
            WaveformError: samples of another shape or type, NaN or infinite ones, integers kept as floats.
            SamplingRateError: a `Waveform` at another rate than the stream's.
        """
        stream = self._usable(name)
        rate = stream.rates.from_rate
        if isinstance(samples, Waveform) and samples.sampling_rate != rate:
            raise SamplingRateError(
                f"the stream {name!r} is at {rate} Hz, the block at {samples.sampling_rate} Hz; open it with "
                f"sampling_rate={samples.sampling_rate}."
            )
        block = checked_block(samples)
        self._streams[name] = replace(stream, is_resampling=rate != self.codec.sampling_rate)
        self._streams[name] = _longer(stream, stream.rates.push(block))

    def end(self, name: Hashable) -> None:
        """End a stream: the next step returns the rest of its ids and forgets it.

        Raises:
            TokenError: there is no such stream, or it was ended before.
        """
        stream = self._usable(name)
        self._streams[name] = replace(stream, is_resampling=True)
        self._streams[name] = replace(_longer(stream, stream.rates.flush()), ending=True)

    def abort(self, name: Hashable) -> None:
        """Forget a stream at once.

        Raises:
            TokenError: there is no such stream.
        """
        self._unfinished.free(self._known(name).latents)
        super().abort(name)

    @torch.no_grad()
    def step(self) -> dict[Hashable, npt.NDArray[np.int64]]:
        """Encode every whole frame that waits, and the rest of streams that were ended.

        A step that fails (out of memory, for example) loses nothing: the next step repeats it. The error's note names
        the failed streams; `abort` removes them.

        Returns:
            per stream that advanced, the ids (n,) that are complete now, n possibly 0.

        Raises:
            WaveformError: the codec was moved or trained on since a stream's first step.
        """
        while ready := self._ready():
            for group in self._groups(ready, self._alike):
                try:
                    self._advance(group)
                except BaseException as error:
                    note_failure(error, group)
                    raise
        return {name: self._ids(pieces) for name, pieces in self._take_finished().items()}

    def _own_parts(self) -> dict[str, Any]:
        return super()._own_parts() | {"_unfinished": StateTables()}

    def _alike(self, stream: _Stream) -> tuple[int, ...]:
        """Return what streams have in common that share a call: equally many samples, in the middle or at the end."""
        length, padding = stream.next_piece().shape[1], _padding(stream, self.codec)
        return id(stream.latents.table), stream.has_frame, length, padding

    def _usable(self, name: Hashable) -> _Stream:
        stream = self._open_stream(name)
        if stream.is_resampling:
            raise WaveformError(
                f"an earlier call for the stream {name!r} failed after it had resampled its sound, which cannot be "
                "done twice; abort() the stream and open another."
            )
        return stream

    def _advance(self, names: Sequence[Hashable]) -> None:
        """Encode the next frame of a group of streams, or what is left of them."""
        streams = [self._streams[name] for name in names]
        version = self._unchanged.check(*(stream.version for stream in streams))
        if streams[0].row.table is None:
            check_as_built(self.codec.encoder)
        # Nothing is kept before all is encoded: other parts still read the tables of states, and any may fail.
        done = in_parts(
            self.codec.encoder,
            len(streams),
            latents=self.codec.config.latents_per_frame,
            run=lambda part: self._encoded(streams[part]),
        )
        for part, (codes, state, unfinished) in done:
            self._keep(names[part], codes, state, unfinished, version)

    def _encoded(
        self, streams: Sequence[_Stream]
    ) -> tuple[list[npt.NDArray[np.int64]], StreamState, StreamState]:
        """Return the codes [(B, n_k)] of streams' next samples, and what is kept then."""
        state = self._states.read([stream.row for stream in streams])
        unfinished = self._unfinished.read([stream.latents for stream in streams])
        last = not streams[0].has_frame
        samples = np.concatenate([stream.next_piece() for stream in streams])
        samples = np.pad(samples, ((0, 0), (0, _padding(streams[0], self.codec))))
        if not samples.shape[1] and not streams[0].num_samples:
            return [np.zeros((len(streams), 0), np.int64) for _ in self.codec.vq_strides], state, unfinished
        audio = to_device(torch.from_numpy(samples)[:, None].to(self.codec.dtype), self.codec.device)
        codes = encode_chunk(self.codec, audio, state, unfinished, last=last)
        return [level.cpu().numpy() for level in codes], state, unfinished

    def _keep(
        self,
        names: Sequence[Hashable],
        codes: Sequence[npt.NDArray[np.int64]],
        state: StreamState,
        unfinished: StreamState,
        version: Version,
    ) -> None:
        """Keep what was encoded, the samples that still wait, and what the layers keep."""
        streams = [self._streams[name] for name in names]
        last = not streams[0].has_frame
        for at, (name, stream) in enumerate(zip(names, streams, strict=True)):
            taken = stream.next_piece().shape[1]
            self._streams[name] = replace(
                stream,
                version=version,
                waiting=stream.waiting[:, taken:],
                num_samples=stream.num_samples + taken,
                ended=last,
                finished=(*stream.finished, [level[at] for level in codes]),
            )
        for tables, rows, batch in (
            (self._states, [stream.row for stream in streams], state),
            (self._unfinished, [stream.latents for stream in streams], unfinished),
        ):
            if not last:
                tables.write(rows, batch)
                continue
            for row in rows:
                tables.free(row)

    def _ids(self, pieces: Sequence[list[npt.NDArray[np.int64]]]) -> npt.NDArray[np.int64]:
        levels = [np.concatenate(level) for level in zip(*pieces, strict=True)]
        ids: npt.NDArray[np.int64] = self.vocabulary.encode(levels)
        return ids


def _longer(stream: _Stream, samples: Samples) -> _Stream:
    return replace(stream, waiting=np.concatenate((stream.waiting, samples), 1))


def _padding(stream: _Stream, codec: SNAC) -> int:
    """Return how many zeros follow the next samples: none in the middle of a clip."""
    if stream.has_frame:
        return 0
    total: int = stream.num_samples + stream.waiting.shape[1]
    return codec.config.padded_num_samples(total) - total
