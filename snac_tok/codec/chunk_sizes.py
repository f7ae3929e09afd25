"""How long a clip's chunks are: so that activations suit the device, and all threads have equally much to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snac_tok.codec.geometry import Conv

if TYPE_CHECKING:
    import torch

    from snac_tok.codec.layers import Decoder, Encoder
    from snac_tok.codec.model import SNAC

# Values in the widest activation of a chunk. On a CPU a chunk's activations should stay in its caches, and small
# enough for the allocator to reuse their memory (docs/performance.md); on a GPU they should fill it.
_CPU_VALUES = 1_200_000
_GPU_VALUES = 256_000_000


def encode_chunk_samples(codec: SNAC) -> int:
    """Return how many samples to encode at once, whole frames; attention comes last and waits for its windows."""
    config = codec.config
    multiple = config.latents_per_frame if _may_vary(codec) else config.latents_multiple
    return config.hop_length * _num_latents(codec, channels=config.encoder_dim, multiple=multiple)


def even_chunk_samples(codec: SNAC, num_samples: int) -> int:
    """Return how many samples of a clip to encode at once, so that two threads have equally much to do."""
    limit, hop = encode_chunk_samples(codec), codec.hop_length
    if not _may_vary(codec):
        return limit
    total = codec.config.padded_num_samples(num_samples)
    count = -(-total // limit)
    count = max(1, min(count + count % 2, total // (limit // 3)))
    return min(limit, -(-total // (count * hop)) * hop)


def _may_vary(codec: SNAC) -> bool:
    """Say whether chunks may be of any length; GPUs and graphs want the same work every time, windows included."""
    return codec.device.type == "cpu" and codec.encoder.compiled is None


def decode_chunk_frames(codec: SNAC) -> int:
    """Return how many frames to decode at once, whole attention windows."""
    config = codec.config
    channels = config.decoder_dim >> len(config.decoder_rates)
    latents = _num_latents(codec, channels=channels, multiple=config.latents_multiple)
    return latents // config.latents_per_frame


def decode_cuts(codec: SNAC, num_frames: int) -> list[int]:
    """Return where a clip of frames is cut into chunks, its ends included.

    The first chunk is longer by what the layer in front of the attention holds back: the windows that a chunk begins
    it then also ends, instead of leaving all the later ones one window behind, two to the last, and that to one thread.
    """
    frames, config = decode_chunk_frames(codec), codec.config
    held_back = 0 if config.attn_window_size is None else -(-Conv().padding // config.latents_per_frame)
    return [0, *range(frames + held_back, num_frames, frames), num_frames]


def latents_at_once(network: Encoder | Decoder, *, multiple: int) -> int:
    """Return how many latents to run through one network at once."""
    device = next(network.parameters()).device
    return _fitting(device, network.audio_channels * network.hop_length, multiple)


def _num_latents(codec: SNAC, *, channels: int, multiple: int) -> int:
    return _fitting(codec.device, channels * codec.hop_length, multiple)


def _fitting(device: torch.device, values_per_latent: int, multiple: int) -> int:
    """Return how many latents make the activations at the audio's rate suit the device."""
    values = _CPU_VALUES if device.type == "cpu" else _GPU_VALUES
    return max(1, values // (values_per_latent * multiple)) * multiple
