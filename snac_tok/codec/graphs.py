"""Chunks that repeat as CUDA graphs, for those who ask for it: `SNAC.use_cuda_graphs`.

A small chunk is hundreds of kernels of a few microseconds each, and launching them one by one takes longer than running
them. A graph launches all of them at once. It is made for one shape of everything that goes in: the chunk, what the
layers kept, the noise. Rows are filled up to a power of two, so that streams which come and go find a graph:

    chunk (5, C, n), what 5 streams keep ──copy──> the graph's own inputs (8, …) ──replay──> first 5 rows ──copy──> out

What is captured, when it comes for the second time, is the steady chunk of a clip or stream, whose state keeps its
shape, and the whole clip in one chunk. Starts, ends, rows of several lengths, large chunks and what is beyond the limit
run as without graphs. `capture_attempts` says when a capture may be tried, `cuda_graphs` does it.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from snac_tok.codec.capture_attempts import CaptureAttempts
from snac_tok.codec.context import StepContext
from snac_tok.codec.cuda_graphs import is_of_device, is_of_memory
from snac_tok.codec.graph_report import GraphReport
from snac_tok.codec.ops.weight_cache import are_packed, packed, versions, weights_of
from snac_tok.codec.state import StreamState, rows_like

if TYPE_CHECKING:
    from collections.abc import Sequence

    from snac_tok.codec.chunked import ChunkedNetwork
    from snac_tok.codec.cuda_graphs import Device, Tensors
    from snac_tok.codec.noise import NoiseSource
    from snac_tok.codec.ops.reference import Precision
    from snac_tok.codec.ops.weight_cache import Matrices

_log = logging.getLogger(__name__)

# Values in the widest activation of a chunk, beyond which launches cost nothing beside the work: a minute and a half of
# 24 kHz. Rows that only fill up would cost there.
MAX_VALUES = 2**27
# For each graph that may be made, how many shapes that came once are remembered.
_REMEMBERED = 16


class _Shape(NamedTuple):
    """Everything that a graph is made for."""

    rows: int
    chunk: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    kept: tuple[int, ...]
    last: bool
    noisy: bool
    precision: Precision


class GraphedChunks:
    """The graphs of one network, an encoder's or a decoder's.

    Args:
        network: whose chunks are run.
        limit: how many graphs are made at most.
        device: what captures them; chunks that are elsewhere run without.
    """

    def __init__(self, network: ChunkedNetwork, *, limit: int, device: Device) -> None:
        self.network = network
        self.device = device
        self._attempts = CaptureAttempts(limit=limit)
        self._graphs: dict[_Shape, _Graph | None] = {}  # None: it could not be captured
        self._noise_lengths: dict[_Shape, list[int]] = {}  # of each shape that may have a graph
        self._versions: tuple[int, ...] = ()  # of the weights that the graphs read
        self._packed: dict[int, Matrices] = {}  # what was made of those weights, and is read, too
        self._seconds = 0.0
        self._replayed = self._others = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copied or unpickled codec starts without graphs: they belong to this one's weights."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """As for copies."""
        return type(None), ()

    @property
    def report(self) -> GraphReport:
        """What has been done so far."""
        return GraphReport(
            graphs=self._count(),
            capture_seconds=self._seconds,
            replayed_chunks=self._replayed,
            other_chunks=self._others,
            frozen=self._attempts.frozen,
        )

    def freeze(self) -> None:
        """Capture no more."""
        self._attempts.frozen = True

    def _count(self) -> int:
        return sum(graph is not None for graph in list(self._graphs.values()))  # others may capture one now

    def run(
        self, x: torch.Tensor, state: StreamState, *, last: bool, noise: NoiseSource | None
    ) -> torch.Tensor:
        """Run a chunk as the network's `step` does, as a graph if its shape has come before."""
        if torch.is_grad_enabled() or x.device != self.device.device or not self._is_small(x):
            return self._run_without(x, state, last=last, noise=noise)
        rows = 1 << (len(x) - 1).bit_length()
        shape = _Shape(
            rows=rows,
            chunk=tuple(x.shape[1:]),
            dtype=x.dtype,
            device=x.device,
            kept=state.signature(),
            last=last,
            noisy=noise is not None,
            precision=self.network.precision,
        )
        lengths = self._noise_lengths.get(shape)
        if lengths is None:
            return self._run_first(shape, x, state, noise)
        with self.device.turn():
            graph = self._graph(shape, x, state, lengths)
            if graph is None:
                return self._run_without(x, state, last=last, noise=noise)
            values = _noise_values(noise, lengths, x, state)
            out, state.kept = graph.run(x, values, state.kept)
        self._replayed += 1
        state.advance_all(lengths)
        return out

    def _is_small(self, x: torch.Tensor) -> bool:
        samples = x.shape[-1] * (1 if x.shape[1] == 1 else self.network.hop_length)
        return 0 < len(x) * samples * self.network.audio_channels <= MAX_VALUES

    def _run_without(
        self, x: torch.Tensor, state: StreamState, *, last: bool, noise: NoiseSource | None
    ) -> torch.Tensor:
        self._others += 1
        context = StepContext(x, state, last=last, noise=noise, precision=self.network.precision)
        return self.network.step(x, context).to(x.dtype)

    def _run_first(
        self, shape: _Shape, x: torch.Tensor, state: StreamState, noise: NoiseSource | None
    ) -> torch.Tensor:
        """Run a chunk without a graph, and remember its shape if it is one that comes again."""
        before = list(state.positions)
        out = self._run_without(x, state, last=shape.last, noise=noise)
        whole_clip = shape.last and not shape.kept
        if whole_clip or (state.signature() == shape.kept and not shape.last):
            start = before or [0] * len(state.positions)
            lengths = [now - then for now, then in zip(state.positions, start, strict=True)]
            with self.device.turn():  # other threads may forget one of theirs meanwhile
                if len(self._noise_lengths) >= _REMEMBERED * max(1, self._attempts.limit):
                    self._noise_lengths.pop(next(iter(self._noise_lengths.keys() - self._graphs.keys())))
                self._noise_lengths[shape] = lengths
        return out

    def _graph(
        self, shape: _Shape, x: torch.Tensor, state: StreamState, lengths: Sequence[int]
    ) -> _Graph | None:
        """Return a shape's graph, captured now if there is none yet; None if there can be none."""
        self._forget_changed_weights()
        graphs = self._count()
        refused = len(self._graphs) - graphs
        if shape not in self._graphs and self._attempts.may_capture(graphs=graphs, refused=refused):
            start = time.perf_counter()
            self._capture(shape, x, state, lengths)
            self._packed |= packed(weights_of(self.network, buffers=True))
            self._seconds += time.perf_counter() - start
        return self._graphs.get(shape)

    def _capture(self, shape: _Shape, x: torch.Tensor, state: StreamState, lengths: Sequence[int]) -> None:
        """Make a shape's graph, or remember that it has none; too little memory says nothing of the shape."""
        try:
            self._graphs[shape] = _Graph(self.network, shape, self.device, x=x, state=state, lengths=lengths)
        except RuntimeError as error:  # what torch raises where something cannot be captured
            if is_of_device(error):
                raise
            if is_of_memory(error):
                self._attempts.lacked_memory()
            else:
                self._graphs[shape] = None
            _log.warning(
                "A chunk of shape %s could not be captured as a CUDA graph (%s); it runs without.",
                tuple(x.shape),
                str(error).partition("\n")[0],
            )

    def _forget_changed_weights(self) -> None:
        """Drop all graphs if a weight was written to, replaced, moved or unfolded: they read the old one's memory."""
        # All that a graph reads but its inputs: weights, folded ones, which are buffers, and prepacked ones.
        now = versions(weights_of(self.network, buffers=True))
        if now != self._versions or not are_packed(self._packed):
            self.network.fold_weight_norm()
            self._versions = versions(weights_of(self.network, buffers=True))
            self._packed = {}
            self._graphs.clear()
            self._attempts.begin_anew()
            self.device.forget()


