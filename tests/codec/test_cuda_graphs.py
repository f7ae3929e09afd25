"""How steps are captured on a GPU, with a stand-in for CUDA's calls: in which stream, and what a failure leaves."""

import gc
import threading
import time
import weakref
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

    def replay(self):
        """Do nothing."""


class Cuda(SimpleNamespace):
    """Keeps which stream is current; as in torch, one that a failed capture leaves behind stays so."""

    def __init__(self):
        super().__init__(Stream=Stream, CUDAGraph=Graph, Event=object, device=lambda _: nullcontext())
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
        self.running += 1
        self.most = max(self.most, self.running)
        before = self.current_stream()
        self.set_stream(stream)
        try:
            yield
        finally:
            self.running -= 1
        self.set_stream(before)


@pytest.fixture
def cuda(monkeypatch):
    """The stand-in, in torch's place."""
    cuda = Cuda()
    monkeypatch.setattr(cuda_graphs, "torch", SimpleNamespace(cuda=cuda))
    return cuda


def test_each_captures_in_a_stream_of_its_own_on_its_device(cuda):
    """Warm-up and capture in the same one: a graph that goes frees the workspace of its stream."""
    first, second, seen = CudaGraphs(CARD), CudaGraphs(CARD), []

    def step():
        seen.append(cuda.current_stream())
        return "out", []

    assert first.capture(step)() == ("out", [])
    first.capture(step)
    second.capture(step)
    (own, pool, _), again, (other, another, _) = cuda.captures
    assert seen == [own] * 4 + [other] * 2
    assert own.device == other.device == CARD
    assert own is not other
    assert again[:2] == (own, pool)
    assert pool != another
    assert cuda.current_stream() is cuda.main


def test_a_failed_capture_leaves_nothing_behind(cuda):
    """The thread is in its stream again, later captures are apart, and the failed graph frees no workspace."""
    device, runs = CudaGraphs(CARD), iter("wc")

    def fails():
        if next(runs) == "c":
            raise RuntimeError("operation not permitted when stream is capturing")
        return "out", []

    device.capture(lambda: ("out", []))
    with pytest.raises(RuntimeError, match="not permitted"):
        device.capture(fails)
    assert cuda.current_stream() is cuda.main
    device.capture(lambda: ("out", []))
    (own, pool, _), (_, _, failed), (later, other, _) = cuda.captures
    assert own is not later
    assert pool != other
    gc.collect()
    assert failed() is not None
    device.forget()
    gc.collect()
    assert failed() is None


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
