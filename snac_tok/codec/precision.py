"""float32 that is float32: cuDNN's TF32 kept off while somebody encodes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock = threading.Lock()
_state = {"inside": 0, "allowed": 0}


@contextmanager
def full_precision() -> Iterator[None]:
    """Keep cuDNN from rounding float32 convolutions to TF32, as it does by default: codes would not be the CPU's.

    The setting is the process's: with several threads inside, the first one changes it and the last one sets it back.
    """
    cudnn = torch.backends.cudnn
    with _lock:
        if not _state["inside"]:
            _state["allowed"], cudnn.allow_tf32 = int(cudnn.allow_tf32), False
        _state["inside"] += 1
    try:
        yield
    finally:
        with _lock:
            _state["inside"] -= 1
            if not _state["inside"]:
                cudnn.allow_tf32 = bool(_state["allowed"])
