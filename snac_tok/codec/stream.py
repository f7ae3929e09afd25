"""The network in pieces: every layer keeps the end of its input, so chunks join without a seam.

A chunk may have any length. Each convolution sees its input continued, not cut: zeros stand only before the
clip's true start and after its true end, at every layer, as they do when the whole clip is run at once. The
outputs are therefore those of the whole clip, each computed once, as soon as all of its context is there:

    chunk 1          |aaaaaaaaaaaa|
    chunk 2                  tail>|bbbbbbbbbbbb|
    conv input  zeros|aaaaaaaaaaaa|
                           |aaaaaa|bbbbbbbbbbbb|               tail of a, then b
                                         |bbbbb|zeros          at the end of the clip
    output           |AAAAAAAAA|BBBBBBBBBBBB|BBB|              lags by the padding until the end

This is how long clips, streams and many streams at once are run, and why memory does not grow with the clip.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from snac_tok.codec import dense, kernels
from snac_tok.codec.as_built import check_as_built
from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.layers import (
    Decoder,
    DecoderBlock,
    Encoder,
    EncoderBlock,
    Layers,
    NoiseBlock,
    ResidualUnit,
    Snake,
)
from snac_tok.codec.precision import full_precision
from snac_tok.codec.weight_norm import NormConv1d, NormConvTranspose1d

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from snac_tok.codec.noise import NoiseSource


@dataclass
class StreamState:
    """What the layers of one network keep between chunks, in the order in which they run.

    Attributes:
        kept: per stateful layer, the end of its input (B, C, n); None before its first input.
        positions: per noise block, the absolute position of its next output.
    """

    kept: list[torch.Tensor | None] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)

    def take(self, layer: int) -> torch.Tensor | None:
        """Return what a layer has kept; a pass asks for the layers in their order."""
        self.kept += [None] * (layer + 1 - len(self.kept))
        return self.kept[layer]

    def put(self, layer: int, kept: torch.Tensor | None) -> None:
        """Keep this for the layer's next chunk."""
        self.kept[layer] = kept

    def move(self, noise_layer: int, length: int) -> int:
        """Return the position of a noise block's next output, and go on by `length`."""
        if noise_layer == len(self.positions):
            self.positions.append(0)
        self.positions[noise_layer] += length
        return self.positions[noise_layer] - length

    def fork(self) -> StreamState:
        """Return an independent continuation; cheap, because kept tensors are replaced and never written to."""
        return StreamState(kept=copy.copy(self.kept), positions=copy.copy(self.positions))

    def advance(self, lengths: Sequence[int]) -> None:
        """Count what each noise block has put out."""
        before = self.positions or [0] * len(lengths)
        self.positions = [position + length for position, length in zip(before, lengths, strict=True)]

    def signature(self) -> tuple[int, ...]:
        """Return the lengths of what is kept: clips of one signature can be advanced in one call."""
        return tuple(-1 if kept is None else kept.shape[-1] for kept in self.kept)

    @classmethod
    def joined(cls, rows: Sequence[StreamState]) -> StreamState:
        """Stack the states of clips of one signature into one of a batch, whose positions count from here."""
        columns = zip(*(row.kept for row in rows), strict=True)
        kept = [None if column[0] is None else torch.cat(column) for column in columns]
        return cls(kept=kept, positions=[0] * len(rows[0].positions))

    def take_row(self, batch: StreamState, at: int) -> None:
        """Go on as row `at` of a batch that `joined` made and a chunk was run through."""
        self.kept = [None if kept is None else kept[at : at + 1] for kept in batch.kept]
        self.advance(batch.positions)


def run_chunk(
    network: Encoder | Decoder,
    x: torch.Tensor,
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None = None,
    valid: Sequence[int] | None = None,
) -> torch.Tensor:
    """Run the next chunk (B, C, n) of a clip through a network.

    Args:
        network: an encoder (audio in, latents out) or a decoder (latents in, audio out).
        x: the clip's next samples or latents; n may be 0.
        state: a new `StreamState()` for a new clip; changed in place.
        last: whether the clip ends with this chunk.
        noise: as the decoder's forward takes it.
        valid: where rows are clips of several lengths, run whole: how many of the n each row really has, whole
            attention windows. Everything behind is kept at zero in front of every layer that could see it.

    Returns:
        all outputs that are final now and were not before (B, C', m), m possibly 0.

    Raises:
        NetworkError: a clip begins, and the network is not as it was built.
    """
    if not state.kept:
        check_as_built(network)
    return run_checked_chunk(network, x, state, last=last, noise=noise, valid=valid)


def run_checked_chunk(
    network: Encoder | Decoder,
    x: torch.Tensor,
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None = None,
    valid: Sequence[int] | None = None,
) -> torch.Tensor:
    """Run a chunk as `run_chunk` does, through a network of which everything inside is known to be as built."""
    with full_precision(x, compiled=network.compiled is not None):
        if network.compiled is not None and valid is None:
            return network.compiled.run(x, state, last=last, noise=noise)
        return run_layers(network, x, state, last=last, noise=noise, valid=valid)


def run_layers(
    network: Encoder | Decoder,
    x: torch.Tensor,
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None = None,
    valid: Sequence[int] | None = None,
) -> torch.Tensor:
    """Run a chunk as `run_chunk` does, layer by layer, in whatever precision is set."""
    ends = None if valid is None else RowEnds(x, valid)
    layers = network.block if isinstance(network, Encoder) else network.model
    return _Pass(state, last=last, noise=noise, ends=ends).run(layers, x)


