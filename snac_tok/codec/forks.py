"""Forked processes: torch keeps to one thread there.

torch's threads (OpenMP's) stay in the parent when a process forks. A child that calls them waits for ever, from its
first large operation on: in a fork pool, in `datasets.map(…, num_proc=…)`, after `os.fork()`. With one thread nobody is
called. Processes that were spawned have threads of their own and are left alone.
"""

from __future__ import annotations

import os
import sys
import warnings

import torch

_state = {"forked": False, "told": False}


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
    os.register_at_fork(after_in_child=_after_fork_in_child)
    if _began_as_a_fork():
        _after_fork_in_child()
