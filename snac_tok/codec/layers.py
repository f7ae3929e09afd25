"""The convolutional network: encoder and decoder, with submodule names equal to upstream's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.geometry import Conv, rate_conv, residual_convs
from snac_tok.codec.weight_norm import NormConv1d, NormConvTranspose1d

if TYPE_CHECKING:
    from snac_tok.codec.compiled import CompiledChunks
    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.noise import NoiseSource


class Snake(nn.Module):
    """The periodic activation x + sin²(αx) / α, one learned α per channel (Ziyin et al. 2020, eq. 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activate (B, C, T)."""
        inverse = (self.alpha + 1e-9).reciprocal()
        if torch.is_grad_enabled():
            return x + inverse * torch.sin(self.alpha * x).pow(2)
        # One buffer instead of four: these passes are memory bound, and close to half of the codec's time.
        return (self.alpha * x).sin_().square_().mul_(inverse).add_(x)


class ResidualUnit(nn.Module):
    """Snake, wide convolution, Snake, 1x1 convolution, added to the input."""

    def __init__(self, dim: int, conv: Conv, *, groups: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake(dim), _conv(dim, dim, conv, groups), Snake(dim), _pointwise(dim, dim)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine (B, C, T)."""
        out: torch.Tensor = self.block(x)
        return out + x if torch.is_grad_enabled() else out.add_(x)


class NoiseBlock(nn.Module):
    """Adds noise whose size at each position depends on the input there (SNAC paper, section 2.2)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = NormConv1d(dim, dim, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Add (B, C, T) scaled noise of (B, 1, T)."""
        scale: torch.Tensor = self.linear(x)
        return x + noise * scale if torch.is_grad_enabled() else scale.mul_(noise).add_(x)


class EncoderBlock(nn.Module):
    """Three residual units, then the convolution that lowers the rate and doubles the channels."""

    def __init__(self, dim: int, stride: int, *, depthwise: bool) -> None:
        super().__init__()
        groups = dim if depthwise else 1
        self.block = nn.Sequential(
            *(ResidualUnit(dim, conv, groups=groups) for conv in residual_convs()),
            Snake(dim),
            _conv(dim, 2 * dim, rate_conv(stride, transposed=False)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Downsample (B, C, T) to (B, 2C, T / stride)."""
        out: torch.Tensor = self.block(x)
        return out


class Encoder(nn.Module):
    """Audio (B, 1, T) to latents (B, C, T / hop)."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.encoder_dim
        layers: list[nn.Module] = [_conv(1, dim, Conv())]
        for stride in config.encoder_rates:
            layers.append(EncoderBlock(dim, stride, depthwise=config.depthwise))
            dim *= 2
        if config.attn_window_size is not None:
            layers.append(LocalAttention(dim, config.attn_window_size))
        layers.append(_conv(dim, dim, Conv(), groups=dim if config.depthwise else 1))
        self.block = nn.Sequential(*layers)
        self.compiled: CompiledChunks | None = None

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode (B, 1, T), T a multiple of the hop."""
        latents: torch.Tensor = self.block(audio)
        return latents


class DecoderBlock(nn.Module):
    """Raise the rate and halve the channels, add noise, then three residual units."""

    def __init__(self, input_dim: int, output_dim: int, stride: int, *, noise: bool, depthwise: bool) -> None:
        super().__init__()
        groups = output_dim if depthwise else 1
        layers: list[nn.Module] = [
            Snake(input_dim),
            NormConvTranspose1d(input_dim, output_dim, rate_conv(stride, transposed=True)),
        ]
        if noise:
            layers.append(NoiseBlock(output_dim))
        layers += [ResidualUnit(output_dim, conv, groups=groups) for conv in residual_convs()]
        self.block = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor, noise: NoiseSource | None, layer: int) -> torch.Tensor:
        """Upsample (B, C, T) to (B, C / 2, T * stride); `layer` numbers the noise block."""
        for module in self.block:
            if not isinstance(module, NoiseBlock):
                x = module(x)
            elif noise is not None:
                x = module(x, noise.draw(layer, x, 0))
        return x


class Decoder(nn.Module):
    """Latents (B, C, T) to audio (B, 1, T * hop)."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.decoder_dim
        latent_dim = config.encoder_dim << len(config.encoder_rates)
        if config.depthwise:
            layers: list[nn.Module] = [
                _conv(latent_dim, latent_dim, Conv(), groups=latent_dim),
                _pointwise(latent_dim, width),
            ]
        else:
            layers = [_conv(latent_dim, width, Conv())]
        if config.attn_window_size is not None:
            layers.append(LocalAttention(width, config.attn_window_size))
        for stride in config.decoder_rates:
            layers.append(
                DecoderBlock(width, width // 2, stride, noise=config.noise, depthwise=config.depthwise)
            )
            width //= 2
        layers += [Snake(width), _conv(width, 1, Conv()), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.compiled: CompiledChunks | None = None

    def forward(self, latents: torch.Tensor, noise: NoiseSource | None = None) -> torch.Tensor:
        """Decode (B, C, T); values lie in [-1, 1]."""
        x, layer = latents, 0
        for module in self.model:
            if isinstance(module, DecoderBlock):
                x, layer = module(x, noise, layer), layer + 1
            else:
                x = module(x)
        return x


def _conv(in_channels: int, out_channels: int, conv: Conv, groups: int = 1) -> NormConv1d:
    return NormConv1d(
        in_channels,
        out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=groups,
    )


def _pointwise(in_channels: int, out_channels: int) -> NormConv1d:
    return NormConv1d(in_channels, out_channels, kernel_size=1)
