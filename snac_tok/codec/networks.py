"""Encoder and decoder as a codec holds them: called like upstream's, they run in chunks, threads and folded weights.

Whoever changes a network (hooks, other layers, gradients, compilers) gets the plain forward of `layers`, in which
everything that was put in takes part.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING

import torch

from snac_tok.codec import chunk_sizes, chunks, crew, layers
from snac_tok.codec.as_built import is_as_built_inside
from snac_tok.codec.geometry import Conv
from snac_tok.codec.noise import DrawnNoise, NoiseSource, SeededNoise, checked_noise
from snac_tok.codec.relay import Relay
from snac_tok.codec.stream import StreamState, run_checked_chunk
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from snac_tok.codec.noise import Noise


class Encoder(layers.Encoder):
    """Audio (B, 1, T) to latents (B, C, T / hop)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Encode (B, 1, T), T a multiple of the hop."""
        if not _runs_in_chunks(self, x, least=self.hop_length):
            return super().forward(x)
        size = self.hop_length * chunk_sizes.latents_at_once(self, multiple=self.window_size)
        return _in_chunks(self, x, [*range(0, x.shape[-1], size), x.shape[-1]], None)


class Decoder(layers.Decoder):
    """Latents (B, C, T) to audio (B, 1, T * hop)."""

    def forward(self, x: torch.Tensor, noise: Noise | NoiseSource | None = "random") -> torch.Tensor:
        """Decode (B, C, T); values lie in [-1, 1].

        Args:
            x: latents, as `quantizer.from_codes` gives them.
            noise: "random" draws from torch's global generator as upstream does, "off" or None leaves noise blocks
                out, an int gives the same sound every time; or a source of one's own.

        Raises:
            CodesError: the noise is none of these.
            NetworkError: noise blocks are inside of layers that do not hand noise on, and it is not "random".
        """
        if not _runs_in_chunks(self, x, least=1):
            return super().forward(x, self._handed_on(noise))
        size = chunk_sizes.latents_at_once(self, multiple=self.window_size)
        # The first chunk is longer by what its first layer holds back from the attention, as in `decode_cuts`.
        held_back = 0 if self.window_size == 1 else Conv().padding
        cuts = [0, *range(size + held_back, x.shape[-1], size), x.shape[-1]]
        return _in_chunks(self, x, cuts, self._source(noise, x))

    def _source(self, noise: Noise | NoiseSource | None, x: torch.Tensor) -> NoiseSource | None:
        if not layers.noise_blocks(self):
            return None
        if noise == "random":
            return DrawnNoise.from_global_generator(x, self.rates)
        return _given(noise)

    def _handed_on(self, noise: Noise | NoiseSource | None) -> layers.BlockNoise:
        if isinstance(noise, str) and noise == "random":
            return "random"
        if not torch.compiler.is_compiling():
            there, reached = layers.noise_blocks(self), layers.reached_by_noise(self.model)
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


def _runs_in_chunks(network: layers.Encoder | layers.Decoder, x: torch.Tensor, *, least: int) -> bool:
    """Say whether chunks give what the plain forward gives: an unchanged network, no gradients, no compiler."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or network.training:  # type: ignore[attr-defined, no-untyped-call]
        return False
    weights = list(network.parameters())
    if torch.is_grad_enabled() and (x.requires_grad or any(weight.requires_grad for weight in weights)):
        return False
    fits = x.ndim == 3 and x.shape[-1] >= least and x.shape[0] > 0  # noqa: PLR2004 - (B, C, T)
    alike = fits and all(x.dtype is weight.dtype and x.device == weight.device for weight in weights)
    return alike and is_as_built_inside(network)


@torch.no_grad()
def _in_chunks(
    network: layers.Encoder | layers.Decoder, x: torch.Tensor, cuts: list[int], noise: NoiseSource | None
) -> torch.Tensor:
    """Run (B, C, T) in the chunks between cuts; on a CPU row by row, as codecs do."""
    network.fold_weight_norm()
    apart = x.device.type == "cpu" and (noise is None or isinstance(noise, (DrawnNoise, SeededNoise)))
    groups = torch.split(x, 1) if apart else (x,)
    threads = chunks.num_threads(network)
    jobs = (
        job
        for at, rows in enumerate(groups)
        for job in _jobs(
            network, rows, cuts, noise.row(at) if apart and isinstance(noise, DrawnNoise) else noise
        )
    )
    pieces = list(crew.in_order(jobs, threads=threads))
    count = len(pieces) // len(groups)
    return torch.cat(
        [torch.cat(pieces[at : at + count], dim=-1) for at in range(0, len(pieces), count)], dim=0
    )


def _jobs(
    network: layers.Encoder | layers.Decoder, x: torch.Tensor, cuts: list[int], noise: NoiseSource | None
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a job for each chunk, as `chunks` does; they may run side by side if they begin in order."""
    relay, state = Relay(alone=chunks.num_threads(network) == 1), StreamState()
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        leg, last = relay.leg(state, number), end == cuts[-1]
        yield relay.guarded(
            partial(run_checked_chunk, network, x[..., start:end], leg, last=last, noise=noise)
        )
