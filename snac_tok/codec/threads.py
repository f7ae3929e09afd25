"""A thread pool that shares a CPU's cores: jobs side by side, results in order; and the chunks of one clip as its jobs.

torch's own threads split every operation and meet after each of them; hundreds of operations of some hundred
microseconds then spend much of their time at the meeting points, and most of it where another process has a core.
Here each thread has operations of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
import threading
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from snac_tok.codec.state import StreamState
from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

T = TypeVar("T")


def run_in_order(jobs: Iterable[Callable[[], T]], *, threads: int) -> Iterator[T]:
    """Run jobs in up to `threads` threads and yield their results in order; one more job than that is held.

    A job may wait for earlier ones, which have always begun before it. A single job runs in the calling thread, with
    all of torch's threads; several run there one by one where no threads can be started. Jobs have the caller's
    inference mode and record no gradients.

    Raises:
        SnacTokError: the process was forked half way, and the results are asked for in the child.
    """
    return map(operator.call, jobs) if threads == 1 else _run_in_pool(iter(jobs), threads)


def _run_in_pool(jobs: Iterator[Callable[[], T]], threads: int) -> Iterator[T]:
    first = list(itertools.islice(jobs, threads))
    jobs = itertools.chain(first, jobs)
    if len(first) == 1:
        yield from map(operator.call, jobs)
        return
    inference = torch.is_inference_mode_enabled()
    pool, size = _thread_pool(len(first))
    if pool is None:
        yield from map(_run_on_one_thread, jobs)
        return
    owner = os.getpid()
    running: deque[Future[T]] = deque()
    try:
        for job in jobs:
            _check_owner(owner)
            running.append(pool.submit(_run, job, inference=inference))
            if len(running) > size:
                yield running.popleft().result()
        while running:
            _check_owner(owner)
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _thread_pool(size: int) -> tuple[ThreadPoolExecutor | None, int]:
    """Start threads that have torch's threads divided among them: as many as can be, none if that is fewer than two."""
    total = torch.get_num_threads()
    while size > 1:
        pool = ThreadPoolExecutor(size, thread_name_prefix="snac_tok")
        try:
            started = _start(pool, size)
            if started == size:
                return pool, size
            # Later jobs would try to start what is missing again, and be lost.
            pool.shutdown(cancel_futures=True)
            size = started
        finally:
            torch.set_num_threads(total)
    return None, 0


def _start(pool: ThreadPoolExecutor, size: int) -> int:
    """Start a pool's threads and return how many there are: the system may refuse more."""
    total = torch.get_num_threads()
    arrived, leave = threading.Semaphore(0), threading.Event()

    def take_place() -> None:
        # A thread's first use of torch sets its number to the process's; asking is such a use.
        torch.get_num_threads()
        # From here on for this thread, and for threads that first use torch before it is set back.
        torch.set_num_threads(max(1, total // size))
        arrived.release()
        leave.wait()  # a thread without work would be given the next one's

    started = 0
    try:
        with contextlib.suppress(RuntimeError):  # can't start new thread
            for _ in range(size):
                pool.submit(take_place)
                started += 1
        for _ in range(started):
            arrived.acquire()
    finally:
        leave.set()
    return started


def _check_owner(owner: int) -> None:
    if os.getpid() != owner:
        raise SnacTokError(
            "this clip was begun before the process was forked, and its threads stay in the parent; "
            "begin it again in the child."
        )


def _run_on_one_thread(job: Callable[[], T]) -> T:
    # torch could start no thread either; it would end the process.
    total = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return job()
    finally:
        torch.set_num_threads(total)


def _run(job: Callable[[], T], *, inference: bool) -> T:
    # Both modes are a thread's own.
    with torch.inference_mode() if inference else torch.no_grad():
        return job()


class Pipeline:
    """The chunks of one clip as jobs that run side by side: each layer goes from chunk to chunk as soon as it is free.

    A chunk needs from the one before it only what each layer kept, so it may follow one layer behind:

        thread 1   chunk 0 |layer 1|layer 2|layer 3|layer 4|   chunk 2 |layer 1|layer 2| …
        thread 2   chunk 1         |layer 1|layer 2|layer 3|layer 4|   chunk 3 |layer 1| …

    Every layer sees the chunks in their order and every sum is made by one thread, so results are those of one thread.

    Args:
        states: what the chunks of the clip share.
        threads: in how many the jobs will run. With one they follow each other, and share the states as they are:
            graphs exchange all that a state keeps at once, which cannot be passed on layer by layer.
    """

    def __init__(self, *states: StreamState, threads: int) -> None:
        self._states, self._threads = states, threads
        self._num_chunks = 0
        self._turns: defaultdict[Hashable, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._failed: int | None = None  # the first chunk that did

    def job(self, run: Callable[..., T]) -> Callable[[], T]:
        """Return the job of the next chunk: `run`, given the states."""
        if self._threads == 1:
            return partial(run, *self._states)
        chunk, self._num_chunks = self._num_chunks, self._num_chunks + 1
        return partial(self._run, run, [_SharedState(self, state, chunk) for state in self._states], chunk)

    def _run(self, run: Callable[..., T], views: list[_SharedState], chunk: int) -> T:
        try:
            return run(*views)
        except BaseException:
            # Later chunks wait for this one; those before it go on, so that what is raised is what went wrong.
            with self._changed:
                self._failed = chunk if self._failed is None else min(chunk, self._failed)
                self._changed.notify_all()
            raise

    def wait(self, place: Hashable, chunk: int) -> None:
        """Return once it is a chunk's turn at a place of a state.

        Raises:
            RuntimeError: an earlier chunk failed, so that the turn will never come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._turns[place] == chunk or self._failed_before(chunk))
            if self._failed_before(chunk):
                raise RuntimeError("an earlier chunk of the clip failed")

    def _failed_before(self, chunk: int) -> bool:
        return self._failed is not None and self._failed < chunk

    def pass_on(self, place: Hashable) -> None:
        """Give the next chunk its turn."""
        with self._changed:
            self._turns[place] += 1
            self._changed.notify_all()


class _SharedState(StreamState):
    """One chunk's view of a state that the chunks of its clip share."""

    def __init__(self, pipeline: Pipeline, shared: StreamState, chunk: int) -> None:
        super().__init__(kept=shared.kept, positions=shared.positions)
        self._pipeline, self._chunk = pipeline, chunk
        self._id = id(shared)

    def read(self, slot: int) -> torch.Tensor | None:
        """Wait for the chunk before, then return what the layer kept of it."""
        self._pipeline.wait((self._id, slot), self._chunk)
        return super().read(slot)

    def write(self, slot: int, kept: torch.Tensor | None) -> None:
        """Keep this for the layer's next chunk, which may go on now."""
        super().write(slot, kept)
        self._pipeline.pass_on((self._id, slot))

    def advance(self, noise_block: int, length: int) -> int:
        """Wait for the chunk before, then count on from it."""
        place = (self._id, "noise", noise_block)
        self._pipeline.wait(place, self._chunk)
        start = super().advance(noise_block, length)
        self._pipeline.pass_on(place)
        return start
