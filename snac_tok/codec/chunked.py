"""One network, encoder or decoder, run in chunks: how long they are, which may run side by side, and the run itself.

Results are those of the plain forward on the whole clip. Gradients are not recorded here.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch

from snac_tok.codec.as_built import Structure, check_as_built, is_as_built_inside
from snac_tok.codec.context import StepContext
from snac_tok.codec.folding import Foldable, weights_sha256
from snac_tok.codec.noise import DrawnNoise, SeededNoise
from snac_tok.codec.precision import in_full_precision
from snac_tok.codec.state import StreamState
from snac_tok.codec.threads import Pipeline, run_in_order
from snac_tok.codec.tracing import is_traced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from snac_tok.codec.geometry import Reach
    from snac_tok.codec.noise import Noise, NoiseSource
    from snac_tok.codec.ops.reference import Precision

# Values in the widest activation of a chunk. On a CPU a chunk's activations should stay in its caches, and small
# enough for the allocator to reuse their memory (docs/performance.md); on a GPU they should fill it.
CPU_VALUES = 1_200_000
GPU_VALUES = 256_000_000


class ChunkRunner(Protocol):
    """Runs a network's chunks otherwise than layer by layer: as graphs."""

    def run(
        self, x: torch.Tensor, state: StreamState, *, last: bool, noise: NoiseSource | None
    ) -> torch.Tensor:
        """Run the next chunk as `ChunkedNetwork.step` does."""
        ...


class ChunkedNetwork(Foldable):
    """An encoder or decoder: its `forward` takes a whole clip, its `step` the next chunk of one.

    Attributes:
        hop_length: samples of a latent.
        audio_channels: of the activation at the audio's rate, the largest of a chunk.
        graphs: what runs the chunks instead of `step`, on a GPU; the codec sets it.
        precision: of float32 products on a GPU; the codec sets it.
        structures: what the network was built of.
    """

    hop_length: int
    audio_channels: int
    graphs: ChunkRunner | None = None
    precision: Precision = "fp32"
    structures: frozenset[Structure] = frozenset()

    def step(self, x: torch.Tensor, context: StepContext) -> torch.Tensor:
        """Return all outputs that are final with the next chunk (B, C, n) and were not before, (B, C', m)."""
        raise NotImplementedError


class AudioDecoder(ChunkedNetwork):
    """What makes sound of a codec's latents: the codec's own decoder, or one of another kind in its place.

    Whoever decodes goes through these few members, so every kind of decoder takes clips, batches and streams alike:
    `forward` a whole clip, `step` the next chunk of one, with the same result.

    Attributes:
        window_size: latents of one attention window, 1 for none.
    """

    window_size: int = 1

    def forward(self, x: torch.Tensor, noise: Noise | NoiseSource | None = "random") -> torch.Tensor:
        """Decode latents (B, C, T) to audio (B, 1, T * hop) in [-1, 1]; noise as `SNAC.decode` takes it."""
        raise NotImplementedError

    @property
    def influence(self) -> Reach:
        """Which samples one latent changes, relative to the start of its own hop; streams lag by it."""
        raise NotImplementedError

    def sha256(self) -> str:
        """A digest of the weights' names, shapes and values."""
        return weights_sha256(self)


def run_chunk(
    network: ChunkedNetwork,
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
    network: ChunkedNetwork,
    x: torch.Tensor,
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None = None,
    valid: Sequence[int] | None = None,
) -> torch.Tensor:
    """Run a chunk as `run_chunk` does, through a network of which everything inside is known to be as built."""
    for attempt in in_full_precision(x, state):
        with attempt:
            found = run_layers(network, x, state, last=last, noise=noise, valid=valid)
    return found


def run_layers(
    network: ChunkedNetwork,
    x: torch.Tensor,
    state: StreamState,
    *,
    last: bool,
    noise: NoiseSource | None = None,
    valid: Sequence[int] | None = None,
) -> torch.Tensor:
    """Run a chunk as `run_chunk` does, through a network that is known to be as built, in the precision set."""
    if network.graphs is not None and valid is None:
        return network.graphs.run(x, state, last=last, noise=noise)
    # A backend may compute in more bits than the weights have.
    context = StepContext(x, state, last=last, noise=noise, valid=valid, precision=network.precision)
    return network.step(x, context).to(x.dtype)


def num_threads(network: ChunkedNetwork) -> int:
    """Return how many chunks may run side by side: as many as torch has threads, where each needs one alone."""
    on_cpu = next(network.parameters()).device.type == "cpu"
    return torch.get_num_threads() if on_cpu and not is_traced() else 1


def chunk_latents(
    network: ChunkedNetwork, *, multiple: int, rows: int = 1, chunk_values: int | None = None
) -> int:
    """Return how many latents make one chunk.

    Args:
        network: an encoder or decoder.
        multiple: of which the number is one.
        rows: that run at once and share a GPU's memory; on a CPU clips run row by row.
        chunk_values: in the largest activation of a row; None for what suits the device.
    """
    if chunk_values is None:
        on_cpu = next(network.parameters()).device.type == "cpu"
        chunk_values = CPU_VALUES if on_cpu else GPU_VALUES // max(1, rows)
    return max(1, chunk_values // (network.audio_channels * network.hop_length * multiple)) * multiple


def runs_in_chunks(network: ChunkedNetwork, x: torch.Tensor, *, least: int) -> bool:
    """Say whether chunks give what the plain forward gives: an unchanged network, no gradients, no compiler."""
    if is_traced() or torch.jit.is_tracing() or network.training:  # type: ignore[attr-defined, no-untyped-call]
        return False
    weights = list(network.parameters())
    if torch.is_grad_enabled() and (x.requires_grad or any(weight.requires_grad for weight in weights)):
        return False
    fits = x.ndim == 3 and x.shape[-1] >= least and x.shape[0] > 0  # noqa: PLR2004 - (B, C, T)
    alike = fits and all(x.dtype is weight.dtype and x.device == weight.device for weight in weights)
    return alike and is_as_built_inside(network)


@torch.no_grad()
def run_whole(
    network: ChunkedNetwork, x: torch.Tensor, cuts: Sequence[int], noise: NoiseSource | None = None
) -> torch.Tensor:
    """Run whole clips (B, C, T) in the chunks between cuts (both ends included); on a CPU row by row, as codecs do."""
    apart = x.device.type == "cpu" and (noise is None or isinstance(noise, (DrawnNoise, SeededNoise)))
    groups = torch.split(x, 1) if apart else (x,)
    threads = num_threads(network)
    jobs = (
        job
        for at, rows in enumerate(groups)
        for job in _jobs(
            network, rows, cuts, noise.row(at) if apart and isinstance(noise, DrawnNoise) else noise
        )
    )
    pieces = run_in_order(jobs, threads=threads)
    clips = [torch.cat(list(itertools.islice(pieces, len(cuts) - 1)), dim=-1) for _ in groups]
    return torch.cat(clips)


def _jobs(
    network: ChunkedNetwork, x: torch.Tensor, cuts: Sequence[int], noise: NoiseSource | None
) -> Iterator[Callable[[], torch.Tensor]]:
    """Yield a job for each chunk of a clip; they may run side by side if they begin in order."""
    pipeline = Pipeline(StreamState(), threads=num_threads(network))
    for start, end in itertools.pairwise(cuts):
        part, last = x[..., start:end], end == cuts[-1]
        yield pipeline.job(partial(run_checked_chunk, network, part, last=last, noise=noise))
