"""A decoder of Vocos' kind: ConvNeXt blocks at the rate of the latents, then one inverse Fourier transform.

It makes sound from a codec's latents as the codec's own decoder does (`chunked.AudioDecoder`), at a fraction of the
work, because nothing in it runs at the rate of the sound (Siuzdak 2023, arXiv 2306.00814). Names of layers and weights
are those of the paper's code, its `VocosBackbone` under `backbone` and its `ISTFTHead` (padding "same") under `head`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec import checkpoint
from snac_tok.codec.as_built import structures
from snac_tok.codec.chunked import AudioDecoder, chunk_latents, run_whole, runs_in_chunks
from snac_tok.codec.geometry import Reach
from snac_tok.codec.vocos_config import KERNEL_SIZE, VocosConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from snac_tok.codec.context import StepContext
    from snac_tok.codec.noise import Noise, NoiseSource

# What the paper's code cuts magnitudes at, and its layer norm's epsilon.
_MOST_MAGNITUDE = 1e2
_EPSILON = 1e-6
# Of the initial weights.
_DEVIATION = 0.02


class Conv(nn.Conv1d):
    """A convolution of kernel 7 that sees `lookahead` positions ahead and the rest behind; it keeps the length."""

    def __init__(self, in_channels: int, out_channels: int, *, lookahead: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, KERNEL_SIZE, groups=groups)
        self.lookahead = lookahead

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C_in, T) to (B, C_out, T)."""
        return super().forward(F.pad(x, (KERNEL_SIZE - 1 - self.lookahead, self.lookahead)))

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Convolve the next (B, C_in, n) of a clip; returns what is final, (B, C_out, m)."""
        ops, x = context.ops, _continued(x, context, KERNEL_SIZE, lookahead=self.lookahead)
        if x.shape[-1] < KERNEL_SIZE:
            return x.new_empty((x.shape[0], self.out_channels, 0))
        return ops.conv1d(x, self.weight, self.bias, groups=self.groups)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, layer norm, two linear layers with a GELU between them; added to the input."""

    def __init__(self, dim: int, intermediate_dim: int, *, scale: float, lookahead: int) -> None:
        super().__init__()
        self.dwconv = Conv(dim, dim, lookahead=lookahead, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=_EPSILON)
        self.pwconv1 = nn.Linear(dim, intermediate_dim)
        self.pwconv2 = nn.Linear(intermediate_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Refine (B, C, T)."""
        rows = self.norm(self.dwconv(x).transpose(1, 2))
        rows = self.gamma * self.pwconv2(F.gelu(self.pwconv1(rows)))
        refined: torch.Tensor = x + rows.transpose(1, 2)
        return refined

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Refine the next (B, C, n) of a clip."""
        linear, slot = context.ops.linear, context.next_slot()
        added = x if (before := context.state.read(slot)) is None else torch.cat((before, x), dim=-1)
        rows = _normed(self.norm, self.dwconv.step(x, context))
        count = rows.shape[1]
        context.state.write(slot, added[..., count:].clone())
        if not count:
            return x[..., :0]
        rows = F.gelu(linear(rows, self.pwconv1.weight, self.pwconv1.bias))
        rows = linear(rows, self.pwconv2.weight, self.pwconv2.bias) * self.gamma
        return added[..., :count] + rows.transpose(1, 2)


class Backbone(nn.Module):
    """Latents (B, C, T) to what the head makes sound of, (B, T, dim)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        dim, ahead = config.dim, config.lookahead
        self.embed = Conv(config.input_channels, dim, lookahead=ahead)
        self.norm = nn.LayerNorm(dim, eps=_EPSILON)
        scale = 1 / config.num_layers
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, config.intermediate_dim, scale=scale, lookahead=ahead)
            for _ in range(config.num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=_EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run (B, C, T) through the blocks."""
        x = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x = block(x)
        rows: torch.Tensor = self.final_layer_norm(x.transpose(1, 2))
        return rows

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Run the next (B, C, n) of a clip through the blocks."""
        x = _normed(self.norm, self.embed.step(x, context)).transpose(1, 2)
        for block in cast("Iterable[ConvNeXtBlock]", self.convnext):
            x = block.step(x, context)
        return _normed(self.final_layer_norm, x)


class ISTFT(nn.Module):
    """Overlap-add of windowed frames, divided by what the windows of the frames that are there add up to.

    Half of what frames are longer than a hop is cut from both ends of a clip, so that T frames make T hops. A hop
    of sound then depends on as many frames before its own as behind it: overlap-add is a convolution over frames.

        frame 0    |    ____----____    |
        frame 1         |    ____----____    |
        sound      ·····|hop 0|hop 1|·····          n_fft = 3 hops: one frame on either side
    """

    window: torch.Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft))

    @property
    def reach(self) -> int:
        """How many frames before and behind its own a hop of sound depends on."""
        return self.n_fft // self.hop_length // 2

    def frames(self, spectra: torch.Tensor) -> torch.Tensor:
        """Return the windowed frames of complex spectra (B, T, F), whole hops long, and a 1 behind each: (B, C, T)."""
        window = self.window.float()
        if not spectra.shape[1]:  # which FFTs refuse
            frames = window.expand(*spectra.shape[:2], -1)
        else:
            frames = torch.fft.irfft(spectra, self.n_fft, dim=-1) * window
        frames = F.pad(self._whole_hops(frames), (0, 1), value=1.0)
        return frames.transpose(1, 2)

    def overlapped(self, frames: torch.Tensor) -> torch.Tensor:
        """Return the sound (B, 1, n) of what `frames` returned, with zeros where a clip has no frames."""
        rows, hop = frames.transpose(1, 2), self.hop_length
        window = self._whole_hops(self.window.float()).square()
        kernel = 2 * self.reach + 1
        count = rows.shape[1] - kernel + 1
        sound = weight = torch.zeros((), device=rows.device)
        for part in range(kernel):
            at, piece = kernel - 1 - part, slice(part * hop, (part + 1) * hop)
            some = rows[:, at : at + count]
            sound = sound + some[..., piece]
            # The last value of a frame is 1; before a clip, and behind it, it is 0.
            weight = weight + some[..., -1:] * window[piece]
        # Behind a row's end there is nothing to divide.
        return (sound / torch.where(weight > 0, weight, 1.0)).flatten(1)[:, None]

    def _whole_hops(self, frames: torch.Tensor) -> torch.Tensor:
        """Return frames (…, n_fft) with half a hop of zeros at both ends if they are an even number of hops long."""
        missing = (2 * self.reach + 1) * self.hop_length - self.n_fft
        return F.pad(frames, (missing // 2, missing - missing // 2))


class Head(nn.Module):
    """What the backbone gives to sound: log-magnitudes and phases of frames, then the inverse transform."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.out = nn.Linear(config.dim, config.n_fft + 2)
        self.istft = ISTFT(config.n_fft, config.hop_length)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Make (B, T, dim) to sound (B, 1, T * hop)."""
        reach = self.istft.reach
        frames = self.istft.frames(_spectra(self.out(rows)))
        return self.istft.overlapped(F.pad(frames, (reach, reach))).clamp(-1.0, 1.0)

    def step(self, rows: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Make the next (B, n, dim) of a clip to the sound (B, 1, m) that is final then."""
        reach = self.istft.reach
        frames = _spectra(context.ops.linear(rows, self.out.weight, self.out.bias))
        x = _continued(self.istft.frames(frames), context, 2 * reach + 1, lookahead=reach)
        if x.shape[-1] <= 2 * reach:
            return x.new_empty((x.shape[0], 1, 0))
        return self.istft.overlapped(x).clamp_(-1.0, 1.0)


class VocosDecoder(AudioDecoder):
    """Latents (B, C, T) to audio (B, 1, T * hop), as `VocosConfig` describes it.

    Example:
        >>> config = VocosConfig(sampling_rate=24_000, input_channels=256, hop_length=512, n_fft=2048)
        >>> VocosDecoder(config)(torch.zeros(1, 256, 3)).shape
        torch.Size([1, 1, 1536])
    """

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.config = config
        self.hop_length = config.hop_length
        # The widest activation of a chunk, as channels at the audio's rate.
        widest = max(config.intermediate_dim, config.n_fft + config.hop_length + 1)
        self.audio_channels = -(-widest // config.hop_length)
        self.backbone = Backbone(config)
        self.head = Head(config)
        for module in self.modules():
            if isinstance(module, (nn.Conv1d, nn.Linear)):
                nn.init.trunc_normal_(module.weight, std=_DEVIATION)
                nn.init.zeros_(cast("torch.Tensor", module.bias))
        self.structures = structures(self)

    def forward(self, x: torch.Tensor, noise: Noise | NoiseSource | None = "random") -> torch.Tensor:  # noqa: ARG002 - AudioDecoder's signature
        """Decode (B, C, T); values lie in [-1, 1]. There is nothing in it that takes noise."""
        if not runs_in_chunks(self, x, least=1):
            audio: torch.Tensor = self.head(self.backbone(x))
            return audio
        size = chunk_latents(self, multiple=1, rows=len(x))
        return run_whole(self, x, [*range(0, x.shape[-1], size), x.shape[-1]])

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Decode the next latents (B, C, n) of a clip to the samples (B, 1, m) that are final then."""
        return self.head.step(self.backbone.step(x, context), context)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json and model.safetensors into `folder`, each complete or not at all.

        Raises:
            CheckpointError: the folder or a file cannot be written.
        """
        checkpoint.write_files(folder, config=self.config, weights=self.state_dict(), legacy=False)

    @property
    def influence(self) -> Reach:
        """Which samples one latent changes, relative to the start of its own hop: every layer's reach, added up."""
        convolutions, reach = 1 + self.config.num_layers, self.head.istft.reach
        ahead = convolutions * self.config.lookahead + reach
        behind = convolutions * (KERNEL_SIZE - 1 - self.config.lookahead) + reach
        return Reach(first=-ahead * self.hop_length, last=(behind + 1) * self.hop_length - 1)


def _continued(x: torch.Tensor, context: StepContext, kernel_size: int, *, lookahead: int) -> torch.Tensor:
    """Return the next (B, C, n) behind what was kept of a clip, zeros at its ends; keep what the next chunk needs."""
    slot, state = context.next_slot(), context.state
    before = state.read(slot)
    start = kernel_size - 1 - lookahead if before is None else before
    x = context.ops.extend(context.mask_padding(x), None, start, lookahead if context.last else 0)
    # A copy: a view would keep the whole chunk alive.
    state.write(slot, x[..., max(0, x.shape[-1] - kernel_size + 1) :].clone())
    return x


def _normed(norm: nn.LayerNorm, x: torch.Tensor) -> torch.Tensor:
    """Normalize (B, C, T) over its channels: (B, T, C), in float32 where activations are."""
    rows = x.transpose(1, 2)
    weight, bias = norm.weight.to(rows.dtype), norm.bias.to(rows.dtype)
    return F.layer_norm(rows, norm.normalized_shape, weight, bias, norm.eps)


def _spectra(rows: torch.Tensor) -> torch.Tensor:
    """Return the complex spectra (B, T, F) of log-magnitudes and phases (B, T, 2F)."""
    log_magnitude, phase = rows.float().chunk(2, dim=-1)
    return torch.polar(log_magnitude.exp().clamp(max=_MOST_MAGNITUDE), phase)
