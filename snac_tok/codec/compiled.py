"""Chunks through compiled graphs, for those who ask for it: `SNAC.compile_chunks`.

A graph is made for one shape of everything that goes in: the chunk, what the layers kept, the noise. What is compiled,
when it comes for the second time, is the steady chunk of a long clip or stream, whose cached state keeps its shape, and
the whole clip (or batch of equally long ones) in one chunk. Starts, ends and what is beyond the limit run uncompiled.
So there is no storm of recompilations, and the report counts the graphs to show it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from snac_tok.codec.context import StepContext
from snac_tok.codec.ops.weight_cache import versions
from snac_tok.codec.state import StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from snac_tok.codec.chunked import ChunkedNetwork
    from snac_tok.codec.noise import NoiseSource

    Step = Callable[
        [torch.Tensor, list[torch.Tensor], list[torch.Tensor | None]],
        tuple[torch.Tensor, list[torch.Tensor | None]],
    ]


@dataclass(frozen=True, kw_only=True)
class CompileReport:
    """What compiled chunks have done so far.

    Attributes:
        shapes: how many shapes were compiled.
        graphs: how many graphs were made for them; more than `shapes` means that something was compiled again.
        compile_seconds: how long that took, first runs included.
        compiled_chunks: how many chunks ran through a graph.
        other_chunks: how many ran as without compilation: starts, ends, first of their shape, beyond the limit.
    """

    shapes: int
    graphs: int
    compile_seconds: float
    compiled_chunks: int
    other_chunks: int

    def __add__(self, other: CompileReport) -> CompileReport:
        """Return the report of both networks of a codec."""
        return CompileReport(**{name: getattr(self, name) + getattr(other, name) for name in vars(self)})


class _Shape(NamedTuple):
    """Everything that a graph is made for."""

    chunk: torch.Size
    dtype: torch.dtype
    device: torch.device
    kept: tuple[int, ...]
    last: bool
    noisy: bool
    inference: bool


class CompiledChunks:
    """The compiled graphs of one network, an encoder's or a decoder's.

    Args:
        network: whose chunks are run.
        limit: how many shapes are compiled at most.
        cuda_graphs: whether to replay a CUDA graph for each shape, on devices that have them.
    """

    def __init__(self, network: ChunkedNetwork, *, limit: int, cuda_graphs: bool) -> None:
        self.network = network
        self.limit = limit
        self.cuda_graphs = cuda_graphs
        self._steps: dict[_Shape, Step] = {}
        self._noise_lengths: dict[_Shape, list[int]] = {}  # of each shape worth a graph
        self._weights: Hashable = None
        self._counts = {"shapes": 0, "graphs": 0, "compiled_chunks": 0, "other_chunks": 0}
        self._seconds = 0.0

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copied or unpickled codec starts without graphs: they belong to this one's weights."""

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        """As for copies."""
        return type(None), ()

    @property
    def report(self) -> CompileReport:
        """What has been done so far."""
        return CompileReport(compile_seconds=self._seconds, **self._counts)

    def run(
        self, x: torch.Tensor, state: StreamState, *, last: bool, noise: NoiseSource | None
    ) -> torch.Tensor:
        """Run a chunk as the network's `step` does, through a graph if its shape has come before."""
        if torch.is_grad_enabled():
            return self.network.step(x, StepContext(x, state, last=last, noise=noise))
        self.network.fold_weight_norm()  # graphs take the folded weights
        self._forget_changed_weights()
        shape = _Shape(
            x.shape,
            x.dtype,
            x.device,
            state.signature(),
            last,
            noise is not None,
            torch.is_inference_mode_enabled(),
        )
        lengths = self._noise_lengths.get(shape)
        if lengths is None or (shape not in self._steps and len(self._steps) >= self.limit):
            return self._run_uncompiled(shape, x, state, noise)
        values = _noise_values(noise, lengths, x, state)
        begin, graphs = time.perf_counter(), _graphs_made()
        held = [None if each is None else _dense(each) for each in state.kept]
        out, kept = self._step(shape)(_dense(x), values, held)
        if (made := _graphs_made() - graphs) > 0:
            self._counts["graphs"] += made
            self._seconds += time.perf_counter() - begin
        self._counts["compiled_chunks"] += 1
        if self.cuda_graphs and x.is_cuda:
            # The next replay writes to the same memory.
            out, kept = out.clone(), [None if each is None else each.clone() for each in kept]
        state.kept = list(kept)
        state.advance_all(lengths)
        return out

    def _run_uncompiled(
        self, shape: _Shape, x: torch.Tensor, state: StreamState, noise: NoiseSource | None
    ) -> torch.Tensor:
        before = list(state.positions)
        out = self.network.step(x, StepContext(x, state, last=shape.last, noise=noise))
        start = before or [0] * len(state.positions)
        whole_clip = shape.last and not shape.kept
        if whole_clip or (state.signature() == shape.kept and not shape.last):
            self._noise_lengths[shape] = [
                now - then for now, then in zip(state.positions, start, strict=True)
            ]
        self._counts["other_chunks"] += 1
        return out

    def _step(self, shape: _Shape) -> Step:
        if shape not in self._steps:
            self._counts["shapes"] += 1
            self._steps[shape] = _compiled_step(self.network, shape, cuda_graphs=self.cuda_graphs)
        return self._steps[shape]

    def _forget_changed_weights(self) -> None:
        """Drop all graphs if a weight was written to, replaced or moved: graphs have them built in."""
        weights = versions(self.network.parameters())
        if weights != self._weights:
            self._weights = weights
            self._steps.clear()


