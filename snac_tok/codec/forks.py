"""Forked processes: torch keeps to one thread there, and no process forks while threads are ending.

torch's threads (OpenMP's) stay in the parent when a process forks. A child that calls them waits for ever, from its
first large operation on: in a fork pool, in `datasets.map(…, num_proc=…)`, after `os.fork()`. With one thread nobody is
called. Processes that were spawned have threads of their own and are left alone.

And MKL, which multiplies for torch, gives a thread's memory back when the thread ends. For some microseconds it then
holds locks that other threads' memory needs, too. Python counts a thread as ended before that: a process that forks
right after joining a thread could leave such a lock to the child, held by nobody, and the child's first product waited
for ever (in 1 of 5 to 10 forks after threads that had used torch).
"""

from __future__ import annotations

import os
import sys
import threading
import time
import warnings
from pathlib import Path

import torch

_state = {"forked": False, "told": False}

_TASKS = Path("/proc/self/task")  # Linux alone has it

# A thread takes milliseconds to end. Others may never rest: those of a library, which are no reason not to fork.
_LONGEST_WAIT_SECONDS, _PAUSE_SECONDS = 0.1, 0.0005


def use_one_thread() -> None:
    """Set torch to one thread if this process was forked and the program has asked for more; say so once."""
    if not _state["forked"] or torch.get_num_threads() == 1:
        return
    torch.set_num_threads(1)
    if not _state["told"]:
        _state["told"] = True
        warnings.warn(
            "this process was forked, and torch's threads stay in its parent: the codec runs on one thread here "
            'instead of waiting for them for ever; for more, start processes with "spawn".',
            stacklevel=2,
        )


def _before_fork() -> None:
    """Wait until no thread is at work that Python does not know: those that are ending are among them."""
    end = time.monotonic() + _LONGEST_WAIT_SECONDS
    while _are_threads_ending() and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)


def _are_threads_ending() -> bool:
    # This thread by itself: in a forked child Python 3.11 goes on with the number that it had in the parent.
    known = {str(thread.native_id) for thread in threading.enumerate()} | {str(threading.get_native_id())}
    try:
        return any(_is_at_work(task) for task in _TASKS.iterdir() if task.name not in known)
    except OSError:  # no such folder here
        return False


def _is_at_work(task: Path) -> bool:
    try:
        # "number (name) state …", where a name may hold anything.
        state = (task / "stat").read_bytes().rpartition(b") ")[2][:1]
    except OSError:  # it has ended
        return False
    return state in {b"R", b"D"}  # running, or waiting for memory; an idle thread sleeps (S)


def _after_fork_in_child() -> None:
    _state.update(forked=True, told=False)
    torch.set_num_threads(1)


def _began_as_a_fork() -> bool:
    """Say whether this process is a forked child that imports us only now; after a bare `os.fork()` nobody knows."""
    for name in ("multiprocessing", "multiprocess"):  # the second is what `datasets` uses
        process, context = sys.modules.get(f"{name}.process"), sys.modules.get(f"{name}.context")
        if process is None or context is None or process.parent_process() is None:
            continue
        own = getattr(process.current_process(), "_start_method", None)
        return bool((own or context._default_context.get_start_method(allow_none=True)) == "fork")  # noqa: SLF001 - no public way to ask a process how it was started
    return False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
    if _began_as_a_fork():
        _after_fork_in_child()
