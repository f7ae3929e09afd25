"""What every row of the codec's benchmark gets, and the cells it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.fresh import Cost, fresh
from benchmark.timing import Timed, interleaved

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from benchmark.networks import Pair

# What was measured, snac's figure, ours, their ratio, a note.
Cells = tuple[str, str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The networks and what the command line asked for."""

    pair: Pair
    options: argparse.Namespace

    def turns(self, *functions: Callable[[], Any], warm_up: bool = True) -> list[Timed]:
        """Time functions in turns."""
        return interleaved(functions, runs=self.options.runs, warm_up=warm_up)

    def fresh(self, task: str, side: str, seconds: float) -> Cost:
        """Cost of one call in a process of its own."""
        names = {name: getattr(self.options, name) for name in ("config", "device", "dtype", "threads")}
        return fresh(task, side=side, seconds=seconds, **names)


def speed_cells(what: str, seconds: float, peer: float | None, ours: float, note: str = "") -> Cells:
    """Say how many times faster than real time both are, and their ratio."""
    if peer is None:
        return what, "", f"{seconds / ours:.1f} x", "", note
    return what, f"{seconds / peer:.1f} x", f"{seconds / ours:.1f} x", f"{peer / ours:.2f}", note