class _Graph:
    """One graph, and the memory that it reads."""

    def __init__(
        self,
        network: ChunkedNetwork,
        shape: _Shape,
        device: Device,
        *,
        x: torch.Tensor,
        state: StreamState,
        lengths: Sequence[int],
    ) -> None:
        with torch.inference_mode(mode=False):  # they are written to in any mode
            self._x = rows_like(x, shape.rows)
            self._noise = [x.new_zeros((shape.rows, 1, length)) for length in lengths if shape.noisy]
            self._kept = [None if each is None else rows_like(each, shape.rows) for each in state.kept]

        def step() -> tuple[torch.Tensor, Tensors]:
            given = StreamState(kept=list(self._kept), positions=[0] * len(lengths))
            noise = _GivenNoise(self._noise) if shape.noisy else None
            context = StepContext(self._x, given, last=shape.last, noise=noise, precision=shape.precision)
            return network.step(self._x, context).to(x.dtype), given.kept

        # A module may drop what it made from its weights; the graph would read memory that is another's then.
        self._weights = weights_of(network, buffers=True)
        self._replay = device.capture(step)

    def run(
        self, x: torch.Tensor, noise: Sequence[torch.Tensor], kept: Tensors
    ) -> tuple[torch.Tensor, Tensors]:
        """Return the step's output for rows of these, and what they keep then."""
        rows = len(x)
        for own, given in zip((self._x, *self._noise), (x, *noise), strict=True):
            own[:rows].copy_(given)
        inputs = [each[:rows] for each in self._kept if each is not None]
        _copy_all(inputs, [each for each in kept if each is not None])
        out, left = self._replay()
        # The next replay writes to the same memory.
        lasting = [None if each is None else torch.empty_like(each[:rows]) for each in (out, *left)]
        outputs = [each[:rows] for each in (out, *left) if each is not None]
        _copy_all([each for each in lasting if each is not None], outputs)
        return cast("torch.Tensor", lasting[0]), lasting[1:]


def _copy_all(targets: list[torch.Tensor], sources: list[torch.Tensor]) -> None:
    """Copy each source to its target, on a GPU in one kernel instead of one each."""
    if targets:
        torch._foreach_copy_(targets, sources)


class _GivenNoise:
    """Noise that was drawn before the chunk is run."""

    def __init__(self, values: Sequence[torch.Tensor]) -> None:
        self.values = values

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:  # noqa: ARG002 - NoiseSource's signature
        return self.values[layer]


def _noise_values(
    noise: NoiseSource | None, lengths: Sequence[int], x: torch.Tensor, state: StreamState
) -> list[torch.Tensor]:
    """Draw each noise block's (B, 1, T), or (1, 1, T) for all rows, for this chunk."""
    if noise is None:
        return []
    starts = state.positions or [0] * len(lengths)
    return [
        noise.draw(layer, x.new_empty((len(x), 1, length)), start)
        for layer, (length, start) in enumerate(zip(lengths, starts, strict=True))
    ]
