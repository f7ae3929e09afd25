"""Batches that keep a GPU busy: the next is queued before the results of this one are waited for.

    host     queue 0   read 1   queue 1   wait for 0   use 0   read 2   queue 2   wait for 1   …
    device   in 0   run 0   out 0   in 1   run 1   out 1                in 2   run 2   out 2   …

"In" and "out" are copies through pinned memory, queued like all else (`cuda_copies`). On a CPU each batch is finished
before the next is read, and nothing is copied.
"""

from __future__ import annotations

import logging
import operator
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

import torch

from snac_tok.codec.cuda_copies import CudaCopies
from snac_tok.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from snac_tok.codec.cuda_copies import Copies

_log = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")
T = TypeVar("T")

# torch does not give pinned memory back to the system: an hour of sound waits for its copy instead.
_MOST_PINNED_BYTES = 64 * 2**20
# Below, one copy of all results takes less time than one of each.
_PACKED_BYTES = 4 * 2**20


def copies_for(device: torch.device) -> Copies | None:
    """Return what copies to a device and back without waiting; None where nothing has to be copied, or none can."""
    return CudaCopies(device) if device.type == "cuda" else None


def batches_ahead(device: torch.device) -> int:
    """Return how many batches are to be queued on a device before one is waited for."""
    return 0 if copies_for(device) is None else 1


def to_device(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return values on a device; nobody waits for what goes from the host to a GPU, up to 64 MiB."""
    copies = copies_for(device) if values.device.type == "cpu" else None
    if copies is None or values.nbytes > _MOST_PINNED_BYTES:
        return values.to(device)
    return copies.stage(values)


def queued(
    run: Callable[[], Sequence[torch.Tensor]], device: torch.device
) -> Callable[[], tuple[list[torch.Tensor], float]]:
    """Queue work on a device, and the copies of its results to the host.

    Args:
        run: queues the work and returns its results, on the device.
        device: a CPU has done the work when this returns.

    Returns:
        a function that waits for the results and returns them, in ordinary memory of the host, with the seconds for
        which the device had this work; 0 on a CPU. What fails on the device is raised there,
        and NetworkError in a process that was forked meanwhile.
    """
    copies = copies_for(device)
    if copies is None:
        there = [each.cpu() for each in run()]
        return lambda: (there, 0.0)
    begin = copies.mark()
    results = list(run())
    sizes, shapes = [each.numel() for each in results], [each.shape for each in results]
    alike = len({each.dtype for each in results}) == 1
    packed = alike and len(results) > 1 and sum(each.nbytes for each in results) <= _PACKED_BYTES
    parts = [torch.cat([each.reshape(-1) for each in results])] if packed else results
    coming = [copies.fetch(each) if each.nbytes <= _MOST_PINNED_BYTES else each for each in parts]
    end, owner = copies.mark(), os.getpid()

    def wait() -> tuple[list[torch.Tensor], float]:
        if os.getpid() != owner:
            raise NetworkError(
                "this batch was begun before the process was forked, and the GPU stays with the parent: wait for it "
                "there, or begin it again in a process that was spawned."
            )
        end.wait()
        found = list(torch.split(coming[0], sizes)) if packed else coming
        # Pinned memory stays ours; whoever keeps one result does not keep the others'.
        own = [each.clone() if each.device.type == "cpu" else each.cpu() for each in found]
        return [each.view(shape) for each, shape in zip(own, shapes, strict=True)], end.seconds_since(begin)

    return wait


def pipelined(
    begin: Callable[[BatchT], Callable[[], T]], batches: Iterable[BatchT], *, ahead: int
) -> Iterator[T]:
    """Yield the result of each batch, in order.

    An error of a batch, or of `batches` behind it, is raised in its turn: after the results before it. Behind an error
    nothing is begun. Whoever stops before the end has had up to `ahead` more batches begun than results; if one of
    those has failed already, a warning is logged.

    Args:
        begin: begins a batch and returns what waits for its result.
        batches: taken one by one.
        ahead: how many more are begun before a result is waited for; with 0 all is as in a loop.
    """
    # Without a frame of ours on the stack, as in `threads.run_in_order`.
    return _pipelined(begin, batches, ahead) if ahead else map(operator.call, map(begin, batches))


def _pipelined(
    begin: Callable[[BatchT], Callable[[], T]], batches: Iterable[BatchT], ahead: int
) -> Iterator[T]:
    waiting: deque[Callable[[], T]] = deque()
    try:
        for finish in _begun(begin, batches):
            waiting.append(finish)
            if len(waiting) > ahead:
                yield waiting.popleft()()
        while waiting:
            yield waiting.popleft()()
    finally:
        for finish in waiting:
            if isinstance(finish, partial) and finish.func is _raise:
                _log.warning("A batch failed whose result nobody has waited for: %r", finish.args[0])


def _begun(
    begin: Callable[[BatchT], Callable[[], T]], batches: Iterable[BatchT]
) -> Iterator[Callable[[], T]]:
    """Yield what waits for each batch's result; an error comes as the last, and is raised in its turn."""
    try:
        for batch in batches:
            yield begin(batch)
    except Exception as error:  # noqa: BLE001 - it is not ours
        yield partial(_raise, error)


def _raise(error: Exception) -> NoReturn:
    raise error
