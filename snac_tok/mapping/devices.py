"""Where a mapper runs: which GPU a worker takes, and how many threads. It never changes a result.

`datasets` starts its workers with `multiprocess`, a data loader with `multiprocessing`; both number a parent's
children one after another, and a pool's workers consecutively:

    pool of 4          the next pool of 4 (a manager was number 5)
    1   2   3   4      6   7   8   9            two GPUs:  0 1 0 1   1 0 1 0
"""

from __future__ import annotations

import importlib
import math
import multiprocessing
import numbers
import sys
from dataclasses import dataclass, field
from typing import Any

import torch

from snac_tok.codec.hub_options import HubOptions
from snac_tok.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Execution:
    """The options that a mapper's results do not depend on.

    Attributes:
        device: "cpu", "cuda" (worker i takes GPU i modulo their number), "cuda:1", …
        threads: torch's, in a worker process, and those that read for a GPU; None means one, so that workers do not
            compete for cores.
        seconds_per_call: how much sound is read before the network runs; this limits memory.
        hub_options: how the codec's files are fetched; the hash has the weights instead.
    """

    device: str = "cpu"
    threads: int | None = None
    seconds_per_call: float = 600.0
    hub_options: HubOptions = field(default_factory=HubOptions)

    def __post_init__(self) -> None:
        try:
            torch.device(self.device)
        except (RuntimeError, TypeError) as error:
            raise ConfigError(f'device is {self.device!r}; "cpu", "cuda" or "cuda:0" is possible.') from error
        if self.threads is not None and not _is_positive(self.threads, numbers.Integral):
            raise ConfigError(f"threads is {self.threads!r}; a whole number from 1, or None, is needed.")
        if self.threads is not None:
            object.__setattr__(self, "threads", int(self.threads))  # torch takes no other kind
        if not _is_positive(self.seconds_per_call, numbers.Real):
            raise ConfigError(
                f"seconds_per_call is {self.seconds_per_call!r}; a number of seconds is needed."
            )


def worker_number() -> int | None:
    """Return this process's number among its parent's children, from 1; None if it is not a child process."""
    module = _workers_module()
    return None if module is None else _number(module)


def device_for(wanted: str, *, number: int | None, num_gpus: int) -> str:
    """Return the device of a worker: GPUs are assigned by its number, a device with an index is kept.

    Raises:
        ConfigError: a GPU was requested and there is none.

    Example:
        >>> [device_for("cuda", number=number, num_gpus=2) for number in (None, 1, 2, 3)]
        ['cuda:0', 'cuda:0', 'cuda:1', 'cuda:0']
        >>> device_for("cuda:1", number=1, num_gpus=2)
        'cuda:1'
    """
    device = torch.device(wanted)
    if device.type != "cuda":
        return wanted
    if (device.index or 0) >= num_gpus:
        raise ConfigError(f"the device {wanted!r} was asked for and {num_gpus} GPUs are visible here.")
    return wanted if device.index is not None else f"cuda:{((number or 1) - 1) % num_gpus}"


def set_up_worker(execution: Execution) -> str:
    """Set this process up for its work and return its device.

    Raises:
        ConfigError: there is no such device, or the process was forked after the GPU had been used.
    """
    number, forked = worker_number(), is_forked_worker()
    if number is not None:
        # A forked process lacks OpenMP's threads and would wait for them forever.
        torch.set_num_threads(1 if forked else execution.threads or 1)
    is_gpu = torch.device(execution.device).type == "cuda"
    if is_gpu and forked and torch.cuda._is_in_bad_fork():  # noqa: SLF001 - what torch itself asks
        raise ConfigError(
            "a forked worker cannot use the GPU that its parent already uses: call "
            'multiprocess.set_start_method("spawn") first, or map without num_proc.'
        )
    num_gpus = torch.cuda.device_count() if is_gpu else 0
    return device_for(execution.device, number=number, num_gpus=num_gpus)


def threads_each(num_workers: int) -> int | None:
    """Return the threads per worker at which workers do not compete for cores; None for a single worker."""
    return max(1, torch.get_num_threads() // num_workers) if num_workers > 1 else None


def is_forked_worker() -> bool:
    """Return whether this process is a worker that was forked from its parent."""
    module = _workers_module()
    return module is not None and module.get_start_method() == "fork"


def forking_picklers() -> list[Any]:
    """Return the picklers that send objects to the workers of every process library in use."""
    names = [f"{module.__name__}.reduction" for module in _process_modules()]
    return [importlib.import_module(name).ForkingPickler for name in names]


def _workers_module() -> Any:
    """Return the library that started this process as a worker, if one did."""
    return next((module for module in _process_modules() if _number(module)), None)


def _number(module: Any) -> int | None:
    # There is no public API for this: map's `rank` numbers the shard, and a worker takes several shards.
    identity = module.current_process()._identity  # noqa: SLF001
    return int(identity[-1]) if identity else None


def _process_modules() -> list[Any]:
    return [multiprocessing, *filter(None, [sys.modules.get("multiprocess")])]


def _is_positive(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 < float(value) < math.inf  # type: ignore[arg-type]
