"""What the benchmarks share: the line that names the machine, medians, and tables, plain or Markdown.

Nothing here knows what is measured.
"""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FIRST_WIDTH, _WIDTH = 44, 12


class Timed(NamedTuple):
    """How long a function took, in the median, and what it returned at last."""

    seconds: float
    result: Any


def machine() -> str:
    """Name the processor, the GPU where one is in use, and the versions that ran."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line
        ]
        model = f"{len(names)} cores of {names[0]}" if names else model
    if torch.cuda.is_initialized():
        model += f", {torch.cuda.get_device_name()}"
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}"
    return f"{model}; {versions}; torch threads: {torch.get_num_threads()}"


def median_seconds(function: Callable[[], Any], *, runs: int) -> float:
    """Return the median wall time of several calls."""
    return statistics.median(_timed(function, time.perf_counter).seconds for _ in range(runs))


def interleaved(
    functions: Sequence[Callable[[], Any]],
    *,
    runs: int,
    warm_up: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Timed]:
    """Time functions in turns, so that whatever else the machine does hits all of them alike.

    Args:
        functions: what is compared.
        runs: how many turns, of which each function's median counts.
        warm_up: whether a first turn is not counted.
        clock: what reads the time in seconds; `time.process_time` counts the work of all threads.
    """
    if warm_up:
        for function in functions:
            function()
    turns = [[_timed(function, clock) for function in functions] for _ in range(runs)]
    return [
        Timed(statistics.median(turn.seconds for turn in column), column[-1].result)
        for column in zip(*turns, strict=True)
    ]


def _timed(function: Callable[[], Any], clock: Callable[[], float]) -> Timed:
    _wait_for_gpu()
    start = clock()
    result = function()
    _wait_for_gpu()
    return Timed(clock() - start, result)


def _wait_for_gpu() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Table:
    """Prints rows as they come, since a benchmark takes its time; the first and the last column are text."""

    def __init__(self, headers: Sequence[str], *, markdown: bool) -> None:
        self.markdown = markdown
        self.row(*headers)
        if markdown:
            print("|---" + "|--:" * (len(headers) - 2) + "|---|")

    def row(self, *cells: str) -> None:
        """Print one row."""
        if self.markdown:
            print("| " + " | ".join(cells) + " |", flush=True)
            return
        first, *middle, last = cells
        print(f"{first:<{_FIRST_WIDTH}}", *(f"{cell:>{_WIDTH}}" for cell in middle), f" {last}", flush=True)
