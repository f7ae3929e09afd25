"""Encoder, decoder and the whole network of a codec, with upstream's constructors and submodule names.

Called like upstream's, encoder and decoder run in chunks, threads and folded weights. Whoever changes one (hooks, other
layers, gradients, compilers) gets upstream's plain forward, in which everything that was put in takes part.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec.as_built import structures
from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.chunked import AudioDecoder, ChunkedNetwork, chunk_latents, run_whole, runs_in_chunks
from snac_tok.codec.config import CodecConfig
from snac_tok.codec.folding import Foldable
from snac_tok.codec.geometry import Conv, Reach, decoder_influence
from snac_tok.codec.layers import (
    DecoderBlock,
    EncoderBlock,
    Layers,
    NoiseBlock,
    Snake,
    make_conv,
    make_pointwise,
    noise_blocks,
    reached_by_noise,
    run_with_noise,
)
from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise, checked_noise
from snac_tok.codec.quantizer import ResidualQuantizer
from snac_tok.codec.tracing import is_traced
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from snac_tok.codec.context import StepContext
    from snac_tok.codec.layers import BlockNoise
    from snac_tok.codec.noise import Noise
    from snac_tok.codec.weight_norm import NormConv1d


class Encoder(ChunkedNetwork):
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
        layers: list[nn.Module] = [make_conv(1, d_model, Conv())]
        for stride in strides:
            d_model *= 2
            groups = d_model // 2 if depthwise else 1
            layers.append(EncoderBlock(d_model, stride=stride, groups=groups))
        if attn_window_size is not None:
            layers.append(LocalAttention(d_model, attn_window_size))
        layers.append(make_conv(d_model, d_model, Conv(), groups=d_model if depthwise else 1))
        self.block = nn.Sequential(*layers)
        self.structures = structures(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode (B, 1, T), T a multiple of the hop."""
        if not runs_in_chunks(self, x, least=self.hop_length):
            latents: torch.Tensor = self.block(x)
            return latents
        size = self.hop_length * chunk_latents(self, multiple=self.window_size, rows=len(x))
        return run_whole(self, x, [*range(0, x.shape[-1], size), x.shape[-1]])

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Encode the next samples (B, 1, n) of a clip to the latents (B, C, m) that are final then."""
        for layer in cast("Iterable[NormConv1d | EncoderBlock | LocalAttention]", self.block):
            x = layer.step(x, context)
        return x


class Decoder(AudioDecoder):
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
                make_conv(input_channel, input_channel, Conv(), groups=input_channel),
                make_pointwise(input_channel, channels),
            ]
        else:
            layers = [make_conv(input_channel, channels, Conv())]
        if attn_window_size is not None:
            layers.append(LocalAttention(channels, attn_window_size))
        for layer, stride in enumerate(rates):
            width = channels >> (layer + 1)
            groups = width if depthwise else 1
            layers.append(DecoderBlock(channels >> layer, width, stride, noise, groups, layer=layer))
        layers += [Snake(self.audio_channels), make_conv(self.audio_channels, d_out, Conv()), nn.Tanh()]
        self.model = Layers(*layers)
        self.structures = structures(self, optional=NoiseBlock)

    def forward(self, x: torch.Tensor, noise: Noise | NoiseSource | None = "random") -> torch.Tensor:
        """Decode (B, C, T); values lie in [-1, 1].

        Args:
            x: latents, as `quantizer.from_codes` gives them.
            noise: "random" draws from torch's global generator as upstream does, "off" or None leaves noise blocks
                out, an int gives the same sound every time; or a source of one's own.

        Raises:
            CodesError: any other noise.
            NetworkError: noise blocks are inside of layers that do not hand noise on, and it is not "random".
        """
        if not runs_in_chunks(self, x, least=1):
            return run_with_noise(self.model, x, self._handed_on(noise))
        size = chunk_latents(self, multiple=self.window_size, rows=len(x))
        # The first chunk is longer by what its first layer holds back from the attention (`inference.decode_cuts`).
        held_back = 0 if self.window_size == 1 else Conv().padding
        cuts = [0, *range(size + held_back, x.shape[-1], size), x.shape[-1]]
        return run_whole(self, x, cuts, self._source(noise, x))

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Decode the next latents (B, C, n) of a clip to the samples (B, 1, m) that are final then."""
        *layers, activation, conv, _ = self.model
        for layer in cast("list[NormConv1d | LocalAttention | DecoderBlock]", layers):
            x = layer.step(x, context)
        alpha, conv = cast("Snake", activation).alpha, cast("NormConv1d", conv)
        if (kernels := context.kernels) is None or not kernels.takes_last(x, weight := conv.fold()):
            return conv.step(x, context, alpha).tanh()
        slot, bias = context.next_slot(), cast("torch.Tensor", conv.bias)
        kept, ends = context.state.read(slot), context.row_ends(x.shape[-1])
        audio, kept = kernels.last_layers(x, alpha, weight, bias, kept=kept, last=context.last, ends=ends)
        context.state.write(slot, kept)
        return audio

    @property
    def influence(self) -> Reach:
        """Which samples one latent changes, relative to the start of its own hop."""
        return decoder_influence(self.rates)

    def _source(self, noise: Noise | NoiseSource | None, x: torch.Tensor) -> NoiseSource | None:
        if not noise_blocks(self):
            return None
        if noise == "random":
            return DrawnNoise.from_global_generator(x, self.rates)
        return _given(noise)

    def _handed_on(self, noise: Noise | NoiseSource | None) -> BlockNoise:
        if isinstance(noise, str) and noise == "random":
            return "random"
        if not is_traced():
            there, reached = noise_blocks(self), reached_by_noise(self.model)
            if len(there) > len(reached):
                raise NetworkError(
                    f'{len(there) - len(reached)} noise blocks are inside of layers that take no noise, so noise="off" '
                    'and seeds do not reach them; use noise="random", or put the layers back.'
                )
        return _given(noise)


