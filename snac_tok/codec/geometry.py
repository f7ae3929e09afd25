"""What a codec reaches in time: the convolutions as a list of steps, and the receptive field they add up to.

This is the one place where kernel sizes, paddings and dilations are derived from a config; the network is
built from the same steps, so the two cannot disagree. Local attention is not a step: it works in absolute
windows of latents (`CodecConfig.attn_window_size`), on top of the fields given here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from snac_tok.codec.config import KERNEL_SIZE, RESIDUAL_DILATIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.codec.config import CodecConfig


@dataclass(frozen=True, kw_only=True)
class Conv:
    """One convolution's shape in time; `transposed` marks the upsampling ones."""

    kernel_size: int = KERNEL_SIZE
    stride: int = 1
    dilation: int = 1
    transposed: bool = False

    @property
    def padding(self) -> int:
        """Zeros on each side: half the reach, or half the stride (rounded up) where the rate changes."""
        if self.stride > 1:
            return math.ceil(self.stride / 2)
        return self.dilation * (self.kernel_size - 1) // 2

    @property
    def output_padding(self) -> int:
        """Extra samples at the end that make an odd transposed stride give exactly stride times the length."""
        return self.stride % 2 if self.transposed else 0


@dataclass(frozen=True, kw_only=True)
class Reach:
    """A stretch of positions relative to an anchor, both ends included."""

    first: int
    last: int


def residual_convs() -> list[Conv]:
    """The wide convolutions of one encoder or decoder block's residual units, in order."""
    return [Conv(dilation=dilation) for dilation in RESIDUAL_DILATIONS]


def rate_conv(stride: int, *, transposed: bool) -> Conv:
    """The convolution that divides (or, transposed, multiplies) the rate by `stride`."""
    return Conv(kernel_size=2 * stride, stride=stride, transposed=transposed)


def encoder_convs(config: CodecConfig) -> list[Conv]:
    """Every convolution of the encoder wider than one position, from audio to latents."""
    convs = [Conv()]
    for stride in config.encoder_rates:
        convs += [*residual_convs(), rate_conv(stride, transposed=False)]
    return [*convs, Conv()]


def decoder_convs(rates: Sequence[int]) -> list[Conv]:
    """Every convolution of a decoder of these rates wider than one position, from latents to audio."""
    convs = [Conv()]
    for stride in rates:
        convs += [rate_conv(stride, transposed=True), *residual_convs()]
    return [*convs, Conv()]


def latent_influence(config: CodecConfig) -> Reach:
    """Which output samples one latent changes in the decoder, relative to the start of its own hop.

    Example:
        >>> from snac_tok.codec.config import PRESETS
        >>> latent_influence(PRESETS["snac_24khz"])
        Reach(first=-4757, last=5268)
    """
    return decoder_influence(config.decoder_rates)


def decoder_influence(rates: Sequence[int]) -> Reach:
    """Return what `latent_influence` does, of a decoder of these rates."""
    return _spread(decoder_convs(rates))


def latent_dependence(config: CodecConfig) -> Reach:
    """Which input samples one latent of the encoder depends on, relative to the start of its own hop.

    Example:
        >>> from snac_tok.codec.config import PRESETS
        >>> latent_dependence(PRESETS["snac_24khz"])
        Reach(first=-4757, last=5268)
    """
    mirrored = [
        Conv(
            kernel_size=conv.kernel_size,
            stride=conv.stride,
            dilation=conv.dilation,
            transposed=conv.stride > 1,
        )
        for conv in reversed(encoder_convs(config))
    ]
    return _spread(mirrored)


def _spread(convs: Iterable[Conv]) -> Reach:
    """Follow position 0 through convolutions that keep or multiply the rate: all the positions it touches.

    A strided convolution's dependence, read backwards, is the influence of the transposed one.
    """
    first = last = 0
    for conv in convs:
        first = first * conv.stride - conv.padding
        last = last * conv.stride - conv.padding + conv.dilation * (conv.kernel_size - 1)
    return Reach(first=first, last=last)
