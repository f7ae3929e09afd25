"""float32 that is float32: how precise torch is told to be changes no code and no sample of sound.

Programs let torch round float32 products to TF32 or bfloat16 (`torch.set_float32_matmul_precision`, `allow_tf32`,
`torch.backends.….fp32_precision`, autocast). Codes would then depend on more than weights and sound. Autocast is a
thread's own, and is left. The rest are settings of the whole process: where one is low, it is raised while somebody is
inside. Where none is, nothing is changed; that is how torch begins.
"""

from __future__ import annotations

import os
import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from snac_tok.codec.forks import use_one_thread

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_LOWER = ("tf32", "bf16")

# torch.backends.<backend>.<operation>.fp32_precision is these two; as properties they take ten times as long, and the
# setter of mkldnn's own `fp32_precision` sets every backend's (torch 2.13).
_get = torch._C._get_fp32_precision_getter  # noqa: SLF001 - as said
_set = torch._C._set_fp32_precision_setter  # noqa: SLF001

_lock = threading.Lock()


class _Settings:
    """The precision of one backend's float32, for the whole process.

    Several threads may be inside. Whoever enters raises what is low just then; the last to leave sets it back. What
    somebody else has set meanwhile is left alone.
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._inside = 0
        self._raised: list[tuple[str, str]] = []  # which setting, and what it was

    def enter(self, operations: tuple[str, ...]) -> None:
        with _lock:
            self._inside += 1
            for operation in operations:
                if _get(self.backend, operation) in _LOWER:
                    self._raise(operation)

    def leave(self) -> None:
        with _lock:
            self._inside = max(0, self._inside - 1)
            if not self._inside:
                self._set_back()

    def forget_other_threads(self) -> None:
        """Set everything back in a forked process, which has none of the threads that were inside."""
        self._inside = 0
        self._set_back()

    def _raise(self, operation: str) -> None:
        # An operation either has a setting of its own or takes its backend's. Only the one that it takes is changed, so
        # that afterwards it takes its backend's as before.
        if _get(self.backend, "all") != "ieee":
            self._replace("all", self._own_of_all())
            if _get(self.backend, operation) not in _LOWER:
                return
            _set(self.backend, *self._raised.pop())
        self._replace(operation, _get(self.backend, operation))

    def _own_of_all(self) -> str:
        """Return the backend's own setting, "none" where it takes that of all backends; torch tells the sum of both."""
        seen, generic = _get(self.backend, "all"), _get("generic", "all")
        if seen not in _LOWER or seen != generic:
            return str(seen)
        _set("generic", "all", "ieee")
        own = "none" if _get(self.backend, "all") == "ieee" else seen
        _set("generic", "all", generic)
        return str(own)

    def _replace(self, name: str, before: str) -> None:
        self._raised.append((name, before))
        _set(self.backend, name, "ieee")

    def _set_back(self) -> None:
        while self._raised:
            name, before = self._raised[-1]
            if _get(self.backend, name) == "ieee":
                _set(self.backend, name, before)
            self._raised.pop()


# oneDNN, which multiplies on CPUs, is called mkldnn there.
_CUDA, _ONEDNN = _Settings("cuda"), _Settings("mkldnn")


def full_precision(like: torch.Tensor) -> AbstractContextManager[object]:
    """Compute in the dtype of the weights, float32 in full, whatever the program has set.

    The settings are afterwards what they were. Nothing happens while a graph is captured.

    Args:
        like: a tensor of the weights' dtype, where it is computed.
    """
    if torch.compiler.is_compiling():
        return nullcontext()
    device = like.device.type
    settings = _CUDA if device == "cuda" else _ONEDNN
    casts = device != "meta" and torch.is_autocast_enabled(device)
    return _FullPrecision(
        settings if like.dtype is torch.float32 else None,
        # On a GPU `ops.convolution` asks for full precision itself.
        ("matmul",) if device == "cuda" else ("matmul", "conv"),
        torch.autocast(device, enabled=False) if casts else None,
    )


class _FullPrecision:
    """A context, entered once; a class, because a generator takes twice as long and streams enter several a push."""

    __slots__ = ("_autocast", "_operations", "_settings")

    def __init__(
        self, settings: _Settings | None, operations: tuple[str, ...], autocast: torch.autocast | None
    ) -> None:
        self._settings, self._operations, self._autocast = settings, operations, autocast

    def __enter__(self) -> None:
        use_one_thread()
        if self._settings is not None:
            self._settings.enter(self._operations)
        if self._autocast is not None:
            self._autocast.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        if self._autocast is not None:
            self._autocast.__exit__(*error)
        if self._settings is not None:
            self._settings.leave()


def _after_fork_in_child() -> None:
    _lock.release()
    for settings in (_CUDA, _ONEDNN):
        settings.forget_other_threads()


if hasattr(os, "register_at_fork"):
    # The lock is free in the child, and what it guards is whole.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child
    )
