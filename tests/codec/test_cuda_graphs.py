"""How steps are captured on a GPU, with a stand-in for CUDA's calls: in which stream, and what a failure leaves."""

import gc
import threading
import time
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch

from snac_tok.codec import cuda_graphs
from snac_tok.codec.cuda_graphs import CudaGraphs

CARD = torch.device("cuda", 1)


class Stream:
    """Knows its device."""

    def __init__(self, device=None):
        self.device = device

    def wait_stream(self, other):
        """Here nothing runs by itself."""


class Graph:
    """Replays nothing."""

    resets = 0

    def replay(self):
        """Do nothing."""

    def reset(self):
        """Count how often."""
        self.resets += 1


class Binding:
    """What torch does not name in public: notes what is done to pools and workspaces, and when."""

    def __init__(self):
        self.order, self.recording, self.uses = [], set(), Counter()

    def _cuda_clearCublasWorkspaces(self):  # noqa: N802 - torch's name
        self.order.append("clear")

    def _cuda_endAllocateToPool(self, device, pool):  # noqa: N802 - torch's name
        assert device == CARD.index
        if pool not in self.recording:
            raise RuntimeError("endAllocatePool: not currently recording to mempool_id")
        self.recording.remove(pool)

    def _cuda_releasePool(self, device, pool):  # noqa: N802 - torch's name
        assert device == CARD.index
        self.uses[pool] -= 1


class Cuda(SimpleNamespace):
    """Keeps which stream is current; as in torch, one that a failed capture leaves behind stays so.

    Attributes:
        ends: whether the next capture ends as it should.
    """

    def __init__(self, binding):
        super().__init__(Stream=Stream, CUDAGraph=Graph, Event=object, device=lambda _: nullcontext())
        self.binding, self.ends = binding, True
        self.local, self.captures, self.running, self.most = threading.local(), [], 0, 0
        self.pools = iter(range(99))
        self.main = Stream(CARD)

    def current_stream(self):
        """Each thread has its own."""
        return getattr(self.local, "stream", self.main)

    def set_stream(self, stream):
        """Make it current."""
        self.local.stream = stream

    def graph_pool_handle(self):
        """Each is another."""
        return next(self.pools)

    @contextmanager
    def stream(self, stream):
        """Make it current for a while."""
        before = self.current_stream()
        self.set_stream(stream)
        yield
        self.set_stream(before)

    @contextmanager
    def graph(self, graph, *, pool, stream, capture_error_mode):
        """Capture; what fails leaves the stream current."""
        assert capture_error_mode == "thread_local"
        self.captures.append((stream, pool, weakref.ref(graph)))
        self.binding.order.append("begin")
        assert pool not in self.binding.recording
        self.binding.recording.add(pool)
        self.binding.uses[pool] += 1
        self.running += 1
        self.most = max(self.most, self.running)
        before = self.current_stream()
        self.set_stream(stream)
        try:
            yield
        finally:
            self.running -= 1
            ends, self.ends = self.ends, True
            if not ends:
                raise RuntimeError("operation failed due to a previous error during capture")
            self.binding.recording.remove(pool)
            self.binding.order.append("end")
        self.set_stream(before)


@pytest.fixture
def cuda(monkeypatch):
    """The stand-in, in torch's place."""
    cuda = Cuda(Binding())
    zeros = lambda _size, device: SimpleNamespace(zero_=lambda: cuda.binding.order.append(device))  # noqa: E731
    stand_in = SimpleNamespace(cuda=cuda, _C=cuda.binding, zeros=zeros)
    monkeypatch.setattr(cuda_graphs, "torch", stand_in)
    monkeypatch.setattr(cuda_graphs, "_FAILED", [])
    return cuda


def test_each_captures_in_a_stream_of_its_own_on_its_device(cuda):
    """And warms up in another: what cuBLAS is given in this one is made in the capture."""
    first, second, seen = CudaGraphs(CARD), CudaGraphs(CARD), []

    def step():
        seen.append(cuda.current_stream())
        return "out", []

    assert first.capture(step)() == ("out", [])
    first.capture(step)
    second.capture(step)
    (own, pool, _), again, (other, another, _) = cuda.captures
    warm, cold = seen[0], seen[4]
    assert seen == [warm, own, warm, own, cold, other]
    assert len({warm, own, cold, other}) == 4
    assert own.device == other.device == CARD
    assert own is not other
    assert again[:2] == (own, pool)
    assert pool != another
    assert cuda.current_stream() is cuda.main


def test_workspaces_of_cublas_are_made_in_the_capture_and_not_kept_in_the_list(cuda):
    """Whoever clears torch's list would free those that a graph uses, were they not in its pool."""
    CudaGraphs(CARD).capture(lambda: cuda.binding.order.append("step"))
    assert cuda.binding.order == ["step", "begin", "clear", "step", "clear", "end"]


