"""Many streams at once: each decodes as it would alone, and streams in the same state share one network call.

Streams can join, leave and stall at any time. `push` only checks and keeps ids; `step` advances every stream that has
whole frames or has ended. Streams whose layers hold equally many samples share one call of the network, which is so
for all streams after their first few frames.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.chunked import Unchanged, run_chunk
from snac_tok.codec.precision import full_precision
from snac_tok.codec.state import StreamState
from snac_tok.errors import CodesError, TokenError
from snac_tok.streaming.decoder import stream_noise
from snac_tok.streaming.frame_buffer import FrameBuffer
from snac_tok.streaming.pairing import paired_for_streams
from snac_tok.streaming.repair_report import warn_of_repairs

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.codec.noise import NoiseSource
    from snac_tok.streaming.pairing import CodecWithVocabulary, VocabularyLike
    from snac_tok.streaming.repair_report import OnError, RepairReport


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """One stream. It is replaced as a whole when it advances, so a failed call leaves it as it was.

    Attributes:
        frames: the ids of the unfinished frame.
        noise: the decoder's.
        unchanged: detects that the codec was moved or trained.
        state: the network's.
        waiting: codes of whole frames that are not decoded yet.
        ending: whether the last id has been pushed.
        ended: whether all of its sound has been decoded.
        finished: sound that is decoded and not returned yet.
    """

    frames: FrameBuffer
    noise: NoiseSource | None
    unchanged: Unchanged
    state: StreamState = field(default_factory=StreamState)
    waiting: tuple[list[torch.Tensor], ...] = ()
    ending: bool = False
    ended: bool = False
    finished: tuple[npt.NDArray[np.float32], ...] = ()

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
        joined = [torch.cat(level, dim=-1) for level in zip(*self.waiting, strict=True)]
        spans = list(zip(joined, per_frame, strict=False))
        rest = [level[:, num_frames * count :] for level, count in spans]
        taken = [level[:, : num_frames * count] for level, count in spans]
        return taken, (rest,) if rest[0].shape[-1] else ()


class BatchStreamDecoder:
    """Decodes any number of streams side by side.

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
        self.codec, self.vocabulary = paired_for_streams(codec, vocabulary)
        self._frames = FrameBuffer(self.vocabulary, self.codec.config, on_error=on_error)
        self._streams: dict[Hashable, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._streams

    def open(self, name: Hashable, *, noise: Noise = 0) -> None:
        """Open a stream under a name that no open stream has.

        Raises:
            TokenError: the name is taken.
            CodesError: `noise` is not one of the values that `SNAC.decode` takes.
        """
        if name in self._streams:
            raise TokenError(f"a stream {name!r} is open; end it, or take another name.")
        self._streams[name] = _Stream(
            frames=copy.copy(self._frames),
            noise=stream_noise(noise, self.codec),
            unchanged=Unchanged(self.codec.decoder, CodesError),
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

    def abort(self, name: Hashable) -> None:
        """Forget a stream at once.

        Raises:
            TokenError: there is no such stream.
        """
        self._known(name)
        del self._streams[name]

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
        while ready := [name for name, stream in self._streams.items() if stream.is_ready]:
            waiting = (self._streams[name].num_waiting for name in ready)
            num_frames = min(filter(None, waiting), default=0)
            for group in self._alike(ready, num_frames):
                try:
                    self._streams.update(self._advanced(group, num_frames))
                except BaseException as error:
                    error.add_note(f"while streams {group!r} advanced; nothing of any stream is lost.")
                    raise
        sounds = {
            name: np.concatenate(stream.finished) for name, stream in self._streams.items() if stream.finished
        }
        self._streams = {
            name: replace(stream, finished=()) if stream.finished else stream
            for name, stream in self._streams.items()
            if not stream.ended
        }
        return sounds

    def _open_stream(self, name: Hashable) -> _Stream:
        stream = self._known(name)
        if stream.ending:
            raise TokenError(f"the stream {name!r} was ended; step() gives the rest of its sound.")
        return stream

    def _known(self, name: Hashable) -> _Stream:
        if name not in self._streams:
            raise TokenError(f"there is no open stream {name!r}.")
        return self._streams[name]

    def _alike(self, names: Sequence[Hashable], num_frames: int) -> list[list[Hashable]]:
        """Group streams that can share a call: equal lengths of state, equally many new frames, all ending or none."""
        groups: dict[tuple[Any, ...], list[Hashable]] = {}
        for name in names:
            stream = self._streams[name]
            levels = len(stream.waiting[0]) if stream.waiting else 0
            count, is_last = min(stream.num_waiting, num_frames), stream.ends_with(num_frames)
            groups.setdefault((stream.state.signature(), count, is_last, levels), []).append(name)
        return list(groups.values())

    def _advanced(self, names: Sequence[Hashable], num_frames: int) -> dict[Hashable, _Stream]:
        """Return a group of streams as they are after their next frames."""
        streams = [self._streams[name] for name in names]
        for stream in streams:
            stream.unchanged.check()
        last = streams[0].ends_with(num_frames)
        latents, waiting = self._latents(streams, num_frames)
        states = [stream.state.fork() for stream in streams]
        sounds = np.zeros((len(streams), 0), np.float32)
        # No latents: a stream ended before its first frame.
        if latents is not None:
            batch = StreamState.joined(states)
            noise = _RowNoise(streams) if any(stream.noise for stream in streams) else None
            sound = run_chunk(self.codec.decoder, latents, batch, last=last, noise=noise)
            for row, state in enumerate(states):
                state.take_row(batch, row)
            sounds = sound[:, 0].float().cpu().numpy()
        return {
            name: replace(stream, state=state, waiting=left, ended=last, finished=(*stream.finished, sound))
            for name, stream, state, left, sound in zip(names, streams, states, waiting, sounds, strict=True)
        }

    def _latents(
        self, streams: Sequence[_Stream], num_frames: int
    ) -> tuple[torch.Tensor | None, list[tuple[list[torch.Tensor], ...]]]:
        """Return the next latents (B, C, n) of a group of streams, None if they ended before their first frame.

        Also return the codes that still wait in each stream.
        """
        device, dtype = self.codec.device, self.codec.dtype
        if not streams[0].waiting:
            waiting: list[tuple[list[torch.Tensor], ...]] = [()] * len(streams)
            if not streams[0].state.kept:
                return None, waiting
            nothing = torch.empty((len(streams), self.codec.latent_dim, 0), device=device, dtype=dtype)
            return nothing, waiting
        halves = [stream.split(num_frames, self.codec.config.codes_per_frame) for stream in streams]
        levels = [torch.cat(level).to(device) for level in zip(*(taken for taken, _ in halves), strict=True)]
        with full_precision(next(self.codec.parameters())):
            return self.codec.quantizer.from_codes(levels), [left for _, left in halves]


class _RowNoise:
    """Noise for a batch: each row has its own stream's noise, at its own position."""

    def __init__(self, streams: Sequence[_Stream]) -> None:
        self.rows = [(stream.noise, list(stream.state.positions)) for stream in streams]

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        drawn = []
        for at, (noise, positions) in enumerate(self.rows):
            begin = start + (positions[layer] if layer < len(positions) else 0)
            row = x[at : at + 1]
            drawn.append(x.new_zeros((1, 1, x.shape[-1])) if noise is None else noise.draw(layer, row, begin))
        return torch.cat(drawn)
