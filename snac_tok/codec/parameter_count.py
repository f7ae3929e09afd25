"""How many weights a codec has, counted from its config, before anything is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def num_parameters(
    *,
    encoder_dim: int,
    encoder_rates: Sequence[int],
    decoder_dim: int,
    decoder_rates: Sequence[int],
    attention: bool,
    codebook_size: int,
    codebook_dim: int,
    num_levels: int,
    noise: bool,
    depthwise: bool,
    kernel_size: int,
    units: int,
) -> int:
    """Return the number of weights of encoder, quantizer and decoder.

    The first ten arguments are a `CodecConfig`'s; `kernel_size` is that of the convolutions that keep the rate, `units`
    the residual units in a block.
    """

    def wide(dim: int) -> int:
        return _conv(dim, dim, kernel_size, groups=dim if depthwise else 1)

    def residuals(dim: int) -> int:
        return units * (2 * dim + wide(dim) + _conv(dim, dim, 1))  # two Snakes each

    def attending(dim: int) -> int:
        return 2 * dim + 4 * dim * dim if attention else 0  # norm, qkv and out

    dim, latent, width = encoder_dim, encoder_dim << len(encoder_rates), decoder_dim
    total = _conv(1, dim, kernel_size)
    for stride in encoder_rates:
        total += residuals(dim) + dim + _conv(dim, 2 * dim, 2 * stride)
        dim *= 2
    total += attending(latent) + wide(latent)
    projections = _conv(latent, codebook_dim, 1) + _conv(codebook_dim, latent, 1)
    total += num_levels * (projections + codebook_size * codebook_dim)
    total += wide(latent) + _conv(latent, width, 1) if depthwise else _conv(latent, width, kernel_size)
    total += attending(width)
    for stride in decoder_rates:
        half = width // 2
        upsampling = width + width * half * 2 * stride + half  # weight norm counts the input channels here
        total += width + upsampling + residuals(half) + (half + half * half if noise else 0)
        width = half
    return total + width + _conv(width, 1, kernel_size)


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, groups: int = 1) -> int:
    """Count length, direction and bias of a weight-normed convolution."""
    return 2 * out_channels + out_channels * (in_channels // groups) * kernel_size
