"""Rows about what the process pays: its first call, its memory, its page faults."""

from __future__ import annotations

import resource
import statistics
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmark.networks import speech_like

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmark.session import Bench, Cells

COLD_SECONDS = 2.0


def cold_row(bench: Bench) -> Iterator[Cells]:
    """The first call of a process, of which there is one per process."""
    for task in ("encode", "decode"):
        call = partial(bench.fresh, task, seconds=COLD_SECONDS)
        costs = [[call(side=side).seconds for side in ("peer", "ours")] for _ in range(bench.options.runs)]
        peer, ours = (statistics.median(column) for column in zip(*costs, strict=True))
        what = f"{task} {COLD_SECONDS:g} s, first call"
        yield what, f"{peer * 1e3:.0f} ms", f"{ours * 1e3:.0f} ms", f"{peer / ours:.2f}", "fresh processes"


def memory_row(bench: Bench) -> Iterator[Cells]:
    """Peak memory above the loaded model: RSS, or the GPU's; each in a fresh process."""
    seconds, minutes = bench.options.seconds, bench.options.memory_minutes
    for task in ("encode", "decode"):
        peer, ours = (bench.fresh(task, side, seconds).peak_bytes for side in ("peer", "ours"))
        figures = [f"{peak / 1e6:.0f} MB" for peak in (peer, ours)]
        yield f"peak memory, {task} {seconds:g} s", *figures, ratio(peer, ours), ""
    for task, length in [("encode", minutes[0])] + [
        (task, length) for task in ("encode-blocks", "decode-blocks") for length in minutes
    ]:
        cost = bench.fresh(task, "ours", 60 * length)
        what = f"peak memory, {task.replace('-', '_')} {length:g} min"
        yield what, "", f"{cost.peak_bytes / 1e6:.0f} MB", "", f"at {60 * length / cost.seconds:.1f} x"


def faults_row(bench: Bench) -> Iterator[Cells]:
    """Minor page faults: memory that the process asks for anew, on every call."""
    audio = speech_like(bench.pair.ours, bench.options.seconds)
    codes = bench.pair.ours.encode(audio)
    calls = {
        "encode": (partial(bench.pair.peer_encode, audio), partial(bench.pair.ours.encode, audio)),
        "decode": (partial(bench.pair.peer_decode, codes), partial(bench.pair.ours.decode, codes)),
    }
    for what, functions in calls.items():
        peer, ours = (faults(function, bench.options.runs) / bench.options.seconds for function in functions)
        label = f"page faults per second of sound, {what}"
        yield label, f"{peer:.0f}", f"{ours:.0f}", ratio(peer, ours), ""


def faults(function: Callable[[], Any], runs: int) -> float:
    """Return the median number of minor page faults of a call, after a first one."""
    counts = []
    for _ in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        function()
        counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return statistics.median(counts[1:])


def ratio(peer: float, ours: float) -> str:
    """Say how many times less ours needs; nothing where it needs nothing."""
    return f"{peer / ours:.2f}" if ours else ""
