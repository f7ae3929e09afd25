"""Copies between the host and a GPU of CUDA that nobody waits for, and marks in its queue.

Everything goes through the stream that is current on the codec's own device, kernels and copies alike: a batch's copies
take a hundredth of its work, too little to hide in a stream of their own. So the device keeps the order in which it was
asked, and memory that is freed on the host is given to later work alone. Pinned memory is torch's: it is not given out
again while a copy that was queued from it or to it is under way, even if nobody holds it any more.
"""

from __future__ import annotations

from typing import Protocol

import torch


class Mark(Protocol):
    """A place in the device's queue."""

    def wait(self) -> None:
        """Return when the device has done all that was queued before; what was queued behind is not waited for."""

    def seconds_since(self, earlier: Mark) -> float:
        """Return the device's time since an earlier mark; both have been passed."""


class Copies(Protocol):
    """Copies to one device and back, queued in order behind what it has to do."""

    def stage(self, values: torch.Tensor) -> torch.Tensor:
        """Return the host's values on the device; the host may change its own at once."""

    def fetch(self, values: torch.Tensor) -> torch.Tensor:
        """Return the host's memory in which the device's values will be once a later mark is passed."""

    def mark(self) -> Mark:
        """Mark the end of the queue."""


class CudaCopies:
    """Copies through pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def stage(self, values: torch.Tensor) -> torch.Tensor:
        """Copy into memory of our own, even if theirs is pinned: they may write to it before it is read."""
        return _pinned_like(values).copy_(values).to(self.device, non_blocking=True)

    def fetch(self, values: torch.Tensor) -> torch.Tensor:
        """Queue a copy into pinned memory."""
        return _pinned_like(values).copy_(values, non_blocking=True)

    def mark(self) -> Mark:
        """Record an event; in the codec's device's stream, which need not be that of the current device."""
        # A host that waits leaves its core to the threads that read files.
        event = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return _CudaMark(event)


def _pinned_like(values: torch.Tensor) -> torch.Tensor:
    """Return pinned memory; only the host's can be, whatever device is the default."""
    return torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)


class _CudaMark:
    def __init__(self, event: torch.cuda.Event) -> None:
        self.event = event

    def wait(self) -> None:
        self.event.synchronize()

    def seconds_since(self, earlier: Mark) -> float:
        assert isinstance(earlier, _CudaMark)
        return float(earlier.event.elapsed_time(self.event)) / 1000
