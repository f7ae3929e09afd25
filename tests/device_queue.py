"""A stand-in for a GPU's queue: copies to it are there at once, copies from it when a later mark is waited for."""

import torch


class DeviceQueue:
    """What `codec.transfers.copies_for` gives for a GPU, on a CPU.

    Attributes:
        events: "in", "out" and "wait", in order; whoever tests adds others.
    """

    def __init__(self):
        self.events, self._pending, self._done = [], [], 0

    def stage(self, values):
        """Copy in."""
        self.events.append("in")
        return values.clone()

    def fetch(self, values):
        """Begin to copy out: what is read too early is garbage."""
        self.events.append("out")
        there = torch.full_like(values, -1)
        self._pending.append(lambda: there.copy_(values))
        return there

    def mark(self):
        """Remember the place."""
        return _Place(self, self._done + len(self._pending))

    def finish(self, place):
        """Do what stands before a place."""
        while self._done < place:
            self._pending.pop(0)()
            self._done += 1

    def has_passed(self, place):
        """Say whether a place has been waited for."""
        return self._done >= place


class _Place:
    def __init__(self, queue, number):
        self.queue, self.number = queue, number

    def wait(self):
        self.queue.events.append("wait")
        self.queue.finish(self.number)

    def seconds_since(self, earlier):
        assert self.queue.has_passed(self.number)
        assert self.number >= earlier.number
        return 0.5
