"""Many streams at once: each decodes as it would alone, and streams in the same state share one network call.

Streams can join, leave and stall at any time. `push` only checks and keeps ids; `step` advances every stream that has
whole frames or has ended. Streams whose layers hold equally many samples share one call of the network, which is so
for all streams after their first few frames; their states are rows of one tensor a layer (`StateTables`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.chunked import run_chunk
from snac_tok.codec.inference import decode_chunk_frames
from snac_tok.codec.noise import RowNoise
from snac_tok.codec.precision import in_full_precision
from snac_tok.codec.transfers import to_device
from snac_tok.codec.unchanged import Unchanged
from snac_tok.errors import CodesError
from snac_tok.streaming.decoder import stream_noise
from snac_tok.streaming.frame_buffer import FrameBuffer
from snac_tok.streaming.pairing import paired_for_streams
from snac_tok.streaming.repair_report import warn_of_repairs
from snac_tok.streaming.side_by_side import Stream, StreamsByName, in_parts, note_failure

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.codec.noise import SeededNoise
    from snac_tok.codec.state import StreamState
    from snac_tok.codec.unchanged import Version
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike
    from snac_tok.streaming.repair_report import OnError, RepairReport


@dataclass(frozen=True, kw_only=True)
class _Stream(Stream):
    """One stream of ids.

    Attributes:
        frames: the ids of the unfinished frame.
        noise: the decoder's.
        waiting: codes of whole frames that are not decoded yet.
    """

    frames: FrameBuffer
    noise: SeededNoise | None
    waiting: tuple[list[torch.Tensor], ...] = ()

    @property
    def num_waiting(self) -> int:
        return sum(codes[0].shape[-1] for codes in self.waiting)

    @property
    def is_ready(self) -> bool:
        return bool(self.waiting) or (self.ending and not self.ended)

    def with_codes(self, codes: list[torch.Tensor] | None, frames: FrameBuffer) -> _Stream:
        """Return the stream with codes of more whole frames, and what its buffer is then."""
        return replace(self, frames=frames, waiting=self.waiting if codes is None else (*self.waiting, codes))

    def ends_with(self, num_frames: int) -> bool:
        """Return whether the next frames are its last ones."""
        return self.ending and self.num_waiting <= num_frames

    def split(
        self, num_frames: int, per_frame: Sequence[int]
    ) -> tuple[list[torch.Tensor], tuple[list[torch.Tensor], ...]]:
        """Return the codes of the next frames, and the codes that still wait."""
        if len(self.waiting) == 1 and self.num_waiting == num_frames:
            return self.waiting[0], ()
        if not self.waiting:
            return [], ()
        joined = [torch.cat(level, dim=-1) for level in zip(*self.waiting, strict=True)]
        spans = list(zip(joined, per_frame, strict=False))
        rest = [level[:, num_frames * count :] for level, count in spans]
        taken = [level[:, : num_frames * count] for level, count in spans]
        return taken, (rest,) if rest[0].shape[-1] else ()


class BatchStreamDecoder(StreamsByName[_Stream]):
    """Decodes any number of streams side by side.

    With open streams it cannot be copied or pickled.

    Args:
        codec: the network; or a `SnacTokenizer`, as in `StreamDecoder`.
        vocabulary: as in `StreamDecoder`, the same for all streams.
        on_error: likewise.

    Raises:
        LayoutError: no vocabulary, or one for another codec.
        TokenError: the vocabulary has parallel rows, or `on_error` is none of the three words.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> ids = tok.encode(np.zeros(24_000), sampling_rate=24_000)
        >>> streams = BatchStreamDecoder(tok)
        >>> streams.open("a"), streams.open("b", noise=7)
        (None, None)
        >>> streams.push("a", ids[:35]); streams.push("b", ids[:21])
        >>> {name: sound.size for name, sound in streams.step().items()}
        {'a': 5483, 'b': 1387}
        >>> streams.end("b")
        >>> {name: sound.size for name, sound in streams.step().items()}
        {'b': 4757}
    """

    def __init__(
        self,
        codec: SNAC | CodecWithVocabulary,
        vocabulary: VocabularyLike = "auto",
        *,
        on_error: OnError = "strict",
    ) -> None:
        super().__init__()
        self.codec, self.vocabulary = paired_for_streams(codec, vocabulary)
        self._unchanged = Unchanged(self.codec, self.codec.decoder, CodesError)
        self._frames = FrameBuffer(self.vocabulary, self.codec.config, on_error=on_error)

    def open(self, name: Hashable, *, noise: Noise = 0) -> None:
        """Open a stream under a name that no open stream has.

        Raises:
            TokenError: the name is taken, or not hashable.
            CodesError: `noise` is not one of the values that `SNAC.decode` takes.
        """
        self._check_free(name)
        self._streams[name] = _Stream(
            frames=copy.copy(self._frames),
            noise=stream_noise(noise, self.codec),
        )

    def push(self, name: Hashable, ids: Any) -> None:
        """Keep a stream's next ids or codes, as `StreamDecoder.push` takes them, until the next step.

        Raises:
            TokenError: an id out of place (strict), no such stream, or an ended one. Others are not affected.
            CodesError: codes of wrong lengths or values.
        """
        stream = self._open_stream(name)
        frames = copy.copy(stream.frames)
        self._streams[name] = stream.with_codes(frames.push(ids), frames)

    def end(self, name: Hashable, *, drop_partial: bool = False) -> None:
        """End a stream: the next step returns the rest of its sound and forgets it.

        Raises:
            TokenError: a strict stream ended in the middle of a frame (unless `drop_partial`), or there is none.

        Warns:
            LostSpeechWarning: what was repaired.
        """
        stream = self._open_stream(name)
        frames = copy.copy(stream.frames)
        codes = frames.end(drop_partial=drop_partial)
        self._streams[name] = replace(stream.with_codes(codes, frames), ending=True)
        warn_of_repairs({f"stream {name!r}": frames.report})

    def report(self, name: Hashable) -> RepairReport:
        """Return what was repaired in a stream so far; after its end, until the step that forgets it.

        Raises:
            TokenError: there is no such stream.
        """
        return self._known(name).frames.report

    @torch.no_grad()
    def step(self) -> dict[Hashable, npt.NDArray[np.float32]]:
        """Advance every stream that has whole frames waiting or was ended.

        A step that fails (out of memory, for example) loses nothing: the next step repeats it, and also returns the
        sound of streams that had already advanced. The error's note names the failed streams; `abort` removes them.

        Returns:
            per stream that advanced, the samples (n,) that are final now, n possibly 0.

        Raises:
            CodesError: the codec was moved or trained on since a stream's first step.
        """
        while ready := self._ready():
            waiting = (self._streams[name].num_waiting for name in ready)
            num_frames = min(decode_chunk_frames(self.codec), min(filter(None, waiting), default=0))
            for group in self._alike(ready, num_frames):
                try:
                    self._advance(group, num_frames)
                except BaseException as error:
                    note_failure(error, group)
                    raise
        return {name: np.concatenate(sounds) for name, sounds in self._take_finished().items()}

    def _alike(self, names: Sequence[Hashable], num_frames: int) -> list[list[Hashable]]:
        """Group streams that can share a call: of one table of states, equally many new frames, all ending or none."""

        def alike(stream: _Stream) -> tuple[Any, ...]:
            levels = len(stream.waiting[0]) if stream.waiting else 0
            count, is_last = min(stream.num_waiting, num_frames), stream.ends_with(num_frames)
            return count, is_last, levels

        return self._groups(names, alike)

    def _advance(self, names: Sequence[Hashable], num_frames: int) -> None:
        """Decode the next frames of a group of streams, and keep what they are then."""
        streams = [self._streams[name] for name in names]
        version = self._unchanged.check(*(stream.version for stream in streams))
        last = streams[0].ends_with(num_frames)
        halves = [stream.split(num_frames, self.codec.config.codes_per_frame) for stream in streams]
        # Nothing is kept before all is decoded: other parts still read the tables of states, and any may fail.
        done = in_parts(
            self.codec.decoder,
            len(streams),
            latents=max(1, num_frames) * self.codec.config.latents_per_frame,
            run=lambda part: self._decoded(streams[part], [taken for taken, _ in halves[part]], last=last),
        )
        for part, (sounds, batch) in done:
            self._keep(names[part], [left for _, left in halves[part]], sounds, batch, version, last=last)

    def _keep(
        self,
        names: Sequence[Hashable],
        waiting: Sequence[tuple[list[torch.Tensor], ...]],
        sounds: npt.NDArray[np.float32],
        batch: StreamState,
        version: Version,
        *,
        last: bool,
    ) -> None:
        """Keep what was decoded, the codes that still wait, and the layers' states."""
        streams = [self._streams[name] for name in names]
        for name, stream, left, sound in zip(names, streams, waiting, sounds, strict=True):
            finished = (*stream.finished, sound)
            self._streams[name] = replace(
                stream, version=version, waiting=left, ended=last, finished=finished
            )
        rows = [stream.row for stream in streams]
        if last:
            for row in rows:
                self._states.free(row)
        else:
            self._states.write(rows, batch)

    def _decoded(
        self, streams: Sequence[_Stream], codes: Sequence[list[torch.Tensor]], *, last: bool
    ) -> tuple[npt.NDArray[np.float32], StreamState]:
        """Return the sound (B, n) of streams' next codes, and what their layers keep then."""
        batch = self._states.read([stream.row for stream in streams])
        latents = self._latents(len(streams), codes, is_begun=bool(batch.kept))
        if latents is None:
            return np.zeros((len(streams), 0), np.float32), batch
        noise = None
        if any(stream.noise for stream in streams):
            noise = RowNoise(
                seeds=[None if stream.noise is None else stream.noise.seed for stream in streams],
                positions=[stream.row.positions for stream in streams],
            )
        sound = run_chunk(self.codec.decoder, latents, batch, last=last, noise=noise)
        return sound[:, 0].float().cpu().numpy(), batch

    def _latents(
        self, num_streams: int, codes: Sequence[list[torch.Tensor]], *, is_begun: bool
    ) -> torch.Tensor | None:
        """Return the next latents (B, C, n) of streams, n 0 without codes; None if they ended before any."""
        device, dtype = self.codec.device, self.codec.dtype
        if not codes[0]:
            shape = (num_streams, self.codec.latent_dim, 0)
            return torch.empty(shape, device=device, dtype=dtype) if is_begun else None
        levels = [to_device(torch.cat(level), device) for level in zip(*codes, strict=True)]
        for attempt in in_full_precision(next(self.codec.parameters())):
            with attempt:
                latents = self.codec.quantizer.from_codes(levels)
        return latents
