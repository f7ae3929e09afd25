"""Inference in chunks: sound to codes and codes to sound, for clips of any length in bounded memory.

`ChunkEncoder` and `ChunkDecoder` take a clip piece by piece; `encode` and `decode` cut a whole one into pieces of
the size that runs fastest. Results are those of the whole clip run at once. Gradients are not recorded here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it

from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise
from snac_tok.codec.stream import StreamState, run_chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.model import SNAC
    from snac_tok.codec.noise import Noise

# Values in the widest activation of a chunk. On a CPU a chunk's activations should stay in its caches; on a GPU
# they should fill it.
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
        latents = self.codec.quantizer.decode(codes)
        return run_chunk(self.codec.decoder, latents, self.state, last=last, noise=self.noise)


def encode(codec: SNAC, audio: torch.Tensor) -> list[torch.Tensor]:
    """Encode checked audio (B, 1, T) to codes [(B, T_k)]."""
    # One latent less than whole frames, an odd number: at lengths that are multiples of large powers of two oneDNN
    # takes other kernels, whose sums round differently from those of most whole clips.
    size = (chunk_latents(codec.config, codec.device, rows=audio.shape[0]) - 1 or 1) * codec.hop_length
    # On a CPU the rows of a batch only push each other out of the caches.
    groups = torch.split(audio, 1) if codec.device.type == "cpu" else [audio]
    rows = [_encode_rows(codec, group, size) for group in groups]
    return [torch.cat(level) for level in zip(*rows, strict=True)]


def decode(codec: SNAC, codes: Sequence[torch.Tensor], noise: Noise) -> torch.Tensor:
    """Decode checked codes [(B, T_k)] to audio (B, 1, frames * frame_length)."""
    batch, frames = codes[0].shape
    config = codec.config
    audio = torch.empty((batch, 1, frames * config.frame_length), device=codec.device, dtype=codec.dtype)
    source = whole_clip_noise(codec, noise, batch, frames * config.latents_per_frame)
    size = chunk_latents(config, codec.device, rows=batch) // config.latents_per_frame
    if codec.device.type != "cpu":
        _decode_rows(codec, codes, source, size, audio)
        return audio
    for row in range(batch):
        noise_of_row = source.row(row) if isinstance(source, DrawnNoise) else source
        _decode_rows(
            codec, [level[row : row + 1] for level in codes], noise_of_row, size, audio[row : row + 1]
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


def chunk_latents(config: CodecConfig, device: torch.device, *, rows: int) -> int:
    """Return how many latents to run at once: whole frames, as many as suit the device."""
    values_per_latent = (
        max(config.encoder_dim, config.decoder_dim >> len(config.decoder_rates)) * config.hop_length
    )
    values = _CPU_VALUES if device.type == "cpu" else _GPU_VALUES // rows
    frames = max(1, values // (values_per_latent * config.latents_per_frame))
    return frames * config.latents_per_frame


def _encode_rows(codec: SNAC, audio: torch.Tensor, size: int) -> list[torch.Tensor]:
    encoder = ChunkEncoder(codec)
    *body, end = torch.split(audio, size, dim=-1)
    pieces = [encoder.push(part) for part in body] + [encoder.flush(end)]
    return [torch.cat(level, dim=-1) for level in zip(*pieces, strict=True)]


def _decode_rows(
    codec: SNAC, codes: Sequence[torch.Tensor], noise: NoiseSource | None, frames: int, out: torch.Tensor
) -> None:
    """Decode rows of one length into `out`, `frames` at a time."""
    decoder = ChunkDecoder(codec, noise)
    per_frame, total, done = codec.config.codes_per_frame, codes[0].shape[-1], 0
    for start in range(0, total, frames):
        part = [
            level[:, start * n : (start + frames) * n] for level, n in zip(codes, per_frame, strict=False)
        ]
        samples = decoder.push(part, last=start + frames >= total)
        out[..., done : done + samples.shape[-1]] = samples
        done += samples.shape[-1]
