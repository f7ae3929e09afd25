"""Threads that share a CPU's cores: jobs side by side, results in order.

torch's own threads split every operation and meet after each of them; hundreds of operations of some hundred
microseconds then spend much of their time at the meeting points, and most of it where another process has a core.
Here each thread has operations of its own.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], *, threads: int) -> Iterator[T]:
    """Run jobs in up to `threads` threads and yield their results in order; one more job than that is held.

    A job may wait for earlier ones, which have always begun before it. A single job runs here, with all of torch's
    threads. Jobs have the caller's inference mode and record no gradients.
    """
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, threads))
    if len(first) <= 1:
        yield from (job() for job in itertools.chain(first, jobs))
        return
    inference = torch.is_inference_mode_enabled()
    pool = _crew(len(first))
    running: deque[Future[T]] = deque()
    try:
        for job in itertools.chain(first, jobs):
            running.append(pool.submit(_run, job, inference=inference))
            if len(running) > len(first):
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _crew(size: int) -> ThreadPoolExecutor:
    """Start threads that have torch's threads divided among them."""
    total = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, thread_name_prefix="snac_tok")
    ready = threading.Barrier(size + 1)

    def take_place() -> None:
        # A thread's first use of torch sets its number to the process's; asking is such a use.
        torch.get_num_threads()
        # From here on for this thread, and for threads that first use torch before it is set back.
        torch.set_num_threads(max(1, total // size))
        ready.wait()

    for _ in range(size):
        pool.submit(take_place)
    ready.wait()
    torch.set_num_threads(total)
    return pool


def _run(job: Callable[[], T], *, inference: bool) -> T:
    # Both modes are a thread's own.
    with torch.inference_mode() if inference else torch.no_grad():
        return job()
