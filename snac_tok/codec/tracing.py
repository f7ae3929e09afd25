"""Whether this thread's operations are recorded in a graph instead of computed: by `torch.compile` or an export."""

from __future__ import annotations

import torch
from torch._guards import CompileContext

_Kind = torch._C._TorchDispatchModeKey  # noqa: SLF001
_RECORDERS = (_Kind.FAKE, _Kind.PROXY, _Kind.FUNCTIONAL)


def is_traced() -> bool:
    """Say whether a compiler runs this code.

    While one thread compiles, `torch.compiler.is_compiling` says so in all threads (torch 2.13): those that compute
    would leave out what keeps float32 exact.
    """
    if not torch.compiler.is_compiling():
        return False
    # The first is a constant: true in what is compiled, false elsewhere.
    return torch.compiler.is_dynamo_compiling() or _compiles_here()


def _compiles_here() -> bool:
    # A compilation is known to its own thread; an export runs the code under modes that only record.
    return CompileContext.try_get() is not None or any(
        torch._C._get_dispatch_mode(kind) is not None  # noqa: SLF001 - it has no public name
        for kind in _RECORDERS
    )
