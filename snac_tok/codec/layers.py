"""The convolutional network: encoder and decoder, with upstream's constructors, submodule names and plain forwards.

Called one by one, whole or with layers exchanged, these compute what upstream's do. How a network as it was built is
run faster is in `networks`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from snac_tok.codec.as_built import structures
from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.config import KERNEL_SIZE, RESIDUAL_DILATIONS
from snac_tok.codec.geometry import Conv, rate_conv
from snac_tok.codec.weight_norm import Foldable, NormConv1d, NormConvTranspose1d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.compiled import CompiledChunks
    from snac_tok.codec.noise import NoiseSource

    # What a noise block adds: fresh noise of its own, noise from a source, or (None) nothing.
    BlockNoise = NoiseSource | Literal["random"] | None


class Snake(nn.Module):
    """The periodic activation x + sin²(αx) / α, one learned α per channel (Ziyin et al. 2020, eq. 3)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activate (B, C, T)."""
        return snake(x, self.alpha)


def snake(x: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Activate (B, C, T), each channel with its own alpha (1, C, 1)."""
    inverse = (alpha + 1e-9).reciprocal()
    if torch.is_grad_enabled():
        return x + inverse * torch.sin(alpha * x).pow(2)
    # One buffer instead of four: these passes are memory bound, and close to half of the codec's time.
    return (alpha * x).sin_().square_().mul_(inverse).add_(x)


class Layers(nn.Sequential):
    """Layers one after another; noise goes on to those that take some."""

    def forward(self, x: torch.Tensor, noise: BlockNoise = "random") -> torch.Tensor:
        """Run (B, C, T) through the layers."""
        for layer in self:
            x = _run(layer, x, noise)
        return x


