"""Inference in chunks: sound to codes and codes to sound, for clips of any length in bounded memory.

`ChunkEncoder` and `ChunkDecoder` take a clip piece by piece; the functions cut a whole one into pieces of the size
that runs fastest. Results are those of the whole clip run at once. Gradients are not recorded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise
from snac_tok.codec.stream import StreamState, run_chunk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.model import SNAC
    from snac_tok.codec.noise import Noise

# Values in the widest activation of a chunk. On a CPU a chunk's activations should stay in its caches, and small
# enough for the allocator to reuse their memory (docs/performance.md); on a GPU they should fill it.
_CPU_VALUES = 1_200_000
_GPU_VALUES = 256_000_000


class ChunkEncoder:
    """Takes audio of one or several equally long clips piece by piece and gives codes as soon as they are final."""

    def __init__(self, codec: SNAC) -> None:
        self.codec = codec
        self.state = StreamState()
        self.num_samples = 0
        self._pending: torch.Tensor | None = None

    def push(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the codes [(B, n_k)] that the next samples (B, 1, n) complete, whole frames only."""
        self.num_samples += audio.shape[-1]
        return self._quantize(run_chunk(self.codec.encoder, audio, self.state, last=False))

    def flush(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Return the remaining codes after the last samples (B, 1, n) and the padding that follows them."""
        self.num_samples += audio.shape[-1]
        missing = self.codec.config.padded_num_samples(self.num_samples) - self.num_samples
        return self._quantize(
            run_chunk(self.codec.encoder, F.pad(audio, (0, missing)), self.state, last=True)
        )

    def _quantize(self, latents: torch.Tensor) -> list[torch.Tensor]:
        if self._pending is not None:
            latents = torch.cat((self._pending, latents), dim=-1)
        whole = latents.shape[-1] - latents.shape[-1] % self.codec.config.latents_per_frame
        self._pending = latents[..., whole:].clone()
        if not whole:
            return [
                latents.new_empty((latents.shape[0], 0), dtype=torch.int64) for _ in self.codec.vq_strides
            ]
        codes: list[torch.Tensor] = self.codec.quantizer(latents[..., :whole])[1]
        return codes


class ChunkDecoder:
    """Takes codes of one or several equally long clips piece by piece and gives audio as soon as it is final."""

    def __init__(self, codec: SNAC, noise: NoiseSource | None) -> None:
        self.codec = codec
        self.noise = noise
        self.state = StreamState()

    def push(self, codes: Sequence[torch.Tensor], *, last: bool = False) -> torch.Tensor:
        """Return the samples (B, 1, n) that the next codes [(B, n_k)], whole frames, make final; with `last` all."""
        latents = self.codec.quantizer.from_codes(codes)
        return run_chunk(self.codec.decoder, latents, self.state, last=last, noise=self.noise)


def encode_blocks(codec: SNAC, blocks: Iterable[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    """Encode audio that comes in blocks (B, 1, n) of any sizes; yield codes [(B, n_k)] whose ends join.

    The blocks are cut anew, so that the codes are those of the whole clip however it came.
    """
    encoder, waiting = ChunkEncoder(codec), None
    for chunk in _recut(blocks, encode_chunk_samples(codec.config, codec.device)):
        # The last chunk is known only when no other follows.
        if waiting is not None:
            yield encoder.push(waiting)
        waiting = chunk
    if waiting is not None:
        yield encoder.flush(waiting)


def decode_blocks(
    codec: SNAC, codes: Sequence[torch.Tensor], source: NoiseSource | None
) -> Iterator[torch.Tensor]:
    """Decode codes [(B, T_k)] piece by piece; yield audio (B, 1, n) whose ends join."""
    decoder = ChunkDecoder(codec, source)
    config, total = codec.config, codes[0].shape[-1]
    frames = chunk_latents(config, codec.device) // config.latents_per_frame
    for start in range(0, total, frames):
        spans = zip(codes, config.codes_per_frame, strict=False)
        part = [level[:, start * count : (start + frames) * count] for level, count in spans]
        yield decoder.push(part, last=start + frames >= total)


def encode(codec: SNAC, audio: torch.Tensor) -> list[torch.Tensor]:
    """Encode checked audio (B, 1, T) to codes [(B, T_k)]."""
    # On a CPU the rows of a batch would only push each other out of the caches.
    groups = torch.split(audio, 1) if codec.device.type == "cpu" else [audio]
    rows = [_joined(encode_blocks(codec, [group])) for group in groups]
    return [torch.cat(level) for level in zip(*rows, strict=True)]


def decode(codec: SNAC, codes: Sequence[torch.Tensor], noise: Noise) -> torch.Tensor:
    """Decode checked codes [(B, T_k)] to audio (B, 1, frames * frame_length)."""
    batch, frames = codes[0].shape
    config = codec.config
    audio = torch.empty((batch, 1, frames * config.frame_length), device=codec.device, dtype=codec.dtype)
    source = whole_clip_noise(codec, noise, batch, frames * config.latents_per_frame)
    if codec.device.type != "cpu":
        _fill(audio, decode_blocks(codec, codes, source))
        return audio
    for row in range(batch):
        noise_of_row = source.row(row) if isinstance(source, DrawnNoise) else source
        _fill(
            audio[row : row + 1],
            decode_blocks(codec, [level[row : row + 1] for level in codes], noise_of_row),
        )
    return audio


def whole_clip_noise(codec: SNAC, noise: Noise, batch: int, num_latents: int) -> NoiseSource | None:
    """Return the noise of clips whose length is known."""
    if noise == "off" or not codec.config.noise:
        return None
    if noise != "random":
        return SeededNoise(seed=noise)
    like = torch.empty((batch, 0, num_latents), device=codec.device, dtype=codec.dtype)
    return DrawnNoise.from_global_generator(like, codec.config.decoder_rates)


def chunk_latents(config: CodecConfig, device: torch.device) -> int:
    """Return how many latents to run at once: whole frames and attention windows, as many as suit the device."""
    values_per_latent = (
        max(config.encoder_dim, config.decoder_dim >> len(config.decoder_rates)) * config.hop_length
    )
    values = _CPU_VALUES if device.type == "cpu" else _GPU_VALUES
    return max(1, values // (values_per_latent * config.latents_multiple)) * config.latents_multiple


def encode_chunk_samples(config: CodecConfig, device: torch.device) -> int:
    """Return how many samples to encode at once.

    At lengths that are multiples of large powers of two oneDNN takes other kernels, whose sums round differently.
    With attention every whole clip has such a length, and so have chunks of whole windows. Most clips without have
    not: their chunks are one latent less than whole frames, an odd number.
    """
    latents = chunk_latents(config, device)
    return max(1, latents - (config.attn_window_size is None)) * config.hop_length


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


def _fill(out: torch.Tensor, pieces: Iterable[torch.Tensor]) -> None:
    done = 0
    for piece in pieces:
        out[..., done : done + piece.shape[-1]] = piece
        done += piece.shape[-1]
