"""torch's switches of precision: settings of the whole process, held where codes need them while somebody computes.

Several threads may be inside. Whoever enters puts right what is not as it must be just then; the last to leave sets
everything back. What somebody else sets meanwhile counts afterwards, and does not count for those inside: they notice
it (`times_put_right`), because what they computed until then cannot be trusted.

`torch.compile` sets one of them, too: when it ends, in any thread, it gives products on GPUs the precision that it
found when it began. If that is the one from before somebody entered, those inside notice. If it is the one from inside,
the program is left with full precision, which changes no code.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_C = torch._C  # noqa: SLF001 - as properties of torch.backends they take ten times as long
# torch.backends.<backend>.<operation>.fp32_precision is these two; the setter of mkldnn's own `fp32_precision` sets
# every backend's (torch 2.13).
_get, _set = _C._get_fp32_precision_getter, _C._set_fp32_precision_setter  # noqa: SLF001

_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True, eq=False)
class Switch:
    """One setting.

    Attributes:
        read: what counts now.
        write: sets it.
        own: what it is set to, where another setting may count instead.
        wanted: what it is held at.
        wrong: what else it can be that changes results.
    """

    read: Callable[[], Any]
    write: Callable[[Any], object]
    own: Callable[[], Any]
    wanted: Any
    wrong: tuple[Any, ...]


def _of_float32(backend: str, operation: str) -> Switch:
    place = backend, operation
    return Switch(
        read=partial(_get, *place),
        write=partial(_set, *place),
        own=partial(_own, *place),
        wanted="ieee",
        wrong=("tf32", "bf16"),
    )


def _own(backend: str, operation: str) -> str:
    """Return an operation's own setting, "none" where it takes its backend's, which may take that of all backends.

    torch tells the sum of the three. Where it is no answer, those above are "none" meanwhile, which rounds nothing.
    """
    seen = str(_get(backend, operation))
    if seen != _get(backend, "all"):
        return seen
    generic = _get("generic", "all")
    _set("generic", "all", "none")
    every = _get(backend, "all")
    _set(backend, "all", "none")
    own = str(_get(backend, operation))
    _set(backend, "all", every)
    _set("generic", "all", generic)
    return own


def _of_half(name: str, *, wanted: bool | tuple[bool, bool]) -> Switch:
    """Return a switch of half precision, held as torch begins: what others measured and published holds for that."""
    read, write = getattr(_C, f"_get_{name}"), getattr(_C, f"_set_{name}")
    pair = isinstance(wanted, tuple)
    values = [(one, other) for one in (True, False) for other in (True, False)] if pair else [True, False]
    return Switch(
        read=read,
        write=(lambda value: write(*value)) if pair else write,
        own=read,
        wanted=wanted,
        wrong=tuple(value for value in values if value != wanted),
    )


_CUDA_MATMUL, _ONEDNN_MATMUL = _of_float32("cuda", "matmul"), _of_float32("mkldnn", "matmul")
# oneDNN, which multiplies on CPUs, is called mkldnn there.
_OF_CPU = {torch.float32: (_ONEDNN_MATMUL, _of_float32("mkldnn", "conv"))}
# Sums that several blocks of threads make together: whether parts are added in half precision, and whether there are
# parts at all.
_SUMS_FP16 = _of_half("cublas_allow_fp16_reduced_precision_reduction", wanted=(True, True))
_SUMS_BF16 = _of_half("cublas_allow_bf16_reduced_precision_reduction", wanted=(True, True))
_ALL_IN_FP16 = _of_half("cublas_allow_fp16_accumulation", wanted=False)
_ATTENTION = _of_half("math_sdp_allow_fp16_bf16_reduction", wanted=False)
_OF_GPU = {
    # On a GPU `ops.convolution` asks for full precision itself.
    torch.float32: (_CUDA_MATMUL,),
    torch.float16: (_SUMS_FP16, _ALL_IN_FP16, _ATTENTION),
    torch.bfloat16: (_SUMS_BF16, _ATTENTION),
}


def switches_of(device: str, dtype: torch.dtype) -> tuple[Switch, ...]:
    """Return the switches that results in a dtype on a kind of device depend on."""
    return (_OF_GPU if device == "cuda" else _OF_CPU).get(dtype, ())


class _Held:
    """Which switches are held, and what they are to be afterwards."""

    def __init__(self) -> None:
        self._inside = 0
        self._before: dict[Switch, Any] = {}
        self._legacy: str | None = None  # torch.get_float32_matmul_precision(), where it was changed, too
        self._counts: Counter[Switch] = Counter()

    def enter(self, switches: tuple[Switch, ...]) -> None:
        """Hold these until `leave`."""
        with _lock:
            self._inside += 1
            for switch in switches:
                if switch.read() in switch.wrong:
                    self._put_right(switch)

    def leave(self) -> None:
        """Set everything back if nobody else is inside."""
        with _lock:
            self._inside = max(0, self._inside - 1)
            if not self._inside and self._before:
                self._set_back()

    def times_put_right(self, switches: Sequence[Switch]) -> int:
        """Put these right again where somebody has set them meanwhile, and say how often that was done in all."""
        with _lock:
            for switch in switches:
                if switch.read() in switch.wrong:
                    self._put_right(switch)
            return sum(self._counts[switch] for switch in switches)

    def forget_other_threads(self) -> None:
        """Set everything back in a forked process, which has none of the threads that were inside."""
        self._inside = 0
        self._set_back()

    def _put_right(self, switch: Switch) -> None:
        self._counts[switch] += 1
        self._hold(switch)
        if switch is _CUDA_MATMUL:
            self._lower_legacy()

    def _hold(self, switch: Switch) -> None:
        if switch not in self._before or switch.read() != switch.wanted:
            self._before[switch] = switch.own()  # the newest wish counts
            switch.write(switch.wanted)

    def _lower_legacy(self) -> None:
        """Change torch's older setting together with the newer ones: reading it raises where they contradict it.

        The older one speaks of products on CPUs, too.
        """
        self._hold(_ONEDNN_MATMUL)
        if (legacy := _legacy()) != "highest":
            self._legacy = legacy
            _C._set_cublas_allow_tf32(False)  # noqa: FBT003, SLF001 - torch's signature

    def _set_back(self) -> None:
        for switch in list(self._before):
            self._hold(switch)
        if self._legacy is not None and _legacy() == "highest":
            self._write_legacy(self._legacy)
        for switch, before in self._before.items():
            switch.write(before)
        self._before.clear()
        self._legacy = None

    def _write_legacy(self, legacy: str) -> None:
        # Both set newer settings, too, which are then set back one by one; the first one none of a CPU's.
        if legacy == "high":
            _C._set_cublas_allow_tf32(True)  # noqa: FBT003, SLF001 - torch's signature
        else:
            _C._set_float32_matmul_precision(legacy)  # noqa: SLF001


def _legacy() -> str:
    """Return the older setting of float32 products; the newer ones must be held, so that they contradict nothing."""
    try:
        return str(_C._get_float32_matmul_precision())  # noqa: SLF001
    except RuntimeError:  # somebody set a newer one just now
        return "highest"


HELD = _Held()


def _after_fork_in_child() -> None:
    _lock.release()
    HELD.forget_other_threads()


if hasattr(os, "register_at_fork"):
    # The lock is free in the child, and what it guards is whole.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child
    )
