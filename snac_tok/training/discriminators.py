"""The discriminators: several looks at the same sound, in the time domain and in the frequency domain.

Multi-period (HiFi-GAN, Kong et al. 2020, section 2.3) and multi-resolution complex spectra in bands (DAC, Kumar et al.
2023, section 3.3). What their scores mean is `losses`' business.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from snac_tok.errors import ConfigError
from snac_tok.metrics.stft import mirrored, short_time_spectra
from snac_tok.training.field_types import check_types

# Shares of the spectrum, each with convolutions of its own (DAC's).
BANDS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1.0))
# Below this the narrowest band has no bin left.
_SMALLEST_FFT = 32
# What a band's layers divide its bins by.
_BAND_STRIDE = 8
# Channels of the period discriminators' layers, in widths.
_PERIOD_CHANNELS = (1, 4, 16, 32, 32)
_SLOPE = 0.1
# DAC's width, and SNAC's decoder_dim of 1024 for it; below 4 channels discriminators hardly learn.
_DAC_WIDTH, _DECODER_CHANNELS_PER_WIDTH, _LEAST_WIDTH = 32, 32, 4
# Sound is brought to this peak; what peaks below -60 dB is left quieter, or its gradients would be without bound.
_PEAK, _QUIETEST_PEAK = 0.8, 1e-3


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """Which discriminators there are, and how wide; the defaults are DAC's and SNAC's.

    Args:
        periods: one discriminator each, in samples; primes overlap least.
        fft_sizes: one discriminator each, in samples; multiples of 4.
        width: channels of every first layer. 32 is DAC's (42 million parameters, half a gigabyte in a checkpoint); 4
            suits a small codec on a CPU (0.7 million). None takes what DAC's is to SNAC's decoder: `for_codec`.

    Raises:
        ConfigError: no discriminator at all, or an impossible one.

    Example:
        >>> DiscriminatorConfig(periods=(), fft_sizes=(512,), width=8).periods
        ()
    """

    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    fft_sizes: tuple[int, ...] = (2048, 1024, 512)
    width: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if not self.periods and not self.fft_sizes:
            raise ConfigError("periods and fft_sizes are both empty; name at least one discriminator.")
        if self.width is not None and self.width < 1:
            raise ConfigError(f"width is {self.width}; it must be at least 1.")
        for period in self.periods:
            if period < 1:
                raise ConfigError(f"periods has {period}; each must be at least 1.")
        for size in self.fft_sizes:
            if size < _SMALLEST_FFT or size % 4:
                raise ConfigError(
                    f"fft_sizes has {size}; each must be a multiple of 4, {_SMALLEST_FFT} or more."
                )

    def for_codec(self, decoder_dim: int) -> DiscriminatorConfig:
        """Return these with a width: their own, or a 32nd of the decoder's, from 4 to 32.

        Example:
            >>> [DiscriminatorConfig().for_codec(dim).width for dim in (1024, 384, 64)]
            [32, 12, 4]
        """
        fitting = min(max(decoder_dim // _DECODER_CHANNELS_PER_WIDTH, _LEAST_WIDTH), _DAC_WIDTH)
        return self if self.width is not None else dataclasses.replace(self, width=fitting)


class Discriminators(nn.Module):
    """All discriminators of a config, those of periods first.

    Args:
        config: which ones. Initial weights come from torch's global generator, as everywhere in torch.

    Example:
        >>> discriminators = Discriminators(DiscriminatorConfig(periods=(2,), fft_sizes=(64,), width=4))
        >>> [(len(maps), maps[-1].shape) for maps in discriminators(torch.randn(3, 1, 640))]
        [(6, torch.Size([3, 1, 4, 2])), (26, torch.Size([3, 1, 40, 6]))]
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        width = _DAC_WIDTH if config.width is None else config.width
        self.discriminators = nn.ModuleList(
            [PeriodDiscriminator(period, width=width) for period in config.periods]
            + [SpectrumDiscriminator(size, width=width) for size in config.fft_sizes]
        )

    def forward(self, audio: torch.Tensor) -> list[list[torch.Tensor]]:
        """Judge (B, 1, T), any T from 1 on: per discriminator its feature maps, last the scores."""
        audio = _levelled(audio)
        return [discriminator(audio) for discriminator in self.discriminators]


