"""How many weights a codec has, counted from its config, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snac_tok.codec.config import CodecConfig


def num_parameters(config: CodecConfig, *, kernel_size: int, units: int) -> int:
    """Return the number of weights of encoder, quantizer and decoder.

    Args:
        config: of the codec.
        kernel_size: of the convolutions that keep the rate.
        units: residual units in a block.
    """

    def wide(dim: int) -> int:
        return _conv(dim, dim, kernel_size, groups=dim if config.depthwise else 1)

    def residuals(dim: int) -> int:
        return units * (2 * dim + wide(dim) + _conv(dim, dim, 1))  # two Snakes each

    def attention(dim: int) -> int:
        return 0 if config.attn_window_size is None else 2 * dim + 4 * dim * dim  # norm, qkv and out

    dim, latent, width = (
        config.encoder_dim,
        config.encoder_dim << len(config.encoder_rates),
        config.decoder_dim,
    )
    total = _conv(1, dim, kernel_size)
    for stride in config.encoder_rates:
        total += residuals(dim) + dim + _conv(dim, 2 * dim, 2 * stride)
        dim *= 2
    total += attention(latent) + wide(latent)
    projections = _conv(latent, config.codebook_dim, 1) + _conv(config.codebook_dim, latent, 1)
    total += config.num_levels * (projections + config.codebook_size * config.codebook_dim)
    total += wide(latent) + _conv(latent, width, 1) if config.depthwise else _conv(latent, width, kernel_size)
    total += attention(width)
    for stride in config.decoder_rates:
        half = width // 2
        upsampling = width + width * half * 2 * stride + half  # weight norm counts the input channels here
        total += width + upsampling + residuals(half) + (half + half * half if config.noise else 0)
        width = half
    return total + width + _conv(width, 1, kernel_size)


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, groups: int = 1) -> int:
    """Count length, direction and bias of a weight-normed convolution."""
    return 2 * out_channels + out_channels * (in_channels // groups) * kernel_size