class RowEnds:
    """Where each row of a padded batch ends, at whatever rate a layer runs."""

    def __init__(self, x: torch.Tensor, valid: Sequence[int]) -> None:
        self.total = x.shape[-1]
        self.valid = torch.tensor(valid, device=x.device)[:, None, None]  # (B, 1, 1)

    def silence(self, x: torch.Tensor) -> torch.Tensor:
        """Return x (B, C, n) with zeros behind the end of each row."""
        behind = torch.arange(x.shape[-1], device=x.device) >= self.valid * x.shape[-1] // self.total
        return x.masked_fill(behind, 0.0)


class _Pass:
    """One chunk's way through the layers; counts the stateful ones as it meets them."""

    def __init__(
        self, state: StreamState, *, last: bool, noise: NoiseSource | None, ends: RowEnds | None
    ) -> None:
        self.state = state
        self.ends = ends
        self.last = last
        self.noise = noise
        self.layer = 0
        self.noise_layer = 0
        self.snake: Snake | None = None

    def run(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Send x through one layer, or through all layers of a block."""
        steps: dict[type, Callable[[Any, torch.Tensor], torch.Tensor]] = {
            nn.Sequential: self._sequence,
            Layers: self._sequence,
            EncoderBlock: self._block,
            DecoderBlock: self._block,
            ResidualUnit: self._residual,
            Snake: self._hold,
            NormConv1d: self._convolve,
            NormConvTranspose1d: self._upsample,
            LocalAttention: self._attend,
            NoiseBlock: self._add_noise,
            nn.Tanh: _activate,
            nn.Identity: _activate,
        }
        return steps[type(module)](module, x)

    def _block(self, block: EncoderBlock | DecoderBlock, x: torch.Tensor) -> torch.Tensor:
        return self._sequence(block.block, x)

    def _sequence(self, modules: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        for module in modules:
            x = self.run(module, x)
        return x

    def _hold(self, snake: Snake, x: torch.Tensor) -> torch.Tensor:
        """Leave a Snake to the convolution behind it (there always is one), which writes it to where it reads."""
        self.snake = snake
        return x

    def _held(self) -> Snake | None:
        snake, self.snake = self.snake, None
        return snake

    def _next_layer(self) -> int:
        self.layer += 1
        return self.layer - 1

    def _convolve(self, conv: NormConv1d, x: torch.Tensor) -> torch.Tensor:
        weight = conv.weight
        (stride,), (padding,), (dilation,) = conv.stride, conv.padding, conv.dilation
        reach = dilation * (weight.shape[-1] - 1) + 1
        if reach == 1:
            x = self._extended(x, 0, end=0)
            return dense.pointwise(x, weight, conv.bias) if x.shape[-1] else _empty(x, weight.shape[0])
        layer = self._next_layer()
        before = self.state.take(layer)
        start = padding if before is None else before
        x = self._extended(self._silenced(x), start, end=padding if self.last else 0)
        count = max(0, (x.shape[-1] - reach) // stride + 1)
        # A copy: a view would keep the whole chunk alive.
        self.state.put(layer, x[..., count * stride :].clone())
        return _convolve_unpadded(conv, weight, x) if count else _empty(x, weight.shape[0])

    def _upsample(self, conv: NormConvTranspose1d, x: torch.Tensor) -> torch.Tensor:
        # Kernel 2s over stride s: inputs i-1 and i make the s outputs from i*s on, so one input is kept.
        layer = self._next_layer()
        before = self.state.take(layer)
        x = self._extended(self._silenced(x), 1 if before is None else before, end=int(self.last))
        # A clip without any input yet has no last one to keep, and still ends with nothing.
        if x.shape[-1] < 2 + (before is None and self.last):
            self.state.put(layer, before)
            return _empty(x, conv.out_channels)
        self.state.put(layer, x[..., -1:].clone())
        out = conv.between(x)
        (stride,), (padding,) = conv.stride, conv.padding
        start = padding if before is None else 0
        return out[..., start : out.shape[-1] - (stride - padding if self.last else 0)]

    def _extended(self, x: torch.Tensor, start: torch.Tensor | int, *, end: int) -> torch.Tensor:
        return kernels.extended(self._held(), x, start, end=end)

    def _silenced(self, x: torch.Tensor) -> torch.Tensor:
        # A Snake that is still to come leaves zeros zero.
        return x if self.ends is None else self.ends.silence(x)

    def _residual(self, unit: ResidualUnit, x: torch.Tensor) -> torch.Tensor:
        # Reserve this unit's place before its convolution takes the next one.
        layer = self._next_layer()
        out = self._sequence(unit.block, x)
        self.state.put(layer, kernels.add_delayed(out, self.state.take(layer), x))
        return out

    def _attend(self, attention: LocalAttention, x: torch.Tensor) -> torch.Tensor:
        layer = self._next_layer()
        before = self.state.take(layer)
        x = x if before is None else torch.cat((before, x), dim=-1)
        count = x.shape[-1] if self.last else x.shape[-1] - x.shape[-1] % attention.window_size
        self.state.put(layer, x[..., count:].clone())
        return attention(x[..., :count]) if count else x[..., :0]

    def _add_noise(self, block: NoiseBlock, x: torch.Tensor) -> torch.Tensor:
        layer, self.noise_layer = self.noise_layer, self.noise_layer + 1
        start = self.state.move(layer, x.shape[-1])
        if self.noise is None or not x.shape[-1]:
            return x
        scale = dense.pointwise(x, block.linear.weight, None)
        return torch.addcmul(x, scale, self.noise.draw(layer, x, start), out=scale)


def _activate(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    activated: torch.Tensor = module(x)
    return activated


def _convolve_unpadded(conv: NormConv1d, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if conv.groups > 1:
        return kernels.depthwise(x, weight, conv.bias, conv.dilation[0])
    return dense.convolve(x, weight, conv.bias, stride=conv.stride[0], dilation=conv.dilation[0])


def _empty(x: torch.Tensor, channels: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], channels, 0))
