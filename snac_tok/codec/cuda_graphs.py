"""One step of a network as a CUDA graph: captured once, replayed on the same memory."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol

import torch

from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tensors = list[torch.Tensor | None]
    Step = Callable[[], tuple[torch.Tensor, Tensors]]


class Device(Protocol):
    """Captures steps and replays them."""

    device: torch.device

    def capture(self, step: Step) -> Step:
        """Return what repeats a step: it reads the same memory, and returns the same tensors."""

    def turn(self) -> AbstractContextManager[None]:
        """Return a context for a replay and everything that touches its inputs and outputs: one after the other."""

    def forget(self) -> None:
        """Notice that nobody holds a captured step any more."""


# torch allows one capture at a time in a process.
_ONE_CAPTURE = threading.Lock()


class CudaGraphs:
    """Captures steps on a GPU. Graphs share their memory, which is why they take turns, whatever stream they run in.

    They are captured in a stream of their own, not in torch's, which is one for the whole process: that belongs to the
    GPU on which it was used first, and a graph that goes takes the stream's cuBLAS workspace with it, which all graphs
    captured there read. For that reason all graphs go together.

    Raises:
        NetworkError: another device.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda":
            raise NetworkError(
                f"the codec is on {device}; CUDA graphs need a GPU: move it there first, with "
                '`codec.to("cuda")`. On a CPU chunks are fastest as they are.'
            )
        self.device = device
        self._failed: list[torch.cuda.CUDAGraph] = []
        self._begin()
        self._lock = threading.Lock()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def capture(self, step: Step) -> Step:
        """Run a step once beside the current stream, so that kernels are compiled and tuned, and capture it then."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            step()
        current.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may use the GPU meanwhile.
            with (
                _ONE_CAPTURE,
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
            ):
                outputs = step()
        except BaseException:
            # torch leaves the stream current if the end of a capture fails, and the pool as it was then.
            torch.cuda.set_stream(current)
            self._failed.append(graph)
            self._begin()
            raise

        def replay() -> tuple[torch.Tensor, Tensors]:
            graph.replay()
            return outputs

        return replay

    def forget(self) -> None:
        """Begin anew: torch takes no pool again whose graphs are gone."""
        self._failed.clear()
        self._pool = torch.cuda.graph_pool_handle()

    def _begin(self) -> None:
        """Take a stream and a pool; the warm-up in this stream keeps cuBLAS' workspace out of the pool."""
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let nobody else replay, on the host or on the device, until this is done."""
        with self._lock, torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            yield
            stream.record_event(self._done)