@pytest.mark.parametrize("ends", [True, False])
def test_a_failed_capture_leaves_nothing_behind(cuda, ends):
    """The thread is in its stream again, later captures are apart, and no memory goes to the old pool any more."""
    device, runs = CudaGraphs(CARD), iter("wc")

    def fails():
        if next(runs) == "c":
            cuda.ends = ends
            raise RuntimeError("operation not permitted when stream is capturing")
        return "out", []

    device.capture(lambda: ("out", []))
    with pytest.raises(RuntimeError, match="not permitted" if ends else "previous error"):
        device.capture(fails)
    assert cuda.current_stream() is cuda.main
    assert not cuda.binding.recording
    device.capture(lambda: ("out", []))
    (own, pool, _), (_, _, failed), (_, trivial, _), (later, other, _) = cuda.captures
    assert own is not later
    assert len({pool, trivial, other}) == 3
    # Where the capture ended, resetting the graph releases the pool.
    assert cuda.binding.uses[pool] == (2 if ends else 1)
    assert failed().resets == 1


def test_graphs_whose_capture_failed_are_never_freed(cuda):
    """An allocator goes on asking them, also when all graphs were dropped."""
    device = CudaGraphs(CARD)
    cuda.ends = False
    with pytest.raises(RuntimeError, match="previous error"):
        device.capture(lambda: ("out", []))
    device.forget()
    del device
    gc.collect()
    (_, _, failed), (_, _, trivial) = cuda.captures
    assert failed() is not None
    assert trivial() is None


def test_after_a_failed_capture_another_ends_well(cuda):
    """With torch 2.10 and 2.11 random numbers fail until then."""
    device, runs = CudaGraphs(CARD), iter("wc")

    def fails():
        if next(runs) == "c":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        device.capture(fails)
    assert cuda.binding.order[-5:] == ["begin", "clear", CARD, "clear", "end"]


def test_a_failed_warm_up_is_waited_for(cuda, monkeypatch):
    """Its kernels still read what is freed now."""
    waits = []
    monkeypatch.setattr(Stream, "wait_stream", lambda self, other: waits.append((self, other)))

    def fails():
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        CudaGraphs(CARD).capture(fails)
    (warm, main), again = waits
    assert main is cuda.main
    assert again == (main, warm)
    assert cuda.captures == []


def test_a_turn_that_fails_has_an_end(cuda):
    """The next one waits for what was queued before the failure."""
    device, seen = CudaGraphs(CARD), []
    cuda.main.wait_event = lambda event: seen.append(("waits", event))
    cuda.main.record_event = lambda event: seen.append(("records", event))
    with pytest.raises(ValueError, match="inside"), device.turn():
        raise ValueError("inside")
    assert seen == [("waits", device._done), ("records", device._done)]


def _accelerator_error(code):
    error = torch.AcceleratorError("CUDA error")
    error.error_code = code
    return error


def _on_top_of(error):
    """What torch raises if the end of a capture fails after its step."""
    raised = _accelerator_error(901)
    raised.__context__ = error
    return raised


@pytest.mark.parametrize(
    ("error", "of_device", "of_memory"),
    [
        (_accelerator_error(700), True, False),  # an illegal address
        (_accelerator_error(900), False, False),  # not permitted when a stream is capturing
        (_accelerator_error(901), False, False),
        (_accelerator_error(2), False, True),
        (torch.AcceleratorError("no code"), True, False),
        (torch.OutOfMemoryError("full"), False, True),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            False,
            True,
        ),
        (RuntimeError("Triton Error [CUDA]: out of memory"), False, True),
        (_on_top_of(torch.OutOfMemoryError("full")), False, True),
        (_on_top_of(_accelerator_error(700)), True, False),
        (RuntimeError("Cannot copy between CPU and CUDA tensors during CUDA graph capture"), False, False),
    ],
)
def test_what_an_error_says(error, of_device, of_memory):
    """Of the GPU, of its memory, or of the step."""
    assert cuda_graphs.is_of_device(error) is of_device
    assert cuda_graphs.is_of_memory(error) is of_memory


def test_graphs_that_are_made_anew_take_another_pool(cuda):
    """Torch refuses a pool whose graphs are gone; the stream stays."""
    device = CudaGraphs(CARD)
    device.capture(lambda: ("out", []))
    device.forget()
    device.capture(lambda: ("out", []))
    (own, pool, _), (again, other, _) = cuda.captures
    assert own is again
    assert pool != other


def test_one_capture_at_a_time(cuda):
    """In the whole process, as torch demands."""

    def step():
        time.sleep(0.02)
        return "out", []

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: CudaGraphs(CARD).capture(step), range(4)))
    assert cuda.most == 1
