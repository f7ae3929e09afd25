"""Inference in chunks: sound to codes and codes to sound, for clips of any length in bounded memory.

`ChunkEncoder` and `ChunkDecoder` take a clip piece by piece; the functions cut a whole one into pieces of the size
that runs fastest. Results are those of the whole clip run at once. Gradients are not recorded here.
"""

from __future__ import annotations

import itertools
from functools import partial
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec import chunk_sizes, crew
from snac_tok.codec.derived import versions
from snac_tok.codec.layers import noise_blocks
from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise
from snac_tok.codec.precision import full_precision
from snac_tok.codec.relay import Relay
from snac_tok.codec.stream import StreamState, run_chunk
from snac_tok.errors import CodesError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.layers import Decoder, Encoder
    from snac_tok.codec.model import SNAC
    from snac_tok.codec.noise import Noise
    from snac_tok.errors import SnacTokError

T = TypeVar("T")


class ChunkEncoder:
    """Takes audio of one or several equally long clips piece by piece and gives codes as soon as they are final.

    What fails leaves it as it was. A shallow copy goes on by itself from where it was made.
    """

    def __init__(self, codec: SNAC) -> None:
        self.codec = codec
        self.state = StreamState()
        self.waiting = StreamState()
        self.num_samples = 0
        self._unchanged = Unchanged(codec.encoder, WaveformError)

    def push(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the codes [(B, n_k)] that the next samples (B, 1, n) complete, whole frames only.

        Raises:
            WaveformError: the codec was moved or its weights were changed since the first samples.
        """
        return self._encode(audio, self.num_samples + audio.shape[-1], last=False)

    def flush(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the remaining codes after the last samples (B, 1, n) and the padding that follows them."""
        num_samples = self.num_samples + audio.shape[-1]
        padding = self.codec.config.padded_num_samples(num_samples) - num_samples
        return self._encode(F.pad(audio, (0, padding)), num_samples, last=True)

    def _encode(self, audio: torch.Tensor, num_samples: int, *, last: bool) -> list[torch.Tensor]:
        self._unchanged.check()
        state, waiting = self.state.fork(), self.waiting.fork()
        codes = encode_chunk(self.codec, audio, state, waiting, last=last)
        self.state, self.waiting, self.num_samples = state, waiting, num_samples
        return codes


class ChunkDecoder:
    """Takes codes of one or several equally long clips piece by piece and gives audio as soon as it is final.

    What fails leaves it as it was. A shallow copy goes on by itself from where it was made.
    """

    def __init__(self, codec: SNAC, noise: NoiseSource | None) -> None:
        self.codec = codec
        self.noise = noise
        self.state = StreamState()
        self._unchanged = Unchanged(codec.decoder, CodesError)

    def push(self, codes: Sequence[torch.Tensor], *, last: bool = False) -> torch.Tensor:
        """Return the samples (B, 1, n) that the next codes [(B, n_k)], whole frames, make final; with `last` all.

        Raises:
            CodesError: the codec was moved or its weights were changed since the first codes.
        """
        self._unchanged.check()
        here = [level.to(self.codec.device) for level in codes]
        state = self.state.fork()
        audio = decode_chunk(self.codec, here, state, last=last, noise=self.noise)
        self.state = state
        return audio

    def rest(self) -> torch.Tensor:
        """Return the samples (B, 1, n) that are still held, as if the clip ended here; more codes may follow."""
        self._unchanged.check()
        rows = next((kept.shape[0] for kept in self.state.kept if kept is not None), 1)
        nothing = torch.empty(
            (rows, self.codec.latent_dim, 0), device=self.codec.device, dtype=self.codec.dtype
        )
        return run_chunk(self.codec.decoder, nothing, self.state.fork(), last=True, noise=self.noise)


class Unchanged:
    """Notices that a network was moved or trained on while a clip was under way.

    One weight stands for all: moves, loads and training steps change every one.

    Args:
        network: an encoder or a decoder.
        error: what is raised.
    """

    def __init__(self, network: Encoder | Decoder, error: type[SnacTokError]) -> None:
        self._network, self._error = network, error
        self._version: tuple[int, ...] | None = None

    def check(self) -> None:
        """Remember the weights at the first call, and compare them later.

        Raises:
            SnacTokError: they are no longer those; of the kind that was asked for.
        """
        version = versions(itertools.islice(self._network.parameters(), 1))
        if self._version is None:
            self._version = version
        if version != self._version:
            raise self._error(
                "the codec was moved, or its weights were changed, in the middle of the clip; "
                "what follows would not join what came before: begin it again."
            )


def encode_chunk(
    codec: SNAC, audio: torch.Tensor, state: StreamState, waiting: StreamState, *, last: bool
) -> list[torch.Tensor]:
    """Return the codes [(B, n_k)] that the next samples (B, 1, n) complete, whole frames only.

    Args:
        codec: whose weights are folded.
        audio: of a clip, padded if it is the last.
        state: the encoder's.
        waiting: what keeps latents until their frame is whole.
        last: whether the clip ends here.
    """
    with full_precision(audio):
        latents = run_chunk(codec.encoder, audio, state, last=last)
        if (before := waiting.take(0)) is not None:
            latents = torch.cat((before, latents), dim=-1)
        whole = latents.shape[-1] - latents.shape[-1] % codec.config.latents_per_frame
        waiting.put(0, latents[..., whole:].clone())
        if not whole:
            return [latents.new_empty((latents.shape[0], 0), dtype=torch.int64) for _ in codec.vq_strides]
        codes: list[torch.Tensor] = codec.quantizer(latents[..., :whole])[1]
        return codes


def decode_chunk(
    codec: SNAC, codes: Sequence[torch.Tensor], state: StreamState, *, last: bool, noise: NoiseSource | None
) -> torch.Tensor:
    """Return the samples (B, 1, n) that the next codes [(B, n_k)], whole frames, make final; with `last` all."""
    with full_precision(next(codec.parameters())):
        return run_chunk(codec.decoder, codec.quantizer.from_codes(codes), state, last=last, noise=noise)


def encode_blocks(codec: SNAC, blocks: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Encode audio that comes in blocks (B, 1, n) of any sizes; yield codes [(B, n_k)] whose ends join.

    The blocks are cut anew, so that the codes are those of the whole clip however it came.
    """
    jobs = _encode_jobs(codec, blocks, size=chunk_sizes.encode_chunk_samples(codec))
    return crew.in_order(jobs, threads=num_threads(codec.encoder))


def decode_blocks(
    codec: SNAC, codes: Sequence[torch.Tensor], source: NoiseSource | None
) -> Iterator[torch.Tensor]:
    """Decode codes [(B, T_k)] piece by piece; yield audio (B, 1, n) whose ends join."""
    return crew.in_order(_decode_jobs(codec, codes, source), threads=num_threads(codec.decoder))


def encode_clips(codec: SNAC, clips: Iterable[torch.Tensor]) -> list[list[torch.Tensor]]:
    """Encode checked clips (B, 1, T_i), each by itself, to codes [[(B, T_ik)]]; threads go from one to the next."""
    threads = num_threads(codec.encoder)
    jobs = (
        partial(_tagged, at, job)
        for at, clip in enumerate(clips)
        for job in _encode_jobs(codec, [clip], size=chunk_sizes.even_chunk_samples(codec, clip.shape[-1]))
    )
    pieces = itertools.groupby(crew.in_order(jobs, threads=threads), key=itemgetter(0))
    return [_joined(piece for _, piece in of_clip) for _, of_clip in pieces]


def decode_clips(
    codec: SNAC, clips: Iterable[tuple[Sequence[torch.Tensor], NoiseSource | None]]
) -> list[torch.Tensor]:
    """Decode clips, each by itself: checked codes [(B, T_k)] and their noise, to audio [(B, 1, T_i)]."""
    jobs = (
        partial(_tagged, at, job)
        for at, (codes, source) in enumerate(clips)
        for job in _decode_jobs(codec, codes, source)
    )
    pieces = itertools.groupby(crew.in_order(jobs, threads=num_threads(codec.decoder)), key=itemgetter(0))
    return [torch.cat([piece for _, piece in of_clip], dim=-1) for _, of_clip in pieces]


def encode(codec: SNAC, audio: torch.Tensor) -> list[torch.Tensor]:
    """Encode checked audio (B, 1, T) to codes [(B, T_k)]."""
    # On a CPU the rows of a batch would only push each other out of the caches.
    groups = torch.split(audio, 1) if codec.device.type == "cpu" else [audio]
    return [torch.cat(level) for level in zip(*encode_clips(codec, groups), strict=True)]


def decode(codec: SNAC, codes: Sequence[torch.Tensor], noise: Noise) -> torch.Tensor:
    """Decode checked codes [(B, T_k)] to audio (B, 1, frames * frame_length)."""
    batch, frames = codes[0].shape
    source = whole_clip_noise(codec, noise, batch, frames * codec.config.latents_per_frame)
    if codec.device.type != "cpu":
        return decode_clips(codec, [(codes, source)])[0]
    rows = (
        (
            [level[row : row + 1] for level in codes],
            source.row(row) if isinstance(source, DrawnNoise) else source,
        )
        for row in range(batch)
    )
    return torch.cat(decode_clips(codec, rows))


def num_threads(network: Encoder | Decoder) -> int:
    """Return how many chunks may run side by side: as many as torch has threads, where each needs one alone."""
    alone = network.compiled is not None or torch.compiler.is_compiling()
    weight = next(network.parameters())
    return 1 if alone or weight.device.type != "cpu" else torch.get_num_threads()


def whole_clip_noise(codec: SNAC, noise: Noise, batch: int, num_latents: int) -> NoiseSource | None:
    """Return the noise of clips whose length is known."""
    if noise == "off" or not noise_blocks(codec.decoder):
        return None
    if noise != "random":
        return SeededNoise(seed=noise)
    like = torch.empty((batch, 0, num_latents), device=codec.device, dtype=codec.dtype)
    return DrawnNoise.from_global_generator(like, codec.config.decoder_rates)


def _encode_jobs(
    codec: SNAC, blocks: Iterable[torch.Tensor], *, size: int
) -> Iterator[Callable[[], list[torch.Tensor]]]:
    """Yield a job for each chunk of a clip; jobs of a clip may run side by side if they begin in order."""
    relay, unchanged = Relay(alone=num_threads(codec.encoder) == 1), Unchanged(codec.encoder, WaveformError)
    state, waiting = StreamState(), StreamState()
    cut = _recut(_with_padding(blocks, codec.config), size)
    for number, (audio, last) in enumerate(_marked_last(cut)):
        unchanged.check()
        legs = relay.leg(state, number), relay.leg(waiting, number)
        yield relay.guarded(partial(encode_chunk, codec, audio, *legs, last=last))


def _decode_jobs(
    codec: SNAC, codes: Sequence[torch.Tensor], source: NoiseSource | None
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a job for each chunk of a clip, as `_encode_jobs` does."""
    relay, unchanged = Relay(alone=num_threads(codec.decoder) == 1), Unchanged(codec.decoder, CodesError)
    state = StreamState()
    cuts = chunk_sizes.decode_cuts(codec, codes[0].shape[-1])
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        unchanged.check()
        spans = zip(codes, codec.config.codes_per_frame, strict=False)
        part = [level[:, start * count : end * count] for level, count in spans]
        leg, last = relay.leg(state, number), end == codes[0].shape[-1]
        yield relay.guarded(partial(decode_chunk, codec, part, leg, last=last, noise=source))


def _with_padding(blocks: Iterable[torch.Tensor], config: CodecConfig) -> Iterator[torch.Tensor]:
    """Yield blocks (B, 1, n) and the zeros that follow a clip of their length."""
    num_samples, block, rows = 0, None, None
    for block in blocks:
        rows = rows or block.shape[0]
        if block.shape[0] != rows:
            raise WaveformError(
                f"a block has {block.shape[0]} rows where the first had {rows}; all blocks (B, 1, n) continue "
                "the same B clips."
            )
        num_samples += block.shape[-1]
        yield block
    if block is not None:
        yield F.pad(block[..., :0], (0, config.padded_num_samples(num_samples) - num_samples))


def _tagged(at: int, job: Callable[[], T]) -> tuple[int, T]:
    return at, job()


def _marked_last(pieces: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, bool]]:
    """Say of each piece whether it is the last, which is known only when no other follows."""
    waiting = None
    for piece in pieces:
        if waiting is not None:
            yield waiting, False
        waiting = piece
    if waiting is not None:
        yield waiting, True


def _recut(blocks: Iterable[torch.Tensor], size: int) -> Iterator[torch.Tensor]:
    """Cut blocks (B, 1, n) anew into chunks of `size`, the last one shorter."""
    parts: list[torch.Tensor] = []
    held = 0
    for block in blocks:
        start = 0
        while held + block.shape[-1] - start >= size:
            stop = start + size - held
            yield torch.cat([*parts, block[..., start:stop]], dim=-1)
            parts, held, start = [], 0, stop
        if start < block.shape[-1]:
            parts.append(block[..., start:])
            held += block.shape[-1] - start
    if held:
        yield torch.cat(parts, dim=-1)


def _joined(pieces: Iterable[list[torch.Tensor]]) -> list[torch.Tensor]:
    return [torch.cat(level, dim=-1) for level in zip(*pieces, strict=True)]