class ResidualUnit(nn.Module):
    """Snake, wide convolution, Snake, 1x1 convolution, added to the input."""

    def __init__(self, dim: int = 16, dilation: int = 1, kernel: int = KERNEL_SIZE, groups: int = 1) -> None:
        super().__init__()
        conv = Conv(kernel_size=kernel, dilation=dilation)
        self.block = nn.Sequential(
            Snake(dim), _conv(dim, dim, conv, groups), Snake(dim), _pointwise(dim, dim)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine (B, C, T)."""
        out: torch.Tensor = self.block(x)
        return x + out


class NoiseBlock(nn.Module):
    """Adds noise whose size at each position depends on the input there (SNAC paper, section 2.2).

    Args:
        dim: channels.
        layer: the block's number in its decoder, which seeded noise depends on.
    """

    def __init__(self, dim: int, *, layer: int = 0) -> None:
        super().__init__()
        self.layer = layer
        self.linear = NormConv1d(dim, dim, kernel_size=1, bias=False)

    def forward(self, x: torch.Tensor, noise: BlockNoise = "random") -> torch.Tensor:
        """Add scaled noise to (B, C, T), fresh from torch's global generator if none is given."""
        if noise is None:
            return x
        if isinstance(noise, str):
            drawn = torch.randn((x.shape[0], 1, x.shape[-1]), device=x.device, dtype=x.dtype)
        else:
            drawn = noise.draw(self.layer, x, 0)
        scale: torch.Tensor = self.linear(x)
        return x + drawn * scale


class EncoderBlock(nn.Module):
    """Three residual units, then the convolution that lowers the rate and doubles the channels."""

    def __init__(
        self, output_dim: int = 16, input_dim: int | None = None, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        dim = input_dim or output_dim // 2
        self.block = nn.Sequential(
            *(ResidualUnit(dim, dilation, groups=groups) for dilation in RESIDUAL_DILATIONS),
            Snake(dim),
            _conv(dim, output_dim, rate_conv(stride, transposed=False)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Downsample (B, C, T) to (B, 2C, T / stride)."""
        out: torch.Tensor = self.block(x)
        return out


class DecoderBlock(nn.Module):
    """Raise the rate and halve the channels, add noise, then three residual units; `layer` numbers the noise."""

    def __init__(
        self,
        input_dim: int = 16,
        output_dim: int = 8,
        stride: int = 1,
        noise: bool = False,  # noqa: FBT001, FBT002 - upstream's signature
        groups: int = 1,
        *,
        layer: int = 0,
    ) -> None:
        super().__init__()
        up = rate_conv(stride, transposed=True)
        layers: list[nn.Module] = [
            Snake(input_dim),
            NormConvTranspose1d(
                input_dim,
                output_dim,
                kernel_size=up.kernel_size,
                stride=stride,
                padding=up.padding,
                output_padding=up.output_padding,
            ),
        ]
        if noise:
            layers.append(NoiseBlock(output_dim, layer=layer))
        layers += [ResidualUnit(output_dim, dilation, groups=groups) for dilation in RESIDUAL_DILATIONS]
        self.block = Layers(*layers)

    def forward(self, x: torch.Tensor, noise: BlockNoise = "random") -> torch.Tensor:
        """Upsample (B, C, T) to (B, C / 2, T * stride)."""
        return _run(self.block, x, noise)


class Encoder(Foldable):
    """Audio (B, 1, T) to latents (B, C, T / hop).

    Args:
        d_model: channels after the first convolution; doubled by every block.
        strides: of the blocks.
        depthwise: whether wide convolutions are depthwise.
        attn_window_size: latents in one attention window; None for no attention.
    """

    def __init__(
        self,
        d_model: int = 64,
        strides: Sequence[int] = (3, 3, 7, 7),
        depthwise: bool = False,  # noqa: FBT001, FBT002 - upstream's signature
        attn_window_size: int | None = 32,
    ) -> None:
        super().__init__()
        self.hop_length = math.prod(strides)
        self.audio_channels = d_model
        self.window_size = attn_window_size or 1
        layers: list[nn.Module] = [_conv(1, d_model, Conv())]
        for stride in strides:
            d_model *= 2
            groups = d_model // 2 if depthwise else 1
            layers.append(EncoderBlock(d_model, stride=stride, groups=groups))
        if attn_window_size is not None:
            layers.append(LocalAttention(d_model, attn_window_size))
        layers.append(_conv(d_model, d_model, Conv(), groups=d_model if depthwise else 1))
        self.block = nn.Sequential(*layers)
        self.compiled: CompiledChunks | None = None
        self.structures = structures(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode (B, 1, T), T a multiple of the hop."""
        latents: torch.Tensor = self.block(x)
        return latents


class Decoder(Foldable):
    """Latents (B, C, T) to audio (B, 1, T * hop).

    Args:
        input_channel: channels of a latent.
        channels: of the first block's input; halved by every block.
        rates: of the blocks.
        noise: whether they have noise blocks.
        depthwise: whether wide convolutions are depthwise.
        attn_window_size: latents in one attention window; None for no attention.
        d_out: channels of the audio.
    """

    def __init__(  # noqa: PLR0917 - upstream's signature
        self,
        input_channel: int,
        channels: int,
        rates: Sequence[int],
        noise: bool = False,  # noqa: FBT001, FBT002 - upstream's signature
        depthwise: bool = False,  # noqa: FBT001, FBT002 - upstream's signature
        attn_window_size: int | None = 32,
        d_out: int = 1,
    ) -> None:
        super().__init__()
        self.rates = tuple(rates)
        self.hop_length = math.prod(rates)
        self.audio_channels = channels >> len(rates)
        self.window_size = attn_window_size or 1
        layers: list[nn.Module]
        if depthwise:
            layers = [
                _conv(input_channel, input_channel, Conv(), groups=input_channel),
                _pointwise(input_channel, channels),
            ]
        else:
            layers = [_conv(input_channel, channels, Conv())]
        if attn_window_size is not None:
            layers.append(LocalAttention(channels, attn_window_size))
        for layer, stride in enumerate(rates):
            width = channels >> (layer + 1)
            groups = width if depthwise else 1
            layers.append(DecoderBlock(channels >> layer, width, stride, noise, groups, layer=layer))
        layers += [Snake(self.audio_channels), _conv(self.audio_channels, d_out, Conv()), nn.Tanh()]
        self.model = Layers(*layers)
        self.compiled: CompiledChunks | None = None
        self.structures = structures(self, optional=NoiseBlock)

    def forward(self, x: torch.Tensor, noise: BlockNoise = "random") -> torch.Tensor:
        """Decode (B, C, T); values lie in [-1, 1]."""
        return _run(self.model, x, noise)


def noise_blocks(module: nn.Module) -> list[NoiseBlock]:
    """Return all noise blocks in a module, wherever they are."""
    return [each for each in module.modules() if isinstance(each, NoiseBlock)]


def reached_by_noise(module: nn.Module) -> list[NoiseBlock]:
    """Return the noise blocks that `forward(x, noise)` hands noise to: not those inside of layers of other kinds."""
    if isinstance(module, NoiseBlock):
        return [module]
    if isinstance(module, DecoderBlock):
        return reached_by_noise(module.block)
    inner = module if isinstance(module, Layers) else ()
    return [block for layer in inner for block in reached_by_noise(layer)]


def _run(module: nn.Module, x: torch.Tensor, noise: BlockNoise) -> torch.Tensor:
    # Fresh noise is the default everywhere: hooks and layers of other kinds see upstream's one argument.
    takes_noise = isinstance(module, (Layers, DecoderBlock, NoiseBlock)) and not isinstance(noise, str)
    out: torch.Tensor = module(x, noise) if takes_noise else module(x)
    return out


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
