"""Encoders for the machines of a cluster, which import this module: slow, mortal, failing, or among other folders."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import ray
from toy_encoder import ToyEncoder


class NotedEncoder(ToyEncoder):
    """Leaves a file in `notes` that is named after machine and process, then takes its time."""

    def __init__(self, notes, *, seconds=0.1):
        super().__init__()
        self.notes, self.seconds = Path(notes), seconds

    def encode_codes(self, waveforms):
        """Codes as a `ToyEncoder` makes them, later."""
        self.notes.joinpath(f"{ray.get_runtime_context().get_node_id()}-{os.getpid()}").touch()
        time.sleep(self.seconds)
        return super().encode_codes(waveforms)


class MortalEncoder(NotedEncoder):
    """Ends its process at the third batch of it, if there is a life in `notes`."""

    def encode_codes(self, waveforms):
        """As above, or nothing at all."""
        if len(self.batches) == 2:
            with contextlib.suppress(FileNotFoundError):
                (self.notes / "life").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_codes(waveforms)


class FailingEncoder(ToyEncoder):
    """Raises what a device raises."""

    def encode_codes(self, _):
        """Never gives codes."""
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def arrive(folder):
    """Make a worker's machine one whose folders are others, and that soon knows."""
    from snac_tok.corpus import ray_worker

    ray_worker._SHARED_SECONDS = 0.5
    os.chdir(folder)
    return ToyEncoder()


class ElsewhereEncoder(ToyEncoder):
    """Makes the current folder of its worker another one: `/proc/self/cwd` is not shared then."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def __reduce__(self):
        """Arrive there."""
        return arrive, (str(self.folder),)