class PeriodDiscriminator(nn.Module):
    """Looks at every `period`-th sample, all phases side by side, and never across phases.

    Args:
        period: in samples.
        width: channels of the first layer.
    """

    def __init__(self, period: int, *, width: int) -> None:
        super().__init__()
        self.period = period
        channels = (1, *(width * share for share in _PERIOD_CHANNELS))
        strides = (3, 3, 3, 3, 1)
        self.layers = nn.ModuleList(
            _conv(channels[place], channels[place + 1], kernel=(5, 1), stride=(stride, 1))
            for place, stride in enumerate(strides)
        )
        self.score = _conv(channels[-1], 1, kernel=(3, 1))

    def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Judge (B, 1, T) of even level.

        Returns:
            Five maps (B, C, L, period), C = width * (1, 4, 16, 32, 32) and L = T / period / (3, 9, 27, 81, 81)
            rounded up, then scores (B, 1, L, period).
        """
        whole = mirrored(audio, 0, -audio.shape[-1] % self.period)
        maps = _run(self.layers, whole.view(len(whole), 1, -1, self.period))
        return [*maps, self.score(maps[-1])]


class SpectrumDiscriminator(nn.Module):
    """Looks at the complex spectrum, at each band of it through layers of its own.

    Args:
        fft_size: samples in a window; the hop is a quarter of it.
        width: channels of every layer.
    """

    def __init__(self, fft_size: int, *, width: int) -> None:
        super().__init__()
        self.fft_size = fft_size
        bins = fft_size // 2 + 1
        self.bands = [(int(low * bins), int(high * bins)) for low, high in BANDS]
        self.band_layers = nn.ModuleList(_band_layers(width) for _ in self.bands)
        self.score = _conv(width, 1, kernel=(3, 3))

    def forward(self, audio: torch.Tensor) -> list[torch.Tensor]:
        """Judge (B, 1, T) of even level.

        Returns:
            For each band of F bins, lowest first, five maps (B, width, N, F / (1, 2, 4, 8, 8)) rounded up; then scores
            (B, 1, N, the bands' last F side by side). N = T / hop rounded up.
        """
        hop = self.fft_size // 4
        whole = mirrored(audio, 0, -audio.shape[-1] % hop)
        # Overhang that gives one window a hop, as DAC's "match_stride".
        spectra = short_time_spectra(
            whole, window_length=self.fft_size, hop=hop, overhang=(self.fft_size - hop) // 2
        )  # (B, 1, N, F)
        planes = torch.view_as_real(spectra[:, 0]).permute(0, 3, 1, 2)  # (B, 2, N, F)
        bands = [_laid_out(planes[..., low:high]) for low, high in self.bands]
        stacks = [_run(layers, band) for layers, band in zip(self.band_layers, bands, strict=True)]
        together = torch.cat([stack[-1] for stack in stacks], dim=-1)
        return [*(each for stack in stacks for each in stack), self.score(together)]


def _laid_out(band: torch.Tensor) -> torch.Tensor:
    """Bring a band to the memory order that its convolutions are fastest in."""
    # So few channels convolve backward two to four times faster on a CPU when they are innermost. Not where layers
    # come down to one bin: there torch 2.13 gives bfloat16 weights gradients of whatever was in memory.
    layout = torch.channels_last if band.shape[-1] > _BAND_STRIDE else torch.contiguous_format
    return band.contiguous(memory_format=layout)


def _band_layers(width: int) -> nn.ModuleList:
    layers = [_conv(2, width, kernel=(3, 9))]
    layers += [_conv(width, width, kernel=(3, 9), stride=(1, 2)) for _ in range(3)]
    return nn.ModuleList([*layers, _conv(width, width, kernel=(3, 3))])


def _run(layers: Any, x: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for layer in layers:
        # Not in place: a map is kept by the caller, but what stands before the slope need not be.
        x = F.leaky_relu(layer(x), _SLOPE)
        maps.append(x)
    return maps


def _levelled(audio: torch.Tensor) -> torch.Tensor:
    """Remove the offset and even the level, so that loudness gives no fake away."""
    audio = audio.float() - audio.float().mean(-1, keepdim=True)
    return _PEAK * audio / audio.abs().amax(-1, keepdim=True).clamp(min=_QUIETEST_PEAK)


def _conv(
    in_channels: int, out_channels: int, *, kernel: tuple[int, int], stride: tuple[int, int] = (1, 1)
) -> nn.Module:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv: nn.Module = weight_norm(_Conv2d(in_channels, out_channels, kernel, stride, padding))
    return conv


class _Conv2d(nn.Conv2d):
    """A convolution that runs in float32 where torch's bfloat16 kernel would read memory that nobody wrote.

    torch 2.13 on Intel CPUs with AMX (oneDNN's kernel): with stride 2 over 1 or 2 bins the output, and the weight's
    gradient, depend on such memory. Three and four bins were right there; in float32 they cost next to nothing more.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C_in, H, W); under autocast the result has autocast's type."""
        narrow = self.stride[-1] > 1 and x.shape[-1] <= int(self.padding[-1])
        if not (narrow and x.device.type == "cpu" and torch.is_autocast_enabled("cpu")):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            out = super().forward(x.float())
        return out.to(torch.get_autocast_dtype("cpu"))
