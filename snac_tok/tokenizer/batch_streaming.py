"""Many streams at once: every stream decodes as it would alone, and the network runs once for all that are alike.

Streams join, leave and stall whenever they like. `push` only checks and keeps ids; `step` advances every stream
that has whole frames or has ended. Streams at the same point of their start (their layers hold equally much; after
the first few frames all do) share one call of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snac_tok.codec.stream import StreamState, run_chunk
from snac_tok.errors import TokenError
from snac_tok.tokenizer.frame_buffer import FrameBuffer
from snac_tok.tokenizer.pairing import vocabulary_of, warn_of_trial_codec
from snac_tok.tokenizer.streaming import stream_noise

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    import numpy.typing as npt

    from snac_tok.codec import SNAC, Noise
    from snac_tok.codec.noise import NoiseSource
    from snac_tok.tokenizer.pairing import Ids


@dataclass
class _Stream:
    frames: FrameBuffer
    noise: NoiseSource | None
    state: StreamState = field(default_factory=StreamState)
    waiting: list[list[torch.Tensor]] = field(default_factory=list)
    ending: bool = False

    @property
    def num_waiting(self) -> int:
        return sum(codes[0].shape[-1] for codes in self.waiting)

    def take(self, num_frames: int, per_frame: Sequence[int]) -> list[torch.Tensor]:
        joined = [torch.cat(level, dim=-1) for level in zip(*self.waiting, strict=True)]
        spans = list(zip(joined, per_frame, strict=False))
        rest = [level[:, num_frames * count :] for level, count in spans]
        self.waiting = [rest] if rest[0].shape[-1] else []
        return [level[:, : num_frames * count] for level, count in spans]


class BatchStreamDecoder:
    """Decodes any number of streams side by side.

    Args:
        codec: the network.
        layout: as in `StreamDecoder`, the same for all streams.

    Example:
        >>> from snac_tok import SnacTokenizer
        >>> tok = SnacTokenizer.from_pretrained("tiny", preset="orpheus")
        >>> ids = tok.encode(np.zeros(24_000), sampling_rate=24_000)
        >>> streams = BatchStreamDecoder(tok.codec, tok.vocabulary)
        >>> streams.open("a"), streams.open("b", noise=7)
        (None, None)
        >>> streams.push("a", ids[:35]); streams.push("b", ids[:21])
        >>> {name: sound.size for name, sound in streams.step().items()}
        {'a': 5483, 'b': 1387}
        >>> streams.end("b")
        >>> {name: sound.size for name, sound in streams.step().items()}
        {'b': 4757}
    """

    def __init__(self, codec: SNAC, layout: Ids) -> None:
        self.codec = codec.ready()
        self.vocabulary = vocabulary_of(layout, codec)
        warn_of_trial_codec(codec, self.vocabulary)
        self._streams: dict[Hashable, _Stream] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._streams

    def open(self, name: Hashable, *, noise: Noise = 0) -> None:
        """Let a stream join under a name that no open stream has.

        Raises:
            TokenError: the name is taken.
            CodesError: `noise` is none.
        """
        if name in self._streams:
            raise TokenError(f"a stream {name!r} is open; end it, or take another name.")
        buffer = FrameBuffer(self.vocabulary, self.codec.config)
        self._streams[name] = _Stream(frames=buffer, noise=stream_noise(noise, self.codec))

    def push(self, name: Hashable, ids: Any) -> None:
        """Keep a stream's next ids or codes, as `StreamDecoder.push` takes them, until the next step.

        Raises:
            TokenError: an id that is not its slot's, or no such stream, or one that was ended; no other stream
                notices.
            CodesError: codes of wrong lengths or values.
        """
        stream = self._open_stream(name)
        codes = stream.frames.take(ids)
        if codes is not None:
            stream.waiting.append(codes)

    def end(self, name: Hashable, *, drop_partial: bool = False) -> None:
        """Let a stream leave: the next step returns the rest of its sound and forgets it.

        Raises:
            TokenError: the stream ended in the middle of a frame (unless `drop_partial`), or there is none.
        """
        stream = self._open_stream(name)
        stream.frames.check_end(drop_partial=drop_partial)
        stream.ending = True

    def abort(self, name: Hashable) -> None:
        """Forget a stream at once.

        Raises:
            TokenError: there is no such stream.
        """
        if name not in self._streams:
            raise TokenError(f"there is no open stream {name!r}.")
        del self._streams[name]

    @torch.no_grad()
    def step(self) -> dict[Hashable, npt.NDArray[np.float32]]:
        """Advance every stream that has whole frames waiting or was ended.

        Returns:
            per stream that advanced, the samples (n,) that are final now, n possibly 0.
        """
        sounds: dict[Hashable, list[npt.NDArray[np.float32]]] = {}
        while ready := [name for name, stream in self._streams.items() if stream.waiting or stream.ending]:
            num_frames = min((n for n in map(self._num_waiting, ready) if n), default=0)
            for group in self._alike(ready, num_frames):
                for name, sound in zip(group, self._advance(group, num_frames), strict=True):
                    sounds.setdefault(name, []).append(sound)
            for name in [
                name for name in ready if self._streams[name].ending and not self._num_waiting(name)
            ]:
                # What ended in this round gave its rest in it.
                del self._streams[name]
        return {name: np.concatenate(parts) for name, parts in sounds.items()}

    def _open_stream(self, name: Hashable) -> _Stream:
        stream = self._streams.get(name)
        if stream is None:
            raise TokenError(f"there is no open stream {name!r}.")
        if stream.ending:
            raise TokenError(f"the stream {name!r} was ended; step() gives the rest of its sound.")
        return stream

    def _num_waiting(self, name: Hashable) -> int:
        return self._streams[name].num_waiting

    def _alike(self, names: Sequence[Hashable], num_frames: int) -> list[list[Hashable]]:
        """Group streams that can share a call: equal kept lengths, equal new frames, equally at their end."""
        groups: dict[tuple[Any, ...], list[Hashable]] = {}
        for name in names:
            stream = self._streams[name]
            last = stream.ending and stream.num_waiting <= num_frames
            levels = len(stream.waiting[0]) if stream.waiting else 0
            key = (stream.state.signature(), min(stream.num_waiting, num_frames), last, levels)
            groups.setdefault(key, []).append(name)
        return list(groups.values())

    def _advance(self, names: Sequence[Hashable], num_frames: int) -> list[npt.NDArray[np.float32]]:
        streams = [self._streams[name] for name in names]
        last = streams[0].ending and streams[0].num_waiting <= num_frames
        latents = self._latents(streams, num_frames)
        if latents is None:
            return [np.zeros(0, np.float32) for _ in names]
        batch = StreamState.joined([stream.state for stream in streams])
        noise = _RowNoise(streams) if any(stream.noise for stream in streams) else None
        sound = run_chunk(self.codec.decoder, latents, batch, last=last, noise=noise)
        for row, stream in enumerate(streams):
            stream.state.take_row(batch, row)
        return list(sound[:, 0].float().cpu().numpy())

    def _latents(self, streams: Sequence[_Stream], num_frames: int) -> torch.Tensor | None:
        """Return the next latents (B, C, n) of streams that are alike; None for an end before any beginning."""
        device, dtype = self.codec.device, self.codec.dtype
        if not streams[0].waiting:
            if not streams[0].state.kept:
                return None
            return torch.empty((len(streams), self.codec.latent_dim, 0), device=device, dtype=dtype)
        taken = [stream.take(num_frames, self.codec.config.codes_per_frame) for stream in streams]
        return self.codec.quantizer.from_codes(
            [torch.cat(level).to(device) for level in zip(*taken, strict=True)]
        )


class _RowNoise:
    """Gives each row its own stream's noise, at its own position."""

    def __init__(self, streams: Sequence[_Stream]) -> None:
        self.rows = [(stream.noise, list(stream.state.positions)) for stream in streams]

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:
        drawn = []
        for at, (noise, positions) in enumerate(self.rows):
            begin = start + (positions[layer] if layer < len(positions) else 0)
            row = x[at : at + 1]
            drawn.append(x.new_zeros((1, 1, x.shape[-1])) if noise is None else noise.draw(layer, row, begin))
        return torch.cat(drawn)
