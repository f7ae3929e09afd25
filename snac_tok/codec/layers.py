"""The convolutional network: encoder and decoder, with submodule names equal to upstream's.

Weight norm is kept as `parametrizations.weight.original0/1`, as in upstream's checkpoints, in modules of our
own: unlike torch's parametrizations these pickle, copy and compile, and outside training they use a weight
folded once instead of one computed on every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.geometry import Conv, rate_conv, residual_convs

if TYPE_CHECKING:
    from snac_tok.codec.config import CodecConfig
    from snac_tok.codec.noise import NoiseSource


class WeightNorm(nn.Module):
    """A weight as length (original0) times direction (original1), one length per first dimension."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.original0 = nn.Parameter(torch.norm_except_dim(weight.detach(), 2, 0))
        self.original1 = nn.Parameter(weight.detach())

    def forward(self) -> torch.Tensor:
        """The weight itself."""
        weight: torch.Tensor = torch._weight_norm(self.original1, self.original0, 0)  # noqa: SLF001 - upstream's op
        return weight

    def version(self) -> tuple[int, ...]:
        """Changes whenever a parameter is replaced, moved or written to in place."""
        # Inference tensors cannot be written to outside inference mode and keep no counter.
        return tuple(
            value
            for parameter in (self.original0, self.original1)
            for value in (parameter.data_ptr(), 0 if parameter.is_inference() else parameter._version)  # noqa: SLF001
        )


class _NormConv(nn.Module):
    """What both convolutions share: a weight-normed weight that can be folded."""

    folded: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias.detach())
        self.parametrizations = nn.ModuleDict({"weight": WeightNorm(weight)})
        # Not persistent: a state dict holds upstream's keys alone, folded or not.
        self.register_buffer("folded", None, persistent=False)
        self._folded_version: tuple[int, ...] = ()

    @property
    def weight(self) -> torch.Tensor:
        """The folded weight outside training where there is one, else the weight computed now."""
        if self.folded is not None and not self.training:
            return self.folded
        weight: torch.Tensor = self._norm()
        return weight

    @torch.no_grad()
    def fold(self) -> None:
        """Compute the weight once; nothing happens where the folded one is up to date."""
        version = self._norm.version()
        if self.folded is None or version != self._folded_version:
            self.folded, self._folded_version = self._norm(), version

    def unfold(self) -> None:
        """Forget the folded weight."""
        self.folded = None

    @property
    def _norm(self) -> WeightNorm:
        norm = self.parametrizations["weight"]
        assert isinstance(norm, WeightNorm)
        return norm


class NormConv1d(_NormConv):
    """Weight-normed convolution over (B, C, T)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        # A plain convolution supplies torch's initial values.
        plain = nn.Conv1d(in_channels, out_channels, kernel_size, groups=groups, bias=bias)
        super().__init__(plain.weight, plain.bias)
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C_in, T) to (B, C_out, T / stride)."""
        return F.conv1d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class NormConvTranspose1d(_NormConv):
    """Weight-normed transposed convolution over (B, C, T)."""

    def __init__(self, in_channels: int, out_channels: int, conv: Conv) -> None:
        plain = nn.ConvTranspose1d(in_channels, out_channels, conv.kernel_size)
        super().__init__(plain.weight, plain.bias)
        self.stride, self.padding, self.output_padding = conv.stride, conv.padding, conv.output_padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upsample (B, C_in, T) to (B, C_out, T * stride)."""
        return F.conv_transpose1d(x, self.weight, self.bias, self.stride, self.padding, self.output_padding)


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

    def forward(self, latents: torch.Tensor, noise: NoiseSource | None) -> torch.Tensor:
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
