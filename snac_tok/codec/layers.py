"""The blocks of encoder and decoder, with upstream's constructors and submodule names.

`forward` is upstream's plain forward, for training, compilers and networks that somebody changed. `step` takes the
next chunk of a clip and gives what is final then: joined, the chunks' outputs are those of `forward` (`state`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import nn

from snac_tok.codec.as_built import all_modules
from snac_tok.codec.config import KERNEL_SIZE, RESIDUAL_DILATIONS
from snac_tok.codec.geometry import Conv, rate_conv
from snac_tok.codec.ops.reference import Kept, UnitWeights, add_delayed, snake
from snac_tok.codec.weight_norm import NormConv1d, NormConvTranspose1d

if TYPE_CHECKING:
    from snac_tok.codec.context import StepContext
    from snac_tok.codec.noise import NoiseSource
    from snac_tok.codec.ops.backend import Kernels

    # What a noise block adds: fresh noise of its own, noise from a source, or (None) nothing.
    BlockNoise = NoiseSource | Literal["random"] | None


class Snake(nn.Module):
    """The periodic activation x + sin²(αx) / α, one learned α per channel (Ziyin et al. 2020, eq. 3).

    It has no `step`: the convolution behind it computes it there, given `alpha`.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activate (B, C, T)."""
        return snake(x, self.alpha)


class Layers(nn.Sequential):
    """Layers one after another; noise goes on to those that take some."""

    def forward(self, x: torch.Tensor, noise: BlockNoise = "random") -> torch.Tensor:
        """Run (B, C, T) through the layers."""
        for layer in self:
            x = run_with_noise(layer, x, noise)
        return x


class ResidualUnit(nn.Module):
    """Snake, wide convolution, Snake, 1x1 convolution, added to the input."""

    def __init__(self, dim: int = 16, dilation: int = 1, kernel: int = KERNEL_SIZE, groups: int = 1) -> None:
        super().__init__()
        conv = Conv(kernel_size=kernel, dilation=dilation)
        self.block = nn.Sequential(
            Snake(dim), make_conv(dim, dim, conv, groups), Snake(dim), make_pointwise(dim, dim)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine (B, C, T)."""
        out: torch.Tensor = self.block(x)
        return x + out

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Refine the next (B, C, n) of a clip."""
        layers = cast("tuple[Snake, NormConv1d, Snake, NormConv1d]", tuple(self.block))
        first, wide, second, narrow = layers
        kernels, dilation = context.kernels, wide.dilation[0]
        if kernels is not None and wide.groups > 1 and kernels.takes_unit(x, dilation):
            return self._step_in_one_kernel(x, context, kernels)
        slot = context.next_slot()
        out = narrow.step(wide.step(x, context, first.alpha), context, second.alpha)
        context.state.write(slot, add_delayed(out, context.state.read(slot), x))
        return out

    def _step_in_one_kernel(self, x: torch.Tensor, context: StepContext, kernels: Kernels) -> torch.Tensor:
        first, wide, second, narrow = cast("tuple[Snake, NormConv1d, Snake, NormConv1d]", tuple(self.block))
        added, conv, state = context.next_slot(), context.next_slot(), context.state
        weights = (first.alpha, wide.fold(), wide.bias, second.alpha, narrow.fold(), narrow.bias)
        # Slots are read in their order.
        before_added, before_conv = state.read(added), state.read(conv)
        out, kept = kernels.residual_unit(
            x,
            UnitWeights(*cast("tuple[torch.Tensor, ...]", weights)),
            dilation=wide.dilation[0],
            kept=Kept(conv=before_conv, added=before_added),
            last=context.last,
            ends=context.row_ends(x.shape[-1]),
        )
        state.write(added, kept.added)
        state.write(conv, kept.conv)
        return out


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

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Add scaled noise to the next (B, C, n) of a clip."""
        number = context.next_noise_block()
        start = context.state.advance(number, x.shape[-1])
        if context.noise is None or not x.shape[-1]:
            return x
        kernels, weight = context.kernels, self.linear.fold()
        if kernels is not None and kernels.takes_noise(x, weight):
            drawn = context.noise.draw(number, x, start)
            return kernels.noise_block(x, weight, drawn, ends=context.row_ends(x.shape[-1]))
        scale = self.linear.step(x, context)
        drawn = context.noise.draw(number, x, start).to(x.dtype)
        return torch.addcmul(x, scale, drawn, out=scale)


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
            make_conv(dim, output_dim, rate_conv(stride, transposed=False)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Downsample (B, C, T) to (B, 2C, T / stride)."""
        out: torch.Tensor = self.block(x)
        return out

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Downsample the next (B, C, n) of a clip."""
        *units, activation, conv = self.block
        for unit in cast("list[ResidualUnit]", units):
            x = unit.step(x, context)
        return cast("NormConv1d", conv).step(x, context, cast("Snake", activation).alpha)


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
        return run_with_noise(self.block, x, noise)

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Upsample the next (B, C, n) of a clip."""
        activation, up, *layers = self.block
        x = cast("NormConvTranspose1d", up).step(x, context, cast("Snake", activation).alpha)
        for layer in cast("list[NoiseBlock | ResidualUnit]", layers):
            # An Identity stands in the place of a noise block that was taken out.
            x = x if isinstance(layer, nn.Identity) else layer.step(x, context)
        return x


def noise_blocks(module: nn.Module) -> list[NoiseBlock]:
    """Return all noise blocks in a module, wherever they are."""
    return [each for each in all_modules(module) if isinstance(each, NoiseBlock)]


def reached_by_noise(module: nn.Module) -> list[NoiseBlock]:
    """Return the noise blocks that `forward(x, noise)` hands noise to: not those inside of layers of other kinds."""
    if isinstance(module, NoiseBlock):
        return [module]
    if isinstance(module, DecoderBlock):
        return reached_by_noise(module.block)
    inner = module if isinstance(module, Layers) else ()
    return [block for layer in inner for block in reached_by_noise(layer)]


def run_with_noise(module: nn.Module, x: torch.Tensor, noise: BlockNoise) -> torch.Tensor:
    """Call a layer, with the noise if it hands some on."""
    # Fresh noise is the default everywhere: hooks and layers of other kinds see upstream's one argument.
    takes_noise = isinstance(module, (Layers, DecoderBlock, NoiseBlock)) and not isinstance(noise, str)
    out: torch.Tensor = module(x, noise) if takes_noise else module(x)
    return out


def make_conv(in_channels: int, out_channels: int, conv: Conv, groups: int = 1) -> NormConv1d:
    """Return the convolution of a shape in time."""
    return NormConv1d(
        in_channels,
        out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=groups,
    )


def make_pointwise(in_channels: int, out_channels: int) -> NormConv1d:
    """Return a 1x1 convolution."""
    return NormConv1d(in_channels, out_channels, kernel_size=1)
