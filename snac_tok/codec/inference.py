"""Inference on whole clips: sound to codes and codes to sound, of any length, in chunks of the size that runs fastest.

Results are those of the plain forward on the whole clip. Gradients are not recorded here. Chunks of a size of one's
own, `chunk_values` in their largest activation, change nothing but speed and memory.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.chunked import ChunkedNetwork, chunk_latents, num_threads, run_layers
from snac_tok.codec.folding import fold
from snac_tok.codec.geometry import Conv
from snac_tok.codec.layers import noise_blocks
from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise
from snac_tok.codec.precision import in_full_precision
from snac_tok.codec.state import StreamState
from snac_tok.codec.threads import Pipeline, run_in_order
from snac_tok.codec.unchanged import Unchanged
from snac_tok.errors import CodesError, WaveformError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.network import Network
    from snac_tok.codec.noise import Noise

    Codes = list[torch.Tensor]  # [(B, n_k)]


def encode_chunk(
    codec: Network, audio: torch.Tensor, state: StreamState, waiting: StreamState, *, last: bool
) -> Codes:
    """Return the codes [(B, n_k)] that the next samples (B, 1, n) complete, whole frames only.

    Args:
        codec: as it was built, which is checked when a clip begins.
        audio: of a clip, padded if it is the last.
        state: the encoder's.
        waiting: what keeps latents until their frame is whole.
        last: whether the clip ends here.
    """
    codes: Codes
    for attempt in in_full_precision(audio, state, waiting):
        with attempt:
            latents = run_layers(codec.encoder, audio, state, last=last)
            if (before := waiting.read(0)) is not None:
                latents = torch.cat((before, latents), dim=-1)
            whole = latents.shape[-1] - latents.shape[-1] % codec.config.latents_per_frame
            waiting.write(0, latents[..., whole:].clone())
            if whole:
                codes = codec.quantizer(latents[..., :whole])[1]
            else:
                codes = [
                    latents.new_empty((latents.shape[0], 0), dtype=torch.int64) for _ in codec.vq_strides
                ]
    return codes


def decode_chunk(
    codec: Network,
    codes: Sequence[torch.Tensor],
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None,
) -> torch.Tensor:
    """Return the samples (B, 1, n) that the next codes [(B, n_k)], whole frames, make final; with `last` all."""
    for attempt in in_full_precision(next(codec.parameters()), state):
        with attempt:
            latents = codec.quantizer.from_codes(codes)
            found = run_layers(codec.decoder, latents, state, last=last, noise=noise)
    return found


def encode_clips(
    codec: Network, clips: Sequence[torch.Tensor], *, chunk_values: int | None = None
) -> list[Codes]:
    """Encode checked clips (B, 1, T_i), each by itself, to codes [[(B, T_ik)]]; threads go from one to the next."""
    threads = _begin(codec, codec.encoder)
    sizes = [
        even_chunk_samples(codec, clip.shape[-1], rows=len(clip), chunk_values=chunk_values) for clip in clips
    ]
    counts = [
        -(-codec.config.padded_num_samples(clip.shape[-1]) // size)
        for clip, size in zip(clips, sizes, strict=True)
    ]
    jobs = (
        job
        for clip, size in zip(clips, sizes, strict=True)
        for job in _encode_jobs(codec, _chunks(clip, size, codec.config), threads=threads)
    )
    pieces, found = run_in_order(jobs, threads=threads), []
    for count in counts:
        levels = zip(*itertools.islice(pieces, count), strict=True)
        found.append([torch.cat(level, dim=-1) for level in levels])
    return found


def decode_clips(
    codec: Network,
    clips: Sequence[tuple[Sequence[torch.Tensor], NoiseSource | None]],
    *,
    chunk_values: int | None = None,
) -> list[torch.Tensor]:
    """Decode clips, each by itself: checked codes [(B, T_k)] and their noise, to audio [(B, 1, T_i)]."""
    threads = _begin(codec, codec.decoder)
    cuts = [
        decode_cuts(codec, codes[0].shape[-1], rows=len(codes[0]), chunk_values=chunk_values)
        for codes, _ in clips
    ]
    jobs = (
        job
        for (codes, noise), own in zip(clips, cuts, strict=True)
        for job in _decode_jobs(codec, codes, noise, own, threads=threads)
    )
    pieces = run_in_order(jobs, threads=threads)
    found = [list(itertools.islice(pieces, len(own) - 1)) for own in cuts]
    return [torch.cat(parts, dim=-1) for parts in found]


def encode_blocks(
    codec: Network, blocks: Iterable[torch.Tensor], *, chunk_values: int | None = None
) -> Iterator[Codes]:
    """Encode audio that comes in blocks (B, 1, n) of any sizes; yield codes [(B, n_k)] whose ends join.

    The blocks are cut anew, so that the codes are those of the whole clip however it came.
    """
    threads = _begin(codec, codec.encoder)
    size = encode_chunk_samples(codec, chunk_values=chunk_values)
    chunks = _marked_last(_recut(_with_padding(blocks, codec.config), size))
    return run_in_order(_encode_jobs(codec, chunks, threads=threads), threads=threads)


def decode_blocks(
    codec: Network,
    codes: Sequence[torch.Tensor],
    noise: NoiseSource | None,
    *,
    chunk_values: int | None = None,
) -> Iterator[torch.Tensor]:
    """Decode codes [(B, T_k)] piece by piece; yield audio (B, 1, n) whose ends join."""
    threads = _begin(codec, codec.decoder)
    cuts = decode_cuts(codec, codes[0].shape[-1], rows=len(codes[0]), chunk_values=chunk_values)
    return run_in_order(_decode_jobs(codec, codes, noise, cuts, threads=threads), threads=threads)


def rows_alone(codec: Network, batch: torch.Tensor) -> Sequence[torch.Tensor]:
    """Split a batch (B, …) into what is run at once: on a CPU rows would only push each other out of the caches."""
    return torch.split(batch, 1) if codec.device.type == "cpu" else (batch,)


def with_noise(
    codec: Network, codes: Sequence[torch.Tensor], noise: Noise
) -> list[tuple[Sequence[torch.Tensor], NoiseSource | None]]:
    """Split codes [(B, T_k)] into what is decoded at once, each with its noise: rows on a CPU, else the batch."""
    batch, frames = codes[0].shape
    source = whole_clip_noise(codec, noise, batch, frames * codec.config.latents_per_frame)
    if codec.device.type != "cpu":
        return [(codes, source)]
    return [
        (
            [level[row : row + 1] for level in codes],
            source.row(row) if isinstance(source, DrawnNoise) else source,
        )
        for row in range(batch)
    ]


def whole_clip_noise(codec: Network, noise: Noise, batch: int, num_latents: int) -> NoiseSource | None:
    """Return the noise of clips whose length is known."""
    if noise == "off" or not noise_blocks(codec.decoder):
        return None
    if noise != "random":
        return SeededNoise(seed=noise)
    like = torch.empty((batch, 0, num_latents), device=codec.device, dtype=codec.dtype)
    return DrawnNoise.from_global_generator(like, codec.config.decoder_rates)


def encode_chunk_samples(codec: Network, *, rows: int = 1, chunk_values: int | None = None) -> int:
    """Return how many samples to encode at once, whole frames; attention comes last and waits for its windows."""
    config = codec.config
    on_cpu = codec.device.type == "cpu"
    multiple = config.latents_per_frame if on_cpu else config.latents_multiple
    size = chunk_latents(codec.encoder, multiple=multiple, rows=rows, chunk_values=chunk_values)
    return config.hop_length * size


def even_chunk_samples(
    codec: Network, num_samples: int, *, rows: int = 1, chunk_values: int | None = None
) -> int:
    """Return how many samples of a clip to encode at once, so that two threads have equally much to do."""
    limit, hop = encode_chunk_samples(codec, rows=rows, chunk_values=chunk_values), codec.hop_length
    if codec.device.type != "cpu":  # GPUs and their graphs want the same work every time, windows included
        return limit
    total = codec.config.padded_num_samples(num_samples)
    count = -(-total // limit)
    count = max(1, min(count + count % 2, total // (limit // 3)))
    return min(limit, -(-total // (count * hop)) * hop)


def decode_chunk_frames(codec: Network, *, rows: int = 1, chunk_values: int | None = None) -> int:
    """Return how many frames to decode at once, whole attention windows."""
    multiple = codec.config.latents_multiple
    latents = chunk_latents(codec.decoder, multiple=multiple, rows=rows, chunk_values=chunk_values)
    return latents // codec.config.latents_per_frame


def decode_cuts(
    codec: Network, num_frames: int, *, rows: int = 1, chunk_values: int | None = None
) -> list[int]:
    """Return where a clip of frames is cut into chunks, its ends included.

    The first chunk is longer by what the layer in front of the attention holds back: the windows that a chunk begins
    it then also ends, instead of leaving all the later ones one window behind, two to the last, and that to one thread.
    """
    frames, config = decode_chunk_frames(codec, rows=rows, chunk_values=chunk_values), codec.config
    held_back = 0 if codec.decoder.window_size == 1 else -(-Conv().padding // config.latents_per_frame)
    return [0, *range(frames + held_back, num_frames, frames), num_frames]


def _begin(codec: Network, network: ChunkedNetwork) -> int:
    """Fold the quantizer (networks fold layer by layer), and return how many chunks may run side by side."""
    fold(codec.quantizer)
    return num_threads(network)


def _encode_jobs(
    codec: Network, chunks: Iterable[tuple[torch.Tensor, bool]], *, threads: int
) -> Iterator[Callable[[], Codes]]:
    """Yield a job for each chunk of a clip; jobs of a clip may run side by side if they begin in order."""
    pipeline = Pipeline(StreamState(), StreamState(), threads=threads)
    unchanged, begun = Unchanged(codec, codec.encoder, WaveformError), None
    for audio, last in chunks:
        begun = unchanged.check(begun)
        yield pipeline.job(partial(encode_chunk, codec, audio, last=last))


def _decode_jobs(
    codec: Network,
    codes: Sequence[torch.Tensor],
    noise: NoiseSource | None,
    cuts: Sequence[int],
    *,
    threads: int,
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a job for each chunk of a clip, as `_encode_jobs` does."""
    pipeline = Pipeline(StreamState(), threads=threads)
    unchanged, begun = Unchanged(codec, codec.decoder, CodesError), None
    for start, end in itertools.pairwise(cuts):
        last = end == cuts[-1]
        begun = unchanged.check(begun)
        spans = zip(codes, codec.config.codes_per_frame, strict=False)
        part = [level[:, start * count : end * count] for level, count in spans]
        yield pipeline.job(partial(decode_chunk, codec, part, last=last, noise=noise))


def _chunks(clip: torch.Tensor, size: int, config: CodecConfig) -> Iterator[tuple[torch.Tensor, bool]]:
    """Cut a clip (B, 1, T) and the zeros that follow it into chunks of `size`; say of each whether it is the last."""
    total = config.padded_num_samples(clip.shape[-1])
    for start in range(0, total, size):
        end = min(start + size, total)
        samples = clip[..., start:end]
        yield F.pad(samples, (0, end - start - samples.shape[-1])), end == total


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