def _given(noise: Noise | NoiseSource | None) -> NoiseSource | None:
    """Return the source that a decoder's `noise` option means, other than "random"."""
    if noise is None or isinstance(noise, (DrawnNoise, SeededNoise, NoiseSource)):
        return noise
    checked = checked_noise(noise)
    return SeededNoise(seed=checked) if isinstance(checked, int) else None


class Network(Foldable):
    """The parts of a codec: encoder, quantizer and decoder, built from a config. How they are run is `SNAC`'s.

    Constructor arguments and defaults are upstream's; `CodecConfig` explains each.

    Raises:
        ConfigError: the arguments describe no possible network.
    """

    def __init__(  # noqa: PLR0917 - upstream's signature
        self,
        sampling_rate: int = 44_100,
        encoder_dim: int = 64,
        encoder_rates: Sequence[int] = (3, 3, 7, 7),
        latent_dim: int | None = None,
        decoder_dim: int = 1536,
        decoder_rates: Sequence[int] = (7, 7, 3, 3),
        attn_window_size: int | None = 32,
        codebook_size: int = 4096,
        codebook_dim: int = 8,
        vq_strides: Sequence[int] = (8, 4, 2, 1),
        noise: bool = True,  # noqa: FBT001, FBT002 - upstream's signature
        depthwise: bool = True,  # noqa: FBT001, FBT002 - upstream's signature
    ) -> None:
        super().__init__()
        self.config = CodecConfig(
            sampling_rate=sampling_rate,
            encoder_dim=encoder_dim,
            encoder_rates=encoder_rates,  # type: ignore[arg-type]
            latent_dim=latent_dim,
            decoder_dim=decoder_dim,
            decoder_rates=decoder_rates,  # type: ignore[arg-type]
            attn_window_size=attn_window_size,
            codebook_size=codebook_size,
            codebook_dim=codebook_dim,
            vq_strides=vq_strides,  # type: ignore[arg-type]
            noise=noise,
            depthwise=depthwise,
        )
        # Upstream's attributes, for code that reads them.
        self.sampling_rate = self.config.sampling_rate
        self.encoder_dim = self.config.encoder_dim
        self.encoder_rates = list(self.config.encoder_rates)
        self.decoder_dim = self.config.decoder_dim
        self.decoder_rates = list(self.config.decoder_rates)
        self.hop_length = self.config.hop_length
        self.latent_dim = self.config.encoder_dim << len(self.config.encoder_rates)
        self.n_codebooks = self.config.num_levels
        self.codebook_size = self.config.codebook_size
        self.codebook_dim = self.config.codebook_dim
        self.vq_strides = list(self.config.vq_strides)
        self.attn_window_size = self.config.attn_window_size
        self.encoder = Encoder(encoder_dim, self.encoder_rates, depthwise, attn_window_size)
        self.quantizer = ResidualQuantizer(self.latent_dim, codebook_size, codebook_dim, self.vq_strides)
        # Another kind may be put in its place (`decoders`).
        self.decoder: AudioDecoder = Decoder(
            self.latent_dim, decoder_dim, self.decoder_rates, noise, depthwise, attn_window_size
        )

    def preprocess(self, audio_data: torch.Tensor) -> torch.Tensor:
        """Pad (…, T) with zeros at the end to a multiple of `config.padding_multiple` samples."""
        length = audio_data.shape[-1]
        return F.pad(audio_data, (0, self.config.padded_num_samples(length) - length))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are kept in."""
        return next(self.parameters()).dtype

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())
