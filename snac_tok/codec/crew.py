"""Threads that share a CPU's cores: jobs side by side, results in order.

torch's own threads split every operation and meet after each of them; hundreds of operations of some hundred
microseconds then spend much of their time at the meeting points, and most of it where another process has a core.
Here each thread has operations of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import torch

from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


def in_order(jobs: Iterable[Callable[[], T]], *, threads: int) -> Iterator[T]:
    """Run jobs in up to `threads` threads and yield their results in order; one more job than that is held.

    A job may wait for earlier ones, which have always begun before it. A single job runs here, with all of torch's
    threads; several run here, too, one by one, where no threads can be started. Jobs have the caller's inference mode
    and record no gradients.

    Raises:
        SnacTokError: the process was forked half way, and the results are asked for in the child.
    """
    jobs = iter(jobs)
    first = list(itertools.islice(jobs, threads))
    if len(first) <= 1:
        yield from (job() for job in itertools.chain(first, jobs))
        return
    inference = torch.is_inference_mode_enabled()
    pool, size = _crew(len(first))
    if pool is None:
        yield from (_run_on_one_thread(job) for job in itertools.chain(first, jobs))
        return
    owner = os.getpid()
    running: deque[Future[T]] = deque()
    try:
        for job in itertools.chain(first, jobs):
            _check_owner(owner)
            running.append(pool.submit(_run, job, inference=inference))
            if len(running) > size:
                yield running.popleft().result()
        while running:
            _check_owner(owner)
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _crew(size: int) -> tuple[ThreadPoolExecutor | None, int]:
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
