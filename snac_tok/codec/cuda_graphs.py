"""One step of a network as a CUDA graph: captured once, replayed on the same memory."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from snac_tok.codec.precision import captured_undisturbed
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tensors = list[torch.Tensor | None]
    Step = Callable[[], tuple[torch.Tensor, Tensors]]

_T = TypeVar("_T")


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
# torch's allocator for pinned memory goes on asking a graph whose capture failed, so none of these may be freed.
_FAILED: list[torch.cuda.CUDAGraph] = []
# cudaErrorMemoryAllocation; cudaErrorNotPermitted, cudaErrorNotSupported, cudaErrorStreamCapture… (driver_types.h).
_NO_MEMORY, _REFUSALS = 2, {800, 801, *range(900, 909)}


# Of cuBLAS and of Triton, which have no class of their own for it.
_NO_MEMORY_TEXTS = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "out of memory")


def is_of_memory(error: BaseException) -> bool:
    """Say whether an error tells that the GPU has too little memory left, which may change."""
    return any(map(_is_of_memory, _with_causes(error)))


def is_of_device(error: BaseException) -> bool:
    """Say whether an error tells that the GPU is in trouble, not that something cannot be captured."""
    known = {_NO_MEMORY, *_REFUSALS}
    return any(
        isinstance(each, torch.AcceleratorError) and getattr(each, "error_code", None) not in known
        for each in _with_causes(error)
    )


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and those that it came on top of: if a step fails, the end of its capture may fail, too."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError) or getattr(error, "error_code", None) == _NO_MEMORY:
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY_TEXTS)


class CudaGraphs:
    """Captures steps on a GPU. Graphs share their memory, which is why they take turns, whatever stream they run in.

    They are captured in a stream of their own, not in torch's, which is one for the whole process: that belongs to the
    GPU on which it was used first. All graphs go together, since torch takes no pool again whose graphs are gone.

    cuBLAS reads and writes a workspace, which torch keeps for each thread and stream in a list of the process. Anybody
    may clear the list (torch.compile does), but a graph goes on using the workspace that was there at its capture:

        warm-up, in a stream of its own ── capture [list cleared ── step, which makes it in the pool ── list cleared]

    So it lies in the pool, which lives as long as the graphs, and no later pool's graphs find it in the list.

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
        self._warm_up_stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._begin()
        self._lock = threading.Lock()
        self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def capture(self, step: Step) -> Step:
        """Run a step once beside the current stream, so that kernels are compiled and tuned, and capture it then."""
        self._warm_up(step)
        with _ONE_CAPTURE:
            try:
                graph, outputs = self._captured(partial(captured_undisturbed, step))
            except BaseException:
                # With torch 2.10 and 2.11 random numbers fail after a failed capture until another ends well.
                with suppress(RuntimeError):
                    self._captured(torch.zeros(1, device=self.device).zero_)
                self.forget()
                raise

        def replay() -> tuple[torch.Tensor, Tensors]:
            graph.replay()
            return outputs

        return replay

    def forget(self) -> None:
        """Begin anew: torch takes no pool again whose graphs are gone."""
        self._pool = torch.cuda.graph_pool_handle()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let nobody else replay, on the host or on the device, until this is done."""
        with self._lock, torch.cuda.device(self.device):
            stream = torch.cuda.current_stream()
            stream.wait_event(self._done)
            try:
                yield
            finally:  # what was queued before a failure still runs
                stream.record_event(self._done)

    def _begin(self) -> None:
        self._stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def _warm_up(self, step: Step) -> None:
        current = torch.cuda.current_stream()
        self._warm_up_stream.wait_stream(current)
        try:
            with torch.cuda.stream(self._warm_up_stream):
                step()
        finally:
            current.wait_stream(self._warm_up_stream)

    def _captured(self, step: Callable[[], _T]) -> tuple[torch.cuda.CUDAGraph, _T]:
        current, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        try:
            with (
                # Other threads may use the GPU meanwhile.
                torch.cuda.graph(
                    graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
                ),
                _new_workspaces(),
            ):
                return graph, step()
        except BaseException:
            torch.cuda.set_stream(current)  # torch leaves the other one current if the end of a capture fails
            self._give_up(graph)
            raise

    def _give_up(self, graph: torch.cuda.CUDAGraph) -> None:
        """Do what torch leaves undone if the end of a capture fails: stop taking memory from the pool, and free it."""
        _FAILED.append(graph)
        device, pool = self.device.index, self._pool
        with suppress(RuntimeError):  # the capture did end, and what failed was the step; or the GPU is lost
            torch._C._cuda_endAllocateToPool(device, pool)  # noqa: SLF001 - as torch's own graphs do
            torch._C._cuda_releasePool(device, pool)  # noqa: SLF001
        with suppress(RuntimeError):
            graph.reset()
        self._begin()


@contextmanager
def _new_workspaces() -> Iterator[None]:
    """Let cuBLAS get its workspaces anew, and leave none behind.

    Inside of the capture: before it begins torch returns free memory to the GPU, and another thread may be about to
    start a product with the workspace that is freed here.
    """
    torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001 - it has no public name
    try:
        yield
    finally:
        torch._C._cuda_clearCublasWorkspaces()  # noqa: SLF001