def _compiled_step(network: ChunkedNetwork, shape: _Shape, *, cuda_graphs: bool) -> Step:
    def step(
        x: torch.Tensor, noise: list[torch.Tensor], kept: list[torch.Tensor | None]
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        state = StreamState(kept=list(kept), positions=[0] * len(noise))
        source = _GivenNoise(noise) if shape.noisy else None
        context = StepContext(x, state, last=shape.last, noise=source)
        return network.step(x, context), state.kept

    # Graphs are cached, and their number limited, by code object: each shape has one of its own.
    step.__code__ = step.__code__.replace(co_name=f"chunk_of_{shape.chunk[-1]}")
    # Frozen weights are prepacked once; on a CPU that is worth 10 to 20 %.
    options: dict[str, Any] = {"freezing": True}
    if cuda_graphs and shape.device.type == "cuda":
        options["triton.cudagraphs"] = True
    compiled: Step = torch.compile(step, fullgraph=True, dynamic=False, options=options)
    return compiled


class _GivenNoise:
    """Noise that was drawn before the chunk is run."""

    def __init__(self, values: Sequence[torch.Tensor]) -> None:
        self.values = values

    def draw(self, layer: int, x: torch.Tensor, start: int) -> torch.Tensor:  # noqa: ARG002 - NoiseSource's signature
        return self.values[layer]


def _noise_values(
    noise: NoiseSource | None, lengths: Sequence[int], x: torch.Tensor, state: StreamState
) -> list[torch.Tensor]:
    """Draw each noise block's (B, 1, T) for this chunk."""
    if noise is None:
        return []
    starts = state.positions or [0] * len(lengths)
    rows = x.shape[0]
    return [
        _dense(noise.draw(layer, x.new_empty((rows, 1, length)), start).expand(rows, 1, length))
        for layer, (length, start) in enumerate(zip(lengths, starts, strict=True))
    ]


def _dense(x: torch.Tensor) -> torch.Tensor:
    """Return x with the strides that its shape implies; those of dimensions of one can be others, and graphs mind."""
    return x.reshape(-1).view(x.shape)


def _graphs_made() -> int:
    # Imported here: it takes seconds, and only who compiles needs it.
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]
