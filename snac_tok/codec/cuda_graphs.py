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


class CudaGraphs:
    """Captures steps on a GPU. Graphs share their memory, which is why they take turns, whatever stream they run in.

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
        self._pool = torch.cuda.graph_pool_handle()
        self._lock = threading.Lock()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def capture(self, step: Step) -> Step:
        """Run a step once beside the current stream, so that kernels are compiled and tuned, and capture it then."""
        current = torch.cuda.current_stream()
        beside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        beside.wait_stream(current)
        with torch.cuda.stream(beside):
            step()
        current.wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the GPU meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            outputs = step()

        def replay() -> tuple[torch.Tensor, Tensors]:
            graph.replay()
            return outputs

        return replay

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let nobody else replay, on the host or on the device, until this is done."""
        with self._lock, torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            yield
            stream.record_event(self._done)
