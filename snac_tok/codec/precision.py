"""Full precision: how precise torch is told to be changes no code and no sample of sound.

Programs let torch round float32 products to TF32 or bfloat16 (`torch.set_float32_matmul_precision`, `allow_tf32`,
`torch.backends.….fp32_precision`, autocast), and say how half precision is added up on GPUs. Codes would then depend on
more than weights and sound. Autocast is a thread's own, and is left. The rest are settings of the whole process
(`switches`): where one is not as codes need it, it is changed while somebody is inside. Where all are, nothing is
changed; that is how torch begins.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch

from snac_tok.codec.forks import use_one_thread
from snac_tok.codec.switches import HELD, switches_of
from snac_tok.codec.tracing import is_traced
from snac_tok.errors import SnacTokError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from snac_tok.codec.state import StreamState
    from snac_tok.codec.switches import Switch

T = TypeVar("T")

# One compilation of another thread can spoil one; more than two are somebody who keeps setting it.
_ATTEMPTS = 4

# The switches of the piece of work that a thread is in.
_piece = threading.local()


class _ChangedError(Exception):
    """Somebody set a switch while a graph was captured."""


def in_full_precision(like: torch.Tensor, *states: StreamState) -> Iterable[AbstractContextManager[object]]:
    """Return attempts at a piece of work in full precision: one; on a GPU more if another thread changes the precision.

        for attempt in in_full_precision(x, state):
            with attempt:
                found = ...

    A loop, because a function that took the work would be two calls more in front of every product. On a CPU, where
    chunks pass on their states as they run, what is set meanwhile counts for the rest of the piece.

    Args:
        like: as `full_precision` takes it.
        states: all that the work changes; on a GPU an attempt that fails or does not count leaves them as they were.

    Raises:
        SnacTokError: in the loop: the precision was changed every time.
    """
    if is_traced():
        return (nullcontext(),)
    return _attempts(like.dtype, states) if like.device.type == "cuda" else (full_precision(like),)


def _attempts(dtype: torch.dtype, states: tuple[StreamState, ...]) -> Iterator[_Attempt]:
    for _ in range(_ATTEMPTS):
        attempt = _Attempt(dtype, states)
        yield attempt
        if attempt.counts:
            return
    raise SnacTokError(
        f"another thread set torch's precision on GPUs while the codec computed, {_ATTEMPTS} times in a row, so the "
        "result would not be exact; set it once, before the codec runs (torch.set_float32_matmul_precision, "
        "torch.backends.cuda.matmul), and call again."
    )


class _Attempt:
    """A context for one attempt on a GPU, entered once.

    Attributes:
        counts: whether nobody has changed the precision from its beginning to its end.
    """

    def __init__(self, dtype: torch.dtype, states: tuple[StreamState, ...]) -> None:
        self.counts = False
        self._held, self._switches = _holding("cuda", dtype), switches_of("cuda", dtype)
        self._states = states

    def __enter__(self) -> None:
        self._held.__enter__()
        self._outer = getattr(_piece, "switches", ())
        _piece.switches = self._switches
        self._before = HELD.times_put_right(self._switches)
        self._forks = [state.fork() for state in self._states]

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
        # The host reads the switches when it launches a product, so nobody needs to wait for the device.
        self.counts = kind is None and HELD.times_put_right(self._switches) == self._before
        if not self.counts:
            for state, fork in zip(self._states, self._forks, strict=True):
                state.kept, state.positions = fork.kept, fork.positions
        _piece.switches = self._outer
        self._held.__exit__(kind, *error)
        return kind is _ChangedError


def captured_undisturbed(step: Callable[[], T]) -> T:
    """Run a step that is captured as a graph.

    Raises:
        Exception: somebody changed the precision meanwhile, which the graph would keep; `in_full_precision` repeats the
            piece of work that it is raised in.
    """
    switches = getattr(_piece, "switches", ())
    before = HELD.times_put_right(switches)
    found = step()
    if HELD.times_put_right(switches) != before:
        raise _ChangedError
    return found


def full_precision(like: torch.Tensor) -> AbstractContextManager[object]:
    """Compute in the dtype of the weights, float32 in full, whatever the program has set.

    The settings are afterwards what they were. Nothing happens while a graph is captured.

    Args:
        like: a tensor of the weights' dtype, where it is computed.
    """
    if is_traced():
        return nullcontext()
    return _holding(like.device.type, like.dtype)


def _holding(device: str, dtype: torch.dtype) -> _FullPrecision:
    casts = device != "meta" and torch.is_autocast_enabled(device)
    return _FullPrecision(
        switches_of(device, dtype), torch.autocast(device, enabled=False) if casts else None
    )


class _FullPrecision:
    """A context, entered once; a class, because a generator takes twice as long and streams enter several a push."""

    __slots__ = ("_autocast", "_switches")

    def __init__(self, switches: tuple[Switch, ...], autocast: torch.autocast | None) -> None:
        self._switches, self._autocast = switches, autocast

    def __enter__(self) -> None:
        use_one_thread()
        if self._switches:
            HELD.enter(self._switches)
        if self._autocast is not None:
            self._autocast.__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: object) -> None:
        if self._autocast is not None:
            self._autocast.__exit__(*error)
        if self._switches:
            HELD.leave()
