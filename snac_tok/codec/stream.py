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
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import nn

from snac_tok.codec.attention import LocalAttention
from snac_tok.codec.layers import (
    Decoder,
    DecoderBlock,
    Encoder,
    EncoderBlock,
    NoiseBlock,
    ResidualUnit,
    Snake,
)
from snac_tok.codec.weight_norm import NormConv1d, NormConvTranspose1d

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
    """
    with full_precision() if isinstance(network, Encoder) else nullcontext():
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


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep cuDNN from rounding float32 convolutions to TF32, as it does by default: codes would not be the CPU's."""
    now = torch.backends.cudnn
    with now.flags(
        enabled=now.enabled, benchmark=now.benchmark, deterministic=now.deterministic, allow_tf32=False
    ):
        yield


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

    def run(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        """Send x through one layer, or through all layers of a block."""
        steps: dict[type, Callable[[Any, torch.Tensor], torch.Tensor]] = {
            nn.Sequential: self._sequence,
            EncoderBlock: self._block,
            DecoderBlock: self._block,
            ResidualUnit: self._residual,
            NormConv1d: self._convolve,
            NormConvTranspose1d: self._upsample,
            LocalAttention: self._attend,
            NoiseBlock: self._add_noise,
            # Pointwise in time: chunks need no joining.
            Snake: _activate,
            nn.Tanh: _activate,
        }
        return steps[type(module)](module, x)

    def _block(self, block: EncoderBlock | DecoderBlock, x: torch.Tensor) -> torch.Tensor:
        return self._sequence(block.block, x)

    def _sequence(self, modules: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
        for module in modules:
            x = self.run(module, x)
        return x

    def _swap(self, kept: torch.Tensor | None) -> None:
        self.state.kept[self.layer] = kept
        self.layer += 1

    def _kept(self) -> torch.Tensor | None:
        if self.layer == len(self.state.kept):
            self.state.kept.append(None)
        return self.state.kept[self.layer]

    def _convolve(self, conv: NormConv1d, x: torch.Tensor) -> torch.Tensor:
        weight = conv.weight
        reach = conv.dilation * (weight.shape[-1] - 1) + 1
        if reach == 1:
            return conv(x) if x.shape[-1] else _empty(x, weight.shape[0])
        if self.ends is not None:
            x = self.ends.silence(x)
        before = self._kept()
        x = _extended(before, x, padding=conv.padding, last=self.last)
        count = max(0, (x.shape[-1] - reach) // conv.stride + 1)
        # A copy: a view would keep the whole chunk alive.
        self._swap(x[..., count * conv.stride :].clone())
        return _convolve_unpadded(conv, weight, x) if count else _empty(x, weight.shape[0])

    def _upsample(self, conv: NormConvTranspose1d, x: torch.Tensor) -> torch.Tensor:
        # Kernel 2s over stride s: inputs i-1 and i make the s outputs from i*s on, so one input is kept.
        if self.ends is not None:
            x = self.ends.silence(x)
        before = self._kept()
        x = x if before is None else torch.cat((before, x), dim=-1) if x.shape[-1] else before
        count = x.shape[-1]
        if not count:
            self._swap(before)
            return _empty(x, conv.out_channels)
        self._swap(x[..., -1:].clone())
        start = conv.padding if before is None else conv.stride
        stop = count * conv.stride + (conv.padding if self.last else 0)
        return conv.unpadded(x)[..., start:stop]

    def _residual(self, unit: ResidualUnit, x: torch.Tensor) -> torch.Tensor:
        before = self._kept()
        # Reserve this unit's place before its convolution takes the next one.
        at, self.layer = self.layer, self.layer + 1
        out = self._sequence(unit.block, x)
        pending = x if before is None else torch.cat((before, x), dim=-1)
        count = out.shape[-1]
        self.state.kept[at] = pending[..., count:].clone()
        return out.add_(pending[..., :count])

    def _attend(self, attention: LocalAttention, x: torch.Tensor) -> torch.Tensor:
        before = self._kept()
        x = x if before is None else torch.cat((before, x), dim=-1)
        count = x.shape[-1] if self.last else x.shape[-1] - x.shape[-1] % attention.window_size
        self._swap(x[..., count:].clone())
        return attention(x[..., :count]) if count else x[..., :0]

    def _add_noise(self, block: NoiseBlock, x: torch.Tensor) -> torch.Tensor:
        layer, self.noise_layer = self.noise_layer, self.noise_layer + 1
        if layer == len(self.state.positions):
            self.state.positions.append(0)
        start = self.state.positions[layer]
        self.state.positions[layer] += x.shape[-1]
        if self.noise is None or not x.shape[-1]:
            return x
        noisy: torch.Tensor = block(x, self.noise.draw(layer, x, start))
        return noisy


def _activate(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    activated: torch.Tensor = module(x)
    return activated


def _convolve_unpadded(conv: NormConv1d, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if conv.dilation == 1 or conv.bias is None:
        return F.conv1d(x, weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)
    # The padded, dilated convolution of a whole clip goes through another kernel on the CPU: six times slower, and
    # it adds the bias last. Adding it last here, too, makes codes equal to the last bit at the faster one's speed.
    out = F.conv1d(x, weight, None, conv.stride, 0, conv.dilation, conv.groups)
    return out.add_(conv.bias[:, None])


def _extended(before: torch.Tensor | None, x: torch.Tensor, *, padding: int, last: bool) -> torch.Tensor:
    """Continue what was kept with x; zeros stand before the clip's start and, in its last chunk, after its end."""
    zeros = x.new_zeros((*x.shape[:-1], padding))
    parts = [zeros if before is None else before, x] + ([zeros] if last else [])
    return torch.cat(parts, dim=-1)


def _empty(x: torch.Tensor, channels: int) -> torch.Tensor:
    return x.new_empty((x.shape[0], channels, 0))
